//! Cursors on the wire: where a page of a table goes on.
//!
//! It holds nothing but keys that its reader was shown, so it is encoded and not signed; what does
//! not fit its table is refused like any other key. **Invariant**: a cursor of another index, or of
//! the other direction, is not taken for one of this.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use larder_table::{Cursor, sql::RowKey};
use serde_json::{Value as Json, json};

use super::key;

/// The direction of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// From the first record on.
    #[default]
    Asc,
    /// From the last record back.
    Desc,
}

impl Order {
    fn name(self) -> &'static str {
        match self {
            Self::Asc => "asc",
            Self::Desc => "desc",
        }
    }
}

/// The cursor as text.
pub fn encoded(cursor: &Cursor<RowKey, RowKey>, index: &str, order: Order) -> String {
    let (key, primary) = (key::shown(cursor.key.values()), key::shown(cursor.primary.values()));
    URL_SAFE_NO_PAD.encode(json!([index, order.name(), key, primary]).to_string())
}

/// The cursor in a text that [`encoded`] gave for this index and direction.
pub fn decoded(text: &str, index: &str, order: Order) -> Option<Cursor<RowKey, RowKey>> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let parts: [Json; 4] = serde_json::from_slice(&bytes).ok()?;
    let [own, direction, key, primary] = &parts;
    if own.as_str() != Some(index) || direction.as_str() != Some(order.name()) {
        return None;
    }
    let values = |json: &Json| {
        let values = json.as_array()?.iter().map(|one| crate::literal::value(one).ok());
        values.collect::<Option<Vec<_>>>().map(RowKey::new)
    };
    Some(Cursor { key: values(key)?, primary: values(primary)? })
}

#[cfg(test)]
mod tests {
    use larder_core::Value;

    use super::*;

    #[test]
    fn a_cursor_reads_back_for_its_index_and_direction_only() {
        let blob: &[u8] = &[0, 255];
        let key = RowKey::new([7.into(), "a,\"b".into(), Value::Null, 1.5.into(), blob.into()]);
        let cursor = Cursor { key, primary: RowKey::new([1.into()]) };
        let text = encoded(&cursor, "time", Order::Desc);
        assert_eq!(decoded(&text, "time", Order::Desc), Some(cursor));
        assert_eq!(decoded(&text, "time", Order::Asc), None);
        assert_eq!(decoded(&text, "device", Order::Desc), None);
        for other in ["", "!", "W10", &text[1..]] {
            assert_eq!(decoded(other, "time", Order::Desc), None, "{other}");
        }
    }
}
