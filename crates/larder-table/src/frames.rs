//! Frames: messages in sealed pieces, each of which is checked before it is believed.
//!
//! Apart from `blocks`, which is a file with an end: these come one by one for as long as a
//! connection lasts, in pieces of any length. It knows nothing of tables. **Invariant**: what is
//! taken out is what was put in, in its order, or an error; and after an error nothing.
//!
//! Each checksum covers the one before it, so that no frame can be left out or come twice.

use larder_core::{Error, ErrorKind};

use crate::blocks::{Checksum, checksum};

/// What every connection begins with; the last byte is the version of all that follows.
const PREFACE: [u8; 4] = *b"LTR1";

/// Bytes of one frame at most: some hundred times what is put into one on purpose, for single
/// records that are large. Memory is taken as bytes come and not on the word of a length.
const FRAME_BYTES_MAX: usize = 64 << 20;

/// Makes frames.
#[derive(Debug, Default)]
pub(crate) struct FrameWriter {
    before: Checksum,
}

impl FrameWriter {
    /// What stands before the first frame.
    pub(crate) fn preface() -> &'static [u8] {
        &PREFACE
    }

    /// Appends a frame with this body to `out`.
    ///
    /// # Errors
    /// `Limit` when a frame cannot have so much.
    pub(crate) fn put(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= FRAME_BYTES_MAX);
        let length = length.ok_or_else(|| {
            Error::new(ErrorKind::Limit, "send a table").detail(format!(
                "a message has {} bytes, the limit is {FRAME_BYTES_MAX}: a record is too large",
                body.len()
            ))
        })?;
        self.before = checksum(&self.before, length, body);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(body);
        out.extend_from_slice(&self.before);
        Ok(())
    }
}

/// Takes them apart.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    unread: Vec<u8>,
    before: Checksum,
    is_begun: bool,
    is_over: bool,
}

impl FrameReader {
    /// More has come.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        if !self.is_over {
            self.unread.extend_from_slice(bytes);
        }
    }

    /// The next frame, if all of it is there.
    ///
    /// # Errors
    /// `Unsupported` when it is of another version, `Corrupt` when it is not what was sent; then
    /// there is no next one.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let next = self.checked();
        if self.is_over || next.is_err() {
            (self.is_over, self.unread) = (true, Vec::new());
        }
        next
    }

    fn checked(&mut self) -> Result<Option<Vec<u8>>, Error> {
        if self.is_over {
            return Err(corrupt("it went on after something that is wrong"));
        }
        if !self.is_begun {
            let Some((preface, _)) = self.unread.split_first_chunk::<4>() else { return Ok(None) };
            let ([.., own], [.., version]) = (PREFACE, *preface);
            if preface.get(..3) != PREFACE.get(..3) {
                return Err(corrupt("it is not the stream of a table"));
            }
            if version != own {
                let detail = "another version of larder sends it, in a format not known here";
                return Err(Error::new(ErrorKind::Unsupported, READ).detail(detail));
            }
            self.unread.drain(..PREFACE.len());
            self.is_begun = true;
        }
        let Some((length, rest)) = self.unread.split_first_chunk::<4>() else { return Ok(None) };
        let (length, size) = (u32::from_le_bytes(*length), u32::from_le_bytes(*length) as usize);
        if FRAME_BYTES_MAX < size {
            return Err(corrupt("a message is longer than any can be"));
        }
        let Some((body, rest)) = rest.split_at_checked(size) else { return Ok(None) };
        let Some((sent, _)) = rest.split_first_chunk::<16>() else { return Ok(None) };
        let expected = checksum(&self.before, length, body);
        if *sent != expected {
            return Err(corrupt("a checksum is wrong"));
        }
        let body = body.to_vec();
        self.before = expected;
        self.unread.drain(..size_of::<u32>() + size + expected.len());
        Ok(Some(body))
    }
}

pub(crate) const READ: &str = "follow the owner of table";

pub(crate) fn corrupt(detail: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, READ).detail(detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(bodies: &[&[u8]]) -> Vec<u8> {
        let (mut writer, mut out) = (FrameWriter::default(), FrameWriter::preface().to_vec());
        bodies.iter().for_each(|body| writer.put(body, &mut out).unwrap());
        out
    }

    /// What comes of bytes that arrive in pieces of this size.
    fn read(bytes: &[u8], piece: usize) -> (Vec<Vec<u8>>, Option<ErrorKind>) {
        let (mut reader, mut found) = (FrameReader::default(), Vec::new());
        for piece in bytes.chunks(piece) {
            reader.take(piece);
            loop {
                match reader.next() {
                    Ok(Some(body)) => found.push(body),
                    Ok(None) => break,
                    Err(error) => return (found, Some(error.kind())),
                }
            }
        }
        (found, None)
    }

    #[test]
    fn frames_come_as_they_were_sent_however_they_are_cut() {
        let bodies: [&[u8]; 4] = [b"one", b"", b"three", b"5"];
        let whole = sent(&bodies);
        for piece in 1..=whole.len() {
            assert_eq!(read(&whole, piece), (bodies.map(<[u8]>::to_vec).to_vec(), None));
        }
        for end in 0..whole.len() {
            let (found, error) = read(&whole[..end], 3);
            assert!(error.is_none() && found.len() < 4 && bodies.starts_with(&views(&found)));
        }
        for place in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[place] ^= 1;
            let (found, _) = read(&flipped, 7);
            assert!(found.len() < 4 && bodies.starts_with(&views(&found)), "flipped at {place}");
        }
    }

    fn views(found: &[Vec<u8>]) -> Vec<&[u8]> {
        found.iter().map(Vec::as_slice).collect()
    }

    #[test]
    fn frame_that_is_left_out_or_comes_twice_is_an_error() {
        let one = sent(&[b"one", b"two", b"six"]);
        let size = 4 + 3 + 16;
        let frame = |number: usize| &one[4 + number * size..4 + (number + 1) * size];
        for order in [&[0, 2][..], &[0, 0], &[1], &[0, 1, 1], &[1, 0]] {
            let mut bytes = one[..4].to_vec();
            order.iter().for_each(|number| bytes.extend_from_slice(frame(*number)));
            let (found, error) = read(&bytes, bytes.len());
            assert_eq!(error, Some(ErrorKind::Corrupt), "{order:?}");
            assert!(found.len() < order.len());
        }
        let other = [b"LTR2", &one[4..]].concat();
        assert_eq!(read(&other, 9), (Vec::new(), Some(ErrorKind::Unsupported)));
        let endless = [b"LTR1", &u32::MAX.to_le_bytes()[..]].concat();
        assert_eq!(read(&endless, 9), (Vec::new(), Some(ErrorKind::Corrupt)));
    }
}
