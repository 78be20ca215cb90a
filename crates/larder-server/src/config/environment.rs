//! Settings from the environment: `LARDER_LISTEN`, `LARDER_ORIGIN__SHOP__URL`.
//!
//! Two underscores stand for a dot, and `[server]` and `[cache]` may be left out. A dash in a name
//! is written as an underscore. **Invariant**: a variable that names no setting is an error, not
//! silence; except for those that other programs set under the same prefix.

use toml::{Table, Value};

use super::{ConfigError, file::File, provenance::Source};

/// What every variable begins with.
pub const PREFIX: &str = "LARDER_";

/// Not settings: the path of the file, and what tests and tools pass to each other.
const OTHERS: [&str; 4] = ["CONFIG", "LOG", "SOAK_*", "BENCH_*"];

/// Kubernetes sets these for a service that is called `larder`.
const SERVICE_LINKS: [&str; 4] = ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_*", "PORT*"];

/// Settings by variable: the variable, and a table that holds nothing but the setting.
pub fn read(
    variables: impl IntoIterator<Item = (String, String)>,
    file: &Table,
) -> Result<Vec<(Source, Table)>, ConfigError> {
    let mut found = Vec::new();
    for (variable, text) in variables {
        let Some(name) = variable.strip_prefix(PREFIX) else { continue };
        if OTHERS.iter().chain(&SERVICE_LINKS).any(|pattern| matches(pattern, name)) {
            continue;
        }
        let table = setting(name, &text, file)
            .map_err(|problem| ConfigError::new(format!("the variable {variable}"), problem))?;
        found.push((Source::Environment(variable), table));
    }
    found.sort_by_key(|(source, _)| source.to_string());
    Ok(found)
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

/// The setting that `name` stands for, with the first reading of `text` that fits its type.
fn setting(name: &str, text: &str, file: &Table) -> Result<Table, String> {
    let parts: Vec<String> = name.split("__").map(str::to_ascii_lowercase).collect();
    let paths = match parts.as_slice() {
        [single] => ["server", "cache"].map(|section| vec![section.into(), single.clone()]).into(),
        _ => vec![spelled(parts, file)],
    };
    let mut problem = String::new();
    for path in paths {
        for value in readings(text) {
            let table = nested(&path, value);
            match table.clone().try_into::<File>() {
                Ok(_) => return Ok(table),
                // The first reading is the plain text: its complaint is the one to understand.
                Err(error) if problem.is_empty() || problem.contains("unknown field") => {
                    problem = error.message().to_owned();
                }
                Err(_) => {}
            }
        }
    }
    // A secret beside its place must not be shown by the complaint about it.
    let secret = text.trim();
    let is_shown = may_be_secret(name) && !secret.is_empty();
    Err(if is_shown { problem.replace(secret, "(set)") } else { problem })
}

/// Whether the variable may hold a token or a key.
fn may_be_secret(name: &str) -> bool {
    name.starts_with("TOKEN") || name.contains("POSITION_KEY")
}

/// The value as text, as TOML, and as a list with commas.
fn readings(text: &str) -> Vec<Value> {
    let literal = format!("value = {text}").parse::<Table>().ok();
    let literal = literal.and_then(|mut table| table.remove("value"));
    let list = text.split(',').map(|item| Value::String(item.trim().to_owned())).collect();
    let mut readings = vec![Value::String(text.to_owned())];
    readings.extend(literal);
    readings.push(Value::Array(list));
    readings
}

fn nested(path: &[String], value: Value) -> Table {
    let mut value = value;
    for name in path.iter().rev() {
        value = Value::Table(Table::from_iter([(name.clone(), value)]));
    }
    match value {
        Value::Table(table) => table,
        _ => Table::new(),
    }
}

/// The path with its names as the file spells them: `artist_albums` may be `artist-albums` there.
fn spelled(parts: Vec<String>, file: &Table) -> Vec<String> {
    let mut place = Some(file);
    let mut path = Vec::new();
    for part in parts {
        let own = place.and_then(|table| {
            table.keys().find(|key| key.to_ascii_lowercase().replace('-', "_") == part)
        });
        let name = own.cloned().unwrap_or(part);
        place = place.and_then(|table| table.get(&name)).and_then(Value::as_table);
        path.push(name);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_one(variable: &str, text: &str, file: &str) -> Result<String, String> {
        let file = file.parse().unwrap();
        let found = read([(variable.to_owned(), text.to_owned())], &file);
        found
            .map(|all| all.first().map_or(String::new(), |(_, table)| table.to_string()))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn short_names_belong_to_the_server_or_the_cache() {
        let listen = read_one("LARDER_LISTEN", "127.0.0.1:80", "").unwrap();
        assert_eq!(listen, "[server]\nlisten = \"127.0.0.1:80\"\n");
        let memory = read_one("LARDER_MEMORY", "64MiB", "").unwrap();
        assert_eq!(memory, "[cache]\nmemory = \"64MiB\"\n");
    }

    #[test]
    fn numbers_and_lists_are_read_by_the_type_of_the_setting() {
        let number = read_one("LARDER_CONNECTIONS", "12", "").unwrap();
        assert_eq!(number, "[server]\nconnections = 12\n");
        let list = read_one("LARDER_HOSTS", "a.example, b.example", "").unwrap();
        assert_eq!(list, "[server]\nhosts = [\"a.example\", \"b.example\"]\n");
    }

    #[test]
    fn a_name_is_spelled_as_in_the_file() {
        let file = "[resource.artist-albums]\nsql = 'SELECT 1'";
        let ttl = read_one("LARDER_RESOURCE__ARTIST_ALBUMS__TTL", "1h", file).unwrap();
        assert_eq!(ttl, "[resource.artist-albums]\nttl = \"1h\"\n");
    }

    #[test]
    fn a_variable_that_names_no_setting_is_an_error() {
        let error = read_one("LARDER_LISTN", "x", "").unwrap_err();
        assert!(error.contains("LARDER_LISTN") && error.contains("listn"), "{error}");
        let error = read_one("LARDER_RESOURCE__A__TTL", "soon", "").unwrap_err();
        assert!(error.contains("\"soon\" is no duration"), "{error}");
    }

    #[test]
    fn a_secret_in_the_wrong_place_is_not_shown() {
        let secret = "5f".repeat(32);
        let error = read_one("LARDER_TOKEN__CI", &format!("{secret}\n"), "").unwrap_err();
        assert!(error.contains("LARDER_TOKEN__CI") && !error.contains(&secret), "{error}");
    }

    #[test]
    fn variables_of_other_programs_are_left_alone() {
        for variable in ["LARDER_PORT_7077_TCP", "LARDER_SERVICE_HOST", "LARDER_SOAK_SEED", "HOME"]
        {
            assert_eq!(read_one(variable, "x", "").unwrap(), "");
        }
    }
}
