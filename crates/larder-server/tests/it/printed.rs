//! What the commands print, for people word by word, and for programs as JSON that says the same.
//!
//! The texts are in `golden/`. Paths, ports and times are replaced by their names first. A run with
//! `GOLDEN=write` in its environment writes them anew, and git shows what changed.

use std::{path::Path, process::Output};

use serde_json::Value;

use crate::{
    client::Client,
    program::{err, larder, out, run, serve},
    shop::{PATH, Shop},
};

/// Compares with the text of that name.
pub(crate) fn expect(name: &str, shop: &Shop, output: &Output) {
    let dir = shop.dir().canonicalize().unwrap();
    let text = out(output).replace(&*dir.to_string_lossy(), "DIR");
    let text = text.replace(&*shop.dir().to_string_lossy(), "DIR");
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines().map(normal) {
        if line == STATEMENT && lines.contains(&line) {
            // The empty line between two statements.
            lines.pop();
        } else if !line.ends_with("TEXT") || lines.last() != Some(&line) {
            lines.push(line);
        }
    }
    let text = lines.join("\n") + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden").join(name);
    if std::env::var_os("GOLDEN").is_some_and(|wanted| wanted == "write") {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, golden, "{name}; GOLDEN=write accepts it\n{text}\n{}", err(output));
}

/// What stands for the statements of a plan, however many there are.
const STATEMENT: &str = "STATEMENT;";

/// A line without what differs from run to run, and from machine to machine. Statements and notes
/// are the words of the backend, and have their tests there.
fn normal(line: &str) -> String {
    if line.ends_with(';') {
        return STATEMENT.to_owned();
    }
    for word in ["  note: ", "  warning: "] {
        if line.starts_with(word) {
            return format!("{word}TEXT");
        }
    }
    let mut words: Vec<&str> = line.split(' ').collect();
    let is_threads = line.trim_start().starts_with("server.threads ");
    let mut last = "";
    for word in &mut words {
        let own = *word;
        if own.starts_with("127.0.0.1:") && own != "127.0.0.1:7077" {
            *word = "ADDRESS";
        } else if is_threads && own.parse::<u32>().is_ok() {
            *word = "N";
        } else if last == "hit_mean_micros" {
            *word = "MICROS";
        } else if ["age", "ttl_left", "bytes", "reload", "last"].contains(&last) {
            *word = "N";
        }
        last = if own.is_empty() { last } else { own };
    }
    let line = words.join(" ");
    // Columns are as wide as the machine's number of threads is long.
    if is_threads { line.split_whitespace().collect::<Vec<_>>().join(" ") } else { line }
}

