//! Requests that no well-meaning client sends: each is answered with a problem document that says
//! what is wrong, and leaves no connection hanging.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    client::Client,
    shop::{ALBUMS, PATH, Shop},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_cannot_be_read_is_refused_with_a_problem_document() {
    let shop = Shop::new("wal");
    let (running, _) = shop.open(ALBUMS).await;
    let get = |headers: &str| format!("GET {PATH} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
    let post = |headers: &str| {
        format!("POST /v1/invalidate HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n{{}}")
    };
    let many: String = (0..100).map(|n| format!("x-{n}: y\r\n")).collect();
    for (head, status, code) in [
        ("\0\u{1}hello\r\n\r\n".to_owned(), 400, "malformed-request"),
        ("\u{16}\u{3}\u{1}\u{2}\0\u{1}".to_owned(), 400, "malformed-request"),
        ("GET / HTTP/3.0\r\n\r\n".to_owned(), 400, "malformed-request"),
        ("GET /a b HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(), 400, "malformed-request"),
        (get("x y: z\r\n"), 400, "malformed-request"),
        (get("x: a\r\n b\r\n"), 400, "malformed-request"),
        (get("x: a\0b\r\n"), 400, "malformed-request"),
        (post("content-length: two\r\n"), 400, "malformed-request"),
        (post("content-length: 2\r\ncontent-length: 3\r\n"), 400, "malformed-request"),
        (post("transfer-encoding: gzip\r\n"), 400, "malformed-request"),
        (get(&many), 431, "head-too-large"),
        (get(&format!("x: {}\r\n", "y".repeat(300_000))), 431, "head-too-large"),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(300_000)), 431, "head-too-large"),
    ] {
        let mut client = Client::connect(running.address).await;
        client.write(&head).await;
        let answer = client.read("GET").await;
        let shown: String = head.chars().take(60).collect();
        assert_eq!((answer.status, &*answer.code()), (status, code), "{shown:?}");
        assert_eq!(answer.header("connection"), "close", "{shown:?}");
        assert!(client.is_closed().await, "{shown:?}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_not_lost_in_a_reset() {
    let shop = Shop::new("wal");
    let (running, _) = shop.open(ALBUMS).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    let head = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(300_000));
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 431 ") && answer.ends_with('}'), "{answer}");
    // Whoever still sends must not be reset: on some systems that takes the answer away.
    for _ in 0..20 {
        stream.write_all(&[b'x'; 4096]).await.expect("the rest of the head is taken");
        tokio::task::yield_now().await;
    }
    drop(stream);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_comes_after_the_answers_before_it() {
    let shop = Shop::new("wal");
    let (running, mut client) = shop.open(ALBUMS).await;
    let get = format!("GET {PATH} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    client.write(&format!("{get}{get}nonsense\r\n\r\n")).await;
    assert!(client.read("GET").await.is_miss());
    assert!(client.read("GET").await.is_hit());
    assert_eq!(client.read("GET").await.code(), "malformed-request");
    assert!(client.is_closed().await);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_name_a_path_or_a_known_method_is_told_what_it_lacks() {
    let shop = Shop::new("wal");
    let (running, _) = shop.open(ALBUMS).await;
    for (line, headers, status, code) in [
        ("GET / HTTP/1.1", "", 400, "malformed-request"),
        ("GET / HTTP/1.0", "", 400, "malformed-request"),
        ("GET / HTTP/1.1", "host: localhost\r\nhost: localhost\r\n", 400, "malformed-request"),
        ("GET / HTTP/1.1", "host:\r\n", 421, "wrong-host"),
        ("GET / HTTP/1.1", "host: evil@localhost\r\n", 421, "wrong-host"),
        ("GET http://evil.example/ HTTP/1.1", "host: localhost\r\n", 421, "wrong-host"),
        ("CONNECT localhost:80 HTTP/1.1", "host: localhost\r\n", 405, "method-not-allowed"),
        ("OPTIONS * HTTP/1.1", "host: localhost\r\n", 405, "method-not-allowed"),
        ("TRACE / HTTP/1.1", "host: localhost\r\n", 405, "method-not-allowed"),
        ("get / HTTP/1.1", "host: localhost\r\n", 405, "method-not-allowed"),
        ("POST /nothing HTTP/1.1", "host: localhost\r\n", 404, "not-found"),
        ("GET /v1/resources/../status HTTP/1.1", "host: localhost\r\n", 404, "unknown-resource"),
    ] {
        let mut client = Client::connect(running.address).await;
        client.write(&format!("{line}\r\n{headers}\r\n")).await;
        let answer = client.read("GET").await;
        assert_eq!((answer.status, &*answer.code()), (status, code), "{line} {headers:?}");
        assert_eq!(answer.status == 405, !answer.header("allow").is_empty(), "{line}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unusual_requests_that_are_right_are_answered() {
    let shop = Shop::new("wal");
    let (running, _) = shop.open(ALBUMS).await;
    for head in [
        format!("GET {PATH} HTTP/1.0\r\nhost: localhost\r\n\r\n"),
        format!("GET http://localhost{PATH} HTTP/1.1\r\nhost: other.example\r\n\r\n"),
        format!("\r\nGET {PATH} HTTP/1.1\nhost: localhost\n\n"),
        format!("GET {PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\nhello"),
    ] {
        let mut client = Client::connect(running.address).await;
        client.write(&head).await;
        assert_eq!(client.read("GET").await.status, 200, "{head:?}");
    }
    let mut client = Client::connect(running.address).await;
    let head = "POST /v1/invalidate HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n\
                content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    client.write(head).await;
    assert_eq!(client.read("POST").await.status, 100);
    client.write("e\r\n{\"tags\":[\"a\"]}\r\n0\r\n\r\n").await;
    assert_eq!(client.read("POST").await.status, 200);
    running.stop().await;
}
