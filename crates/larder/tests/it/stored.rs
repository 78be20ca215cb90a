//! Values stored without the names of their fields: what another type wrote is a miss.
//!
//! **Invariant** under test: a value is read back by the type that wrote it, or by one that was
//! declared to mean the same; whatever else changed is a miss with a count, never a wrong value.

use std::time::Duration;

use larder::{
    Cache, Codec, Fingerprint, Stored, UntrackedRegion,
    sqlite::store::{SqliteStore, StoreOptions},
};
use larder_testkit::temp::TempDir;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// What is stored first in each test.
mod first {
    use super::{Deserialize, Serialize, Stored};

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Stored)]
    pub(super) struct Quote {
        pub(super) open: u64,
        pub(super) close: u64,
        pub(super) kinds: Vec<Kind>,
        pub(super) note: Option<Box<Note>>,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Stored)]
    pub(super) enum Kind {
        Daily,
        Hourly { hours: u8 },
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Stored)]
    pub(super) struct Note {
        pub(super) text: String,
        pub(super) after: Option<Box<Note>>,
    }
}

use first::{Kind, Note, Quote};

fn quote() -> Quote {
    let note = Note { text: "split".into(), after: None };
    let kinds = vec![Kind::Daily, Kind::Hourly { hours: 4 }];
    Quote { open: 3, close: 300, kinds, note: Some(Box::new(note)) }
}

/// Another life of the process, in which the values of the region are of another type.
fn region<V>(cache: &Cache, codec: Codec<V>) -> UntrackedRegion<u8, V>
where
    V: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let builder = cache.region_weighed::<u8, V>("quotes", |_| 100).ttl(Duration::from_secs(60));
    builder.stored_as(codec).build_untracked().unwrap()
}

struct Place {
    _directory: TempDir,
    store: SqliteStore,
}

impl Place {
    /// A store in which a [`Quote`] lies under 1.
    async fn with_a_quote() -> Self {
        let directory = TempDir::new("stored").unwrap();
        let path = directory.path().join("cache.db");
        let store = SqliteStore::open_with(path, StoreOptions::new()).await.unwrap();
        let place = Self { _directory: directory, store };
        region(&place.cache(), Codec::positional()).insert(&1, quote()).await.unwrap();
        place
    }

    fn cache(&self) -> Cache {
        Cache::builder().store(self.store.clone()).build().unwrap()
    }

    async fn read<V>(&self, codec: Codec<V>) -> (Option<V>, u64)
    where
        V: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
    {
        let region = region(&self.cache(), codec);
        let read = region.get(&1).await.unwrap();
        (read.as_deref().cloned(), region.stats().store_undecodable)
    }

    /// Reads with another type, which must be a miss.
    async fn expect_miss<V>(&self, what: &str)
    where
        V: Stored + Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
    {
        let (value, undecodable) = self.read(Codec::<V>::positional()).await;
        assert!(value.is_none(), "{what} was not noticed");
        assert_eq!(undecodable, 1, "{what} was not counted");
    }
}

/// The first types with one part of them as it is given.
macro_rules! changed {
    ($name:ident { $($field:ident: $ty:ty),* }) => {{
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Stored)]
        struct $name { $($field: $ty),* }
        std::marker::PhantomData::<$name>
    }};
}

async fn expect_miss<V>(place: &Place, _: std::marker::PhantomData<V>, what: &str)
where
    V: Stored + Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
{
    place.expect_miss::<V>(what).await;
}

type Notes = Option<Box<Note>>;

#[tokio::test]
async fn a_value_comes_back_to_the_type_that_wrote_it() {
    let place = Place::with_a_quote().await;
    assert_eq!(place.read(Codec::positional()).await, (Some(quote()), 0));
}

/// S23, MD12: another type is noticed where the bytes themselves would be read without a fault.
#[tokio::test]
async fn a_type_that_changed_is_a_miss_that_is_counted() {
    let place = Place::with_a_quote().await;
    let same = changed!(Quote { open: u64, close: u64, kinds: Vec<Kind>, note: Notes });
    let renamed = changed!(Quote { open: u64, last: u64, kinds: Vec<Kind>, note: Notes });
    let reordered = changed!(Quote { close: u64, open: u64, kinds: Vec<Kind>, note: Notes });
    let retyped = changed!(Quote { open: u64, close: u32, kinds: Vec<Kind>, note: Notes });
    let called = changed!(Price { open: u64, close: u64, kinds: Vec<Kind>, note: Notes });
    let shorter = changed!(Quote { open: u64, close: u64, kinds: Vec<Kind> });
    assert_eq!(place.read(of(same)).await.0.unwrap().close, 300);
    expect_miss(&place, renamed, "another name").await;
    expect_miss(&place, reordered, "another order").await;
    expect_miss(&place, retyped, "another type").await;
    expect_miss(&place, called, "another name of the type").await;
    expect_miss(&place, shorter, "a field that is gone").await;
    place.expect_miss::<Vec<Quote>>("a list in place of one").await;
}

