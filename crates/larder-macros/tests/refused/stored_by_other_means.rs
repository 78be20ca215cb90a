//! What serde would write is not what is declared.

use larder::Stored;
use serde::Serialize;

#[derive(Serialize, Stored)]
struct Quote {
    #[serde(skip_serializing_if = "Option::is_none")]
    close: Option<f64>,
    #[serde(flatten)]
    rest: Rest,
    #[serde(with = "other")]
    open: f64,
}

#[derive(Serialize, Stored)]
struct Rest {
    high: f64,
}

#[derive(Serialize, Stored)]
#[serde(untagged)]
enum Kind {
    Open,
    #[serde(skip)]
    Close,
}

mod other {
    pub fn serialize<S: serde::Serializer>(_: &f64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(0)
    }
}

fn main() {}
