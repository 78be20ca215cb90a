//! Files that hold one large value each, in a directory beside a store or a backup.
//!
//! Apart from `values`, which makes new ones for a store that is open: backups have such a
//! directory too. A file is never changed once it has its name, and no name is given twice.
//! **Invariant**: what is read is what was written, or an error: the row that names a file holds
//! its hash.

use std::{
    borrow::Cow,
    fmt,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use larder_core::{Error, ErrorKind};
use rusqlite::{
    ToSql,
    types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef},
};

use super::{check::Depth, witness::beside};
use crate::error::from_io;

/// What a file is called while it is written.
pub(crate) const PART: &str = "part";

/// The file that is locked while somebody counts on what is there.
const HOLD: &str = "hold";

/// Bytes that are hashed at a time when nobody wants the value.
const STEP_BYTES: usize = 1 << 16;

/// The name of a file: who wrote it, and which of theirs it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name {
    pub(crate) session: u64,
    pub(crate) number: u64,
}

impl Name {
    /// Reads what [`fmt::Display`] wrote, and nothing else.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (session, number) = text.split_at_checked(16)?;
        let read = |digits: &str| u64::from_str_radix(digits, 16).ok();
        let name = Self { session: read(session)?, number: read(number)? };
        (name.to_string() == text).then_some(name)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.session, self.number)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

impl ToSql for Name {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let both = u128::from(self.session) << 64 | u128::from(self.number);
        Ok(both.to_be_bytes().to_vec().into())
    }
}

impl FromSql for Name {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let bytes: &[u8; 16] =
            value.as_blob()?.try_into().map_err(|_| FromSqlError::InvalidType)?;
        let both = u128::from_be_bytes(*bytes);
        #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
        Ok(Self { session: (both >> 64) as u64, number: both as u64 })
    }
}

/// What a row says of its file: how long it is, and the hash of what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) bytes: u64,
    hash: blake3::Hash,
}

impl Reference {
    pub(crate) fn of(content: &[u8]) -> Self {
        Self { bytes: content.len() as u64, hash: blake3::hash(content) }
    }

    /// The length in eight bytes, least first, and the hash in 32.
    pub(crate) fn encode(&self) -> Vec<u8> {
        [&self.bytes.to_le_bytes()[..], self.hash.as_bytes()].concat()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (length, hash) = bytes.split_first_chunk::<8>()?;
        let hash: [u8; 32] = hash.try_into().ok()?;
        Some(Self { bytes: u64::from_le_bytes(*length), hash: hash.into() })
    }
}

