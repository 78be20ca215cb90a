//! The mark: from where a later watcher can go on, as bytes that a store keeps for it, and by which
//! watchers of other processes tell whether they follow the same log.
//!
//! It stands apart from [`crate::log`], whose cursors mean something only beside the file and the
//! schema they were read under. **Invariant**: a mark that cannot be read, or does not fit what is
//! there, makes everything a miss; none is ever believed in part.

use larder_core::{Position, feed};

use crate::{
    identity::Identity,
    log::{self, Cursor},
    watcher::followed::Followed,
};

/// The version of the bytes. The first one counted touches without a row in the log, which no two
/// watchers count alike.
const FORMAT: u8 = 2;

const NOTHING: u8 = 0;
const RECORDS: u8 = 1;
const ROWS: u8 = 2;
const ROWS_AND_RECORDS: u8 = 3;

/// How far one watcher came, when it told of a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) file: Identity,
    pub(crate) schema_version: i64,
    /// Where the rows of the log were read up to, if they were.
    pub(crate) rows: Option<Cursor>,
    /// Where the records were, if the database has an outbox.
    pub(crate) records: Option<Cursor>,
}

impl Mark {
    /// The mark as sinks have it, with a place where rows are read; `None` where a later watcher
    /// could not tell the log from another one.
    pub(crate) fn encode(&self) -> Option<feed::Mark> {
        let cursor = self.rows.or(self.records);
        let (seq, nonce) = match cursor {
            Some(Cursor { seq, nonce: Some(nonce) }) => (seq, nonce),
            Some(Cursor { nonce: None, .. }) => return None,
            None => (0, 0),
        };
        let kind = match (self.rows, self.records) {
            (None, None) => NOTHING,
            (None, Some(_)) => RECORDS,
            (Some(_), None) => ROWS,
            (Some(rows), Some(records)) if rows == records => ROWS_AND_RECORDS,
            (Some(_), Some(_)) => return None,
        };
        let (device, inode) = self.file.numbers();
        let mut bytes = vec![FORMAT, kind];
        let numbers = [device, inode];
        let signed = [self.schema_version, seq, nonce].map(i64::cast_unsigned);
        for number in numbers.into_iter().chain(signed) {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        let place = self.rows.map(|rows| Position(log::position(rows.seq)));
        Some(feed::Mark { bytes, place })
    }

    /// Reads what [`Mark::encode`] wrote.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&[FORMAT, kind], rest) = bytes.split_first_chunk::<2>()? else { return None };
        let (numbers, []) = rest.as_chunks::<8>() else { return None };
        let numbers: Vec<u64> = numbers.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        let &[device, inode, schema_version, seq, nonce] = &*numbers else { return None };
        let cursor = Cursor { seq: seq.cast_signed(), nonce: Some(nonce.cast_signed()) };
        let (rows, records) = match kind {
            NOTHING => (None, None),
            RECORDS => (None, Some(cursor)),
            ROWS => (Some(cursor), None),
            ROWS_AND_RECORDS => (Some(cursor), Some(cursor)),
            _ => return None,
        };
        let file = Identity::of_numbers(device, inode);
        let schema_version = schema_version.cast_signed();
        Some(Self { file, schema_version, rows, records })
    }

    /// How far the records were followed, for a watcher that finds `file` under `schema_version`.
    pub(crate) fn followed(&self, file: Identity, schema_version: i64) -> Followed {
        let is_same = (self.file, self.schema_version) == (file, schema_version);
        match self.records {
            Some(cursor) => Followed::Upto(self.file, cursor),
            None if is_same => Followed::NoOutbox,
            // There may have been one in between.
            None => Followed::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_comes_back_as_it_was_and_nothing_else_does() {
        let cursor = Cursor { seq: 7, nonce: Some(-3) };
        let file = Identity::of_numbers(1, 2);
        for (rows, records) in
            [(None, None), (None, Some(cursor)), (Some(cursor), None), (Some(cursor), Some(cursor))]
        {
            let mark = Mark { file, schema_version: 5, rows, records };
            let feed::Mark { bytes, place } = mark.encode().unwrap();
            assert_eq!(Mark::decode(&bytes), Some(mark));
            assert_eq!(place, rows.map(|_| Position(7)));
            assert_eq!(Mark::decode(&bytes[1..]), None);
        }
        // An emptied log looks like any other.
        let emptied = Some(Cursor { seq: 7, nonce: None });
        let mark = Mark { file, schema_version: 5, rows: emptied, records: None };
        assert_eq!(mark.encode(), None);
    }
}
