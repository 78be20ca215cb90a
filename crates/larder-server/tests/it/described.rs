//! `/openapi.json` against the running server: what it says is there, and nothing else is.

use larder_server::auth;
use serde_json::Value;

use crate::{
    client::Client,
    shop::{ALBUMS, Shop},
};

const TABLE: &str = r#"
[table.names]
origin = "shop"
sql = "SELECT ArtistId, Name FROM Artist"
key = ["ArtistId"]
"#;

const STORE: &str = "[store]\npath = \"cache.db\"\nbackups = \"backups\"\n";

/// The target of a request with everything that must be given, as the document says it.
fn target(path: &str, operation: &Value) -> String {
    let mut target = path.to_owned();
    let mut mark = '?';
    for parameter in operation["parameters"].as_array().unwrap() {
        if parameter["in"] == "header" {
            continue;
        }
        let name = parameter["name"].as_str().unwrap();
        let example = match &parameter["example"] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        if parameter["in"] == "path" {
            target = target.replace(&format!("{{{name}}}"), &example);
        } else if parameter["required"] == true {
            target.push_str(&format!("{mark}{name}={example}"));
            mark = '&';
        }
    }
    target
}

/// The name of a backup that was just taken.
async fn backup(address: std::net::SocketAddr) -> String {
    let mut client = Client::connect(address).await;
    let taken = client.request("POST", "/v1/backups", &[], "").await.json();
    taken["name"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_and_method_that_is_described_answers() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(&format!("{ALBUMS}{TABLE}{STORE}")).await;
    // Until its table is loaded the server is not ready.
    while client.get("/health/ready").await.status != 200 {}
    let document = client.get("/openapi.json").await.json();
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.contains_key("/v1/resources/artist-albums/explain"), "{document}");
    assert!(paths.contains_key("/v1/tables/names/adjust"), "{document}");
    // In the order of the document the entry is there when it is touched.
    for method in ["put", "get", "post", "delete"] {
        for (path, operations) in paths {
            let operation = &operations[method];
            let mut client = Client::connect(running.address).await;
            if operation.is_null() {
                // A GET of what ends like an action is a GET of that key.
                if !path.contains(':') {
                    let any = operations.as_object().unwrap().values().next().unwrap();
                    let target = target(path, any);
                    let answer = client.request(&method.to_uppercase(), &target, &[], "").await;
                    assert_eq!(answer.status, 405, "{method} {target} is not described");
                }
                continue;
            }
            let target = target(path, operation);
            let content = operation["requestBody"]["content"].as_object();
            let (media_type, body) = match content.and_then(|content| content.iter().next()) {
                Some((media_type, content)) => {
                    (media_type.replace("*/*", "text/plain"), content["example"].to_string())
                }
                None => ("text/plain".to_owned(), String::new()),
            };
            let headers = [("content-type", &*media_type)];
            let target = match path.starts_with("/v1/backups/") {
                // Only one that is there can be restored.
                true => target.replace("/k:", &format!("/{}:", backup(running.address).await)),
                false => target,
            };
            let answer = client.request(&method.to_uppercase(), &target, &headers, &body).await;
            assert_eq!(answer.status / 100, 2, "{method} {target}: {answer:?}");
            let said = operation["responses"]["2XX"]["content"].as_object().unwrap();
            let said = said.keys().next().unwrap();
            let sent = answer.header("content-type");
            let is_value = path == "/v1/entries/{key}";
            assert!(is_value || sent.starts_with(&**said), "{method} {target}: {sent}, not {said}");
        }
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_described() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(ALBUMS).await;
    let document = client.get("/openapi.json").await.json();
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    let source = include_str!("../../src/route/mod.rs");
    let literals = source.split('"').skip(1).step_by(2);
    let routes: Vec<&str> = literals.filter(|text| text.starts_with('/')).collect();
    assert!(routes.contains(&"/v1/entries") && routes.contains(&"/metrics"), "{routes:?}");
    for route in routes.into_iter().filter(|route| !["/", "/explain"].contains(route)) {
        assert!(paths.iter().any(|path| path.starts_with(route)), "{route} is not described");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_operation_needs_the_scope_that_is_described() {
    let shop = Shop::new("wal");
    let scopes = ["read", "write", "invalidate", "backup", "restore", "admin"];
    let secret = |scope: &str| *blake3::hash(scope.as_bytes()).as_bytes();
    let token = |scope: &&str| {
        let hash = blake3::hash(&secret(scope)).to_hex();
        format!("[token.{scope}]\nscopes = [\"{scope}\"]\nhash = \"{hash}\"\n")
    };
    let tokens: String = scopes.iter().map(token).collect();
    let (running, mut client) = shop.open(&format!("{ALBUMS}{TABLE}{STORE}{tokens}")).await;
    let bearer = |scope: &str| format!("Bearer {}", auth::to_hex(&secret(scope)));
    let read = bearer("read");
    let document = client.get_with("/openapi.json", &[("authorization", &read)]).await.json();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let target = target(path, operation);
            let needed: Vec<&str> = operation["security"].as_array().map_or(vec![], |any| {
                any.iter().filter_map(|one| one["token"][0].as_str()).collect()
            });
            if needed.is_empty() {
                assert!(path.starts_with("/health/"), "{path} needs no token");
                continue;
            }
            for scope in scopes {
                let mut client = Client::connect(running.address).await;
                let headers = [("authorization", &*bearer(scope))];
                let answer = client.request(&method.to_uppercase(), &target, &headers, "").await;
                let is_let = !matches!(answer.status, 401 | 403);
                let may = scope == "admin" || needed.contains(&scope);
                assert_eq!(is_let, may, "{method} {path}: {scope}");
            }
        }
    }
    running.stop().await;
}
