//! Many entries in one request, and values that are computed while others remove.

use larder_server::{auth, entry};
use larder_sqlite::store::{Lifetime, NewEntry, SqliteStore, StoreOptions, Stored};
use serde_json::json;

use crate::{
    client::{Answer, Client},
    shop::{ALBUMS, Shop},
};

const STORE: &str = "[store]\npath = \"cache.db\"\nvalue_size = \"64KiB\"\n";

const JSON: (&str, &str) = ("content-type", "application/json");

async fn batch(client: &mut Client, body: &serde_json::Value) -> Answer {
    client.request("POST", "/v1/entries:batch", &[JSON], &body.to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_written_read_and_removed_in_one_request() {
    // S1, S5, SD16, SD19.
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(&format!("{ALBUMS}{STORE}")).await;
    let put = json!({ "ttl": "10m", "put": [
        { "key": "a", "value": { "n": 1 }, "tags": ["x"] },
        { "key": "b", "text": "plain", "ttl_ms": 1000 },
        { "key": "c", "base64": "/w==", "expires_ms": null },
        { "key": "gone", "text": "", "expires_ms": 1 },
    ] });
    let answer = batch(&mut client, &put).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let shown = answer.json();
    assert_eq!((&shown["form"], &shown["atomic"]), (&"put".into(), &true.into()));
    assert_eq!(shown["results"][0], json!({ "key": "a", "placed": "inserted" }));
    let add =
        json!({ "ttl": "never", "add": [{ "key": "a", "text": "" }, { "key": "d", "text": "" }] });
    let placed = batch(&mut client, &add).await.json();
    assert_eq!(placed["results"][0]["placed"], "present");
    assert_eq!(placed["results"][1]["placed"], "inserted");
    let got = batch(&mut client, &json!({ "get": ["a", "b", "c", "gone", "a"] })).await.json();
    assert_eq!(
        got["results"],
        json!([
            { "key": "a", "found": true, "kind": "json", "text": "{\"n\":1}" },
            { "key": "b", "found": true, "kind": "text", "text": "plain" },
            { "key": "c", "found": true, "kind": "bytes", "base64": "/w==" },
            { "key": "gone", "found": false },
            { "key": "a", "found": true, "kind": "json", "text": "{\"n\":1}" },
        ])
    );
    let incr = json!({ "ttl": "1h", "incr": [{ "key": "n", "by": 5 }, { "key": "n" }] });
    let sums = batch(&mut client, &incr).await.json();
    assert_eq!(
        (&sums["results"][0]["value"], &sums["results"][1]["value"]),
        (&5.into(), &6.into())
    );
    let touch = json!({ "touch": [{ "key": "a", "ttl_ms": 5000 }, { "key": "z", "ttl_ms": 1 }] });
    let touched = batch(&mut client, &touch).await.json();
    assert_eq!(touched["results"][0], json!({ "key": "a", "touched": 1 }));
    assert_eq!(touched["results"][1]["touched"], 0);
    let removed = batch(&mut client, &json!({ "remove": ["a", "z", "c"] })).await.json();
    let counts: Vec<_> = (0..3).map(|at| removed["results"][at]["removed"].clone()).collect();
    assert_eq!(counts, [1, 0, 1]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_cannot_be_done_changes_nothing_and_says_which_items() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(&format!("{ALBUMS}{STORE}")).await;
    let wrong = json!({ "put": [
        { "key": "a", "text": "fine", "ttl_ms": 1000 },
        { "key": "b", "text": "no lifetime" },
        { "key": "c", "text": "{", "kind": "json", "ttl_ms": 1000 },
        { "key": "d", "text": "x", "ttl_ms": 1, "region": "other" },
    ] });
    let answer = batch(&mut client, &wrong).await;
    assert_eq!((answer.status, &*answer.code()), (400, "malformed-request"));
    let items = answer.json()["items"].clone();
    let of: Vec<_> = (0..3).map(|at| items[at]["index"].as_u64().unwrap()).collect();
    assert_eq!(of, [1, 2, 3]);
    assert_eq!(
        (&items[0]["key"], &items[0]["error"]["code"]),
        (&"b".into(), &"malformed-request".into())
    );
    let put = json!({ "put": [
        { "key": "text", "text": "x", "ttl_ms": 60000 },
        { "key": "k".repeat(5000), "text": "x", "ttl_ms": 60000 },
    ] });
    let answer = batch(&mut client, &put).await;
    assert_eq!((answer.status, &*answer.code()), (413, "entry-too-large"));
    assert_eq!(answer.json()["items"][0]["index"], 1);
    assert_eq!(client.get("/v1/entries/text").await.status, 404);
    client.request("PUT", "/v1/entries/text?ttl=1h", &[], "x").await;
    let incr = json!({ "ttl": "1h", "incr": [{ "key": "n" }, { "key": "text" }] });
    let answer = batch(&mut client, &incr).await;
    assert_eq!((answer.status, &*answer.code()), (409, "not-a-number"));
    assert_eq!(answer.json()["items"][0]["index"], 1);
    assert_eq!(client.get("/v1/entries/n").await.status, 404, "all or none");
    let many: Vec<String> = (0..1001).map(|number| number.to_string()).collect();
    for (body, status, code) in [
        (json!({ "get": many }), 413, "batch-too-large"),
        (json!({ "get": ["a"], "remove": ["a"] }), 400, "malformed-request"),
        (json!({ "region": "r" }), 400, "malformed-request"),
        (json!({ "delete": ["a"] }), 400, "malformed-request"),
        (json!({ "touch": [{ "key": "a", "by": 1, "ttl_ms": 1 }] }), 400, "malformed-request"),
        (json!({ "ttl": "10", "touch": [{ "key": "a" }] }), 400, "malformed-request"),
    ] {
        let answer = batch(&mut client, &body).await;
        assert_eq!((answer.status, &*answer.code()), (status, code), "{body}");
    }
    let plain = client.request("POST", "/v1/entries:batch", &[], "{\"get\": []}").await;
    assert_eq!(plain.code(), "unsupported-media-type");
    assert_eq!(client.get("/v1/entries:batch").await.code(), "method-not-allowed");
    let mut other = Client::connect(running.address).await;
    let long = json!({ "put": [{ "key": "a", "text": "x".repeat(70_000), "ttl_ms": 1 }] });
    assert_eq!(batch(&mut other, &long).await.code(), "body-too-large");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_a_batch_is_bounded_and_says_what_to_ask_again() {
    let shop = Shop::new("wal");
    let limit = 64 << 10;
    let (running, mut client) = shop.open(&format!("{ALBUMS}{STORE}")).await;
    // Of what is in `b`, JSON makes six times as much; of what is in `c`, four thirds.
    let values: [(&str, Vec<u8>); 4] = [
        ("a", vec![b'x'; 20_000]),
        ("b", vec![1; 20_000]),
        ("c", vec![255; 20_000]),
        ("d", vec![]),
    ];
    let entries = running.server.store.as_ref().unwrap().entries("default");
    for (key, value) in &values {
        let new = NewEntry::new(Stored::bytes(value.clone()), Lifetime::Forever);
        entries.insert(*key, new).await.unwrap();
    }
    let mut wanted = vec!["a", "b", "c", "gone", "d"];
    let (mut rounds, mut got) = (0, Vec::new());
    while !wanted.is_empty() {
        rounds += 1;
        let answer = batch(&mut client, &json!({ "get": wanted })).await;
        let is_one = wanted.len() == 1;
        assert!(answer.body.len() < limit + 2000 || is_one, "{} bytes", answer.body.len());
        let results = answer.json()["results"].as_array().unwrap().clone();
        wanted.clear();
        for one in results {
            let key = values.iter().map(|(key, _)| *key).find(|key| one["key"] == **key);
            match one["error"]["code"].as_str() {
                None => got.push((key.unwrap_or("gone"), entry::bytes(&one))),
                Some("answer-too-large") => {
                    assert!(one["error"]["detail"].as_str().unwrap().contains("fewer keys"));
                    wanted.push(key.unwrap());
                }
                Some(code) => panic!("{code}"),
            }
        }
    }
    assert_eq!(rounds, 2, "all but `b`, which is too long beside anything");
    got.sort();
    let mut all: Vec<_> = values.into_iter().map(|(key, value)| (key, Some(value))).collect();
    all.push(("gone", None));
    assert_eq!(got, all);
    // What would not even be given alone is not worth another question.
    let larger = vec![0; 70_000];
    let options = StoreOptions::new().max_value_bytes(1 << 20);
    let other = SqliteStore::open_with(shop.dir().join("cache.db"), options).await.unwrap();
    let new = NewEntry::new(Stored::bytes(larger), Lifetime::Forever);
    other.entries("default").insert("larger", new).await.unwrap();
    let alone = batch(&mut client, &json!({ "get": ["larger"] })).await.json();
    assert_eq!(alone["results"][0]["error"]["code"], "entry-too-large");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_reads_with_one_scope_and_changes_with_another() {
    let shop = Shop::new("wal");
    let token = |scope: &str, secret: [u8; 32]| {
        let hash = blake3::hash(&secret).to_hex();
        format!("[token.{scope}]\nscopes = [\"{scope}\"]\nhash = \"{hash}\"\n")
    };
    let tokens = format!("{}{}", token("read", [1; 32]), token("write", [2; 32]));
    let (running, mut client) = shop.open(&format!("{ALBUMS}{STORE}{tokens}")).await;
    for (body, right) in [(json!({ "get": ["a"] }), 1), (json!({ "remove": ["a"] }), 2)] {
        for secret in [1_u8, 2, 3] {
            let bearer = format!("Bearer {}", auth::to_hex(&[secret; 32]));
            let headers = [JSON, ("authorization", &*bearer)];
            let path = "/v1/entries:batch";
            let answer = client.request("POST", path, &headers, &body.to_string()).await;
            let expected = match secret {
                3 => 401,
                own if own == right => 200,
                _ => 403,
            };
            assert_eq!(answer.status, expected, "{body} {secret}");
        }
    }
    running.stop().await;
}

/// MD2: over HTTP, whoever computes outside larder.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_removed_since_begin_is_not_put() {
    let shop = Shop::new("wal");
    let config = format!("{ALBUMS}{STORE}");
    let (running, mut client) = shop.open(&config).await;
    let begin = async |client: &mut Client, path: &str| {
        let begun = client.request("POST", &format!("{path}:begin"), &[], "").await;
        begun.json()["begun"].as_str().unwrap().to_owned()
    };
    let path = "/v1/entries/quote";
    for (method, removal) in [
        ("DELETE", "/v1/entries/quote"),
        ("DELETE", "/v1/entries?tag=stock"),
        ("DELETE", "/v1/entries?pattern=quo%25"),
        ("DELETE", "/v1/entries?all"),
    ] {
        let begun = begin(&mut client, path).await;
        client.request(method, removal, &[], "").await;
        let headers = [("larder-begun", &*begun)];
        let put =
            client.request("PUT", "/v1/entries/quote?ttl=1h&tag=stock", &headers, "old").await;
        assert_eq!((put.status, &*put.code()), (409, "overtaken"), "{removal}");
        assert!(put.json()["detail"].as_str().unwrap().contains(":begin"), "says what to do");
        assert_eq!(client.get(path).await.status, 404, "{removal}");
    }
    let begun = begin(&mut client, path).await;
    client.request("DELETE", "/v1/entries/other", &[], "").await;
    client.request("DELETE", "/v1/entries?tag=other", &[], "").await;
    let headers = [("larder-begun", &*begun)];
    let put = client.request("PUT", "/v1/entries/quote?ttl=1h&tag=stock", &headers, "new").await;
    assert_eq!(put.status, 201, "{put:?}");
    let absent = [("larder-begun", &*begun), ("if-none-match", "*")];
    let put = client.request("PUT", "/v1/entries/quote?ttl=1h", &absent, "x").await;
    assert_eq!(put.code(), "precondition-failed");
    // For another entry, in another region, torn, twice: it is not what was given out.
    let torn = begun.get(2..).unwrap();
    for (path, headers) in [
        ("/v1/entries/other?ttl=1h", vec![("larder-begun", &*begun)]),
        ("/v1/entries/quote?ttl=1h&region=other", vec![("larder-begun", &*begun)]),
        ("/v1/entries/quote?ttl=1h", vec![("larder-begun", torn)]),
        ("/v1/entries/quote?ttl=1h", vec![("larder-begun", &*begun), ("larder-begun", &*begun)]),
    ] {
        let put = client.request("PUT", path, &headers, "x").await;
        assert_eq!((put.status, &*put.code()), (400, "malformed-fence"), "{path}");
    }
    running.stop().await;
}