fn of<V>(_: std::marker::PhantomData<V>) -> Codec<V>
where
    V: Stored + Serialize + DeserializeOwned,
{
    Codec::positional()
}

#[tokio::test]
async fn a_change_deep_inside_is_a_miss_that_is_counted() {
    /// What lies in the first types, with its names exchanged.
    mod inside {
        use super::{Deserialize, Serialize, Stored};

        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Stored)]
        pub(super) enum Kind {
            Hourly { hours: u8 },
            Daily,
        }

        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Stored)]
        pub(super) struct Note {
            text: String,
            before: Option<Box<Note>>,
        }
    }
    let place = Place::with_a_quote().await;
    type Other = Option<Box<inside::Note>>;
    let kinds = changed!(Quote { open: u64, close: u64, kinds: Vec<inside::Kind>, note: Notes });
    let notes = changed!(Quote { open: u64, close: u64, kinds: Vec<Kind>, note: Other });
    expect_miss(&place, kinds, "another order of variants").await;
    expect_miss(&place, notes, "another name, two types deep").await;
}

/// S23: compatible types are declared by name, where the name changed or by what was there.
#[tokio::test]
async fn what_was_declared_to_mean_the_same_is_read() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Stored)]
    #[stored(name = "Quote")]
    struct Price {
        #[stored(name = "open")]
        first: u64,
        #[stored(name = "close")]
        last: u64,
        kinds: Vec<Form>,
        note: Notes,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Stored)]
    #[stored(name = "Kind")]
    enum Form {
        Daily,
        #[stored(name = "Hourly")]
        Hours {
            hours: u8,
        },
    }

    let place = Place::with_a_quote().await;
    let (read, _) = place.read(Codec::<Price>::positional()).await;
    assert_eq!(read.unwrap().kinds, [Form::Daily, Form::Hours { hours: 4 }]);

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Stored)]
    #[stored(name = "Kind")]
    enum Longer {
        Daily,
        Hourly { hours: u8 },
        Weekly,
    }

    let longer = changed!(Quote { open: u64, close: u64, kinds: Vec<Longer>, note: Notes });
    let earlier = Codec::<Quote>::positional().fingerprint().unwrap();
    let (read, undecodable) = place.read(of(longer).reads(earlier)).await;
    assert_eq!((read.unwrap().kinds.len(), undecodable), (2, 0));
    expect_miss(&place, longer, "a longer enum without a word").await;
}

#[tokio::test]
async fn bytes_with_names_and_without_are_never_taken_for_each_other() {
    let place = Place::with_a_quote().await;
    assert_eq!(place.read(Codec::<Quote>::message_pack()).await, (None, 1));
    let other = Codec::<Quote>::positional().fingerprinted("another format");
    assert_eq!(place.read(other).await, (None, 1));
    let named = region(&place.cache(), Codec::message_pack());
    named.insert(&1, quote()).await.unwrap();
    assert_eq!(place.read(Codec::<Quote>::positional()).await, (None, 1));
}

#[test]
fn fingerprints_are_those_of_earlier_versions() {
    // Golden: a change here makes every value that was stored without names a miss.
    let golden = [
        (Codec::<Quote>::positional().fingerprint(), 0xceaf_0f50_3635_2ed1),
        (Codec::<Kind>::positional().fingerprint(), 0xf092_7d0b_ca10_c57c),
        (Codec::<Vec<(u8, String)>>::positional().fingerprint(), 0x74bf_cddb_7670_05c0),
    ];
    let expected: Vec<_> =
        golden.iter().map(|(_, bits)| Some(Fingerprint::from_bits(*bits))).collect();
    let prints: Vec<_> = golden.iter().map(|(print, _)| *print).collect();
    assert_eq!(prints, expected);
}
