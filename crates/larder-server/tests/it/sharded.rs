//! A server whose store is in several files: over HTTP it is as one file.
//!
//! Each test asks two servers the same, with one file and with four, and compares the answers.

use larder_server::serve::Running;
use serde_json::{Value, json};

use crate::{
    client::Client,
    shop::{ALBUMS, Shop},
};

/// Two servers, and what each is asked.
struct Both {
    shops: [Shop; 2],
    running: [Running; 2],
    clients: [Client; 2],
}

impl Both {
    async fn open() -> Self {
        let serve = async |count: u32| {
            let shop = Shop::new("wal");
            let store = format!(
                "[store]\npath = \"cache.db\"\nshards = {count}\nbackups = \"kept\"\n\
                 backup_every = \"365d\"\n"
            );
            let (running, client) = shop.open(&format!("{ALBUMS}{store}")).await;
            (shop, running, client)
        };
        let (one, four) = (serve(1).await, serve(4).await);
        let both =
            Self { shops: [one.0, four.0], running: [one.1, four.1], clients: [one.2, four.2] };
        let files = |shop: &Shop| {
            let all = std::fs::read_dir(shop.dir()).unwrap().map(|file| file.unwrap().file_name());
            let is_file = |name: &str| name.starts_with("cache.db") && !name.contains("db-w");
            all.filter(|name| is_file(name.to_str().unwrap()) && !is_aside(name)).count()
        };
        assert_eq!([files(&both.shops[0]), files(&both.shops[1])], [1, 4]);
        both
    }

    /// Asks both the same; what both answer.
    async fn ask(&mut self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut answers = Vec::new();
        for client in &mut self.clients {
            let headers = [("content-type", "application/json")];
            let answer = client.request(method, path, &headers, body).await;
            let json = serde_json::from_str(&answer.body).unwrap_or(Value::Null);
            answers.push((answer.status, without_chance(json)));
        }
        assert_eq!(answers[0], answers[1], "{method} {path} {body}");
        answers.remove(0)
    }

