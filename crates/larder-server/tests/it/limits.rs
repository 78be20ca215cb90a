//! What keeps one client from taking everything: each limit with its test.

use std::time::Duration;

use crate::{
    client::Client,
    shop::{ALBUMS, PATH, Shop},
};

const SLOW: &str = r#"
[resource.slow]
origin = "shop"
sql = """WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900000000)
    SELECT max(i) AS i, :n AS n FROM n"""
params = { n = "integer" }
ttl = "1h"
load_timeout = "1s"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn heads_and_bodies_have_a_size() {
    let shop = Shop::new("wal");
    let text = format!("{ALBUMS}[server]\nheader_size = \"8KiB\"\nbody_size = \"1KiB\"\n");
    let (running, mut client) = shop.open(&text).await;
    let long = "x".repeat(8 * 1024);
    let answer = client.get_with(PATH, &[("x-long", &long)]).await;
    assert_eq!(answer.status, 431, "{answer:?}");
    let mut client = Client::connect(running.address).await;
    let many: Vec<(String, String)> = (0..100).map(|n| (format!("x-{n}"), "x".into())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(a, b)| (&**a, &**b)).collect();
    assert_eq!(client.get_with(PATH, &many).await.status, 431);
    let mut client = Client::connect(running.address).await;
    let body = format!("{{\"tags\": [\"{}\"]}}", "x".repeat(2000));
    let answer = client.post("/v1/invalidate", &body).await;
    assert_eq!((answer.status, &*answer.code()), (413, "body-too-large"));
    assert!(answer.body.contains("1024 bytes (server.body_size)"), "{answer:?}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_a_number_of_items() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(ALBUMS).await;
    let tags = vec!["\"t\""; 1001].join(",");
    let answer = client.post("/v1/invalidate", &format!("{{\"tags\": [{tags}]}}")).await;
    assert_eq!((answer.status, &*answer.code()), (400, "malformed-request"));
    let change = r#"{"table":"app.X","new":{"a":1},"key":["a"]}"#;
    let changes = vec![change; 1001].join(",");
    let answer = client.post("/v1/changes", &format!("{{\"changes\": [{changes}]}}")).await;
    assert_eq!((answer.status, &*answer.code()), (400, "malformed-request"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_over_the_limit_are_told_so() {
    let shop = Shop::new("wal");
    let text = format!("{ALBUMS}[server]\nconnections = 2\n");
    let (running, mut one) = shop.open(&text).await;
    let mut two = Client::connect(running.address).await;
    assert_eq!(one.get(PATH).await.status, 200);
    assert_eq!(two.get(PATH).await.status, 200);
    let mut three = Client::connect(running.address).await;
    let answer = three.get(PATH).await;
    assert_eq!((answer.status, &*answer.code()), (503, "overloaded"));
    assert_eq!(answer.header("retry-after"), "1");
    drop(two);
    let room = async {
        while Client::connect(running.address).await.get(PATH).await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), room).await.expect("a place is free again");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_sends_nothing_is_closed() {
    let shop = Shop::new("wal");
    let text = format!("{ALBUMS}[server]\nidle_timeout = \"100ms\"\n");
    let (running, mut idle) = shop.open(&text).await;
    assert_eq!(idle.get(PATH).await.status, 200);
    assert!(idle.is_closed().await);
    let mut slow = Client::connect(running.address).await;
    slow.write("GET / HTTP/1.1\r\nhost: loc").await;
    assert!(slow.is_closed().await);
    running.stop().await;
}

/// An answer that does not fit into the buffers of a connection.
const LARGE: &str = r#"
[resource.large]
origin = "shop"
sql = """WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
    SELECT hex(zeroblob(2000)) AS z, :n AS n FROM n"""
params = { n = "integer" }
ttl = "1h"
result_size = "64MiB"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_take_its_answer_is_let_go() {
    let shop = Shop::new("wal");
    let text = format!("{ALBUMS}{LARGE}[server]\nconnections = 1\nidle_timeout = \"300ms\"\n");
    shop.track(&text);
    let running = shop.serve(&text).await;
    let mut client = Client::connect_narrow(running.address).await;
    client.write("GET /v1/resources/large?n=1 HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert_ne!(client.take(10).await, 0);
    let other = async {
        while Client::connect(running.address).await.get(PATH).await.status != 200 {
            // It takes a little each time, so that the connection never looks dead to the kernel.
            client.take(1).await;
        }
    };
    let limit = Duration::from_secs(10);
    tokio::time::timeout(limit, other).await.expect("its place is free again");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_a_time() {
    let shop = Shop::new("wal");
    let text = format!("{ALBUMS}{SLOW}[server]\nrequest_timeout = \"100ms\"\n");
    let (running, mut client) = shop.open(&text).await;
    let answer = client.get("/v1/resources/slow?n=1").await;
    assert_eq!((answer.status, &*answer.code()), (504, "load-timeout"));
    // Others are served meanwhile. One that takes longer here goes on, and is there in the end.
    while client.get(PATH).await.status == 504 {}
    assert!(client.get(PATH).await.is_hit());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_has_a_time() {
    let shop = Shop::new("wal");
    let text = format!("{ALBUMS}[server]\nrequest_timeout = \"100ms\"\n");
    let (running, mut client) = shop.open(&text).await;
    let head = "POST /v1/invalidate HTTP/1.1\r\nhost: localhost\r\n\
                content-type: application/json\r\n";
    for body in ["content-length: 20\r\n\r\n{\"tags\"", "transfer-encoding: chunked\r\n\r\n5\r\n{"]
    {
        client.write(&format!("{head}{body}")).await;
        let answer = client.read("POST").await;
        assert_eq!((answer.status, &*answer.code()), (408, "request-timeout"), "{body}");
        assert_eq!(answer.header("connection"), "close");
        assert!(client.is_closed().await);
        client = Client::connect(running.address).await;
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_has_a_time() {
    let shop = Shop::new("wal");
    let text = format!("{ALBUMS}{}", SLOW.replace("1s", "100ms"));
    let (running, mut client) = shop.open(&text).await;
    let answer = client.get("/v1/resources/slow?n=1").await;
    assert_eq!((answer.status, &*answer.code()), (504, "load-timeout"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn loads_beyond_those_running_and_waiting_are_refused_and_hits_are_not() {
    let shop = Shop::new("wal");
    // Whoever waits has time until long after the slow one was ended.
    let patient = SLOW.replace("slow", "patient").replace("900000000", "10").replace("1s", "20s");
    let text = format!("{ALBUMS}{SLOW}{patient}[cache]\nloads = 1\nloads_waiting = 1\n");
    let (running, mut client) = shop.open(&text).await;
    client.get(PATH).await;
    let ask = |resource: &'static str, n: u32| {
        let address = running.address;
        tokio::spawn(async move {
            let path = format!("/v1/resources/{resource}?n={n}");
            Client::connect(address).await.get(&path).await
        })
    };
    let busy = ask("slow", 0);
    while running.server.cache.status().loads_running != 1 {
        tokio::task::yield_now().await;
    }
    // One of these waits for its turn, which leaves no place for the other two.
    let (mut refused, mut waited) = (Vec::new(), 0);
    for asked in [1, 2, 3].map(|n| ask("patient", n)) {
        let answer = asked.await.unwrap();
        match answer.status {
            503 => refused.push(answer),
            _ => waited += 1,
        }
    }
    assert_eq!((refused.len(), waited), (2, 1), "{refused:?}");
    busy.await.unwrap();
    let answer = refused.remove(0);
    assert_eq!(answer.code(), "overloaded");
    assert_eq!(answer.header("retry-after"), "1");
    assert!(client.get(PATH).await.is_hit());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_result_counts_even_if_who_asked_has_left() {
    let shop = Shop::new("wal");
    let empty = SLOW.replace("900000000", "1000000").replace("1s", "10s");
    let empty = empty.replace("max(i) AS i, :n AS n FROM n", "i, :n AS n FROM n WHERE i < 0");
    let text = format!("{ALBUMS}{empty}[server]\nrequest_timeout = \"1ms\"\n");
    let (running, mut client) = shop.open(&text).await;
    assert_eq!(client.get("/v1/resources/slow?n=1").await.status, 504);
    while running.server.cache.status().entries == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(running.server.empties.held().1, 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_results_cannot_push_the_others_out() {
    let shop = Shop::new("wal");
    let text = format!("{ALBUMS}[cache]\nmemory = \"1MiB\"\nempty_results = \"64KiB\"\n");
    let (running, mut client) = shop.open(&text).await;
    assert!(client.get(PATH).await.is_miss());
    for artist in 1000..4000 {
        client.get(&format!("/v1/resources/artist-albums?artist={artist}")).await;
    }
    assert!(client.get(PATH).await.is_hit());
    let status = running.server.cache.status();
    assert!(status.entries < 200, "{status:?}");
    assert!(running.server.empties.held().0 <= 64 * 1024);
    let newest = client.get("/v1/resources/artist-albums?artist=3999").await;
    assert!(newest.is_hit(), "the newest empty result is still there");
    running.stop().await;
}
