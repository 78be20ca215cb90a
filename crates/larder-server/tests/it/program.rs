//! The binary as a process: exit codes, what it prints, what it changes, signals.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Output, Stdio},
};

use crate::{
    client::Client,
    shop::{ALBUMS, PATH, Shop},
    tabling::TABLE,
};

pub(crate) fn larder(shop: &Shop, arguments: &[&str]) -> Command {
    std::fs::write(shop.dir().join("larder.toml"), ALBUMS).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.current_dir(shop.dir()).args(arguments);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LARDER_")) {
        command.env_remove(name);
    }
    command
}

pub(crate) fn run(shop: &Shop, arguments: &[&str]) -> Output {
    larder(shop, arguments).output().unwrap()
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Starts the server and waits until it says that it is ready.
pub(crate) fn serve(shop: &Shop) -> (Child, std::net::SocketAddr, Vec<String>) {
    let mut command = larder(shop, &["serve", "--listen", "127.0.0.1:0"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if let Some(address) = line.strip_prefix("ready on http://") {
            return (child, address.parse().unwrap(), lines);
        }
        lines.push(line);
    }
    panic!("it ended before it was ready: {:?}", child.wait());
}

#[test]
fn track_shows_first_and_changes_only_when_told() {
    let shop = Shop::new("wal");
    let before = std::fs::read(shop.database()).unwrap();
    let shown = run(&shop, &["track"]);
    assert!(shown.status.success());
    assert!(out(&shown).contains("CREATE TRIGGER") && out(&shown).contains("add --yes"));
    assert_eq!(std::fs::read(shop.database()).unwrap(), before);
    assert!(out(&run(&shop, &["track", "--yes"])).contains("done"));
    assert!(out(&run(&shop, &["track", "--yes"])).contains("nothing has to be done"));
    assert!(out(&run(&shop, &["untrack"])).contains("DROP"));
    assert!(out(&run(&shop, &["untrack", "--yes"])).contains("done"));
    assert!(out(&run(&shop, &["untrack", "--yes"])).contains("nothing has to be done"));
}

#[test]
fn check_config_says_what_each_answer_depends_on_and_what_is_wrong() {
    let shop = Shop::new("delete");
    let good = run(&shop, &["check-config"]);
    assert!(good.status.success(), "{}", err(&good));
    let text = out(&good);
    assert!(text.contains("rows of Album where ArtistId = :artist"), "{text}");
    assert!(text.contains("journal mode is delete") && text.contains("larder track"), "{text}");
    let bad = [
        ("SELECT Title, Title FROM Album WHERE ArtistId = :artist", "Title"),
        ("SELECT Nothing FROM Album WHERE ArtistId = :artist", "resource.artist-albums.sql"),
        ("DELETE FROM Album WHERE ArtistId = :artist RETURNING 1", "resource.artist-albums.sql"),
        ("SELECT random() AS n, :artist AS a", "time_dependent"),
        ("SELECT Title FROM Album", "artist"),
    ];
    for (sql, complaint) in bad {
        let mut command = larder(&shop, &["check-config", "--config", "bad.toml"]);
        let start = ALBUMS.split("sql = ").next().unwrap();
        let end = "params = { artist = \"integer\" }\nttl = \"1h\"\n";
        let text = format!("{start}sql = \"{sql}\"\n{end}");
        std::fs::write(shop.dir().join("bad.toml"), text).unwrap();
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{sql}");
        assert!(err(&output).contains(complaint), "{sql}: {}", err(&output));
    }
}

#[test]
fn exit_codes_tell_a_wrong_configuration_from_a_wrong_command_line() {
    let shop = Shop::new("wal");
    assert_eq!(run(&shop, &["serve", "--nonsense"]).status.code(), Some(2));
    let missing = run(&shop, &["serve", "--config", "missing.toml"]);
    assert_eq!(missing.status.code(), Some(3));
    assert!(err(&missing).contains("missing.toml"), "{}", err(&missing));
    std::fs::write(shop.dir().join("typo.toml"), "[origin.shop]\nurl = 1\n").unwrap();
    let typo = run(&shop, &["serve", "--config", "typo.toml"]);
    assert!(err(&typo).contains("typo.toml:2:7"), "{}", err(&typo));
    let mut off = larder(&shop, &["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(off.output().unwrap().status.code(), Some(3));
    let mut typo = larder(&shop, &["serve"]);
    let output = typo.env("LARDER_LISTN", "x").output().unwrap();
    assert!(err(&output).contains("LARDER_LISTN"), "{}", err(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_prints_its_settings_serves_and_ends_with_zero_on_sigterm() {
    let shop = Shop::new("wal");
    run(&shop, &["track", "--yes"]);
    let (mut child, address, lines) = serve(&shop);
    let printed = |path: &str, source: &str| {
        lines.iter().any(|line| line.starts_with(path) && line.ends_with(source))
    };
    assert!(printed("server.listen", "flag --listen"), "{lines:?}");
    assert!(printed("origin.shop.track", "file") && printed("cache.memory", "default"));
    let mut client = Client::connect(address).await;
    assert!(client.get(PATH).await.is_miss());
    let status = run(&shop, &["status", "--address", &address.to_string()]);
    assert!(out(&status).contains("artist-albums"), "{}", err(&status));
    let killed = Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// T25: loads, adjustments and refreshes of a table are logged under one name.
#[test]
fn the_log_says_under_one_name_what_became_of_a_table() {
    let shop = Shop::new("wal");
    shop.track(TABLE);
    std::fs::write(shop.dir().join("tables.toml"), TABLE).unwrap();
    let words = ["serve", "--config", "tables.toml", "--listen", "127.0.0.1:0"];
    let mut command = larder(&shop, &words);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let address = lines.find_map(|line| line.strip_prefix("ready on http://").map(str::to_owned));
    let address = address.unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains(" loaded ") {
        assert_ne!(log.read_line(&mut said).unwrap(), 0, "{said}");
    }
    for words in
        [&["refresh", "albums"][..], &["refresh", "albums", "--all"], &["adjust", "albums"]]
    {
        let output = run(&shop, &[&["table"], words, &["--listen", &address]].concat());
        assert!(output.status.success(), "{words:?}: {}", err(&output));
    }
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    log.read_to_string(&mut said).unwrap();
    for what in ["loaded", "refreshed", "loaded again", "window moved"] {
        let line = format!(" larder::table: {what} table=albums ");
        assert!(said.contains(&line), "{what}: {said}");
    }
}

#[test]
fn a_token_is_made_with_the_hash_that_belongs_to_it() {
    let shop = Shop::new("wal");
    let text = out(&run(&shop, &["token"]));
    let of = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().last().unwrap().to_owned()
    };
    let secret = larder_server::auth::from_hex(&of("secret")).unwrap();
    assert_eq!(of("hash"), blake3::hash(&secret).to_hex().to_string());
    assert_ne!(text, out(&run(&shop, &["token"])));
}

#[test]
fn the_demo_can_be_changed_from_a_second_process() {
    let shop = Shop::new("wal");
    let dir = shop.dir().join("demo");
    let dir = dir.to_str().unwrap();
    let early = run(&shop, &["demo", "change", "--dir", dir]);
    assert_eq!(early.status.code(), Some(1));
    assert!(err(&early).contains("start `larder demo` first"), "{}", err(&early));
    let arguments = ["demo", "--dir", dir, "--order-lines", "4000", "--listen", "127.0.0.1:0"];
    let mut child = larder(&shop, &arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut tried = Vec::new();
    for line in lines.by_ref() {
        let line = line.unwrap();
        if line.contains("The configuration:") {
            break;
        }
        tried.extend(line.split_once("curl -i ").map(|(_, url)| url.trim_matches('\'').to_owned()));
    }
    // The range of a table comes last, and is in memory from the start.
    let table = tried.pop().unwrap();
    assert!(table.contains("/v1/tables/") && tried.len() == 4, "{table}, {tried:?}");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (address, path) = table.trim_start_matches("http://").split_once('/').unwrap();
        let mut reader = Client::connect(address.parse().unwrap()).await;
        let path = format!("/{path}");
        let before = reader.get(&path).await.json()["records"].clone();
        for url in &tried {
            let (address, path) = url.trim_start_matches("http://").split_once('/').unwrap();
            let mut client = Client::connect(address.parse().unwrap()).await;
            let path = format!("/{path}");
            assert!(client.get(&path).await.is_miss(), "{url}");
            assert!(client.get(&path).await.is_hit(), "{url}");
        }
        for (url, what) in tried.iter().zip(["artist", "price", "order", "order"]) {
            let (address, path) = url.trim_start_matches("http://").split_once('/').unwrap();
            let mut client = Client::connect(address.parse().unwrap()).await;
            let path = format!("/{path}");
            while !client.get(&path).await.is_hit() {}
            let changed = run(&shop, &["demo", "change", what, "--dir", dir]);
            assert!(changed.status.success(), "{}", err(&changed));
            let seen = async {
                while client.get(&path).await.is_hit() {
                    tokio::task::yield_now().await;
                }
            };
            let patience = std::time::Duration::from_secs(5);
            tokio::time::timeout(patience, seen).await.unwrap_or_else(|_| panic!("{url} {what}"));
        }
        assert_ne!(reader.get(&path).await.json()["records"], before, "the artist is called so");
    });
    let killed = Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
