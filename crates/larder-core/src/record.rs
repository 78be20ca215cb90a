//! The record: one self-describing value as a store keeps it.
//!
//! It carries everything the read rule needs, so that a store may lose, reorder or duplicate
//! records and cause misses only. **Invariant**: bytes that are not exactly what was written are an
//! error when read, never a value.

use std::sync::Arc;

use crate::{
    clock::WallMillis,
    dependency::{Atom, Dependency, DependencySet, Narrowing, Watch, put_narrowing},
    encoding::{Reader, corrupt, put_bytes, put_varint, seal, unseal},
    error::Error,
    layout::Fingerprint,
    span::Span,
    timeline::{Epoch, Position, Stamp, Stamps},
    value::Value,
};

const MAGIC: &[u8; 4] = b"LRD1";

/// The same with a fingerprint after the version.
const MAGIC_PRINTED: &[u8; 4] = b"LRD2";

/// One stored value with its stamps, dependencies and deadlines.
#[derive(Clone, Debug)]
pub struct Record {
    /// The whole key, so that a record found under a wrong key is noticed.
    pub key: Vec<u8>,
    /// What it reflects.
    pub stamps: Stamps,
    /// What it was built from.
    pub dependencies: DependencySet,
    /// What the region called the version of its values.
    pub version: u32,
    /// Of what type the value is, where its bytes do not say it.
    pub fingerprint: Option<Fingerprint>,
    /// When it was stored.
    pub stored: WallMillis,
    /// Fresh before this.
    pub fresh_until: WallMillis,
    /// The encoded value.
    pub value: Vec<u8>,
}

impl Record {
    /// The bytes of this record, checksum included.
    pub fn encode(&self) -> Vec<u8> {
        let magic = if self.fingerprint.is_some() { MAGIC_PRINTED } else { MAGIC };
        let mut out = magic.to_vec();
        put_bytes(&mut out, &self.key);
        put_varint(&mut out, self.stamps.iter().len() as u64);
        for stamp in self.stamps.iter() {
            put_bytes(&mut out, stamp.timeline.as_bytes());
            out.extend_from_slice(&stamp.epoch.0.to_le_bytes());
            put_varint(&mut out, stamp.as_of.0);
        }
        put_varint(&mut out, self.dependencies.len() as u64);
        for dependency in self.dependencies.iter() {
            put_dependency(&mut out, dependency);
        }
        put_varint(&mut out, self.version.into());
        if let Some(fingerprint) = self.fingerprint {
            out.extend_from_slice(&fingerprint.bits().to_le_bytes());
        }
        put_varint(&mut out, self.stored.0);
        put_varint(&mut out, self.fresh_until.0);
        put_bytes(&mut out, &self.value);
        seal(out)
    }

    /// Reads what [`Record::encode`] wrote.
    ///
    /// # Errors
    /// `Corrupt` for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let is_printed = bytes.starts_with(MAGIC_PRINTED);
        let magic = if is_printed { MAGIC_PRINTED } else { MAGIC };
        let mut reader = unseal(bytes, magic, "record")?;
        let key = reader.bytes()?.to_vec();
        let mut stamps = Stamps::new();
        for _ in 0..reader.varint()? {
            let timeline = reader.text()?.into();
            let epoch = Epoch(reader.u64()?);
            stamps.add(Stamp { timeline, epoch, as_of: Position(reader.varint()?) });
        }
        let mut dependencies = DependencySet::new();
        for _ in 0..reader.varint()? {
            dependencies.add(take_dependency(&mut reader)?);
        }
        let version =
            u32::try_from(reader.varint()?).map_err(|_| corrupt("a version is over 32 bits"))?;
        let fingerprint = is_printed.then(|| reader.u64()).transpose()?.map(Fingerprint::from_bits);
        let stored = WallMillis(reader.varint()?);
        let fresh_until = WallMillis(reader.varint()?);
        let value = reader.bytes()?.to_vec();
        reader.finish()?;
        Ok(Self { key, stamps, dependencies, version, fingerprint, stored, fresh_until, value })
    }
}

const ID: u8 = 1;
const SCOPE: u8 = 2;
const TABLE: u8 = 3;
const TAG: u8 = 4;
const EVERYTHING: u8 = 5;
const NARROWED: u8 = 6;

pub(crate) fn put_dependency(out: &mut Vec<u8>, dependency: &Dependency) {
    put_bytes(out, dependency.timeline().as_bytes());
    match dependency.atom() {
        Atom::Id { table, key } => {
            out.push(ID);
            put_bytes(out, table.as_bytes());
            put_varint(out, key.len() as u64);
            key.iter().for_each(|value| value.encode(out));
        }
        Atom::Scope { table, terms, span, watch } => {
            let is_plain = span.is_none() && *watch == Watch::Row;
            out.push(if is_plain { SCOPE } else { NARROWED });
            put_bytes(out, table.as_bytes());
            if !is_plain {
                put_narrowing(out, span.as_ref(), watch);
            }
            put_varint(out, terms.len() as u64);
            for (column, value) in terms {
                put_bytes(out, column.as_bytes());
                value.encode(out);
            }
        }
        Atom::Table(table) => {
            out.push(TABLE);
            put_bytes(out, table.as_bytes());
        }
        Atom::Tag { space, name } => {
            out.push(TAG);
            put_bytes(out, space.as_bytes());
            put_bytes(out, name.as_bytes());
        }
        Atom::Everything => out.push(EVERYTHING),
    }
}

pub(crate) fn take_dependency(reader: &mut Reader<'_>) -> Result<Dependency, Error> {
    let timeline = reader.text()?;
    match reader.byte()? {
        ID => {
            let table = reader.text()?;
            let count = reader.varint()?;
            let key: Result<Vec<_>, _> = (0..count).map(|_| Value::decode(reader)).collect();
            Ok(Dependency::id(timeline, table, key?))
        }
        kind @ (SCOPE | NARROWED) => {
            let table = reader.text()?;
            let narrowing = (kind == NARROWED).then(|| take_narrowing(reader)).transpose()?;
            let count = reader.varint()?;
            let terms: Result<Vec<_>, Error> =
                (0..count).map(|_| Ok((reader.text()?, Value::decode(reader)?))).collect();
            let scope = Dependency::scope(timeline, table, terms?);
            Ok(match narrowing {
                None => scope,
                Some(narrowing) => scope.narrow_to(narrowing),
            })
        }
        TABLE => Ok(Dependency::table(timeline, reader.text()?)),
        TAG => Ok(Dependency::tag_in(reader.text()?, reader.text()?)),
        EVERYTHING => Ok(Dependency::everything(timeline)),
        other => Err(corrupt(format!("{other} is no kind of dependency"))),
    }
}

/// Reads what `put_narrowing` wrote.
fn take_narrowing(reader: &mut Reader<'_>) -> Result<Narrowing, Error> {
    let span = match reader.byte()? {
        0 => None,
        1 => Some((reader.text()?.into(), Span::decode(reader)?)),
        other => return Err(corrupt(format!("{other} is no kind of span"))),
    };
    let watch = match reader.byte()? {
        0 => Watch::Row,
        1 => {
            let count = reader.varint()?;
            let columns: Result<Vec<Arc<str>>, Error> =
                (0..count).map(|_| Ok(reader.text()?.into())).collect();
            Watch::Columns(columns?.into())
        }
        other => return Err(corrupt(format!("{other} is no kind of watch"))),
    };
    Ok((span, watch))
}
