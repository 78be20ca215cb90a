//! S11: how long the write-ahead log gets.

use std::{fs, io::Read as _};

use crate::place::{Place, forever, run};

/// How often each log beside the store was begun: SQLite counts it in the header of the log.
fn begun(place: &Place) -> Vec<u32> {
    let logs = fs::read_dir(place.directory()).unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        path.to_str().unwrap().ends_with("-wal").then(|| fs::File::open(path).unwrap())
    });
    let mut header = [0; 16];
    logs.filter_map(|mut log| log.read_exact(&mut header).ok().map(|()| header))
        .map(|[.., a, b, c, d]| u32::from_be_bytes([a, b, c, d]))
        .collect()
}

/// The keeper of these tests comes once an hour.
#[test]
fn a_log_that_is_too_long_is_begun_anew_before_the_keeper_is_due() {
    run(async {
        let place = Place::new();
        let store = place.open_with(place.options().wal_limit(256 << 10)).await;
        let entries = store.entries("r");
        let text = "x".repeat(1000);
        entries.insert("0", forever(&text)).await.unwrap();
        let before = begun(&place);
        let mut count = 0;
        while begun(&place) == before {
            count += 1;
            assert!(count < 2_000, "the log only grows");
            entries.insert(format!("{}", count % 100), forever(&text)).await.unwrap();
        }
        // The same for what the thread writes.
        let (before, durable) = (begun(&place), entries.durable());
        while begun(&place) == before {
            count += 1;
            assert!(count < 4_000, "the log only grows");
            durable.insert(format!("{}", count % 100), forever(&text)).await.unwrap();
        }
    });
}
