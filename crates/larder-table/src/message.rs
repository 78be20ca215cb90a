//! Messages: what the owner of a table says to one that follows it.
//!
//! Apart from `frames`, which seal them, and from `outgoing` and `replica`, which say when.
//! **Invariant**: what is read is what was said, or an error.

use std::sync::Arc;

use larder_core::{Error, ErrorKind, Key};

use crate::{
    codec::Codec,
    frames::{READ, corrupt},
    kept::{CutBytes, Described, decoded, encoded, first_of, put_record},
    ranges::Ranges,
    record::Record,
};

/// Bytes of records in one message, and the last of them beyond it. A tenth would cost a checksum
/// more for each, ten times more would be held in memory at once for each replica.
pub(crate) const RECORDS_BYTES: usize = 64 << 10;

/// One message.
#[derive(Debug)]
pub(crate) enum Message {
    Hello(Hello),
    /// What follows, up to `End`, leads to a version.
    Begin(Begin),
    /// Records that come.
    Came(Vec<u8>),
    /// Records that go, as they were.
    Went(Vec<u8>),
    End(End),
    /// The owner is there.
    Beat,
}

/// Who speaks, and of what.
#[derive(Clone, Debug)]
pub struct Hello {
    /// The life of the owner's table, which [`crate::Version`] names too.
    pub life: u64,
    /// What whoever offers the stream says of the table, in words of his own.
    pub about: Vec<u8>,
    pub(crate) parts: Vec<Arc<[u8]>>,
}

/// Where a version begins.
#[derive(Debug)]
pub(crate) struct Begin {
    /// What it is made from; nothing without.
    pub(crate) from: Option<u64>,
    pub(crate) number: u64,
    pub(crate) window: Vec<(CutBytes, CutBytes)>,
}

/// Where it is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) number: u64,
    pub(crate) came: u64,
    pub(crate) went: u64,
    /// Records in the version.
    pub(crate) count: u64,
}

const HELLO: u8 = 0;
const BEGIN: u8 = 1;
const CAME: u8 = 2;
const WENT: u8 = 3;
const END: u8 = 4;
const BEAT: u8 = 5;

/// Puts the kind before the rest.
fn of_kind(kind: u8, rest: &[u8]) -> Vec<u8> {
    [&[kind], rest].concat()
}

impl Hello {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let about: Arc<[u8]> = self.about.as_slice().into();
        of_kind(HELLO, &encoded(&(self.life, self.parts.clone(), about)))
    }

    /// Fails when the owner's table is of another definition.
    pub(crate) fn check(&self, own: &Described) -> Result<(), Error> {
        let what = match own.parts().len() == self.parts.len() {
            true => own.differing(&self.parts),
            false => Some("what is said of them"),
        };
        what.map_or(Ok(()), |what| {
            Err(Error::new(ErrorKind::Config, READ).detail(format!(
                "the owner's table is of another definition: {what} differ; define both alike"
            )))
        })
    }
}

impl Begin {
    pub(crate) fn encode(&self) -> Vec<u8> {
        of_kind(BEGIN, &encoded(&(self.from, self.number, self.window.clone())))
    }

    pub(crate) fn window<W: Key + Ord + Clone>(&self) -> Result<Ranges<W>, Error> {
        crate::kept::window_of(&self.window)
            .ok_or_else(|| corrupt("its window cannot be read; keys of it need a `Key::decode`"))
    }
}

impl End {
    pub(crate) fn encode(self) -> Vec<u8> {
        let Self { number, came, went, count } = self;
        of_kind(END, &encoded(&(number, came, went, count)))
    }
}

pub(crate) fn beat() -> Vec<u8> {
    vec![BEAT]
}

/// What becomes of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Comes,
    Goes,
}

/// As many of `records` as go into one message; `None` when there are no more.
pub(crate) fn records<R: Record>(
    fate: Fate,
    records: &mut dyn Iterator<Item = Arc<R>>,
    codec: &Codec<R>,
) -> Result<Option<(Vec<u8>, u64)>, Error> {
    let mut body = vec![if fate == Fate::Comes { CAME } else { WENT }];
    let mut count = 0;
    while body.len() < RECORDS_BYTES
        && let Some(record) = records.next()
    {
        put_record(&mut body, &*record, codec)
            .map_err(|_| corrupt("a record has 4 GiB and more"))?;
        count += 1;
    }
    Ok((0 < count).then_some((body, count)))
}

/// The records of a message, given to `each`; how many there were.
pub(crate) fn each_record<R: Record>(
    mut rest: &[u8],
    codec: &Codec<R>,
    mut each: impl FnMut(R) -> Result<(), Error>,
) -> Result<u64, Error> {
    let mut count = 0;
    while !rest.is_empty() {
        let (bytes, behind) = first_of(rest).ok_or_else(|| corrupt("a record is cut"))?;
        each(codec.decode(bytes)?)?;
        (rest, count) = (behind, count + 1);
    }
    Ok(count)
}

impl Message {
    /// The message of a frame.
    ///
    /// # Errors
    /// `Corrupt` when it is none that is known here.
    pub(crate) fn read(mut body: Vec<u8>) -> Result<Self, Error> {
        let kind = *body.first().ok_or_else(|| corrupt("a message is empty"))?;
        let rest = body.get(1..).unwrap_or_default();
        let unreadable = || corrupt("a message cannot be read");
        match kind {
            HELLO => {
                let hello = decoded::<(u64, Vec<Arc<[u8]>>, Arc<[u8]>)>(rest);
                let (life, parts, about) = hello.ok_or_else(unreadable)?;
                Ok(Self::Hello(Hello { life, about: about.to_vec(), parts }))
            }
            BEGIN => {
                let begin = decoded::<(Option<u64>, u64, Vec<(CutBytes, CutBytes)>)>(rest);
                let (from, number, window) = begin.ok_or_else(unreadable)?;
                Ok(Self::Begin(Begin { from, number, window }))
            }
            END => {
                let end = decoded::<(u64, u64, u64, u64)>(rest);
                let (number, came, went, count) = end.ok_or_else(unreadable)?;
                Ok(Self::End(End { number, came, went, count }))
            }
            CAME | WENT => {
                body.remove(0);
                Ok(if kind == CAME { Self::Came(body) } else { Self::Went(body) })
            }
            BEAT if rest.is_empty() => Ok(Self::Beat),
            _ => Err(corrupt("a message is of a kind that is not known here")),
        }
    }
}
