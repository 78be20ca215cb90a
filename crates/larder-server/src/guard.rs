//! What a request must look like before anybody asks what it wants: names, origins, media types.
//!
//! A browser on the same machine reaches loopback too, with whatever page it shows; these checks
//! are what keeps such a page out. **Invariant**: a page of another site can neither read an answer
//! (its name for this server is not accepted) nor change anything (its origin is foreign).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::{HeaderMap, Uri, header};

use crate::problem::{Code, Problem};

/// The names this server goes by.
#[derive(Clone, Debug)]
pub struct Hosts {
    listed: Vec<String>,
    own: Option<IpAddr>,
}

impl Hosts {
    /// Loopback, the listed names, and the address itself where it is a single one.
    pub fn new(listed: &[String], listen: SocketAddr) -> Self {
        let own = Some(listen.ip()).filter(|ip| !ip.is_unspecified());
        Self { listed: listed.to_vec(), own }
    }

    /// Accepts a request for one of the names, and gives the authority that was asked for.
    #[inline]
    pub fn check<'a>(&self, uri: &'a Uri, headers: &'a HeaderMap) -> Result<&'a str, Problem> {
        let mut sent = headers.get_all(header::HOST).iter();
        let host = sent.next().and_then(|value| value.to_str().ok());
        if sent.next().is_some() {
            return Err(Problem::new(Code::MalformedRequest, "there is more than one Host"));
        }
        // A request in absolute form means the authority in its target (RFC 9112, 3.2.2).
        let authority = uri.authority().map(http::uri::Authority::as_str).or(host);
        match authority {
            Some(authority) if self.knows(name_of(authority)) => Ok(authority),
            None if !headers.contains_key(header::HOST) => Err(Problem::new(
                Code::MalformedRequest,
                "send a Host; without one nobody can tell a page of another site from a client",
            )),
            _ => Err(Problem::new(
                Code::WrongHost,
                "use a loopback name, or list this one in server.hosts",
            )),
        }
    }

    fn knows(&self, name: &str) -> bool {
        if name.eq_ignore_ascii_case("localhost") {
            return true;
        }
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let address = match bare.parse::<Ipv4Addr>() {
            Ok(address) => Some(IpAddr::V4(address)),
            Err(_) => bare.parse().ok(),
        };
        match address {
            Some(ip) if ip.is_loopback() || self.own == Some(ip) => true,
            _ => self.listed.iter().any(|listed| listed.eq_ignore_ascii_case(name)),
        }
    }
}

/// The authority without its port.
fn name_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => authority,
    }
}

/// Accepts a request only from here: not one that a page of another site lets a browser send.
pub fn check_site(authority: &str, headers: &HeaderMap) -> Result<(), Problem> {
    let foreign = |detail| Err(Problem::new(Code::ForeignOrigin, detail));
    if let Some(origin) = headers.get(header::ORIGIN) {
        let own = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        match own {
            Some((_, sender)) if sender.eq_ignore_ascii_case(authority) => {}
            _ => return foreign("the page that sent this is not from this server"),
        }
    }
    let site = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    if !matches!(site, None | Some("same-origin" | "none")) {
        return foreign("the page that sent this is not from this server");
    }
    Ok(())
}

/// Accepts a request that would change something only from here, and only as JSON.
pub fn check_change(authority: &str, headers: &HeaderMap) -> Result<(), Problem> {
    check_site(authority, headers)?;
    let sent = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = sent.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    match media_type.eq_ignore_ascii_case("application/json") {
        true => Ok(()),
        false => {
            Err(Problem::new(Code::UnsupportedMediaType, "send `Content-Type: application/json`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(hosts: &Hosts, name: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, name.parse().unwrap());
        hosts.check(&Uri::from_static("/x"), &headers).is_ok()
    }

    #[test]
    fn only_loopback_and_listed_names_are_answered() {
        let hosts = Hosts::new(&["cache.example".into()], ([127, 0, 0, 1], 7077).into());
        for name in ["localhost", "LOCALHOST:7077", "127.0.0.1:1", "127.9.9.9", "[::1]:80", "[::1]"]
        {
            assert!(host(&hosts, name), "{name}");
        }
        assert!(host(&hosts, "Cache.Example:443"));
        for name in ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", "", "localhost.evil"] {
            assert!(!host(&hosts, name), "{name}");
        }
        let hosts = Hosts::new(&[], ([10, 0, 0, 5], 7077).into());
        assert!(host(&hosts, "10.0.0.5:7077") && !host(&hosts, "10.0.0.6"));
    }

    #[test]
    fn the_target_in_absolute_form_counts_and_a_second_host_does_not_pass() {
        let hosts = Hosts::new(&[], ([127, 0, 0, 1], 7077).into());
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "localhost".parse().unwrap());
        assert!(hosts.check(&Uri::from_static("http://evil.example/x"), &headers).is_err());
        headers.append(header::HOST, "localhost".parse().unwrap());
        assert!(hosts.check(&Uri::from_static("/x"), &headers).is_err());
        let none = hosts.check(&Uri::from_static("/x"), &HeaderMap::new()).unwrap_err();
        assert_eq!(none.status(), 400, "there is no wrong name, but none");
    }

    #[test]
    fn a_change_needs_json_and_no_foreign_origin() {
        let status = |pairs: &[(&'static str, &'static str)]| {
            let headers = pairs.iter().map(|(name, value)| {
                (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
            });
            let checked = check_change("localhost:7077", &headers.collect());
            checked.map_or_else(|problem| problem.status().as_u16(), |()| 200)
        };
        let json = ("content-type", "application/json; charset=utf-8");
        assert_eq!(status(&[json]), 200);
        assert_eq!(status(&[json, ("origin", "http://localhost:7077")]), 200);
        assert_eq!(status(&[json, ("origin", "http://localhost:7078")]), 403);
        assert_eq!(status(&[json, ("origin", "null")]), 403);
        assert_eq!(status(&[json, ("sec-fetch-site", "cross-site")]), 403);
        assert_eq!(status(&[("content-type", "text/plain")]), 415);
        assert_eq!(status(&[]), 415);
    }
}
