//! `[table.NAME] replica_of`: a table that follows the one of another server.
//!
//! Apart from `table.rs`, whose tables have an origin of their own. **Invariant**: what only the
//! owner can say, its statement, columns and window, is not set here.

use std::{fmt, path::Path, time::Duration};

use crate::secret::Secret;

use super::{
    ConfigError,
    duration::Span,
    resolve::{DAY, MOMENT, Taker, secret_file, within},
    size::Size,
    table::{LOAD_WAIT, MEMORY, Written},
};

/// A table that follows the one of the same name of another server.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "they are documented where they are written")]
pub struct Replica {
    pub owner: OwnerAddress,
    /// What the owner is shown.
    pub token: Option<Secret<String>>,
    pub memory_bytes: u64,
    pub load_wait: Duration,
    pub max_staleness: Duration,
}

/// Where the owner of a table listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerAddress {
    /// A name or an address, as it is connected to.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl OwnerAddress {
    /// What stands in `Host`.
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    fn read(text: &str) -> Result<Self, String> {
        let uri: http::Uri = text.parse().map_err(|_| "is no URL".to_owned())?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err("is https, and TLS is not spoken here. Write the http address of a \
                            proxy or tunnel on this machine that speaks it"
                    .into());
            }
            _ => return Err("is no URL. Write http://HOST:PORT".into()),
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(
                "has a path. Write http://HOST:PORT; the table there has the same name".into()
            );
        }
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err("names no host. Write http://HOST:PORT".into());
        }
        Ok(Self { host, port: uri.port_u16().unwrap_or(PORT) })
    }
}

impl fmt::Display for OwnerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority())
    }
}

/// The port of a server that says nothing else.
const PORT: u16 = 7077;

/// Fails where something is set for a table with an origin that only a replica has.
pub(super) fn expect_none(name: &str, written: &Written) -> Result<(), ConfigError> {
    if written.token_file.is_none() {
        return Ok(());
    }
    let problem = "is for the table of another server: set `replica_of`, or leave it out";
    Err(ConfigError::new(format!("table.{name}.token_file"), problem))
}

/// The replica that was written.
pub(super) fn resolve(
    name: &str,
    owner: &str,
    written: Written,
    base: &Path,
    to: &mut Taker,
) -> Result<Replica, ConfigError> {
    let at = |setting: &str| format!("table.{name}.{setting}");
    let owner = OwnerAddress::read(owner);
    let owner = owner.map_err(|problem| ConfigError::new(at("replica_of"), problem))?;
    to.show(at("replica_of"), owner.to_string());
    let others = [
        ("origin", written.origin.is_some()),
        ("sql", written.sql.is_some()),
        ("key", written.key.is_some()),
        ("indexes", !written.indexes.is_empty()),
        ("window", written.window.is_some()),
        ("load_timeout", written.load_timeout.is_some()),
        ("keep", written.keep.is_some()),
        ("keep_every", written.keep_every.is_some()),
        ("follows", !written.follows.is_empty()),
    ];
    if let Some((setting, _)) = others.into_iter().find(|(_, is_set)| *is_set) {
        let problem = "is for the owner to say: leave it out, or leave out `replica_of`";
        return Err(ConfigError::new(at(setting), problem));
    }
    let token = written.token_file.map(|path| secret_file(base, &path)).transpose()?;
    let token = token.map(|text| text.trim().to_owned());
    to.show(at("token_file"), token.as_ref().map_or("(none)", |_| "(set)").to_owned());
    let memory = to.take(at("memory"), written.memory, MEMORY);
    within(&at("memory"), memory, Size::kib(1), Size(1 << 50))?;
    let wait = to.take(at("load_wait"), written.load_wait, LOAD_WAIT);
    within(&at("load_wait"), wait, MOMENT, DAY)?;
    let staleness = to.take(at("max_staleness"), written.max_staleness, Span::seconds(1));
    Ok(Replica {
        owner,
        token: token.map(Secret::new),
        memory_bytes: memory.0,
        load_wait: wait.0,
        max_staleness: staleness.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_named_by_its_http_address() {
        let read = |text: &str| OwnerAddress::read(text).map(|owner| owner.to_string());
        assert_eq!(read("http://owner:80").unwrap(), "http://owner:80");
        assert_eq!(read("http://owner/").unwrap(), "http://owner:7077");
        assert_eq!(read("http://[::1]:7").unwrap(), "http://[::1]:7");
        assert!(read("https://owner").unwrap_err().contains("TLS"));
        for wrong in ["owner:80", "ftp://owner", "http://owner/v1/tables", "", "http://"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