    async fn batch(&mut self, body: Value) -> Value {
        let (status, answer) = self.ask("POST", "/v1/entries:batch", &body.to_string()).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    async fn end(self) {
        for running in self.running {
            running.stop().await;
        }
    }
}

/// Whether a file beside the first one is none of the store's databases.
fn is_aside(name: &std::ffi::OsStr) -> bool {
    let name = name.to_str().unwrap();
    ["-shm", "-wal", "-witness", "-values", "-origins"].iter().any(|end| name.ends_with(end))
}

/// An answer without what no two servers have in common.
fn without_chance(mut answer: Value) -> Value {
    match &mut answer {
        Value::Object(members) => {
            for name in ["created_ms", "accessed_ms", "expires_ms", "begun", "name", "taken_ms"] {
                members.remove(name);
            }
            // Each file has pages and commits of its own.
            for name in ["file_bytes", "commits", "restored"] {
                members.remove(name);
            }
            members.values_mut().for_each(|member| *member = without_chance(member.take()));
        }
        Value::Array(items) => {
            items.iter_mut().for_each(|item| *item = without_chance(item.take()));
        }
        _ => {}
    }
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn four_files_answer_as_one_does() {
    // S(c): shards over HTTP: entries, listing with a cursor, tags, batches, statistics.
    let mut both = Both::open().await;
    for number in 0..40 {
        let path = format!("/v1/entries/k{number:02}?ttl=1h&tag=t{}&tag=all", number % 3);
        assert_eq!(both.ask("PUT", &path, &format!("{{\"n\":{number}}}")).await.0, 201);
    }
    for path in ["k07", "k07?as=entry", "missing", "k07?region=other"] {
        both.ask("GET", &format!("/v1/entries/{path}"), "").await;
    }
    for query in ["", "&tag=t1", "&glob=k[12]*", "&pattern=k%25&not_tag=t0", "&as=entry"] {
        let (mut cursor, mut keys) = (String::new(), Vec::new());
        loop {
            let path = format!("/v1/entries?limit=7&cursor={cursor}{query}");
            let page = both.ask("GET", &path, "").await.1;
            let entries = page["entries"].as_array().unwrap();
            keys.extend(entries.iter().map(|entry| entry["key"].as_str().unwrap().to_owned()));
            match page["next"].as_str() {
                Some(next) => cursor = next.to_owned(),
                None => break,
            }
        }
        assert!(keys.is_sorted() && 10 <= keys.len(), "{query}: {keys:?}");
    }
    let tags = both.ask("GET", "/v1/tags?limit=2", "").await.1;
    assert_eq!((&tags["tags"][0]["entries"], &tags["next"]), (&40.into(), &"t0".into()));
    both.ask("GET", "/v1/tags?limit=2&cursor=t0", "").await;
    let items = |range: std::ops::Range<u32>| {
        range.map(|n| json!({ "key": format!("b{n}"), "text": "x", "tags": ["b"] })).collect()
    };
    let put: Vec<Value> = items(0..30);
    let put = both.batch(json!({ "ttl": "1h", "put": put })).await;
    assert_eq!(put["results"][29], json!({ "key": "b29", "placed": "inserted" }));
    let add: Vec<Value> = items(25..35);
    both.batch(json!({ "ttl": "1h", "add": add })).await;
    let keys: Vec<String> = (0..40).rev().map(|number| format!("b{number}")).collect();
    both.batch(json!({ "get": keys })).await;
    let sums = ["n1", "n2", "n1", "n3"].map(|key| json!({ "key": key, "by": 2 }));
    let sums = both.batch(json!({ "ttl": "1h", "incr": sums })).await;
    assert_eq!(sums["results"][2]["value"], 4);
    both.batch(
        json!({ "touch": [{ "key": "b3", "ttl_ms": 900_000 }, { "key": "z", "ttl_ms": 1 }] }),
    )
    .await;
    both.batch(json!({ "remove": ["b1", "b2", "z"] })).await;
    for path in ["/v1/entries/n1:incr?ttl=1h", "/v1/entries/n1:touch?ttl=1h"] {
        both.ask("POST", path, "").await;
    }
    both.ask("POST", "/v1/entries/n1:begin", "").await;
    for query in ["tag=b&dry_run", "tag=b", "tag=b", "pattern=k0%25", "all_tags=all&all_tags=t2"] {
        both.ask("DELETE", &format!("/v1/entries?{query}"), "").await;
    }
    let (_, stats) = both.ask("GET", "/v1/stats", "").await;
    assert_eq!(stats["regions"][0]["region"], "default");
    assert!(0 < stats["entries"].as_u64().unwrap(), "{stats}");
    both.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn four_files_are_backed_up_and_restored_together() {
    // S(c), S16.
    let mut both = Both::open().await;
    let put = |text: &str| {
        let items = (0..30).map(|n| json!({ "key": format!("k{n}"), "text": text }));
        json!({ "ttl": "1h", "put": items.collect::<Vec<_>>() })
    };
    let get = json!({ "get": (0..30).map(|n| format!("k{n}")).collect::<Vec<_>>() });
    both.batch(put("before")).await;
    let before = both.batch(get.clone()).await;
    let mut names = Vec::new();
    for client in &mut both.clients {
        let taken = client.request("POST", "/v1/backups", &[], "").await;
        assert_eq!(taken.status, 201, "{taken:?}");
        names.push(taken.json()["name"].as_str().unwrap().to_owned());
    }
    both.batch(put("after")).await;
    assert_ne!(both.batch(get.clone()).await, before);
    for (client, name) in both.clients.iter_mut().zip(&names) {
        let listed = client.get("/v1/backups").await;
        assert!(listed.body.contains(name), "{listed:?}");
        let path = format!("/v1/backups/{name}:restore");
        assert_eq!(client.request("POST", &path, &[], "").await.status, 200);
    }
    assert_eq!(both.batch(get).await, before);
    both.end().await;
}
