//! `/v1/entries`: entries of the store over HTTP.

use larder_server::{auth, config::Config, serve::Running};

use crate::{
    client::{Answer, Client},
    shop::{ALBUMS, Shop},
};

const STORE: &str = "[store]\npath = \"cache.db\"\nvalue_size = \"64KiB\"\n";

async fn open(more: &str) -> (Shop, Running, Client) {
    let shop = Shop::new("wal");
    let (running, client) = shop.open(&format!("{ALBUMS}{STORE}{more}")).await;
    (shop, running, client)
}

async fn put(client: &mut Client, path: &str, body: &str) -> Answer {
    client.request("PUT", path, &[("content-type", "application/json")], body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_is_put_read_and_deleted() {
    // S4, SD12, SD18: a miss, an empty value and an error are three answers.
    let (_shop, running, mut client) = open("").await;
    let missed = client.get("/v1/entries/a").await;
    assert_eq!((missed.status, &*missed.code()), (404, "no-entry"));
    let made = put(&mut client, "/v1/entries/a?ttl=10m&tag=x", "{\"n\": 1}").await;
    assert_eq!((made.status, made.json()["placed"].as_str()), (201, Some("inserted")));
    let got = client.get("/v1/entries/a").await;
    assert_eq!((got.status, &*got.body), (200, "{\"n\": 1}"), "byte for byte");
    assert_eq!(got.header("content-type"), "application/json");
    assert_eq!(got.header("etag"), made.header("etag"));
    let head = client.request("HEAD", "/v1/entries/a", &[], "").await;
    assert_eq!((head.status, head.header("content-length")), (200, "8"));
    let etag = got.header("etag").to_owned();
    let same = client.get_with("/v1/entries/a", &[("if-none-match", &etag)]).await;
    assert_eq!((same.status, &*same.body), (304, ""));
    let text = [("content-type", "text/csv")];
    let empty = client.request("PUT", "/v1/entries/a?ttl=never", &text, "").await;
    assert_eq!((empty.status, empty.json()["placed"].as_str()), (200, Some("replaced")));
    let got = client.get_with("/v1/entries/a", &[("if-none-match", &etag)]).await;
    assert_eq!((got.status, &*got.body), (200, ""));
    assert_eq!(got.header("content-type"), "text/plain; charset=utf-8");
    let whole = client.get("/v1/entries/a?as=entry").await.json();
    assert_eq!((&whole["kind"], &whole["expires_ms"]), (&"text".into(), &().into()), "{whole}");
    let only = [("if-none-match", "*")];
    let present = client.request("PUT", "/v1/entries/a?ttl=1m", &only, "x").await;
    assert_eq!((present.status, &*present.code()), (412, "precondition-failed"));
    assert_eq!(client.get("/v1/entries/a").await.body, "");
    assert_eq!(client.request("PUT", "/v1/entries/b?ttl=1m", &only, "x").await.status, 201);
    let deleted = client.request("DELETE", "/v1/entries/a", &[], "").await;
    assert_eq!(deleted.json()["removed"], 1);
    let deleted = client.request("DELETE", "/v1/entries/a", &[], "").await;
    assert_eq!((deleted.status, &deleted.json()["removed"]), (200, &0.into()));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_any_text_and_regions_are_apart() {
    // S20, SD6: what is a wildcard elsewhere is a letter here.
    let (_shop, running, mut client) = open("").await;
    for (path, body) in [
        ("/v1/entries/a%2Fb%3Aincr?ttl=1h", "1"),
        ("/v1/entries/a/b?ttl=1h", "2"),
        ("/v1/entries/1+1?ttl=1h", "3"),
        ("/v1/entries/%E4%B8%8A?ttl=1h", "4"),
        ("/v1/entries/a/b?ttl=1h&region=other", "5"),
    ] {
        assert_eq!(put(&mut client, path, body).await.status, 201, "{path}");
    }
    assert_eq!(client.get("/v1/entries/a/b:incr").await.body, "1");
    assert_eq!(client.get("/v1/entries/a%2fb").await.body, "2");
    assert_eq!(client.get("/v1/entries/1%2B1").await.body, "3");
    let other = client.get("/v1/entries?region=other").await.json();
    assert_eq!(other["entries"][0]["key"], "a/b", "{other}");
    let default = client.get("/v1/entries").await.json();
    assert_eq!(default["entries"].as_array().unwrap().len(), 4);
    assert_eq!(client.get("/v1/entries/%ff").await.code(), "malformed-request");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_counted_and_lives_prolonged() {
    // S23: atomic, and X3: nothing but touch prolongs.
    let (_shop, running, mut client) = open("").await;
    let incr = "/v1/entries/n:incr?by=5&ttl=1h";
    assert_eq!(client.request("POST", incr, &[], "").await.json()["value"], 5);
    let incr = "/v1/entries/n:incr?by=-7&ttl=1h";
    assert_eq!(client.request("POST", incr, &[], "").await.json()["value"], -2);
    put(&mut client, "/v1/entries/t?ttl=1h", "\"text\"").await;
    let wrong = client.request("POST", "/v1/entries/t:incr?ttl=1h", &[], "").await;
    assert_eq!((wrong.status, &*wrong.code()), (409, "not-a-number"));
    let touched = client.request("POST", "/v1/entries/t:touch?ttl=never", &[], "").await;
    assert_eq!(touched.status, 200, "{touched:?}");
    let whole = client.get("/v1/entries/t?as=entry").await.json();
    assert!(whole["expires_ms"].is_null(), "{whole}");
    let gone = client.request("POST", "/v1/entries/gone:touch?ttl=1h", &[], "").await;
    assert_eq!((gone.status, &*gone.code()), (404, "no-entry"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_listed_in_pages_and_deleted_by_selection() {
    // S6, S7, S9, SD6, SD7.
    let (_shop, running, mut client) = open("").await;
    for (key, tag) in [("old_1", "x"), ("old_2", "%E4%B8%8A"), ("older", "x"), ("new", "y")] {
        put(&mut client, &format!("/v1/entries/{key}?ttl=1h&tag={tag}&tag=all"), "1").await;
    }
    let page = client.get("/v1/entries?pattern=old_%25&limit=1").await.json();
    assert_eq!((&page["entries"][0]["key"], &page["next"]), (&"old_1".into(), &"old_1".into()));
    let page = client.get("/v1/entries?pattern=old_%25&limit=1&cursor=old_1").await.json();
    assert_eq!((&page["entries"][0]["key"], &page["next"]), (&"old_2".into(), &().into()));
    let by_tag = client.get("/v1/entries?tag=%E4%B8%8A&tag=y&not_tag=x").await.json();
    assert_eq!(by_tag["entries"].as_array().unwrap().len(), 2, "{by_tag}");
    let all = client.get("/v1/entries?all_tags=x&all_tags=all&glob=*_*").await.json();
    assert_eq!(all["entries"].as_array().unwrap().len(), 1, "{all}");
    let mut delete =
        async |query: &str| client.request("DELETE", &format!("/v1/entries{query}"), &[], "").await;
    assert_eq!(delete("").await.code(), "missing-parameter", "nothing selected is not all");
    assert_eq!(delete("?patern=x").await.code(), "unknown-parameter");
    assert_eq!(delete("?tag=x&all").await.code(), "ill-typed-parameter");
    assert_eq!(delete("?tag=x&dry_run").await.json()["would_remove"], 2);
    assert_eq!(delete("?tag=x").await.json()["removed"], 2);
    assert_eq!(delete("?tag=x").await.json()["removed"], 0);
    assert_eq!(delete("?all=true").await.json()["removed"], 2);
    let stats = client.get("/v1/stats").await.json();
    assert_eq!((&stats["written"], &stats["removed"]), (&4.into(), &4.into()), "{stats}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_refused_with_a_code() {
    let (_shop, running, mut client) = open("").await;
    let long = "x".repeat(70_000);
    let list = "tag=t&".repeat(101);
    let listed = format!("/v1/entries/a?ttl=1h&{list}");
    for (method, path, header, body, status, code) in [
        ("PUT", "/v1/entries/a", ("x", "y"), "1", 400, "missing-parameter"),
        ("PUT", "/v1/entries/a?ttl=0", ("x", "y"), "1", 400, "ill-typed-parameter"),
        ("PUT", "/v1/entries/a?ttl=10", ("x", "y"), "1", 400, "ill-typed-parameter"),
        ("PUT", "/v1/entries/a?ttl=1h&x=1", ("x", "y"), "1", 400, "unknown-parameter"),
        ("PUT", "/v1/entries/a?ttl=1h&ttl=1h", ("x", "y"), "1", 400, "repeated-parameter"),
        ("PUT", &listed, ("x", "y"), "1", 400, "repeated-parameter"),
        ("PUT", "/v1/entries/a?ttl=1h", ("if-match", "\"x\""), "1", 400, "malformed-request"),
        ("PUT", "/v1/entries/a?ttl=1h", ("if-none-match", "\"x\""), "", 400, "malformed-request"),
        (
            "PUT",
            "/v1/entries/a?ttl=1h",
            ("content-type", "application/json"),
            "{",
            400,
            "malformed-request",
        ),
        (
            "PUT",
            "/v1/entries/a?ttl=1h",
            ("origin", "http://evil.example"),
            "1",
            403,
            "foreign-origin",
        ),
        ("GET", "/v1/entries?limit=0", ("x", "y"), "", 400, "ill-typed-parameter"),
        ("GET", "/v1/entries?pattern=a&glob=b", ("x", "y"), "", 400, "ill-typed-parameter"),
        ("GET", "/v1/entries/a?as=xml", ("x", "y"), "", 400, "ill-typed-parameter"),
        ("GET", "/v1/entries?pattern=a%00%25b", ("x", "y"), "", 400, "malformed-request"),
        ("DELETE", "/v1/entries?glob=a%00*b", ("x", "y"), "", 400, "malformed-request"),
        ("POST", "/v1/entries", ("x", "y"), "", 405, "method-not-allowed"),
        ("POST", "/v1/entries/a", ("x", "y"), "", 405, "method-not-allowed"),
        ("POST", "/v1/entries/a:incr?by=x&ttl=1h", ("x", "y"), "", 400, "ill-typed-parameter"),
        ("GET", "/v1/entriesx", ("x", "y"), "", 404, "not-found"),
    ] {
        let answer = client.request(method, path, &[header], body).await;
        assert_eq!((answer.status, &*answer.code()), (status, code), "{method} {path}");
    }
    let mut other = Client::connect(running.address).await;
    let large = put(&mut other, "/v1/entries/a?ttl=1h", &long).await;
    assert_eq!((large.status, &*large.code()), (413, "body-too-large"));
    let long_key = format!("/v1/entries/{}?ttl=1h", "k".repeat(5000));
    let answer = put(&mut client, &long_key, "1").await;
    assert_eq!((answer.status, &*answer.code()), (413, "entry-too-large"));
    let none = client.get("/v1/entries").await.json();
    assert_eq!(none["entries"].as_array().unwrap().len(), 0, "nothing was written: {none}");
    running.stop().await;
    let (running, mut client) = Shop::new("wal").open(ALBUMS).await;
    for path in ["/v1/entries", "/v1/entries/a", "/v1/stats"] {
        let answer = client.get(path).await;
        assert_eq!((answer.status, &*answer.code()), (404, "no-store"), "{path}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_write_at_a_time_as_may() {
    let (_shop, running, mut client) = open("writes = 1\n").await;
    let mut slow = Client::connect(running.address).await;
    slow.write("PUT /v1/entries/slow?ttl=1h HTTP/1.1\r\nhost: localhost\r\n").await;
    slow.write("content-length: 1\r\n\r\n").await;
    while running.server.writes.available_permits() != 0 {
        tokio::task::yield_now().await;
    }
    let refused = put(&mut client, "/v1/entries/a?ttl=1h", "1").await;
    assert_eq!((refused.status, &*refused.code()), (503, "overloaded"));
    assert_eq!(client.get("/v1/entries").await.status, 200, "reading goes on");
    slow.write("1").await;
    assert_eq!(slow.read("PUT").await.status, 201);
    assert_eq!(put(&mut client, "/v1/entries/a?ttl=1h", "1").await.status, 201);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_counts_everything_leaves_readers_for_the_others() {
    let (_shop, running, mut client) =
        open("readers = 1\n[server]\nrequest_timeout = \"200ms\"\n").await;
    put(&mut client, "/v1/entries/a?ttl=1h&tag=x", "1").await;
    let counting = ["GET /v1/tags", "GET /v1/stats", "DELETE /v1/entries?all&dry_run"];
    let ask = async |client: &mut Client, request: &str| {
        let (method, path) = request.split_once(' ').unwrap();
        client.request(method, path, &[], "").await
    };
    let turn = running.server.surveys.clone().acquire_owned().await.unwrap();
    for request in counting {
        let refused = ask(&mut client, request).await;
        assert_eq!((refused.status, &*refused.code()), (503, "overloaded"), "{request}");
        assert_eq!(refused.header("retry-after"), "1", "{request}");
    }
    for path in ["/v1/entries", "/v1/entries/a", "/v1/status"] {
        assert_eq!(client.get(path).await.status, 200, "{path}");
    }
    drop(turn);
    for request in counting {
        assert_eq!(ask(&mut client, request).await.status, 200, "{request}");
    }
    // A client that goes does not take the turn along.
    for request in counting {
        let mut gone = Client::connect(running.address).await;
        gone.write(&format!("{request} HTTP/1.1\r\nhost: localhost\r\n\r\n")).await;
        drop(gone);
        assert_eq!(ask(&mut client, request).await.status, 200, "{request}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changing_needs_a_scope_of_its_own_and_entries_outlive_the_server() {
    let (shop, running, mut client) = open("").await;
    assert_eq!(put(&mut client, "/v1/entries/kept?ttl=1h", "1").await.status, 201);
    running.stop().await;
    drop(client);
    let secrets = [("read", [1; 32]), ("write", [2; 32]), ("invalidate", [3; 32])];
    let token = |(scope, secret): &(&str, [u8; 32])| {
        let hash = blake3::hash(secret).to_hex();
        format!("[token.{scope}]\nscopes = [\"{scope}\"]\nhash = \"{hash}\"\n")
    };
    let tokens: String = secrets.iter().map(token).collect();
    let (running, mut client) = shop.open(&format!("{ALBUMS}{STORE}{tokens}")).await;
    for (method, path, right) in [
        ("GET", "/v1/entries/kept", "read"),
        ("HEAD", "/v1/entries/kept", "read"),
        ("GET", "/v1/entries", "read"),
        ("PUT", "/v1/entries/a?ttl=1h", "write"),
        ("POST", "/v1/entries/n:incr?ttl=1h", "write"),
        ("POST", "/v1/entries/kept:touch?ttl=1h", "write"),
        ("DELETE", "/v1/entries?tag=x", "write"),
        ("DELETE", "/v1/entries/a", "write"),
        ("GET", "/v1/stats", "admin"),
    ] {
        assert_eq!(client.request(method, path, &[], "").await.status, 401, "{method} {path}");
        for (scope, secret) in &secrets {
            let bearer = format!("Bearer {}", auth::to_hex(secret));
            let answer = client.request(method, path, &[("authorization", &bearer)], "").await;
            let is_let = answer.status / 100 == 2;
            assert_eq!(is_let, *scope == right, "{method} {path} {scope}: {answer:?}");
        }
    }
    running.stop().await;
}

#[test]
fn every_setting_of_the_store_is_named_and_shown() {
    // S11.
    let parse = |text: &str| Config::parse(&format!("{ALBUMS}{text}"), "".as_ref());
    let config = parse("[store]\npath = \"c.db\"\ndurability = \"durable\"\n").unwrap();
    let shown: Vec<String> = config
        .settings
        .iter()
        .filter_map(|setting| {
            Some(format!("{} {}", setting.path.strip_prefix("store.")?, setting.value))
        })
        .collect();
    assert_eq!(
        shown,
        [
            "path c.db",
            "shards 1",
            "entries 1000000",
            "size 1GiB",
            "value_size 8MiB",
            "compress_above 8KiB",
            "file_above 256KiB",
            "eviction least-recent",
            "durability durable",
            "readers 4",
            "writes 64",
            "busy_timeout 30s",
            "page_cache 64MiB",
            "mmap 256MiB",
            "wal_size 16MiB",
            "keep_every 1s",
            "on_corruption replace",
            "backups ",
            "backup_every 1d",
            "backups_kept 7",
        ]
    );
    for (text, complaint) in [
        ("[store]\nreaders = 2\n", "store.path: is not set"),
        ("[store]\npath = \"c.db\"\nreaders = 0\n", "store.readers"),
        ("[store]\npath = \"c.db\"\nwrites = 0\n", "store.writes"),
        ("[store]\npath = \"c.db\"\nshards = 65\n", "store.shards"),
        ("[store]\npath = \"c.db\"\nvalue_size = \"1GiB\"\n", "store.value_size"),
        ("[store]\npath = \"c.db\"\neviction = \"mru\"\n", "`mru`"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(complaint), "{text}: {error}");
    }
    assert!(parse("").unwrap().store.is_none());
}
