//! Blocks: a file in sealed pieces, each of which is checked before it is believed.
//!
//! A table is too large to be checked as a whole before its first record is read, and a record must
//! not be read from bytes that nobody checked. It knows nothing of tables. **Invariant**: what is
//! read is what was written, in its order and up to its end, or an error.
//!
//! Each checksum covers the one before it, so that no block can stand elsewhere or be left out; and
//! the last block is empty, so that a file that was cut between two of them is known.

use std::io::{self, Read, Write};

use larder_core::{Error, ErrorKind};

/// What every version of these files begins with; its number follows.
const FAMILY: &[u8; 3] = b"LTS";

/// The version that is written and read.
const VERSION: u8 = b'1';

pub(crate) type Checksum = [u8; 16];

/// Writes blocks.
pub(crate) struct BlockWriter<T> {
    out: T,
    before: Checksum,
}

impl<T: Write> BlockWriter<T> {
    /// Begins a file.
    pub(crate) fn begin(mut out: T) -> io::Result<Self> {
        let [a, b, c] = *FAMILY;
        out.write_all(&[a, b, c, VERSION])?;
        Ok(Self { out, before: Checksum::default() })
    }

    /// Writes a block, which is not empty.
    pub(crate) fn put(&mut self, body: &[u8]) -> io::Result<()> {
        let length = u32::try_from(body.len())
            .map_err(|_| io::Error::other("a record has 4 GiB and more"))?;
        self.before = checksum(&self.before, length, body);
        self.out.write_all(&length.to_le_bytes())?;
        self.out.write_all(body)?;
        self.out.write_all(&self.before)
    }

    /// Ends the file.
    pub(crate) fn end(mut self) -> io::Result<T> {
        self.put(&[])?;
        Ok(self.out)
    }
}

/// Reads them.
pub(crate) struct BlockReader<T> {
    input: T,
    before: Checksum,
    /// Bytes of the file that were not read yet.
    left: u64,
}

impl<T: Read> BlockReader<T> {
    /// Begins with a file of `length` bytes.
    ///
    /// # Errors
    /// `Corrupt` when it is none of these, `Unsupported` when it is of another version,
    /// `Unavailable` when it cannot be read.
    pub(crate) fn begin(input: T, length: u64) -> Result<Self, Error> {
        let mut own = Self { input, before: Checksum::default(), left: length };
        let [a, b, c, version] = own.take()?;
        if [a, b, c] != *FAMILY {
            return Err(corrupt("it is not the file of a table"));
        }
        if version != VERSION {
            let detail = "another version of larder wrote it, in a format that is not known here";
            return Err(Error::new(ErrorKind::Unsupported, READ).detail(detail));
        }
        Ok(own)
    }

    /// The next block; `None` behind the last one.
    ///
    /// # Errors
    /// As [`BlockReader::begin`].
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let length = u32::from_le_bytes(self.take()?);
        // Foreign until it was checked: no memory is taken on its word.
        if self.left < u64::from(length) {
            return Err(cut());
        }
        let mut body = vec![0; length as usize];
        self.fill(&mut body)?;
        let expected = checksum(&self.before, length, &body);
        if self.take::<16>()? != expected {
            return Err(corrupt("a checksum is wrong"));
        }
        self.before = expected;
        match (body.is_empty(), self.left) {
            (false, _) => Ok(Some(body)),
            (true, 0) => Ok(None),
            (true, _) => Err(corrupt("something stands behind its end")),
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or_else(cut)?;
        self.input.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => cut(),
            _ => Error::new(ErrorKind::Unavailable, READ).source(error),
        })
    }
}

pub(crate) const READ: &str = "read the file of table";

pub(crate) fn corrupt(detail: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, READ).detail(detail)
}

fn cut() -> Error {
    corrupt("it ends too early")
}

pub(crate) fn checksum(before: &Checksum, length: u32, body: &[u8]) -> Checksum {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before).update(&length.to_le_bytes()).update(body);
    let hash = hasher.finalize();
    *hash.as_bytes().first_chunk().expect("a hash has more than sixteen bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(blocks: &[&[u8]]) -> Vec<u8> {
        let mut writer = BlockWriter::begin(Vec::new()).unwrap();
        blocks.iter().for_each(|block| writer.put(block).unwrap());
        writer.end().unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        let mut reader = BlockReader::begin(bytes, bytes.len() as u64)?;
        std::iter::from_fn(|| reader.next().transpose()).collect()
    }

    #[test]
    fn blocks_come_as_they_were_written_or_not_at_all() {
        let whole = file(&[b"one", b"three", b"5"]);
        assert_eq!(read(&whole).unwrap(), [&b"one"[..], b"three", b"5"]);
        for end in 0..whole.len() {
            assert_eq!(read(&whole[..end]).unwrap_err().kind(), ErrorKind::Corrupt, "cut at {end}");
        }
        for place in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[place] ^= 1;
            let kind = read(&flipped).unwrap_err().kind();
            let version = place == FAMILY.len();
            let wanted = if version { ErrorKind::Unsupported } else { ErrorKind::Corrupt };
            assert_eq!(kind, wanted, "flipped at {place}");
        }
        let longer = [&whole[..], b"more"].concat();
        assert_eq!(read(&longer).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn block_is_not_believed_in_another_place() {
        let one = file(&[b"one", b"two"]);
        // Length, body and checksum.
        let size = 4 + 3 + 16;
        let (first, second, end) = (4..4 + size, 4 + size..4 + 2 * size, 4 + 2 * size..one.len());
        let parts = |order: &[&std::ops::Range<usize>]| {
            let mut bytes = one[..4].to_vec();
            order.iter().for_each(|range| bytes.extend_from_slice(&one[(*range).clone()]));
            read(&bytes)
        };
        assert!(parts(&[&first, &second, &end]).is_ok());
        assert!(parts(&[&second, &first, &end]).is_err());
        assert!(parts(&[&first, &end]).is_err());
        assert!(parts(&[&first, &first, &second, &end]).is_err());
    }
}
