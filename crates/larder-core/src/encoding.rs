//! The byte encoding under keys, dependencies, tokens and records: lengths and typed scalars.
//!
//! It stands apart from [`crate::value`] because records and tokens share it. **Invariant**: every
//! item is self-delimiting, so that a sequence of items decodes in exactly one way, and so two
//! different sequences never have the same bytes (MD10).

use crate::error::{Error, ErrorKind};

/// Appends `number` as LEB128: seven bits a byte, low bits first.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while 0x80 <= number {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push((number & 0x7f) as u8);
}

/// Appends the length of `bytes`, then the bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads what the `put_` functions wrote. Every method fails, and never panics, on foreign bytes.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What was not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        match self.rest.split_at_checked(count) {
            Some((head, rest)) => {
                self.rest = rest;
                Ok(head)
            }
            None => Err(corrupt(format!("{count} bytes wanted, {} left", self.rest.len()))),
        }
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Error> {
        match self.take(1)? {
            [byte] => Ok(*byte),
            _ => Err(corrupt("a byte is missing")),
        }
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Error> {
        let bytes = self.take(8)?;
        bytes.try_into().map(u64::from_le_bytes).map_err(|_| corrupt("8 bytes are missing"))
    }

    pub(crate) fn varint(&mut self) -> Result<u64, Error> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && 1 < bits {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(corrupt("a length has more than 64 bits"))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Error> {
        let length = self.varint()?;
        let length = usize::try_from(length).map_err(|_| corrupt("a length is over memory"))?;
        self.take(length)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Error> {
        std::str::from_utf8(self.bytes()?).map_err(|_| corrupt("text is not UTF-8"))
    }

    /// Fails unless every byte was read: trailing bytes would make two encodings of one thing.
    pub(crate) fn finish(self) -> Result<(), Error> {
        match self.rest {
            [] => Ok(()),
            rest => Err(corrupt(format!("{} bytes too many", rest.len()))),
        }
    }
}

const CHECKSUM_BYTES: usize = 16;

/// Ends bytes that outlive the process, which began with four that name their version: with a
/// checksum of all of it.
pub(crate) fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = blake3::hash(&bytes);
    bytes.extend(checksum.as_bytes().iter().take(CHECKSUM_BYTES));
    bytes
}

/// A reader of what was written between `magic` and the checksum of [`seal`]; `what` it is, for the
/// error.
pub(crate) fn unseal<'a>(
    bytes: &'a [u8],
    magic: &[u8; 4],
    what: &'static str,
) -> Result<Reader<'a>, Error> {
    let body = bytes.len().checked_sub(CHECKSUM_BYTES).ok_or_else(|| corrupt("too short"))?;
    let (body, checksum) = bytes.split_at(body);
    if !blake3::hash(body).as_bytes().starts_with(checksum) {
        return Err(corrupt(format!("the checksum of the {what} is wrong")));
    }
    let mut reader = Reader::new(body);
    if reader.take(magic.len())? != magic {
        return Err(corrupt(format!("this is no {what} of a known version")));
    }
    Ok(reader)
}

pub(crate) fn corrupt(detail: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Corrupt, "decode").detail(detail)
}
