//! Every form of a type that can be stored without names.

extern crate larder as larder_here;

use std::collections::BTreeMap;

use larder_here::Fingerprint;
use serde::{Deserialize, Serialize};

mod inner {
    //! Nothing that the derive writes is in the user's reach, and so nothing of his is in its way.
    #![allow(dead_code, reason = "only there to be in the way")]

    struct String;
    struct Layout;
    trait Stored {}

    #[derive(larder_here::Stored)]
    #[stored(crate = "::larder_here", name = "Line")]
    pub(super) struct r#Type<T, const N: usize> {
        pub(super) r#type: T,
        pub(super) all: [u8; N],
    }
}

#[derive(Serialize, Deserialize, larder_here::Stored)]
#[stored(crate = "::larder_here")]
#[serde(rename_all = "camelCase", deny_unknown_fields, bound(serialize = "T: Serialize"))]
struct Page<T>
where
    T: Clone,
{
    rows: Vec<T>,
    #[stored(name = "next")]
    #[serde(rename = "nextPage", alias = "after")]
    after: Option<Box<Page<T>>>,
    #[serde(skip)]
    seen: std::cell::Cell<bool>,
    #[stored(opaque = "seconds")]
    #[serde(with = "seconds")]
    took: std::time::Instant,
}

mod seconds {
    use std::time::Instant;

    use serde::{Deserializer, Serializer};

    pub fn serialize<S: Serializer>(_: &Instant, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(0)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(_: D) -> Result<Instant, D::Error> {
        unreachable!()
    }
}

#[derive(larder_here::Stored)]
#[stored(crate = "::larder_here")]
struct Unit;

#[derive(larder_here::Stored)]
#[stored(crate = "::larder_here")]
enum Kind {
    Nothing,
    #[stored(name = "One")]
    Single(u8, Unit),
    Named {
        map: BTreeMap<String, (u8, bool)>,
    },
}

#[derive(larder_here::Stored)]
#[stored(crate = "::larder_here")]
enum Never {}

fn main() {
    Fingerprint::of::<Page<Kind2>>("x");
    Fingerprint::of::<inner::Type<Kind, 3>>("x");
    Fingerprint::of::<Never>("x");
}

#[derive(Clone, larder_here::Stored)]
#[stored(crate = "::larder_here")]
struct Kind2(#[stored(name = "first")] u8, String);
