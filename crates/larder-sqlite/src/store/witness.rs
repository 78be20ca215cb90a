//! The witness: a small file beside the store that says how far it got.
//!
//! It stands apart from the store so that whoever copies the store back does not copy this.
//! **Invariant**: it is written before the commit that it speaks of, under the same lock, so that
//! no commit is ahead of it that another process could lose; a file that is torn says nothing.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use larder_core::{Epoch, Error, Position};

use super::life::Life;
use crate::error::from_io;

const MAGIC: &[u8; 8] = b"larderW1";
const NUMBERS: usize = 4;
const BYTES: usize = MAGIC.len() + NUMBERS * 8 + 8;

/// Where the witness of the store at `path` is.
pub(crate) fn path_of(path: &Path) -> PathBuf {
    beside(path, "-witness")
}

/// The file whose name is that of `path` with `suffix` after it.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// What the witness of the store at `path` saw; `None` when there is none, or it cannot be read.
pub(crate) fn read(path: &Path) -> Result<Option<Life>, Error> {
    match fs::read(path_of(path)) {
        Ok(bytes) => Ok(decode(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(from_io("read the witness of the store", path, &error)),
    }
}

/// Notes how far the store at `path` got.
///
/// It reaches the disk when the kernel sees fit: after a failure of power it may be behind, and
/// what it would have noticed is only a file that was copied back at the same time.
pub(crate) fn write(path: &Path, life: &Life) -> Result<(), Error> {
    // In one write, and never shorter in between: a process that is killed leaves the old one or
    // the new one.
    let options = fs::OpenOptions::new().write(true).create(true).truncate(false).to_owned();
    options
        .open(path_of(path))
        .and_then(|mut file| io::Write::write_all(&mut file, &encode(life)))
        .map_err(|error| from_io("write the witness of the store", path, &error))
}

fn encode(life: &Life) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    let numbers = [life.id, life.epoch.0, life.position.0, life.nonce];
    let content = numbers.iter().flat_map(|number| number.to_le_bytes());
    let content: Vec<u8> = MAGIC.iter().copied().chain(content).collect();
    let sum = checksum(&content);
    let whole = content.into_iter().chain(sum);
    bytes.iter_mut().zip(whole).for_each(|(place, byte)| *place = byte);
    bytes
}

fn decode(bytes: &[u8]) -> Option<Life> {
    let bytes: &[u8; BYTES] = bytes.try_into().ok()?;
    let (content, sum) = bytes.split_at(BYTES - 8);
    let numbers = content.strip_prefix(MAGIC)?;
    if checksum(content) != sum {
        return None;
    }
    let (numbers, _) = numbers.as_chunks::<8>();
    let mut numbers = numbers.iter().map(|number| u64::from_le_bytes(*number));
    Some(Life {
        id: numbers.next()?,
        epoch: Epoch(numbers.next()?),
        position: Position(numbers.next()?),
        nonce: numbers.next()?,
    })
}

fn checksum(content: &[u8]) -> [u8; 8] {
    blake3::hash(content).as_bytes().first_chunk::<8>().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_torn_says_nothing() {
        let life = Life { id: 1, epoch: Epoch(u64::MAX), position: Position(3), nonce: 4 };
        let bytes = encode(&life);
        assert_eq!(decode(&bytes), Some(life));
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length]), None, "{length}");
        }
        for at in 0..bytes.len() {
            let mut torn = bytes;
            torn[at] ^= 1;
            assert_eq!(decode(&torn), None, "{at}");
        }
    }
}
