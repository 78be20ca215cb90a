//! What is kept of a table in a file: of what definition it is, where it stands, its window and its
//! records.
//!
//! Apart from `save` and `restore`, which say when that is true. **Invariant**: what is read is
//! what a table of the same definition wrote, or an error, and nothing was changed by reading it.

use std::{
    io::{self, Read, Write},
    sync::Arc,
};

use larder_core::{Error, ErrorKind, Key, KeyEncoder, Position, key::KeyDecoder};

use crate::{
    blocks::{BlockReader, BlockWriter, READ, corrupt},
    codec::Codec,
    ranges::{Cut, Ranges, Side},
    record::Record,
};

/// Bytes of records in one block, and the last of them beyond it. A tenth would cost a checksum
/// more for each, ten times more would be held in memory at once.
const BLOCK_BYTES: usize = 256 << 10;

/// Everything that makes records of one table those of another when it differs.
#[derive(Clone, Debug)]
pub(crate) struct Described(Vec<(&'static str, Arc<[u8]>)>);

impl Described {
    pub(crate) fn new(parts: impl IntoIterator<Item = (&'static str, Arc<[u8]>)>) -> Self {
        Self(parts.into_iter().collect())
    }

    pub(crate) fn parts(&self) -> Vec<Arc<[u8]>> {
        self.0.iter().map(|(_, bytes)| bytes.clone()).collect()
    }

    /// Fails when another definition wrote `parts`.
    fn check(&self, parts: &[Arc<[u8]>]) -> Result<(), Error> {
        if parts.len() != self.0.len() {
            return Err(corrupt("it describes its table in another way"));
        }
        match self.differing(parts) {
            None => Ok(()),
            Some(what) => Err(Error::new(ErrorKind::Config, READ).detail(format!(
                "a table of another definition wrote it: {what} differ; load this one"
            ))),
        }
    }

    /// What differs in `parts`, of which there are as many.
    pub(crate) fn differing(&self, parts: &[Arc<[u8]>]) -> Option<&'static str> {
        let mut both = self.0.iter().zip(parts);
        both.find(|((_, own), other)| own != *other).map(|((what, _), _)| *what)
    }
}

/// What stands before the records.
#[derive(Clone, Debug)]
pub(crate) struct Head<W> {
    pub(crate) window: Ranges<W>,
    /// Where the feed was.
    pub(crate) position: Position,
    /// From where a later one can go on.
    pub(crate) mark: Vec<u8>,
    pub(crate) count: u64,
}

pub(crate) type CutBytes = (u8, Arc<[u8]>);

/// The parts of a description; the window; the position, the mark, the count of records.
type HeadKey = (Vec<Arc<[u8]>>, Vec<(CutBytes, CutBytes)>, u64, Arc<[u8]>, u64);

const START: u8 = 0;
const BEFORE: u8 = 1;
const BEHIND: u8 = 2;
const END: u8 = 3;

pub(crate) fn encoded<K: Key>(key: &K) -> Arc<[u8]> {
    let mut encoder = KeyEncoder::new(0);
    key.encode(&mut encoder);
    encoder.finish().as_slice().into()
}

pub(crate) fn decoded<K: Key>(bytes: &[u8]) -> Option<K> {
    let mut decoder = KeyDecoder::new(bytes)?;
    K::decode(&mut decoder).filter(|_| decoder.is_at_end())
}

fn put_cut<W: Key>(cut: &Cut<W>) -> CutBytes {
    match cut {
        Cut::Start => (START, Arc::from([])),
        Cut::At(key, Side::Before) => (BEFORE, encoded(key)),
        Cut::At(key, Side::Behind) => (BEHIND, encoded(key)),
        Cut::End => (END, Arc::from([])),
    }
}

fn take_cut<W: Key>((kind, bytes): &CutBytes) -> Option<Cut<W>> {
    match *kind {
        START => Some(Cut::Start),
        BEFORE => Some(Cut::At(decoded(bytes)?, Side::Before)),
        BEHIND => Some(Cut::At(decoded(bytes)?, Side::Behind)),
        END => Some(Cut::End),
        _ => None,
    }
}

/// The cuts of a window as bytes.
pub(crate) fn cuts_of<W: Key + Ord + Clone>(window: &Ranges<W>) -> Vec<(CutBytes, CutBytes)> {
    window.cuts().iter().map(|(low, high)| (put_cut(low), put_cut(high))).collect()
}

/// The window with these cuts; `None` where its keys cannot be read.
pub(crate) fn window_of<W: Key + Ord + Clone>(cuts: &[(CutBytes, CutBytes)]) -> Option<Ranges<W>> {
    let cuts = cuts.iter().map(|(low, high)| Some((take_cut(low)?, take_cut(high)?)));
    cuts.collect::<Option<Vec<_>>>().map(Ranges::of_cuts)
}

impl<W: Key + Ord + Clone> Head<W> {
    fn encode(&self, described: &Described) -> Arc<[u8]> {
        let cuts = cuts_of(&self.window);
        let mark: Arc<[u8]> = self.mark.as_slice().into();
        encoded(&(described.parts(), cuts, self.position.0, mark, self.count))
    }

    fn decode(bytes: &[u8], described: &Described) -> Result<Self, Error> {
        let head = decoded::<HeadKey>(bytes);
        let (parts, cuts, position, mark, count) =
            head.ok_or_else(|| corrupt("its head cannot be read"))?;
        described.check(&parts)?;
        let window = window_of(&cuts).ok_or_else(|| {
            corrupt("its window cannot be read; keys of a window need a `Key::decode`")
        })?;
        Ok(Self { window, position: Position(position), mark: mark.to_vec(), count })
    }

    /// Fails unless what is written of the window can be read back.
    pub(crate) fn check(&self, described: &Described) -> Result<(), Error> {
        let read = Self::decode(&self.encode(described), described);
        if read.is_ok_and(|read| read.window == self.window) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unsupported, "write the file of table").detail(
            "keys of its window cannot be read back; implement `decode` of `larder_core::Key` for \
             their type",
        ))
    }
}

