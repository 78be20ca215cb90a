//! Records: what was written, or an error.

use larder_core::{
    Dependency, DependencySet, Epoch, ErrorKind, Fingerprint, Position, Stamp, Stamps, Value,
    clock::WallMillis, record::Record,
};
use proptest::prelude::*;

use crate::generate::any_dependency;

fn record() -> Record {
    let stamp = |name: &str, epoch, as_of| Stamp {
        timeline: name.into(),
        epoch: Epoch(epoch),
        as_of: Position(as_of),
    };
    Record {
        key: b"region and key".to_vec(),
        stamps: [stamp("app", 1, 2), stamp("shop", u64::MAX, 300)].into_iter().collect(),
        dependencies: [
            Dependency::id("shop", "Album", [Value::from(7i64), "x".into(), Value::Null]),
            Dependency::scope("shop", "Album", [("ArtistId", 90i64)]),
            Dependency::table("shop", "Artist"),
            Dependency::tag("front"),
            Dependency::everything("depot"),
        ]
        .into_iter()
        .collect(),
        version: 3,
        fingerprint: None,
        stored: WallMillis(1_700_000_000_000),
        fresh_until: WallMillis(u64::MAX),
        value: b"the value".to_vec(),
    }
}

fn assert_same(a: &Record, b: &Record) {
    assert_eq!((&a.key, &a.value), (&b.key, &b.value));
    assert_eq!((&a.stamps, a.fingerprint), (&b.stamps, b.fingerprint));
    assert_eq!((a.version, a.stored, a.fresh_until), (b.version, b.stored, b.fresh_until));
    let list = |set: &DependencySet| set.iter().cloned().collect::<Vec<_>>();
    assert_eq!(list(&a.dependencies), list(&b.dependencies));
    assert_eq!(a.dependencies.digests(), b.dependencies.digests());
}

#[test]
fn a_record_comes_back_as_it_was() {
    assert_same(&Record::decode(&record().encode()).unwrap(), &record());
}

#[test]
fn a_record_is_written_as_it_was_by_earlier_versions() {
    // Golden: what is stored today must be read, or be a miss, tomorrow.
    let sums = |record: &Record| {
        let bytes = record.encode();
        (bytes.len(), blake3::hash(&bytes).to_hex()[..16].to_owned())
    };
    let plain = record();
    let printed = Record { fingerprint: Some(Fingerprint::from_bits(7)), ..record() };
    assert_eq!(sums(&plain), (181, "4833b319a1904e94".to_owned()));
    assert_eq!(sums(&printed), (189, "679f84427eeb4206".to_owned()));
    assert_same(&Record::decode(&printed.encode()).unwrap(), &printed);
}

#[test]
fn a_record_that_was_cut_is_an_error() {
    let bytes = record().encode();
    for length in 0..bytes.len() {
        let error = Record::decode(&bytes[..length]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn a_record_with_any_bit_changed_is_an_error() {
    let bytes = record().encode();
    for bit in 0..bytes.len() * 8 {
        let mut other = bytes.clone();
        other[bit / 8] ^= 1 << (bit % 8);
        assert!(Record::decode(&other).is_err(), "bit {bit}");
    }
}

#[test]
fn bytes_after_a_record_are_an_error() {
    let mut bytes = record().encode();
    bytes.push(0);
    assert!(Record::decode(&bytes).is_err());
    assert!(Record::decode(&[record().encode(), record().encode()].concat()).is_err());
}

proptest! {
    #[test]
    fn every_record_comes_back_as_it_was(
        key in proptest::collection::vec(any::<u8>(), 0..200),
        value in proptest::collection::vec(any::<u8>(), 0..200),
        dependencies in proptest::collection::vec(any_dependency(), 0..6),
        stamps in proptest::collection::vec(("[a-c]{0,3}", any::<u64>(), any::<u64>()), 0..4),
        times in any::<(u64, u64)>(),
        fingerprint in any::<Option<u64>>(),
    ) {
        let stamps: Stamps = stamps
            .into_iter()
            .map(|(name, epoch, as_of)| Stamp {
                timeline: name.into(),
                epoch: Epoch(epoch),
                as_of: Position(as_of),
            })
            .collect();
        let record = Record {
            key,
            stamps,
            dependencies: dependencies.into_iter().collect(),
            version: u32::MAX,
            fingerprint: fingerprint.map(Fingerprint::from_bits),
            stored: WallMillis(times.0),
            fresh_until: WallMillis(times.1),
            value,
        };
        assert_same(&Record::decode(&record.encode()).unwrap(), &record);
    }

    #[test]
    fn no_foreign_bytes_are_a_record(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Record::decode(&bytes).is_err());
    }
}
