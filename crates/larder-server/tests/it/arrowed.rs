//! Tables as Arrow streams, read back with arrow's own reader.

use std::{
    io::{Cursor, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use arrow_array::{Array as _, RecordBatch, cast::AsArray as _, types};
use arrow_ipc::reader::StreamReader;
use arrow_schema::DataType;

use crate::shop::Shop;

const TABLE: &str = r#"
[origin.shop]
url = "sqlite:shop.sqlite"
track = "rows"

[table.things]
origin = "shop"
sql = "SELECT id, whole, real, name, bytes, mixed, id * 2 AS twice FROM Thing"
key = ["id"]
max_staleness = "0"
"#;

/// The batches of an answer.
fn batches(address: SocketAddr, path: &str) -> (DataTypes, Vec<RecordBatch>) {
    let mut stream = TcpStream::connect(address).unwrap();
    let accept = "accept: application/vnd.apache.arrow.stream";
    let head =
        format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n{accept}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8_lossy(&answer[..end]);
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("vnd.apache.arrow.stream"), "{head}");
    let reader = StreamReader::try_new(Cursor::new(whole(&answer[end..])), None).unwrap();
    let types = reader.schema().fields().iter().map(|field| field.data_type().clone()).collect();
    (types, reader.map(Result::unwrap).collect())
}

type DataTypes = Vec<DataType>;

/// The body without the frames of its chunks.
fn whole(mut chunks: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = chunks.windows(2).position(|two| two == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&chunks[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&chunks[end + 2..end + 2 + size]);
        chunks = &chunks[end + 2 + size + 2..];
    }
}

fn shop() -> Shop {
    let shop = Shop::new("wal");
    shop.change(
        "CREATE TABLE Thing (id INTEGER PRIMARY KEY, whole INTEGER, real REAL, name TEXT,
             bytes BLOB, mixed);
         INSERT INTO Thing VALUES (1, 9007199254740993, 1, 'a', x'00ff', 1),
             (2, NULL, 2.5, NULL, NULL, 'two'), (3, -1, NULL, 'c', x'', 2.5);",
    );
    shop
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_have_the_types_they_are_declared_with_and_lose_nothing() {
    use DataType::{Binary, Float64, Int64, Utf8};
    let shop = shop();
    shop.track(TABLE);
    let running = shop.serve(TABLE).await;
    let read = |path: &str| tokio::task::block_in_place(|| batches(running.address, path));
    let (types, all) = read("/v1/tables/things");
    assert_eq!(types, [Int64, Int64, Float64, Utf8, Binary, Utf8, Int64]);
    let [all] = &all[..] else { panic!("one batch: {all:?}") };
    let whole = all.column(1).as_primitive::<types::Int64Type>();
    assert_eq!(
        (whole.value(0), whole.is_null(1), whole.value(2)),
        (9_007_199_254_740_993, true, -1)
    );
    let real = all.column(2).as_primitive::<types::Float64Type>();
    assert_eq!((real.value(0), real.value(1), real.is_null(2)), (1.0, 2.5, true));
    assert_eq!(all.column(3).as_string::<i32>().value(2), "c");
    let bytes = all.column(4).as_binary::<i32>();
    assert_eq!((bytes.value(0), bytes.is_null(1), bytes.value(2)), (&[0, 255][..], true, &[][..]));
    let mixed: Vec<_> = all.column(5).as_string::<i32>().iter().flatten().collect();
    assert_eq!(mixed, ["1", "two", "2.5"], "no type in common");
    let (_, last) = read("/v1/tables/things?order=desc&limit=1");
    assert_eq!(last[0].column(0).as_primitive::<types::Int64Type>().value(0), 3);
    let (types, none) = read("/v1/tables/things?from=9");
    assert_eq!((types[1].clone(), types[2].clone(), none.len()), (Int64, Float64, 0));
    shop.change("INSERT INTO Thing (id, whole) VALUES (4, 0.5)");
    let (types, _) = read("/v1/tables/things");
    assert_eq!(types[1], Utf8, "half is no whole number, and the large one no float");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_records_come_in_several_batches() {
    let shop = shop();
    shop.change(
        "WITH RECURSIVE n (i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 9999)
         INSERT INTO Thing SELECT i, i, i / 2.0, 'name ' || i, NULL, NULL FROM n",
    );
    shop.track(TABLE);
    let running = shop.serve(TABLE).await;
    let (_, all) = tokio::task::block_in_place(|| batches(running.address, "/v1/tables/things"));
    assert!(1 < all.len(), "{}", all.len());
    assert_eq!(all.iter().map(RecordBatch::num_rows).sum::<usize>(), 9_993);
    let ids =
        all.iter().flat_map(|batch| batch.column(0).as_primitive::<types::Int64Type>().values());
    assert!(ids.copied().is_sorted());
    running.stop().await;
}