/// Writes a head and records.
pub(crate) fn write<'a, R: Record, W: Key + Ord, T: Write>(
    out: T,
    described: &Described,
    head: &Head<W>,
    records: impl Iterator<Item = &'a R>,
    codec: &Codec<R>,
) -> io::Result<T> {
    let mut blocks = BlockWriter::begin(out)?;
    blocks.put(&head.encode(described))?;
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    for record in records {
        put_record(&mut block, record, codec)?;
        if BLOCK_BYTES <= block.len() {
            blocks.put(&block)?;
            block.clear();
        }
    }
    if !block.is_empty() {
        blocks.put(&block)?;
    }
    blocks.end()
}

/// Reads them; each record is given to `put`.
///
/// # Errors
/// `Corrupt`, `Unsupported` (another version), `Config` (another definition), `Unavailable`, and
/// those of `put` and the codec. Records may have been given before.
pub(crate) fn read<R: Record, W: Key + Ord + Clone>(
    input: impl Read,
    length: u64,
    described: &Described,
    codec: &Codec<R>,
    mut put: impl FnMut(&Head<W>, R) -> Result<(), Error>,
) -> Result<Head<W>, Error> {
    let mut blocks = BlockReader::begin(input, length)?;
    let first = blocks.next()?.ok_or_else(|| corrupt("it has no head"))?;
    let head = Head::decode(&first, described)?;
    let mut count = 0;
    while let Some(block) = blocks.next()? {
        let mut rest = &*block;
        while !rest.is_empty() {
            let (bytes, behind) = first_of(rest).ok_or_else(|| corrupt("a record is cut"))?;
            put(&head, codec.decode(bytes)?)?;
            (rest, count) = (behind, count + 1);
        }
    }
    if count != head.count {
        return Err(corrupt("it has another number of records than it says"));
    }
    Ok(head)
}

/// Appends a record with its length.
pub(crate) fn put_record<R>(out: &mut Vec<u8>, record: &R, codec: &Codec<R>) -> io::Result<()> {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    codec.encode(record, out);
    let length = u32::try_from(out.len() - at - 4)
        .map_err(|_| io::Error::other("a record has 4 GiB and more"))?;
    if let Some(room) = out.get_mut(at..at + 4) {
        room.copy_from_slice(&length.to_le_bytes());
    }
    Ok(())
}

/// The first record of a block, and what stands behind it.
pub(crate) fn first_of(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = rest.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}
