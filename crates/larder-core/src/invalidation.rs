//! An invalidation as data: what to invalidate and how, and the bytes that outlive a crash.
//!
//! It stands apart from [`crate::record`] because it carries no value: an application writes these
//! bytes in the transaction that changes its data, and whoever reads them carries the invalidation
//! out. **Invariant**: bytes that are not exactly what was written are an error when read; half of
//! an invalidation is never carried out.

use crate::{
    dependency::Dependency,
    encoding::{corrupt, put_varint, seal, unseal},
    error::{Error, ErrorKind},
    record::{put_dependency, take_dependency},
};

const MAGIC: &[u8; 4] = b"LRI1";

/// What becomes of the entries that an invalidation reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// They fall: nobody is given one of them again.
    #[default]
    Hard,
    /// They are stale from now on, as if their TTL had just ended: served as such, while they are
    /// loaded again, where and as long as their region's `stale_while_revalidate` allows. Where it
    /// allows nothing they fall.
    Soft,
}

const HARD: u8 = 0;
const SOFT: u8 = 1;

/// What to invalidate, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invalidation {
    mode: Mode,
    dependencies: Vec<Dependency>,
}

impl Invalidation {
    /// An invalidation of nothing yet.
    pub fn new(mode: Mode) -> Self {
        Self { mode, dependencies: Vec::new() }
    }

    /// The mode.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Makes it `mode`.
    pub fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    /// What is to be invalidated, in the order in which it was added.
    pub fn dependencies(&self) -> &[Dependency] {
        &self.dependencies
    }

    /// The bytes of this invalidation: a version, the content, a checksum.
    pub fn encode(&self) -> Vec<u8> {
        encode(self.mode, &self.dependencies)
    }

    /// The bytes of this invalidation in parts of at most `part_bytes_max`, each of them an
    /// invalidation: carrying out all of them is carrying out this one.
    ///
    /// # Errors
    /// `Limit` when a single dependency does not fit.
    ///
    /// # Cost
    /// A few nanoseconds for each byte, times the logarithm of the number of parts.
    pub fn encode_in_parts(&self, part_bytes_max: usize) -> Result<Vec<Vec<u8>>, Error> {
        let mut parts = Vec::new();
        // Halves that wait for their turn, the first at the end: the order is kept.
        let mut waiting = vec![&*self.dependencies];
        while let Some(dependencies) = waiting.pop() {
            let bytes = encode(self.mode, dependencies);
            if bytes.len() <= part_bytes_max {
                parts.push(bytes);
                continue;
            }
            if dependencies.len() < 2 {
                return Err(Error::new(ErrorKind::Limit, "encode an invalidation").detail(
                    format!(
                        "one dependency takes {} bytes, at most {part_bytes_max} may be; name its \
                     table or a tag instead",
                        bytes.len()
                    ),
                ));
            }
            let (first, second) = dependencies.split_at(dependencies.len() / 2);
            waiting.extend([second, first]);
        }
        Ok(parts)
    }

    /// Reads what [`Invalidation::encode`] wrote.
    ///
    /// # Errors
    /// `Corrupt` for anything else, also for a later version of the format.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = unseal(bytes, MAGIC, "invalidation")?;
        let mode = match reader.byte()? {
            HARD => Mode::Hard,
            SOFT => Mode::Soft,
            other => return Err(corrupt(format!("{other} is no mode of an invalidation"))),
        };
        let count = reader.varint()?;
        let dependencies: Result<_, _> = (0..count).map(|_| take_dependency(&mut reader)).collect();
        let dependencies = dependencies?;
        reader.finish()?;
        Ok(Self { mode, dependencies })
    }
}

impl Extend<Dependency> for Invalidation {
    fn extend<I: IntoIterator<Item = Dependency>>(&mut self, dependencies: I) {
        self.dependencies.extend(dependencies);
    }
}

fn encode(mode: Mode, dependencies: &[Dependency]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.push(match mode {
        Mode::Hard => HARD,
        Mode::Soft => SOFT,
    });
    put_varint(&mut out, dependencies.len() as u64);
    dependencies.iter().for_each(|dependency| put_dependency(&mut out, dependency));
    seal(out)
}