pub(crate) fn json(output: &Output) -> Value {
    serde_json::from_str(&out(output)).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn track_and_untrack_print_the_plan_and_what_became_of_it() {
    let shop = Shop::new("wal");
    expect("track.txt", &shop, &run(&shop, &["track"]));
    let shown = json(&run(&shop, &["track", "--json"]));
    let origin = &shown["origins"][0];
    assert_eq!((&origin["name"], &origin["state"]), (&"shop".into(), &"shown".into()), "{shown}");
    let sql = origin["sql"].as_array().unwrap();
    let text = out(&run(&shop, &["track"]));
    assert!(!sql.is_empty() && sql.iter().all(|sql| text.contains(sql.as_str().unwrap())));
    assert_eq!(origin["tables"][0]["by_row"], true, "{shown}");
    let applied = json(&run(&shop, &["track", "--yes", "--json"]));
    assert_eq!(applied["origins"][0]["state"], "applied");
    assert_eq!(applied["origins"][0]["sql"], origin["sql"], "what was shown was applied");
    expect("track-again.txt", &shop, &run(&shop, &["track", "--yes"]));
    assert_eq!(json(&run(&shop, &["track", "--json"]))["origins"][0]["state"], "nothing-to-do");
    expect("untrack.txt", &shop, &run(&shop, &["untrack"]));
    let dropped = json(&run(&shop, &["untrack", "--yes", "--json"]));
    assert_eq!(dropped["origins"][0]["state"], "applied");
    expect("untrack-again.txt", &shop, &run(&shop, &["untrack", "--yes"]));
}

#[test]
fn track_tells_of_an_origin_that_it_leaves_alone() {
    let shop = Shop::new("wal");
    let mut command = larder(&shop, &["track", "--json"]);
    let output = command.env("LARDER_ORIGIN__SHOP__TRACK", "database").output().unwrap();
    assert_eq!(json(&output)["origins"][0]["state"], "not-by-row");
}

#[test]
fn what_was_done_before_a_failure_is_told_in_json_too() {
    let shop = Shop::new("wal");
    let mut command = larder(&shop, &["track", "--yes", "--json"]);
    let text = std::fs::read_to_string(shop.dir().join("larder.toml")).unwrap();
    let text = format!("{text}\n[origin.zoo]\nurl = \"sqlite:missing.sqlite\"\ntrack = \"rows\"\n");
    std::fs::write(shop.dir().join("larder.toml"), text).unwrap();
    let output = command.output().unwrap();
    assert!(!output.status.success());
    assert_eq!(json(&output)["origins"][0]["state"], "applied");
    assert!(err(&output).contains("origin.zoo"), "{}", err(&output));
}

#[test]
fn check_config_prints_settings_dependencies_and_notices() {
    let shop = Shop::new("delete");
    expect("check-config.txt", &shop, &run(&shop, &["check-config"]));
    let checked = run(&shop, &["check-config", "--json"]);
    assert_eq!(checked.status.code(), Some(0));
    let checked = json(&checked);
    let origin = &checked["origins"][0];
    let depends_on = &origin["resources"][0]["depends_on"];
    assert_eq!(depends_on[0], "rows of Album where ArtistId = :artist", "{checked}");
    assert_eq!(origin["notices"][0]["matters"], true, "{checked}");
    assert_eq!(checked["faults"].as_array().unwrap().len(), 0);
    assert_eq!(checked["settings"][0]["setting"], "server.listen");
    let mut bad = larder(&shop, &["check-config", "--json"]);
    let bad = bad.env("LARDER_RESOURCE__ARTIST_ALBUMS__SQL", "SELECT nothing").output().unwrap();
    assert_eq!(bad.status.code(), Some(3));
    let fault = json(&bad)["faults"][0].as_str().unwrap().to_owned();
    assert!(fault.starts_with("resource.artist-albums.sql: "), "{fault}");
    assert_eq!(err(&bad), "", "it is told once");
}

#[tokio::test(flavor = "multi_thread")]
async fn status_finds_the_server_as_the_other_commands_find_its_settings() {
    let shop = Shop::new("wal");
    run(&shop, &["track", "--yes"]);
    let (mut child, address, _) = serve(&shop);
    let mut client = Client::connect(address).await;
    assert!(client.get(PATH).await.is_miss());
    let address = address.to_string();
    let flags = [
        vec!["status", "--listen", &address, "--json"],
        vec!["status", "--address", &address, "--json"],
        vec!["status", "--config", "here.toml", "--json"],
    ];
    for flags in &flags {
        let mut command = larder(&shop, flags);
        let file = format!("[server]\nlisten = \"{address}\"\n");
        std::fs::write(shop.dir().join("here.toml"), file).unwrap();
        let status = command.output().unwrap();
        assert_eq!(json(&status)["resources"][0]["misses"], 1, "{flags:?}: {}", err(&status));
    }
    let mut command = larder(&shop, &["status"]);
    let status = command.env("LARDER_LISTEN", &address).output().unwrap();
    expect("status.txt", &shop, &status);
    let mut bare = larder(&shop, &["status"]);
    std::fs::remove_file(shop.dir().join("larder.toml")).unwrap();
    let status = bare.env("LARDER_LISTEN", &address).output().unwrap();
    assert!(out(&status).contains("artist-albums"), "without a file: {}", err(&status));
    let mut lost = larder(&shop, &["status", "--config", "missing.toml"]);
    assert_eq!(lost.output().unwrap().status.code(), Some(3));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn invalidate_dependents_and_explain_print_what_the_server_says() {
    let shop = Shop::new("wal");
    run(&shop, &["track", "--yes"]);
    let (mut child, address, _) = serve(&shop);
    let mut client = Client::connect(address).await;
    assert!(client.get(PATH).await.is_miss());
    let address = address.to_string();
    let at = |arguments: &[&str]| run(&shop, &[arguments, &["--listen", &address]].concat());
    let explain = ["explain", "artist-albums", "artist=90"];
    expect("explain.txt", &shop, &at(&explain));
    assert_eq!(json(&at(&[&explain[..], &["--json"]].concat()))["state"], "fresh");
    expect("dependents.txt", &shop, &at(&["dependents", "shop.Artist/90"]));
    let page = json(&at(&["dependents", "shop.Album", "--size", "1", "--json"]));
    assert_eq!(page["entries"][0]["parameters"]["artist"], 90, "{page}");
    let words = ["invalidate", "shop.Artist/90", "tag:front", "shop.Album:ArtistId=1,ArtistId=90"];
    expect("invalidate-dry.txt", &shop, &at(&[&words[..], &["--dry-run"]].concat()));
    assert!(client.get(PATH).await.is_hit());
    let refused = at(&["invalidate", "shop.Album", "--at-most", "0"]);
    assert_eq!(refused.status.code(), Some(5), "{}", err(&refused));
    assert!(err(&refused).contains("1 entries would fall, at most 0 may"), "{}", err(&refused));
    assert!(client.get(PATH).await.is_hit());
    expect("invalidate.txt", &shop, &at(&words));
    assert!(client.get(PATH).await.is_miss());
    expect("explain-again.txt", &shop, &at(&explain));
    let done = json(&at(&["invalidate", "shop.Artist/90", "--soft", "--json"]));
    assert_eq!(done["touched"]["ids"][0], 1, "{done}");
    client.get(PATH).await;
    let rewarmed = at(&["invalidate", "shop.Artist/90", "--rewarm", "10"]);
    expect("invalidate-rewarm.txt", &shop, &rewarmed);
    assert!(client.get(PATH).await.is_hit());
    for (arguments, code, complaint) in [
        (&["invalidate", "tag:x", "--rewarm", "0"][..], 1, "rewarm.at_most is 0"),
        (&["invalidate", "tag:x", "--rewarm", "1", "--dry-run"], 2, "cannot be used with"),
        (&["invalidate", "tag:x", "--rewarm-concurrency", "1"], 2, "--rewarm"),
        (&["invalidate"], 2, "DEPENDENCY"),
        (&["invalidate", "shop"], 2, "everything:ORIGIN"),
        (&["explain", "artist-albums", "artist"], 2, "NAME=VALUE"),
        (&["invalidate", "shop.Artst/90"], 1, "`shop.Artst` is no table here"),
        (&["explain", "artist-albums"], 1, "add `artist`"),
        (&["explain", "nothing"], 1, "`nothing` is not served here"),
        (&["dependents", "store.Album"], 1, "no table here"),
    ] {
        let output = at(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", err(&output));
        assert!(err(&output).contains(complaint), "{arguments:?}: {}", err(&output));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let gone = at(&["invalidate", "tag:front"]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(err(&gone).contains("no server answers"), "{}", err(&gone));
}
