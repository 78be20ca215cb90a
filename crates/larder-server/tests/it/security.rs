//! What keeps others out: each bullet of the promise with its test.

use larder_server::{auth, config::Config, serve, server::Timing};

use crate::{
    client::Client,
    shop::{ALBUMS, PATH, Shop},
};

const READER: [u8; 32] = [1; 32];
const INVALIDATOR: [u8; 32] = [2; 32];
const ADMIN: [u8; 32] = [3; 32];

fn bearer(secret: &[u8; 32]) -> String {
    format!("Bearer {}", auth::to_hex(secret))
}

fn tokens() -> String {
    let token = |name: &str, secret: &[u8; 32]| {
        let hash = blake3::hash(secret).to_hex();
        let scope = name.trim_end_matches("er").trim_end_matches("or");
        let scope = match scope {
            "invalidat" => "invalidate",
            other => other,
        };
        format!("[token.{name}]\nscopes = [\"{scope}\"]\nhash = \"{hash}\"\n")
    };
    [token("reader", &READER), token("invalidator", &INVALIDATOR), token("admin", &ADMIN)].concat()
}

#[test]
fn it_listens_on_loopback_unless_told_otherwise() {
    let config = Config::parse(ALBUMS, "".as_ref()).unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:7077");
}

#[tokio::test(flavor = "multi_thread")]
async fn off_loopback_it_does_not_start_without_a_token() {
    let shop = Shop::new("wal");
    let mut config = shop.config(ALBUMS);
    config.server.listen = ([0, 0, 0, 0], 0).into();
    let error = serve::start(config, Timing::Sampled).await.unwrap_err().to_string();
    assert!(error.contains("token") && error.contains("larder token"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn off_loopback_every_endpoint_but_health_needs_the_right_token() {
    let shop = Shop::new("wal");
    let text = format!("{ALBUMS}{}", tokens());
    shop.track(&text);
    let mut config = shop.config(&text);
    config.server.listen = ([0, 0, 0, 0], 0).into();
    let running = shop.serve_config(config).await;
    let address = (std::net::Ipv4Addr::LOCALHOST, running.address.port()).into();
    let mut client = Client::connect(address).await;
    let explain = "/v1/resources/artist-albums/explain?artist=90";
    for (method, path, right) in [
        ("GET", PATH, &READER),
        ("GET", explain, &READER),
        ("POST", "/v1/invalidate", &INVALIDATOR),
        ("POST", "/v1/changes", &INVALIDATOR),
        ("GET", "/v1/dependents?of=tag:x", &INVALIDATOR),
        ("GET", "/metrics", &ADMIN),
        ("GET", "/v1/status", &ADMIN),
        ("GET", "/", &ADMIN),
        ("GET", "/page.js", &ADMIN),
        ("GET", "/nothing", &READER),
    ] {
        let json = ("content-type", "application/json");
        let body = match path {
            "/v1/invalidate" => r#"{"tags": ["x"]}"#,
            "/v1/changes" => r#"{"changes": [{"table": "app.X", "new": {"a": 1}, "key": ["a"]}]}"#,
            _ => "",
        };
        let none = client.request(method, path, &[json], body).await;
        assert_eq!((none.status, &*none.code()), (401, "unauthorized"), "{path}");
        assert!(none.header("www-authenticate").starts_with("Bearer"), "{none:?}");
        for secret in [&READER, &INVALIDATOR, &ADMIN, &[9; 32]] {
            let token = bearer(secret);
            let headers = [json, ("authorization", &*token)];
            let answer = client.request(method, path, &headers, body).await;
            let expected = match secret {
                [9, ..] => 401,
                _ if secret != right && *secret != ADMIN => 403,
                _ if path == "/nothing" => 404,
                _ => 200,
            };
            assert_eq!(answer.status, expected, "{path} {}", secret[0]);
        }
    }
    for path in ["/health/live", "/health/ready"] {
        let answer = client.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.body.contains("shop"), "details are for those with a token");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_from_a_file_opens_and_is_not_kept_in_memory_as_it_is() {
    let shop = Shop::new("wal");
    std::fs::write(shop.dir().join("reader.token"), auth::to_hex(&READER) + "\n").unwrap();
    let token = "[token.reader]\nscopes = [\"read\"]\nfile = \"reader.token\"\n";
    let (running, mut client) = shop.open(&format!("{ALBUMS}{token}")).await;
    assert_eq!(client.get(PATH).await.status, 401);
    let headers = [("authorization", &*bearer(&READER))];
    assert_eq!(client.get_with(PATH, &headers).await.status, 200);
    let state = format!("{:?}", running.server);
    assert!(!state.contains(&format!("{READER:?}")) && !state.contains(&auth::to_hex(&READER)));
    let shown = running.server.config.settings.iter().map(|setting| setting.value.clone());
    assert!(shown.filter(|value| value == "(set)").count() == 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_loopback_and_listed_names_are_answered() {
    let shop = Shop::new("wal");
    let text = format!("{ALBUMS}[server]\nhosts = [\"cache.example\"]\n");
    let (running, mut client) = shop.open(&text).await;
    for (host, status) in [
        ("localhost", 200),
        ("127.0.0.1:9", 200),
        ("[::1]:7077", 200),
        ("cache.example", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
    ] {
        let answer = client.get_with(PATH, &[("host", host)]).await;
        assert_eq!(answer.status, status, "{host}");
        if status == 421 {
            assert_eq!(answer.code(), "wrong-host");
        }
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_can_change_nothing() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(ALBUMS).await;
    let own = format!("http://{}", running.address);
    let json = ("content-type", "application/json");
    let invalidation = ("/v1/invalidate", r#"{"tables": ["shop.Album"]}"#);
    let change = r#"{"changes": [{"table": "shop.Album", "new": {"AlbumId": 94}}]}"#;
    client.get(PATH).await;
    for (headers, status, code) in [
        (vec![("content-type", "text/plain")], 415, "unsupported-media-type"),
        (vec![], 415, "unsupported-media-type"),
        (vec![json, ("origin", "http://evil.example")], 403, "foreign-origin"),
        (vec![json, ("origin", "null")], 403, "foreign-origin"),
        (vec![json, ("sec-fetch-site", "cross-site")], 403, "foreign-origin"),
    ] {
        for (path, body) in [invalidation, ("/v1/changes", change)] {
            let answer = client.request("POST", path, &headers, body).await;
            assert_eq!((answer.status, &*answer.code()), (status, code), "{path} {headers:?}");
            let mut fresh = Client::connect(running.address).await;
            assert!(fresh.get(PATH).await.is_hit(), "nothing was changed: {path} {headers:?}");
            client = fresh;
        }
    }
    let headers = [json, ("origin", &*own), ("sec-fetch-site", "same-origin")];
    for (path, body) in [invalidation, ("/v1/changes", change)] {
        assert_eq!(client.request("POST", path, &headers, body).await.status, 200, "{path}");
        assert_eq!(client.get(path).await.status, 405, "{path}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_was_not_given_out_here_is_refused() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(ALBUMS).await;
    let own = client.get(PATH).await.header("larder-position").to_owned();
    let other = shop.serve(ALBUMS).await;
    let mut stranger = Client::connect(other.address).await;
    let flipped = if own.ends_with('0') { "1" } else { "0" };
    let forged = format!("{}{flipped}", &own[..own.len() - 1]);
    for token in [&*forged, "", "zz", &"0".repeat(5000)] {
        let answer = client.get_with(PATH, &[("larder-at-least", token)]).await;
        assert_eq!((answer.status, &*answer.code()), (400, "malformed-position"), "{token}");
    }
    let answer = stranger.get_with(PATH, &[("larder-at-least", &own)]).await;
    assert_eq!((answer.status, &*answer.code()), (400, "malformed-position"));
    running.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_of_the_future_cannot_park_a_connection() {
    let shop = Shop::new("wal");
    shop.track(ALBUMS);
    let mut config = shop.config(ALBUMS);
    config.server.at_least_wait = std::time::Duration::from_millis(50);
    let running = shop.serve_config(config).await;
    let mut client = Client::connect(running.address).await;
    client.get(PATH).await;
    // Signed by the server itself, so that only the bound on the wait is left to protect it.
    let mut token = running.server.cache.token();
    let marks: Vec<_> = token.iter().cloned().collect();
    for (timeline, epoch, position) in marks {
        token.require(timeline, epoch, larder::Position(position.0 + 1_000_000));
    }
    let future = running.server.positions.header(&token);
    let headers = [("larder-at-least", future.to_str().unwrap())];
    let answer = client.get_with(PATH, &headers).await;
    assert_eq!((answer.status, &*answer.code()), (503, "position-not-reached"), "{answer:?}");
    assert_eq!(answer.header("retry-after"), "1");
    assert!(client.get(PATH).await.is_hit(), "the cache was not passed by");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_text_of_the_database_does_not_reach_the_client() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(ALBUMS).await;
    shop.change("PRAGMA foreign_keys = OFF; DROP TABLE Album");
    let failed = async {
        loop {
            let answer = client.get("/v1/resources/artist-albums?artist=1").await;
            if answer.status != 200 {
                break answer;
            }
        }
    };
    let patience = std::time::Duration::from_secs(10);
    let answer = tokio::time::timeout(patience, failed).await.expect("the table is missed");
    assert!(!answer.body.contains("Album") && !answer.body.contains("no such"), "{answer:?}");
    running.stop().await;
}
