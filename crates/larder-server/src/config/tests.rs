//! What the configuration accepts, and how it says no.

use super::*;

const WHOLE: &str = r#"
[origin.shop]
url = "sqlite:shop.sqlite"
track = "rows"

[resource.artist-albums]
origin = "shop"
sql = "SELECT 1"
params = { zebra = "integer", artist = "text" }
ttl = "1h"
stale_if_error = "10m"
"#;

fn with(variables: &[(&str, &str)], listen: Option<&str>) -> Result<Config, ConfigError> {
    let inputs = Inputs {
        file: None,
        variables: variables.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect(),
        listen: listen.map(|text| text.parse().unwrap()),
    };
    Config::assemble(WHOLE, "larder.toml", Path::new("/base"), inputs)
}

fn refused(text: &str) -> String {
    Config::parse(text, Path::new("/base")).unwrap_err().to_string()
}

fn source_of(config: &Config, path: &str) -> String {
    let setting = config.settings.iter().find(|setting| setting.path == path);
    setting.map(|found| format!("{} ({})", found.value, found.source)).unwrap_or_default()
}

#[test]
fn every_setting_says_where_it_came_from() {
    let config =
        with(&[("LARDER_MEMORY", "64MiB"), ("LARDER_LISTEN", "127.0.0.1:1")], None).unwrap();
    assert_eq!(source_of(&config, "cache.memory"), "64MiB (env LARDER_MEMORY)");
    assert_eq!(source_of(&config, "server.listen"), "127.0.0.1:1 (env LARDER_LISTEN)");
    assert_eq!(source_of(&config, "origin.shop.track"), "rows (file)");
    assert_eq!(source_of(&config, "server.drain"), "10s (default)");
    let config = with(&[("LARDER_LISTEN", "127.0.0.1:1")], Some("127.0.0.1:2")).unwrap();
    assert_eq!(source_of(&config, "server.listen"), "127.0.0.1:2 (flag --listen)");
}

#[test]
fn paths_are_relative_to_the_file_and_parameters_keep_their_order() {
    let config = with(&[], None).unwrap();
    assert_eq!(config.origins["shop"].path, Path::new("/base/shop.sqlite"));
    let names: Vec<_> = config.resources["artist-albums"].params.iter().map(|p| &*p.0).collect();
    assert_eq!(names, ["zebra", "artist"]);
}

#[test]
fn the_environment_reaches_into_resources() {
    let variables = [("LARDER_RESOURCE__ARTIST_ALBUMS__TTL", "5m")];
    let config = with(&variables, None).unwrap();
    assert_eq!(config.resources["artist-albums"].ttl, Lifetime::For(Span::seconds(300)));
}

#[test]
fn an_unknown_setting_is_refused_with_its_line() {
    let text = format!("{WHOLE}\nstale_on_error = \"1m\"\n");
    let error = refused(&text);
    assert!(error.starts_with("larder.toml:13:1: unknown field `stale_on_error`"), "{error}");
}

#[test]
fn what_is_missing_is_named_with_advice() {
    let error = refused(&WHOLE.replace("ttl = \"1h\"", ""));
    assert!(error.starts_with("resource.artist-albums.ttl: is not set"), "{error}");
    let error = refused(&WHOLE.replace("origin = \"shop\"", "origin = \"shpo\""));
    assert!(error.contains("there is no [origin.shpo]; there are: shop"), "{error}");
    let error = refused(&WHOLE.replace("sqlite:shop.sqlite", "postgres://x"));
    assert!(error.starts_with("origin.shop.url") && error.contains("sqlite:PATH"), "{error}");
}

#[test]
fn a_secret_is_hashed_never_shown_and_never_in_the_file() {
    let secret = "ab".repeat(32);
    let scopes = ("LARDER_TOKEN__READER__SCOPES", "read");
    let variables = [("LARDER_TOKEN__READER__SECRET", &*secret), scopes];
    let config = with(&variables, None).unwrap();
    let shown = source_of(&config, "token.reader.secret");
    assert!(shown.starts_with("(set) (env LARDER_TOKEN__READER"), "{shown}");
    assert!(!format!("{config:?}").contains("abababab"));
    let text = format!("[token.reader]\nscopes = [\"read\"]\nsecret = \"{secret}\"\n");
    let error = refused(&text);
    assert!(error.contains("does not belong into this file") && !error.contains("abab"), "{error}");
}

