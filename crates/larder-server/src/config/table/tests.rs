//! What `[table.NAME]` accepts, and how it says no.

use std::path::Path;

use super::*;
use crate::config::{Config, Inputs};

const WHOLE: &str = r#"
[origin.plant]
url = "sqlite:plant.sqlite"

[table.readings]
origin = "plant"
sql = "SELECT id, device, time FROM reading"
key = ["id"]
indexes = { time = ["time"], device_time = ["device", "time"] }
"#;

fn parsed(more: &str) -> Result<Table, String> {
    let config = Config::parse(&format!("{WHOLE}{more}\n"), Path::new("/base"));
    config.map(|config| config.tables["readings"].clone()).map_err(|error| error.to_string())
}

#[test]
fn a_window_is_everything_or_a_range_or_a_time() {
    assert_eq!(parsed("").unwrap().window, Window::Everything);
    assert_eq!(parsed("window = \"everything\"").unwrap().window, Window::Everything);
    let range = parsed("window = { index = \"device_time\", from = [7, \"a\"], to = 9 }").unwrap();
    let from = Some(Key(vec![7.into(), "a".into()]));
    let (index, to) = ("device_time".to_owned(), Some(Key(vec![9.into()])));
    assert_eq!(range.window, Window::Between { index, from, to });
    let (last, step) = (Duration::from_secs(86_400), Duration::from_secs(60));
    let (index, unit) = ("time".to_owned(), Unit::Seconds);
    let window = parsed("window = { index = \"time\", last = \"24h\", unit = \"seconds\" }");
    assert_eq!(
        window.unwrap().window,
        Window::Last { index, last, step, unit, slack: Duration::ZERO }
    );
}

#[test]
fn what_is_wrong_names_the_setting_and_what_there_is() {
    let refused = |more: &str| parsed(more).unwrap_err();
    let error = refused("window = { index = \"tiem\", from = 1 }");
    assert!(error.starts_with("table.readings.window.index: there is no index `tiem`"), "{error}");
    assert!(error.ends_with("there are: primary, device_time, time"), "{error}");
    let error = refused("window = { index = \"time\", last = \"24h\" }");
    assert!(error.starts_with("table.readings.window.unit: is not set"), "{error}");
    let error = refused("window = { index = \"time\", step = \"1m\" }");
    assert!(error.starts_with("table.readings.window.last: is not set"), "{error}");
    let error =
        refused("window = { index = \"time\", last = \"1h\", from = 1, unit = \"seconds\" }");
    assert!(error.contains("slides or it stays"), "{error}");
    assert!(
        refused("window = \"all\"").contains("\"everything\""),
        "{}",
        refused("window = \"all\"")
    );
    let error = refused("window = { index = \"time\", until = 3 }");
    assert!(error.contains("unknown field `until`"), "{error}");
    assert!(refused("windows = 3").contains("unknown field `windows`"));
    let error = refused("follows = { device = { columns = [\"id\"], index = \"devices\" } }");
    assert!(error.starts_with("table.readings.follows.device.index: there is no"), "{error}");
    let three =
        "follows = { device = { columns = [\"a\", \"b\", \"c\"], index = \"device_time\" } }";
    let error = refused(three);
    assert!(
        error.contains("names 3 columns, the index `device_time` is by device, time"),
        "{error}"
    );
    let error = refused("memory = \"1B\"");
    assert!(error.starts_with("table.readings.memory: 1B is out of range"), "{error}");
}

#[test]
fn a_row_may_be_followed_by_the_first_columns_of_an_index() {
    let table = parsed("follows = { device = { columns = [\"id\"], index = \"device_time\" } }");
    let (columns, index) = (vec!["id".to_owned()], "device_time".to_owned());
    assert_eq!(table.unwrap().follows, [("device".to_owned(), Followed { columns, index })]);
}

#[test]
fn a_table_needs_an_origin_a_key_and_columns() {
    let refused = |old: &str, new: &str| {
        let text = WHOLE.replace(old, new);
        Config::parse(&text, Path::new("/base")).unwrap_err().to_string()
    };
    let error = refused("origin = \"plant\"", "origin = \"plnat\"");
    assert!(error.contains("there is no [origin.plnat]; there are: plant"), "{error}");
    let error = refused("key = [\"id\"]", "");
    assert!(error.starts_with("table.readings.key: names no column"), "{error}");
    let error = refused("time = [\"time\"],", "time = [],");
    assert!(error.starts_with("table.readings.indexes.time: names no column"), "{error}");
    let error = refused("time = [\"time\"],", "primary = [\"time\"],");
    assert!(error.starts_with("table.readings.indexes.primary"), "{error}");
    assert!(refused("[table.readings]", "[table.Readings]").contains("a-z"));
}

#[test]
fn every_setting_of_a_table_says_where_it_came_from() {
    let variables = [
        ("LARDER_TABLE__READINGS__MEMORY", "64MiB"),
        ("LARDER_TABLE__READINGS__WINDOW__LAST", "1h"),
        ("LARDER_TABLE__READINGS__INDEXES__TIME", "time"),
    ];
    let variables = variables.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect();
    let inputs = Inputs { variables, ..Inputs::default() };
    let window = "window = { index = \"time\", last = \"24h\", unit = \"rfc3339\" }\n";
    let text = format!("{WHOLE}{window}");
    let config = Config::assemble(&text, "larder.toml", Path::new("/base"), inputs).unwrap();
    let of = |path: &str| {
        let found = config.settings.iter().find(|own| own.path == format!("table.readings.{path}"));
        found.map(|found| format!("{} ({})", found.value, found.source)).unwrap_or_default()
    };
    assert_eq!(of("memory"), "64MiB (env LARDER_TABLE__READINGS__MEMORY)");
    assert_eq!(of("window.last"), "1h (env LARDER_TABLE__READINGS__WINDOW__LAST)");
    assert_eq!(of("window.step"), "1m (default)");
    assert_eq!(of("window.slack"), "0 (default)");
    assert_eq!(of("window.unit"), "rfc3339 (file)");
    assert_eq!(of("indexes.time"), "[time] (env LARDER_TABLE__READINGS__INDEXES__TIME)");
    assert_eq!(of("indexes.device_time"), "[device, time] (file)");
    assert_eq!(of("load_wait"), "10s (default)");
}