/// A directory of value files.
#[derive(Clone, Debug)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    /// That of the store or the backup at `path`, whether it is there or not.
    pub(crate) fn of(path: &Path) -> Self {
        Self(beside(path, "-values"))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn path_of(&self, name: Name) -> PathBuf {
        self.0.join(name.to_string())
    }

    /// Makes the directory if there is none.
    pub(crate) fn make(&self) -> Result<(), Error> {
        match fs::create_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made.map_err(|error| from_io("make a directory of values", &self.0, &error)),
        }
    }

    /// Opens a file; `None` where there is none.
    pub(crate) fn open(&self, name: Name) -> Result<Option<File>, Error> {
        match File::open(self.path_of(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened
                .map(Some)
                .map_err(|error| from_io("read a value file", &self.path_of(name), &error)),
        }
    }

    /// Reads all of a file that was opened.
    ///
    /// # Errors
    /// `Corrupt` when it is not what `reference` says.
    pub(crate) fn read(
        &self,
        name: Name,
        mut file: File,
        reference: &Reference,
    ) -> Result<Vec<u8>, Error> {
        let failed = |error| from_io("read a value file", &self.path_of(name), &error);
        let is = file.metadata().map_err(failed)?.len();
        // Before any memory is taken for it.
        if is != reference.bytes {
            return Err(self.wrong_length(name, is, reference.bytes));
        }
        let mut content = Vec::with_capacity(usize::try_from(is).unwrap_or(0));
        file.read_to_end(&mut content).map_err(failed)?;
        match Reference::of(&content) == *reference {
            true => Ok(content),
            false => Err(self.wrong_hash(name)),
        }
    }

    /// Looks whether a file is what `reference` says, without keeping it.
    ///
    /// # Errors
    /// `Corrupt` when it is not, or is not there.
    pub(crate) fn verify(
        &self,
        name: Name,
        reference: &Reference,
        depth: Depth,
    ) -> Result<(), Error> {
        let failed = |error| from_io("check a value file", &self.path_of(name), &error);
        let Some(mut file) = self.open(name)? else { return Err(self.missing(name)) };
        let is = file.metadata().map_err(failed)?.len();
        if is != reference.bytes {
            return Err(self.wrong_length(name, is, reference.bytes));
        }
        if depth == Depth::Quick {
            return Ok(());
        }
        let (mut hasher, mut buffer) = (blake3::Hasher::new(), vec![0; STEP_BYTES]);
        loop {
            let count = file.read(&mut buffer).map_err(failed)?;
            match buffer.get(..count) {
                None | Some([]) => break,
                Some(read) => hasher.update(read),
            };
        }
        if hasher.finalize() == reference.hash { Ok(()) } else { Err(self.wrong_hash(name)) }
    }

    /// Why a value cannot be read whose file is gone.
    pub(crate) fn missing(&self, name: Name) -> Error {
        self.corrupt(name, "it is missing: put it back, restore a backup, or remove the entry")
    }

    fn wrong_length(&self, name: Name, is: u64, should: u64) -> Error {
        self.corrupt(name, format!("it has {is} bytes instead of {should}"))
    }

    fn wrong_hash(&self, name: Name) -> Error {
        self.corrupt(name, "its checksum is wrong, so it is not what was written")
    }

    fn corrupt(&self, name: Name, detail: impl Into<Cow<'static, str>>) -> Error {
        let subject = self.path_of(name).display().to_string();
        Error::new(ErrorKind::Corrupt, "read a value file").subject(subject).detail(detail)
    }

    /// Gives the file `from` of `source` the name `to` here: a second name where the file system
    /// has that, else a copy. Neither reaches the disk by this.
    pub(crate) fn take_over(&self, source: &Self, from: Name, to: Name) -> Result<Taken, Error> {
        let (from, to) = (source.path_of(from), self.path_of(to));
        match fs::hard_link(&from, &to) {
            Ok(()) => return Ok(Taken::New),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(Taken::There),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(from_io("copy a value file", &from, &error));
            }
            Err(_) => {}
        }
        let aside = to.with_extension(PART);
        fs::copy(&from, &aside)
            .and_then(|_| fs::rename(&aside, &to))
            .inspect_err(|_| drop(fs::remove_file(&aside)))
            .map(|()| Taken::New)
            .map_err(|error| from_io("copy a value file", &to, &error))
    }

    /// Gives the values of `source` that are `wanted` a second name here, where the file
    /// system has that.
    pub(crate) fn link_all(
        &self,
        source: &Self,
        wanted: impl Fn(Name) -> bool,
    ) -> Result<(), Error> {
        let listed = source.list()?;
        if listed.is_empty() {
            return Ok(());
        }
        self.make()?;
        for file in listed {
            if let Listed::Whole(name) = file
                && wanted(name)
            {
                let (from, to) = (source.path_of(name), self.path_of(name));
                fs::hard_link(from, &to)
                    .map_err(|error| from_io("keep a value file", &to, &error))?;
            }
        }
        Ok(())
    }

    /// Removes what is there of larder's but the values that `keeps` names, and the directory if it
    /// is empty then.
    pub(crate) fn clear(&self, keeps: impl Fn(Name) -> bool) -> Result<(), Error> {
        for file in self.list()? {
            let path = match file {
                Listed::Whole(name) if keeps(name) => continue,
                Listed::Whole(name) => self.path_of(name),
                Listed::Part(name) => self.path_of(name).with_extension(PART),
                Listed::Session(_) => continue,
            };
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(from_io("remove a value file", &path, &error));
                }
                _ => {}
            }
        }
        // There may be something in it.
        let _ = fs::remove_dir(&self.0);
        Ok(())
    }

    /// Makes the content of a file reach the disk; whether there is one.
    pub(crate) fn flush(&self, name: Name) -> Result<bool, Error> {
        let path = self.path_of(name);
        // Where only who may write may flush, it is opened for that.
        let opened = fs::OpenOptions::new().read(true).write(cfg!(windows)).open(&path);
        match opened.and_then(|file| file.sync_all()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            flushed => {
                flushed.map(|()| true).map_err(|error| from_io("flush a value file", &path, &error))
            }
        }
    }

    /// Writes the same bytes once more, so that the next flush has something to write.
    pub(crate) fn write_again(&self, name: Name) -> Result<(), Error> {
        let path = self.path_of(name);
        let written = fs::read(&path)
            .and_then(|bytes| fs::OpenOptions::new().write(true).open(&path)?.write_all(&bytes));
        match written {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            written => written.map_err(|error| from_io("write a value file again", &path, &error)),
        }
    }

    /// Makes the names reach the disk.
    pub(crate) fn flush_names(&self) -> Result<(), Error> {
        if !cfg!(unix) {
            return Ok(());
        }
        File::open(&self.0)
            .and_then(|directory| directory.sync_all())
            .map_err(|error| from_io("flush a directory of values", &self.0, &error))
    }

    /// Removes a file, if it is there.
    pub(crate) fn remove(&self, name: Name) -> Result<(), Error> {
        match fs::remove_file(self.path_of(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(from_io("remove a value file", &self.path_of(name), &error))
            }
            _ => Ok(()),
        }
    }

    /// What is there, in no order; nothing where there is no directory.
    pub(crate) fn list(&self) -> Result<Vec<Listed>, Error> {
        let failed = |error: io::Error| from_io("list value files", &self.0, &error);
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut listed = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            listed.extend(name.to_str().and_then(Listed::read));
        }
        Ok(listed)
    }

    /// Keeps every file where it is until the result is dropped; `None` where there is no
    /// directory. Blocks while somebody removes some.
    pub(crate) fn hold(&self) -> Result<Option<Hold>, Error> {
        let Some(file) = self.hold_file()? else { return Ok(None) };
        lock_or_go_on(file.lock_shared())
            .map_err(|error| from_io("hold value files", &self.0, &error))?;
        Ok(Some(Hold(file)))
    }

    /// The right to remove files; `None` while somebody holds them, or where there is no directory.
    pub(crate) fn claim(&self) -> Result<Option<Hold>, Error> {
        let Some(file) = self.hold_file()? else { return Ok(None) };
        match file.try_lock() {
            Err(fs::TryLockError::WouldBlock) => return Ok(None),
            Err(fs::TryLockError::Error(error)) => lock_or_go_on(Err(error))
                .map_err(|error| from_io("remove value files", &self.0, &error))?,
            Ok(()) => {}
        }
        Ok(Some(Hold(file)))
    }

    fn hold_file(&self) -> Result<Option<File>, Error> {
        let options =
            fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).to_owned();
        match options.open(self.0.join(HOLD)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => {
                opened.map(Some).map_err(|error| from_io("hold value files", &self.0, &error))
            }
        }
    }
}

