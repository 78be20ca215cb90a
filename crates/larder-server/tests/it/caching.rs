//! `larder cache` on a file: what it prints, what it changes, and how it ends.

use std::{
    io::Write as _,
    process::{Output, Stdio},
    time::Duration,
};

use larder::{Cache, Error, Load};
use larder_sqlite::store::SqliteStore;

use crate::{
    printed::{expect, json},
    program::{err, larder, out},
    shop::Shop,
};

/// Runs `larder cache` on the store of the test.
fn cache(shop: &Shop, arguments: &[&str]) -> Output {
    let arguments = [&["cache", "--store", "cache.db"], arguments].concat();
    larder(shop, &arguments).output().unwrap()
}

/// The same with something to read.
fn cache_reading(shop: &Shop, arguments: &[&str], input: &[u8]) -> Output {
    let arguments = [&["cache", "--store", "cache.db"], arguments].concat();
    let mut command = larder(shop, &arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

#[track_caller]
fn done(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", err(output));
    out(output)
}

#[track_caller]
fn ends(output: &Output, code: i32, complaint: &str) {
    assert_eq!(output.status.code(), Some(code), "{}{}", out(output), err(output));
    assert!(err(output).contains(complaint), "{}", err(output));
}

/// A store with stocks in it, as S20 names them.
fn stocked() -> Shop {
    let shop = Shop::new("wal");
    for (key, ttl, tags) in [
        ("price_data_2330_30", "30d", &["price", "stock_2330", "\u{4e0a}\u{5e02}"][..]),
        ("price_data_2454_2330", "30d", &["price", "stock_2454"]),
        ("stock_data_2330", "40d", &["stock", "stock_2330"]),
        ("stock_data_23301", "40d", &["stock", "stock_23301"]),
    ] {
        let mut words = vec!["set", key, "{\"close\": 1}", "--ttl", ttl];
        tags.iter().for_each(|tag| words.extend(["--tag", tag]));
        assert_eq!(done(&cache(&shop, &words)), "inserted\n");
    }
    shop
}

#[test]
fn an_entry_is_set_read_and_removed() {
    // S4: a miss, an empty value and a failure are three answers (SD12, SD18).
    let shop = Shop::new("wal");
    ends(&cache(&shop, &["get", "a"]), 1, "there is no store");
    assert!(!shop.dir().join("cache.db").exists(), "looking makes no file");
    assert_eq!(done(&cache(&shop, &["set", "a", "", "--forever"])), "inserted\n");
    assert_eq!(done(&cache(&shop, &["get", "a"])), "");
    ends(&cache(&shop, &["get", "b"]), 6, "no entry `b` in region `default`");
    assert_eq!(out(&cache(&shop, &["get", "b", "--json"])), "null\n");
    let bytes: Vec<u8> = (0..=255).collect();
    let output = cache_reading(&shop, &["set", "a", "--forever"], &bytes);
    assert_eq!(done(&output), "replaced\n");
    assert_eq!(cache(&shop, &["get", "a"]).stdout, bytes, "byte for byte");
    assert_eq!(json(&cache(&shop, &["get", "a", "--json"]))["kind"], "bytes");
    std::fs::write(shop.dir().join("value"), "[1, 2]").unwrap();
    done(&cache(&shop, &["set", "f", "--file", "value", "--ttl", "1h", "--region", "other"]));
    let entry = json(&cache(&shop, &["get", "f", "--region", "other", "--json"]));
    assert_eq!((&entry["kind"], &entry["text"]), (&"json".into(), &"[1, 2]".into()));
    ends(&cache(&shop, &["set", "a", "x", "--forever", "--add"]), 1, "left alone");
    assert_eq!(cache(&shop, &["get", "a"]).stdout, bytes);
    for (words, code, complaint) in [
        (&["set", "a", "1"][..], 2, "--forever"),
        (&["set", "a", "1", "--ttl", "1h", "--forever"], 2, "cannot be used with"),
        (&["set", "a", "1", "--ttl", "0"], 1, "lifetime of zero"),
        (&["set", "a", "{", "--kind", "json", "--forever"], 1, "no JSON"),
        (&["set", "a", "1", "--file", "value", "--forever"], 2, "cannot be used with"),
        (&["rm"], 2, "KEY"),
        (&["rm", "a", "--all"], 2, "cannot be used with"),
        (&["ls", "--pattern", "%", "--glob", "*"], 2, "cannot be used with"),
    ] {
        ends(&cache(&shop, words), code, complaint);
    }
    assert_eq!(done(&cache(&shop, &["rm", "a", "a", "gone"])), "1 entry removed\n");
    assert_eq!(done(&cache(&shop, &["rm", "a", "--json"])), "{\"removed\":0}\n");
    ends(&larder(&shop, &["cache", "ls"]).output().unwrap(), 3, "--store FILE");
    let mut configured = larder(&shop, &["cache", "get", "f", "--region", "other"]);
    configured.env("LARDER_STORE__PATH", "cache.db");
    assert_eq!(done(&configured.output().unwrap()), "[1, 2]");
}

#[test]
fn entries_are_found_and_removed_by_pattern_and_tag() {
    // SC11, S6, S7, SD6, SD7.
    let shop = stocked();
    expect("cache-ls.txt", &shop, &cache(&shop, &["ls"]));
    expect("cache-ls-page.txt", &shop, &cache(&shop, &["ls", "--limit", "1", "--tag", "stock"]));
    expect("cache-ls-nothing.txt", &shop, &cache(&shop, &["ls", "--region", "quotes"]));
    expect("cache-tags.txt", &shop, &cache(&shop, &["tags"]));
    let keys = |words: &[&str]| {
        let page = json(&cache(&shop, &[&["ls", "--json"], words].concat()));
        let entries = page["entries"].as_array().unwrap().clone();
        entries.iter().map(|entry| entry["key"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(keys(&["--pattern", "stock_data_%"]), ["stock_data_2330", "stock_data_23301"]);
    assert_eq!(keys(&["--pattern", "stock_data_233_1"]), [""; 0], "`_` is itself");
    assert_eq!(keys(&["--glob", "stock_data_233??"]), ["stock_data_23301"]);
    assert_eq!(keys(&["--tag", "\u{4e0a}\u{5e02}"]), ["price_data_2330_30"]);
    assert_eq!(keys(&["--tag", "Stock"]), [""; 0], "case counts");
    let both = ["--all-tags", "price", "--all-tags", "stock_2330"];
    assert_eq!(keys(&both), ["price_data_2330_30"]);
    assert_eq!(keys(&["--tag", "stock", "--not-tag", "stock_2330"]), ["stock_data_23301"]);
    let one = ["rm", "--tag", "stock_2330"];
    let dry = cache(&shop, &[&one[..], &["--dry-run"]].concat());
    assert_eq!(done(&dry), "2 entries would be removed\n");
    assert_eq!(keys(&[]).len(), 4, "a dry run removes nothing");
    assert_eq!(done(&cache(&shop, &one)), "2 entries removed\n");
    assert_eq!(keys(&[]), ["price_data_2454_2330", "stock_data_23301"]);
    assert_eq!(done(&cache(&shop, &["rm", "--all", "--yes"])), "2 entries removed\n");
}

#[test]
fn what_is_there_is_shown_region_by_region_and_ranked() {
    // S9: nothing of it counts as a read; SD9: what has expired is nowhere.
    let shop = stocked();
    done(&cache(&shop, &["set", "x", &"x".repeat(5000), "--forever", "--region", "big"]));
    done(&cache(&shop, &["set", "gone", "1", "--ttl", "1ms", "--region", "brief"]));
    let stats = json(&cache(&shop, &["stats", "--json"]));
    let of = |index: usize| stats["regions"][index]["entries"].as_u64().unwrap();
    assert_eq!([of(0), of(1), of(2)], [1, 0, 4], "{stats}");
    let top = json(&cache(&shop, &["top", "--by", "size", "--json", "--limit", "2"]));
    assert_eq!(top["entries"][0]["key"], "x", "{top}");
    assert_eq!(top["entries"].as_array().unwrap().len(), 2);
    let reads = |by: &str| {
        let top = json(&cache(&shop, &["top", "--by", by, "--json", "--region", "default"]));
        top["entries"].as_array().unwrap().iter().all(|entry| entry["access_count"] == 0)
    };
    assert!(reads("reads") && reads("age") && reads("idle"));
    let text = done(&cache(&shop, &["top"]));
    assert!(text.starts_with("reads  size") && !text.contains("gone"), "{text}");
    assert!(done(&cache(&shop, &["vacuum"])).contains(" after"));
}

#[test]
fn what_is_exported_is_imported_as_it_was() {
    // S8, SD8: with tags.
    let shop = stocked();
    let pinned = ["set", "bin", "--pin", "--forever", "--region", "other"];
    done(&cache_reading(&shop, &pinned, &[0, 255]));
    let exported = done(&cache(&shop, &["export"]));
    assert_eq!(exported.lines().count(), 5, "{exported}");
    done(&cache(&shop, &["export", "--to", "all.ndjson"]));
    let one = done(&cache(&shop, &["export", "--tag", "price", "--region", "default"]));
    assert_eq!(one.lines().count(), 2);
    assert_eq!(std::fs::read_to_string(shop.dir().join("all.ndjson")).unwrap(), exported);
    let words = ["cache", "--store", "copy.db", "import", "--from", "all.ndjson"];
    assert_eq!(done(&larder(&shop, &words).output().unwrap()), "5 entries imported\n");
    let again = larder(&shop, &["cache", "--store", "copy.db", "export"]).output().unwrap();
    let members = ["region", "key", "kind", "text", "base64", "tags", "expires_ms", "pinned"];
    let parts = |lines: &str| -> Vec<Vec<serde_json::Value>> {
        let line = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
        lines.lines().map(line).map(|line| members.map(|name| line[name].clone()).into()).collect()
    };
    assert_eq!(parts(&done(&again)), parts(&exported));
    let lines = concat!(
        "{\"key\": \"n\", \"value\": {\"a\": 1.0}, \"tags\": [\"t\"]}\n\n",
        "{\"key\": \"old\", \"text\": \"x\", \"expires_ms\": 1}\n",
        "{\"key\": \"bad\"}\n",
    );
    let words = ["import", "--ttl", "1h", "--region", "other"];
    let bad = cache_reading(&shop, &words, lines.as_bytes());
    ends(&bad, 1, "line 4 needs exactly one of text, base64 and value; 1 entry before it");
    let got = cache(&shop, &["get", "n", "--region", "other"]);
    assert_eq!(done(&got), "{\"a\": 1.0}", "as it was written");
}

/// What a cache keeps has keys of its own, which no line shows.
#[tokio::test(flavor = "multi_thread")]
async fn entries_of_caches_are_counted_apart_by_an_export_and_removed_like_others() {
    let shop = tokio::task::block_in_place(stocked);
    let store = SqliteStore::open(shop.dir().join("cache.db")).await.unwrap();
    let own = Cache::builder().store(store).build().unwrap();
    let region = own.region::<u64, u64>("numbers").ttl(Duration::from_secs(3600)).stored();
    let region = region.loader(async |key, _: Load| Ok::<_, Error>(key));
    let region = region.build_untracked().unwrap();
    for key in 0..3 {
        assert_eq!(*region.fetch(&key).await.unwrap().value, key);
    }
    own.close().await;
    tokio::task::block_in_place(|| {
        for (words, lines, said) in [
            (&[][..], 4, "4 entries exported\n3 entries of caches left out: a backup holds them\n"),
            (
                &["--region", "numbers"],
                0,
                "0 entries exported\n3 entries of caches left out: a backup holds them\n",
            ),
            (&["--region", "numbers", "--glob", "*"], 0, "0 entries exported\n"),
            (&["--tag", "price"], 2, "2 entries exported\n"),
        ] {
            let exported = cache(&shop, &[&["export"], words].concat());
            assert_eq!((done(&exported).lines().count(), &*err(&exported)), (lines, said));
        }
        let all = ["rm", "--all", "--region", "numbers"];
        let dry = cache(&shop, &[&all[..], &["--dry-run"]].concat());
        assert_eq!(done(&dry), "3 entries would be removed\n");
        assert_eq!(done(&cache(&shop, &all)), "3 entries removed\n");
    });
}

#[test]
fn an_export_appears_whole_and_never_over_the_store() {
    // S8.
    let shop = stocked();
    let at = |name: &str| shop.dir().join(name);
    std::fs::hard_link(at("cache.db"), at("link.db")).unwrap();
    for name in ["cache.db", "./cache.db-witness", "link.db"] {
        let refused = cache(&shop, &["export", "--to", name]);
        ends(&refused, 1, "belongs to the store itself");
        assert!(done(&cache(&shop, &["check"])).starts_with("sound: 4 entries"), "{name}");
    }
    std::fs::write(at("all.ndjson"), "earlier").unwrap();
    std::fs::create_dir(at("all.ndjson.part")).unwrap();
    ends(&cache(&shop, &["export", "--to", "all.ndjson"]), 1, "cannot write");
    assert_eq!(std::fs::read_to_string(at("all.ndjson")).unwrap(), "earlier");
    std::fs::remove_dir(at("all.ndjson.part")).unwrap();
    done(&cache(&shop, &["export", "--to", "all.ndjson"]));
    assert_eq!(std::fs::read_to_string(at("all.ndjson")).unwrap().lines().count(), 4);
    assert!(!at("all.ndjson.part").exists());
}

#[test]
fn a_store_is_backed_up_broken_and_restored() {
    // S16, SD13, SD14: with nothing but what the help says.
    let shop = stocked();
    assert!(done(&cache(&shop, &["backup", "backup.db"])).contains("verified"));
    assert!(done(&cache(&shop, &["check"])).starts_with("sound: 4 entries"));
    assert_eq!(json(&cache(&shop, &["check", "--quick", "--json"]))["sound"], true);
    std::fs::write(shop.dir().join("note.txt"), "no backup").unwrap();
    ends(&cache(&shop, &["backup", "note.txt"]), 1, "there is something else");
    ends(&cache(&shop, &["restore", "note.txt"]), 1, "failed to");
    assert!(done(&cache(&shop, &["get", "stock_data_2330"])).contains("close"), "untouched");
    let mut broken = std::fs::read(shop.dir().join("cache.db")).unwrap();
    broken[..4096].fill(0x5a);
    std::fs::write(shop.dir().join("cache.db"), &broken).unwrap();
    let checked = cache(&shop, &["check"]);
    assert_eq!(checked.status.code(), Some(1));
    assert!(out(&checked).contains("larder cache restore"), "{}", out(&checked));
    ends(&cache(&shop, &["get", "stock_data_2330"]), 1, "failed to open the store");
    assert!(done(&cache(&shop, &["restore", "backup.db"])).contains("the broken file is kept"));
    assert!(done(&cache(&shop, &["get", "stock_data_2330"])).contains("close"));
    assert!(done(&cache(&shop, &["check"])).starts_with("sound: 4 entries"));
}

#[test]
fn shells_and_manuals_know_every_command() {
    let shop = Shop::new("wal");
    let run = |words: &[&str]| larder(&shop, words).output().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = done(&run(&["completions", shell]));
        assert!(script.contains("vacuum") && script.contains("check-config"), "{shell}");
    }
    assert!(done(&run(&["man"])).contains("larder"));
    assert!(done(&run(&["man", "--dir", "man"])).contains(" pages in man"));
    let page = std::fs::read_to_string(shop.dir().join("man/larder-cache-rm.1")).unwrap();
    assert!(page.contains("dry\\-run"), "{page}");
}

#[test]
fn a_store_is_brought_to_another_number_of_files_and_read_as_before() {
    // S(c): shards.
    let shop = Shop::new("wal");
    for number in 0..30 {
        let key = format!("k{number:02}");
        done(&cache(&shop, &["set", &key, "1", "--forever", "--tag", "t"]));
    }
    let before = done(&cache(&shop, &["export"]));
    let said = done(&cache(&shop, &["reshard", "--shards", "3"]));
    assert!(said.starts_with("30 entries in 3 files, before in 1"), "{said}");
    assert!(said.contains("`shards = 3`"), "{said}");
    assert!(shop.dir().join("cache.db-3of3").exists());
    assert_eq!(done(&cache(&shop, &["export"])), before);
    let stats = json(&cache(&shop, &["stats", "--json"]));
    assert_eq!(stats["entries"], 30);
    done(&cache(&shop, &["check"]));
    done(&cache(&shop, &["backup", "copy"]));
    assert!(done(&cache(&shop, &["rm", "--tag", "t", "--yes"])).starts_with("30 entries"));
    done(&cache(&shop, &["restore", "copy", "--yes"]));
    assert_eq!(done(&cache(&shop, &["export"])), before);
    let again = json(&cache(&shop, &["reshard", "--shards", "1", "--json"]));
    assert_eq!((&again["files_before"], &again["moved"]), (&3.into(), &30.into()), "{again}");
    assert_eq!(done(&cache(&shop, &["export"])), before);
    ends(&cache(&shop, &["reshard", "--shards", "65"]), 2, "1..=64");
}