#[test]
fn no_secret_is_in_what_is_printed_for_debugging() {
    let [key, token, pinned] = [[0xa1; 32], [0xb2; 32], [0xc3; 32]];
    let hex = crate::auth::to_hex;
    let [key_text, token_text, hash_text] = [hex(&key), hex(&token), hex(&pinned)];
    let variables = [
        ("LARDER_POSITION_KEY", &*key_text),
        ("LARDER_TOKEN__READER__SECRET", &*token_text),
        ("LARDER_TOKEN__READER__SCOPES", "read"),
        ("LARDER_TOKEN__OTHER__HASH", &*hash_text),
        ("LARDER_TOKEN__OTHER__SCOPES", "read"),
        ("AWS_SECRET_ACCESS_KEY", &*token_text),
    ];
    let owned = variables.iter().map(|(a, b)| ((*a).into(), (*b).into()));
    let inputs = Inputs { variables: owned.collect(), ..Inputs::default() };
    let table: toml::Table = toml::from_str(&format!(
        "server.position_key = \"{key_text}\"\ntoken.reader.secret = \"{token_text}\""
    ))
    .unwrap();
    let written: file::File = table.try_into().unwrap();
    let config = with(&variables, None).unwrap();
    let open = crate::auth::Auth::new(&config).unwrap();
    let positions = crate::position::Positions::new(key);
    let texts = [
        format!("{config:?} {config:#?} {inputs:?} {written:?} {open:?} {positions:?}"),
        config.settings.iter().map(|setting| format!("{setting:?}")).collect(),
    ];
    let hash = *blake3::hash(&token).as_bytes();
    for secret in [key, token, pinned, hash] {
        let digits = hex(&secret);
        // As text, and as the numbers of an array of bytes.
        let numbers = format!("{:?}", secret.first_chunk::<4>().unwrap());
        let numbers = numbers.trim_end_matches(']');
        for text in &texts {
            assert!(!text.to_lowercase().contains(&digits), "{text}");
            assert!(!text.contains(numbers), "{text}");
        }
    }
    assert!(texts.iter().all(|text| text.contains("(set)")));
}

#[test]
fn a_name_that_cannot_stand_in_a_url_is_refused() {
    for name in ["Artist", "a.b", "a/b", ""] {
        let text = format!("[origin.\"{name}\"]\nurl = \"sqlite:x\"\n");
        assert!(refused(&text).contains("a name h"), "{name}");
    }
    assert!(refused("[origin.app]\nurl = \"sqlite:x\"\n").contains("explicit invalidations"));
}

#[test]
fn limits_have_limits() {
    let error = refused("[server]\nheader_size = \"1KiB\"\n");
    assert!(
        error.contains("server.header_size: 1KiB is out of range: write 8KiB to 1MiB"),
        "{error}"
    );
}

#[test]
fn what_could_never_work_is_refused() {
    let never = WHOLE.replace("ttl = \"1h\"", "ttl = \"never\"");
    assert!(Config::parse(&never, Path::new("/base")).is_ok());
    let untracked = never.replace("track = \"rows\"", "track = \"none\"");
    assert!(refused(&untracked).contains("never be loaded again"), "{}", refused(&untracked));
    let by_the_clock = format!("{WHOLE}sample = 100\ntime_dependent = \"60s\"\n");
    assert!(refused(&by_the_clock).contains("cannot be compared"), "{}", refused(&by_the_clock));
    assert!(Config::parse(&by_the_clock.replace("100", "0"), Path::new("/base")).is_ok());
    let no_time = format!("{WHOLE}load_timeout = \"0\"\n");
    assert!(refused(&no_time).contains("load_timeout"), "{}", refused(&no_time));
    let no_idling = format!("[server]\nidle_timeout = \"0\"\n{WHOLE}");
    assert!(refused(&no_idling).contains("idle_timeout"), "{}", refused(&no_idling));
}