/// Where files cannot be locked, what is lost by it is noticed by who misses it.
pub(crate) fn lock_or_go_on(locked: io::Result<()>) -> io::Result<()> {
    match locked {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
        locked => locked,
    }
}

/// Whether a file was taken over, or was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    New,
    There,
}

/// A lock on a directory, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Hold(#[expect(dead_code, reason = "it holds the lock")] File);

/// A file in such a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    /// A value.
    Whole(Name),
    /// One that is being written, or was when somebody was killed.
    Part(Name),
    /// The mark of a session.
    Session(u64),
}

impl Listed {
    fn read(text: &str) -> Option<Self> {
        match text.split_once('.') {
            None => Name::read(text).map(Self::Whole),
            Some((name, PART)) => Name::read(name).map(Self::Part),
            Some((session, "open")) if session.len() == 16 => {
                u64::from_str_radix(session, 16).ok().map(Self::Session)
            }
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_were_written_and_nothing_else_is() {
        let name = Name { session: 0x00ab, number: u64::MAX };
        assert_eq!(Name::read(&name.to_string()), Some(name));
        let text = name.to_string();
        for other in
            ["", "hold", "+0000000000000ab0000000000000001", &text[1..], &text.to_uppercase()]
        {
            assert_eq!(Name::read(other), None, "{other}");
        }
        assert_eq!(Listed::read(&text), Some(Listed::Whole(name)));
        assert_eq!(Listed::read(&format!("{text}.part")), Some(Listed::Part(name)));
        assert_eq!(Listed::read("00000000000000ab.open"), Some(Listed::Session(0xab)));
        assert_eq!(Listed::read("00000000000000ab.txt"), None);
    }

    #[test]
    fn a_reference_that_is_cut_says_nothing() {
        let reference = Reference::of(b"value");
        let bytes = reference.encode();
        assert_eq!(Reference::decode(&bytes), Some(reference));
        for length in 0..bytes.len() {
            assert_eq!(Reference::decode(&bytes[..length]), None, "{length}");
        }
    }
}
