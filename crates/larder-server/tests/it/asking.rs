//! `larder cache` against a running server: the same words, the same output as on a file.

use std::{
    io::Write as _,
    process::{Output, Stdio},
};

use larder_server::serve::Running;
use larder_sqlite::store::{Lifetime, NewEntry, Stored};
use serde_json::json;

use crate::{
    client::Client,
    printed::json as printed,
    program::{err, larder, out},
    shop::{ALBUMS, Shop},
};

const STORE: &str = "[store]\npath = \"served.db\"\nbackups = \"kept\"\nbackup_every = \"365d\"\n";

/// Runs `larder cache`, on the file `name` or on the server at `name`, with something to read.
async fn cache(shop: &Shop, name: &str, arguments: &[&str], input: &str) -> Output {
    let at = if name.starts_with("http") { "--server" } else { "--store" };
    let mut command = larder(shop, &[&["cache", at, name], arguments].concat());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let input = input.to_owned();
    tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        // A command that reads nothing may have gone.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    })
    .await
    .unwrap()
}

async fn serve(shop: &Shop, more: &str) -> (Running, String) {
    let (running, _client) = shop.open(&format!("{ALBUMS}{STORE}{more}")).await;
    let url = format!("http://{}", running.address);
    (running, url)
}

/// What must be the same: what it printed, word by word but for ages, and how it ended.
fn told(output: &Output) -> (Option<i32>, Vec<String>, String) {
    let is_age = |word: &str| {
        word.strip_suffix('s').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let printed = out(output);
    let words = printed.split_whitespace();
    let words = words.map(|word| if is_age(word) { "AGE" } else { word }.to_owned());
    (output.status.code(), words.collect(), err(output))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_words_say_the_same_of_a_file_and_of_a_server() {
    // S20.
    let shop = Shop::new("wal");
    let (running, url) = serve(&shop, "").await;
    let line = r#"{"key":"i/1","value":[1],"tags":["t"],"ttl_ms":600000}
{"region":"other","key":"i2","base64":"/w==","expires_ms":null}
{"key":"gone","text":"","expires_ms":1}
{"key":"by option","text":"x"}
"#;
    let operations = r#"{"op":"put","key":"p1","value":{"n":1},"tags":["t"],"ttl_ms":600000}
{"op":"put","key":"p2","base64":"/w=="}
{"op":"add","key":"p1","text":"left alone"}

{"op":"put","key":"p3","text":"","region":"other"}
{"op":"get","key":"p1"}
{"op":"get","key":"p2"}
{"op":"get","key":"missing"}
{"op":"get","key":"p3","region":"other"}
{"op":"incr","key":"count","by":5}
{"op":"incr","key":"count"}
{"op":"touch","key":"p1","ttl_ms":500000}
{"op":"touch","key":"missing"}
{"op":"remove","key":"p1"}
{"op":"remove","key":"p1"}
"#;
    for (arguments, input) in [
        (
            &["set", "a:incr", "{\"n\": 1}", "--ttl", "90m", "--tag", "x", "--tag", "\u{4e0a}"][..],
            "",
        ),
        (&["set", "a:incr", "1", "--ttl", "1h", "--add"], ""),
        (&["set", "b", "--forever", "--pin"], "from standard input"),
        (&["set", "c", "1", "--ttl", "1h", "--region", "r r"], ""),
        (&["get", "a:incr"], ""),
        (&["get", "missing"], ""),
        (&["get", "missing", "--json"], ""),
        (&["incr", "n", "--ttl", "1h", "--by", "-7"], ""),
        (&["incr", "n", "--ttl", "1h"], ""),
        (&["touch", "n", "--ttl", "30d"], ""),
        (&["touch", "missing", "--ttl", "30d"], ""),
        (&["touch", "n", "--forever", "--json"], ""),
        (&["import", "--ttl", "10m"], line),
        (&["batch", "--ttl", "10m"], operations),
        (&["batch", "--forever", "--region", "r r"], "{\"op\":\"get\",\"key\":\"c\"}"),
        (&["batch"], ""),
        (&["batch"], "{\"op\":\"remove\",\"key\":\"p2\"}\n{\"op\":\"sing\",\"key\":\"a\"}"),
        (&["batch"], "{\"op\":\"get\",\"key\":\"a\",\"ttl_ms\":1}"),
        (&["batch"], "{\"op\":\"incr\",\"ttl_ms\":1}"),
        (&["ls"], ""),
        (&["ls", "--limit", "1", "--tag", "x"], ""),
        (&["ls", "--limit", "2", "--after", "a:incr"], ""),
        (&["ls", "--region", "nowhere"], ""),
        (&["ls", "--pattern", "%:incr", "--not-tag", "t"], ""),
        (&["tags"], ""),
        (&["tags", "--limit", "1"], ""),
        (&["top", "--by", "size", "--limit", "2", "--region", "default"], ""),
        (&["rm", "--tag", "x", "--dry-run"], ""),
        (&["rm", "a:incr", "missing", "--dry-run"], ""),
        (&["rm", "a:incr", "missing"], ""),
        (&["rm", "--pattern", "i%"], ""),
        (&["rm", "--all", "--yes"], ""),
        (&["rm", "--all", "--region", "r r", "--json"], ""),
        (&["import"], "{\"key\": 1}\n"),
    ] {
        let there = cache(&shop, &url, arguments, input).await;
        let here = cache(&shop, "file.db", arguments, input).await;
        assert_eq!(told(&there), told(&here), "{arguments:?}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_not_taken_for_an_empty_region() {
    let shop = Shop::new("wal");
    let (running, url) = serve(&shop, "").await;
    for (arguments, said) in [
        (&["set", "a", "1", "--forever"][..], "inserted\n"),
        (&["ls", "--tag", "t"], "no such entries in region `default`\n"),
        (&["ls", "--after", "a"], "no such entries in region `default`\n"),
        (&["tags"], "no tags in region `default`\n"),
        (&["rm", "a"], "1 entry removed\n"),
        (&["ls"], "no entries in region `default`\n"),
    ] {
        for name in [&*url, "file.db"] {
            assert_eq!(out(&cache(&shop, name, arguments, "").await), said, "{name} {arguments:?}");
        }
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_exports_a_file_imports() {
    let shop = Shop::new("wal");
    let (running, url) = serve(&shop, "").await;
    for (key, value) in [("a", "1"), ("b", "text"), ("c/d", "{}")] {
        cache(&shop, &url, &["set", key, value, "--forever", "--tag", "t"], "").await;
    }
    let exported = cache(&shop, &url, &["export"], "").await;
    assert_eq!(err(&exported), "3 entries exported\n");
    let imported = cache(&shop, "file.db", &["import"], &out(&exported)).await;
    assert_eq!(out(&imported), "3 entries imported\n", "{}", err(&imported));
    let listed =
        [cache(&shop, &url, &["ls"], "").await, cache(&shop, "file.db", &["ls"], "").await];
    assert_eq!(out(&listed[0]), out(&listed[1]));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_done_in_commits_and_stops_where_it_cannot_be() {
    // SD16.
    let shop = Shop::new("wal");
    let (running, url) = serve(&shop, "value_size = \"1MiB\"\n").await;
    let large = "\n".repeat(300_000);
    let put =
        |key: &str, text: &str| format!("{}\n", json!({ "op": "put", "key": key, "text": text }));
    let get = |key: &str| format!("{}\n", json!({ "op": "get", "key": key }));
    let many: String = (0..1001).map(|number| put(&format!("k{number:04}"), "x")).collect();
    let wrong = format!("{}{}", put("text", "x"), r#"{"op":"incr","key":"text","ttl_ms":1}"#);
    for name in [&*url, "file.db"] {
        let keys = ["a", "b", "c", "d"];
        let written: String = keys.iter().map(|key| put(key, &large)).collect();
        let told = cache(&shop, name, &["batch", "--forever"], &written).await;
        assert_eq!(out(&told).lines().count(), 4, "{name}: {}", err(&told));
        // More than one answer holds: what is left out is asked for again.
        let asked: String = keys.iter().map(|key| get(key)).collect();
        let told = cache(&shop, name, &["batch"], &asked).await;
        assert_eq!(told.status.code(), Some(0), "{name}: {}", err(&told));
        for (line, key) in out(&told).lines().zip(keys) {
            let result: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!((&result["key"], result["text"] == *large), (&key.into(), true), "{name}");
        }
        let told = cache(&shop, name, &["batch", "--forever"], &many).await;
        assert_eq!(out(&told).lines().count(), 1001, "{name}: {}", err(&told));
        let told = cache(&shop, name, &["batch", "--forever"], &wrong).await;
        assert_eq!((told.status.code(), out(&told).lines().count()), (Some(1), 1), "{name}");
        let said = err(&told);
        assert!(said.contains("lines 2 to 2 were not done") && said.contains("text: "), "{said}");
    }
    running.stop().await;
}

/// MD2: on a file and behind a server.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_removed_since_it_was_begun_is_not_set() {
    let shop = Shop::new("wal");
    let (running, url) = serve(&shop, "").await;
    for name in [&*url, "file.db"] {
        let begin =
            async |key: &str| out(&cache(&shop, name, &["begin", key], "").await).trim().to_owned();
        let set = async |key: &str, begun: &str| {
            let words = ["set", key, "1", "--forever", "--tag", "t", "--begun", begun];
            cache(&shop, name, &words, "").await
        };
        let begun = begin("a").await;
        let told = set("a", &begun).await;
        assert_eq!((told.status.code(), &*out(&told)), (Some(0), "inserted\n"), "{}", err(&told));
        for removal in [&["rm", "a"][..], &["rm", "--tag", "t", "--yes"]] {
            let begun = begin("a").await;
            cache(&shop, name, removal, "").await;
            let told = set("a", &begun).await;
            assert_eq!(told.status.code(), Some(1), "{name} {removal:?}");
            assert!(err(&told).contains("begin and compute again"), "{}", err(&told));
            let got = cache(&shop, name, &["get", "a"], "").await;
            assert_eq!(got.status.code(), Some(6), "{name} {removal:?}: it is not there");
        }
        let other = set("b", &begin("a").await).await;
        assert_eq!(other.status.code(), Some(1), "{name}: it was begun for another key");
        let both = cache(&shop, name, &["begin", "a", "--json"], "").await;
        assert!(printed(&both)["begun"].is_string());
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_asks_a_server_for_many_values_at_a_time() {
    // S8.
    let shop = Shop::new("wal");
    let limit = 256 << 10;
    let (running, url) = serve(&shop, "value_size = \"256KiB\"\n").await;
    let entries = running.server.store.as_ref().unwrap().entries("default");
    let new = |text: &str| NewEntry::new(Stored::text(text), Lifetime::Forever);
    let small = (0..900).map(|number| (format!("k{number:03}"), new("small")));
    entries.insert_many(small).await.unwrap();
    for key in ["k100x", "k200x", "k200y", "z"] {
        entries.insert(key, new(&"\n".repeat(100_000))).await.unwrap();
    }
    let answers = || running.server.answers.read().iter().map(|(_, count)| count).sum::<u64>();
    let before = answers();
    let exported = cache(&shop, &url, &["export", "--json"], "").await;
    assert_eq!(err(&exported), "904 entries exported\n");
    let asked = answers() - before;
    assert!(asked < 15, "{asked} requests for 904 entries");
    let lines = out(&exported);
    let keys: Vec<String> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|entry| entry["key"].as_str().unwrap().to_owned())
        .collect();
    assert!(keys.is_sorted() && keys.len() == 904, "each once, in order");
    let mut client = Client::connect(running.address).await;
    let mut next = Some(String::new());
    let mut count = 0;
    while let Some(after) = next {
        let path = format!("/v1/entries?as=entry&limit=1000&cursor={after}");
        let page = client.get(&path).await;
        assert!(page.body.len() < limit + 4096, "{} bytes", page.body.len());
        count += page.json()["entries"].as_array().unwrap().len();
        next = page.json()["next"].as_str().map(str::to_owned);
    }
    assert_eq!(count, 904);
    assert_eq!(client.get("/v1/entries?as=value").await.code(), "ill-typed-parameter");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_shows_what_it_counted_and_keeps_backups() {
    // S3, S9, S16.
    let shop = Shop::new("wal");
    let (running, url) = serve(&shop, "").await;
    cache(&shop, &url, &["set", "a", "before", "--forever"], "").await;
    // Another region, which is read.
    let entries = running.server.store.as_ref().unwrap().entries("default");
    entries.get("a").await.unwrap();
    entries.get("missing").await.unwrap();
    let stats = out(&cache(&shop, &url, &["stats"], "").await);
    assert!(stats.contains("hit rate         50 % of 2\n"), "{stats}");
    assert!(stats.contains("last 5 minutes   50 % of 2\n"), "{stats}");
    let stats = printed(&cache(&shop, &url, &["stats", "--json"], "").await);
    assert_eq!(stats["regions"][0]["hits"], 1);

    let taken = printed(&cache(&shop, &url, &["backup", "--json"], "").await);
    let name = taken["name"].as_str().unwrap();
    cache(&shop, &url, &["set", "a", "after", "--forever"], "").await;
    let listed = out(&cache(&shop, &url, &["backups"], "").await);
    assert!(listed.contains(name) && listed.starts_with("taken"), "{listed}");
    let restored = cache(&shop, &url, &["restore", name], "").await;
    assert_eq!(out(&restored), format!("restored from {name}\n"), "{}", err(&restored));
    assert_eq!(out(&cache(&shop, &url, &["get", "a"], "").await), "before");
    let early = cache(&shop, &url, &["restore", "--as-of", "2001-01-01"], "").await;
    assert!(err(&early).contains("2001-01-01"), "{}", err(&early));
    for (arguments, complaint) in [
        (&["check"][..], "larder cache check"),
        (&["vacuum"], "by itself"),
        (&["backup", "x.db"], "its own directory"),
        (&["restore", "../x.db"], "larder cache backups"),
        (&["restore", "no-such.backup"], "no such backup"),
        (&["ls", "--store", "x.db"], "--server"),
    ] {
        let refused = cache(&shop, &url, arguments, "").await;
        assert!(matches!(refused.status.code(), Some(1 | 2)), "{arguments:?}");
        assert!(err(&refused).contains(complaint), "{arguments:?}: {}", err(&refused));
    }
    running.stop().await;
    let gone = cache(&shop, &url, &["ls"], "").await;
    assert!(err(&gone).contains("is `larder serve` running?"), "{}", err(&gone));
    let tls = cache(&shop, "https://localhost", &["ls"], "").await;
    assert!(err(&tls).contains("TLS"), "{}", err(&tls));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_read_from_a_file_and_the_server_says_what_it_lacks() {
    let shop = Shop::new("wal");
    let secret = [7; 32];
    let hash = blake3::hash(&secret).to_hex();
    let token = format!("[token.reader]\nscopes = [\"read\"]\nhash = \"{hash}\"\n");
    let (running, url) = serve(&shop, &token).await;
    let none = cache(&shop, &url, &["ls"], "").await;
    assert!(err(&none).contains("a token is needed"), "{}", err(&none));
    let file = shop.dir().join("token");
    std::fs::write(&file, format!("{}\n", larder_server::auth::to_hex(&secret))).unwrap();
    let file = file.to_str().unwrap();
    let listed = cache(&shop, &url, &["ls", "--token-file", file], "").await;
    assert_eq!(listed.status.code(), Some(0), "{}", err(&listed));
    let refused =
        cache(&shop, &url, &["set", "a", "1", "--forever", "--token-file", file], "").await;
    assert!(err(&refused).contains("scope `write`"), "{}", err(&refused));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_chosen_by_time_or_by_name() {
    // S17: point in time.
    let shop = Shop::new("wal");
    let file = "file.db";
    let in_kept = |words: &[&'static str]| [words, &["--backups", "kept"]].concat();
    cache(&shop, file, &["set", "a", "one", "--forever"], "").await;
    let none = out(&cache(&shop, file, &in_kept(&["backups"]), "").await);
    assert!(none.contains("no backups yet"), "{none}");
    let first = printed(&cache(&shop, file, &in_kept(&["backup", "--json"]), "").await);
    cache(&shop, file, &["set", "a", "two", "--forever"], "").await;
    cache(&shop, file, &in_kept(&["backup"]), "").await;
    let listed = printed(&cache(&shop, file, &in_kept(&["backups", "--json"]), "").await);
    assert_eq!(listed["backups"].as_array().unwrap().len(), 2, "{listed}");
    let name = listed["backups"][0]["name"].as_str().unwrap();
    assert!(first["path"].as_str().unwrap().ends_with(name), "{first}");
    // The time stands in the name, to the millisecond.
    let taken = name.strip_prefix("file.db.").unwrap().strip_suffix(".backup").unwrap();
    // It is printed so that it chooses the same one.
    let shown = out(&cache(&shop, file, &in_kept(&["backups"]), "").await);
    let shown = shown.lines().nth(1).unwrap().split_once("  ").unwrap().0;
    for (restore, value) in [
        (["restore", "--as-of", taken, "--backups", "kept"], "one"),
        (["restore", "--as-of", "2999-01-01", "--backups", "kept"], "two"),
        (["restore", "--as-of", shown, "--backups", "kept"], "one"),
        (["restore", "--as-of", "2999-01-01", "--backups", "kept"], "two"),
        (["restore", "--yes", name, "--backups", "kept"], "one"),
    ] {
        let restored = cache(&shop, file, &restore, "").await;
        assert_eq!(restored.status.code(), Some(0), "{}", err(&restored));
        assert_eq!(out(&cache(&shop, file, &["get", "a"], "").await), value, "{restore:?}");
    }
    let early = ["restore", "--as-of", "1999-01-01", "--backups", "kept"];
    let early = cache(&shop, file, &early, "").await;
    assert!(err(&early).contains("oldest"), "{}", err(&early));
    let unknown = cache(&shop, file, &["backups"], "").await;
    assert!(err(&unknown).contains("--backups DIR"), "{}", err(&unknown));
    // Whoever meets a broken store is told what helps.
    std::fs::write(shop.dir().join(file), [0; 8192]).unwrap();
    let broken = cache(&shop, file, &["ls"], "").await;
    assert!(err(&broken).contains("larder cache backups"), "{}", err(&broken));
}
