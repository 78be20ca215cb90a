//! Outgoing: a table as it is sent to one that follows it.
//!
//! Apart from `published`, which says what may be sent. It makes bytes, and whoever has a
//! connection sends them. **Invariant**: what was sent up to the end of a version is that version,
//! whole; who is slow misses versions, and never a part of one.
//!
//! # Implementation notes
//!
//! What differs is found when it is sent, between the version that was sent last and the newest
//! one, by the blocks that they do not share. So a follower costs nothing while nothing changes,
//! and one that takes nothing for an hour gets one version when it goes on, whatever happened; what
//! is held for it are the blocks of the version that it has.

use std::{
    collections::BTreeMap,
    fmt,
    future::{Future as _, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use larder_core::{Error, Key};
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    codec::Codec,
    content::MANY,
    frames::FrameWriter,
    index::IndexKey,
    kept::cuts_of,
    lane::typed,
    message::{self, Begin, End, Fate, Hello},
    published::Published,
    record::Record,
    table::Table,
    tree::Differences,
};

/// A table on its way to one replica: [`Table::outgoing`].
pub struct Outgoing<R: Record, W: IndexKey> {
    table: Table<R, W>,
    codec: Codec<R>,
    frames: FrameWriter,
    hello: Option<Vec<u8>>,
    last: watch::Receiver<Option<Arc<Published<R>>>>,
    shown: watch::Receiver<()>,
    sent: Option<Arc<Published<R>>>,
    /// Many changes that are being found.
    making: Option<JoinHandle<Sending<R>>>,
    sending: Option<Sending<R>>,
}

/// A version that is being sent.
struct Sending<R> {
    version: Arc<Published<R>>,
    from: Option<u64>,
    stage: Stage,
    came: Parts<R>,
    went: Parts<R>,
    counts: (u64, u64),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Begin,
    Went,
    Came,
    End,
}

/// Records that are still to be sent.
enum Parts<R> {
    /// All of the version, from this rank on.
    All(usize),
    Some(std::vec::IntoIter<Arc<R>>),
}

impl<R: Record, W: IndexKey + Key> Table<R, W> {
    /// This table as it is sent to one replica of it, which decodes records by the same codec.
    /// `about` is said first, for whoever has to know the table before it can be followed.
    pub fn outgoing(&self, codec: &Codec<R>, about: Vec<u8>) -> Outgoing<R, W> {
        let publications = &self.0.publications;
        let parts = self.described_to_others(codec).parts();
        let hello = Hello { life: publications.life, about, parts };
        Outgoing {
            table: self.clone(),
            codec: codec.clone(),
            frames: FrameWriter::default(),
            hello: Some(hello.encode()),
            last: publications.last.subscribe(),
            shown: publications.shown.subscribe(),
            sent: None,
            making: None,
            sending: None,
        }
    }
}

impl<R: Record, W: IndexKey + Key> Outgoing<R, W> {
    /// The next bytes to send, some ten kilobytes; waits until there is something.
    ///
    /// # Errors
    /// `Limit` when a record is too large to be sent; the connection is to end then.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Vec<u8>, Error> {
        if let Some(hello) = self.hello.take() {
            let mut out = FrameWriter::preface().to_vec();
            self.frames.put(&hello, &mut out)?;
            return Ok(out);
        }
        loop {
            if let Some(making) = &mut self.making {
                let made = making.await;
                self.making = None;
                self.sending = Some(made.map_err(|error| self.table.not_made(error))?);
            }
            if let Some(bytes) = self.go_on()? {
                return Ok(bytes);
            }
            // Seen before it is looked: what is shown from here on rings again.
            self.last.mark_unchanged();
            self.shown.mark_unchanged();
            if let Some(version) = self.newest() {
                self.begin(version);
                continue;
            }
            // The table is held here, so that neither can end.
            let (mut last, mut shown) = (pin!(self.last.changed()), pin!(self.shown.changed()));
            poll_fn(|context| {
                let is_ready = last.as_mut().poll(context).is_ready()
                    || shown.as_mut().poll(context).is_ready();
                if is_ready { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }
    }

    /// Bytes that say nothing but that the owner is there.
    ///
    /// # Errors
    /// None; as [`Outgoing::next`].
    pub fn beat(&mut self) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        self.frames.put(&message::beat(), &mut out)?;
        Ok(out)
    }

    /// The newest version, unless it was sent.
    fn newest(&self) -> Option<Arc<Published<R>>> {
        // What is in doubt now was shown before under a number, if somebody asked for that.
        let newest = self.table.published().or_else(|| self.last.borrow().clone())?;
        let sent = self.sent.as_ref().map_or(0, |sent| sent.number);
        (sent < newest.number).then_some(newest)
    }

    /// Begins to send a version; many changes are found where no task waits.
    fn begin(&mut self, version: Arc<Published<R>>) {
        let Some(sent) = self.sent.clone() else {
            self.sending = Some(Sending::whole(version));
            return;
        };
        let tree = &version.content.primary().tree;
        let differences = tree.differences(&sent.content.primary().tree);
        let count = differences.before.len() + differences.after.len();
        let codec = self.codec.clone();
        let make = move || Sending::changes(sent.number, version, differences, &codec);
        match count < MANY {
            true => self.sending = Some(make()),
            false => self.making = Some(tokio::task::spawn_blocking(make)),
        }
    }

    /// The next bytes of the version that is being sent.
    fn go_on(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let Some(sending) = &mut self.sending else { return Ok(None) };
        let (body, ended) = sending.next::<W>(&self.codec)?;
        let mut out = Vec::with_capacity(body.len() + 32);
        self.frames.put(&body, &mut out)?;
        if ended {
            self.sent = self.sending.take().map(|sending| sending.version);
        }
        Ok(Some(out))
    }
}

impl<R: Record> Sending<R> {
    fn whole(version: Arc<Published<R>>) -> Self {
        let (came, went) = (Parts::All(0), Parts::Some(Vec::new().into_iter()));
        Self { version, from: None, stage: Stage::Begin, came, went, counts: (0, 0) }
    }

    fn changes(
        from: u64,
        version: Arc<Published<R>>,
        differences: Differences<R>,
        codec: &Codec<R>,
    ) -> Self {
        let (came, went) = changes(differences, codec);
        let (came, went) = (Parts::Some(came.into_iter()), Parts::Some(went.into_iter()));
        Self { version, from: Some(from), stage: Stage::Begin, came, went, counts: (0, 0) }
    }

    /// The next message, and whether it is the last.
    fn next<W: IndexKey + Key>(&mut self, codec: &Codec<R>) -> Result<(Vec<u8>, bool), Error> {
        if self.stage == Stage::Begin {
            self.stage = Stage::Went;
            let window = cuts_of(typed::<W>(&*self.version.window));
            let (from, number) = (self.from, self.version.number);
            return Ok((Begin { from, number, window }.encode(), false));
        }
        if self.stage == Stage::Went {
            if let Some((body, count)) = self.went.message(Fate::Goes, &self.version, codec)? {
                self.counts.1 += count;
                return Ok((body, false));
            }
            self.stage = Stage::Came;
        }
        if self.stage == Stage::Came {
            if let Some((body, count)) = self.came.message(Fate::Comes, &self.version, codec)? {
                self.counts.0 += count;
                return Ok((body, false));
            }
            self.stage = Stage::End;
        }
        let ((came, went), number) = (self.counts, self.version.number);
        let count = self.version.content.len() as u64;
        Ok((End { number, came, went, count }.encode(), true))
    }
}

impl<R: Record> Parts<R> {
    fn message(
        &mut self,
        fate: Fate,
        version: &Published<R>,
        codec: &Codec<R>,
    ) -> Result<Option<(Vec<u8>, u64)>, Error> {
        match self {
            Self::Some(records) => message::records(fate, records, codec),
            Self::All(rank) => {
                let tree = &version.content.primary().tree;
                let mut rest = tree.rows(*rank, tree.len()).map(|(_, record)| record.clone());
                let made = message::records(fate, &mut rest, codec)?;
                *rank += made.as_ref().map_or(0, |(_, count)| usize::try_from(*count).unwrap_or(0));
                Ok(made)
            }
        }
    }
}

/// The records that come and those that go.
fn changes<R: Record>(differences: Differences<R>, codec: &Codec<R>) -> (Vec<Arc<R>>, Vec<Arc<R>>) {
    let Differences { before, after: mut came } = differences;
    let mut went: BTreeMap<R::Key, Arc<R>> =
        before.into_iter().map(|record| (record.key(), record)).collect();
    let (mut one, mut other) = (Vec::new(), Vec::new());
    let mut is_equal = |old: &R, new: &R| {
        [&mut one, &mut other].into_iter().for_each(Vec::clear);
        codec.encode(old, &mut one);
        codec.encode(new, &mut other);
        one == other
    };
    // What is in both only stands in another block, or was loaded again as it was. What comes under
    // a key that was there takes its place, and need not go.
    came.retain(|record| match went.remove(&record.key()) {
        Some(old) => !Arc::ptr_eq(&old, record) && !is_equal(&old, record),
        None => true,
    });
    (came, went.into_values().collect())
}

impl<R: Record, W: IndexKey> fmt::Debug for Outgoing<R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sent = self.sent.as_ref().map(|sent| sent.number);
        f.debug_struct("Outgoing").field("table", &self.table).field("sent", &sent).finish()
    }
}
