//! A connection of a replica to its owner: versions, each shown when all of it has come.
//!
//! Apart from the replica, which outlives it. **Invariant**: a version is shown whole, after the
//! one that it follows, and by the last connection only.

use std::{fmt, sync::Arc};

use larder_core::{Error, ErrorKind, Key};

use super::{Following, Replica};
use crate::{
    content::{Content, MANY},
    frames::{READ, corrupt},
    incoming::Incoming,
    index::IndexKey,
    lane::AnyRanges,
    message::{Begin, End, Message, each_record},
    origin::Fill,
    ranges::Ranges,
    record::Record,
    snapshot::Snapshot,
    table::{Progress, Table},
};

/// One connection of a replica to its owner. When it is dropped nothing is proven any more.
pub struct Connection<R: Record, W: IndexKey> {
    replica: Replica<R, W>,
    /// By which it is known to be the last one.
    number: u64,
    incoming: Incoming,
    /// The version that was shown last by this connection.
    shown: u64,
    coming: Option<Coming<R, W>>,
}

/// A version of which not everything has come.
struct Coming<R: Record, W> {
    begin: Begin,
    window: Ranges<W>,
    came: Fill<R>,
    went: Vec<R>,
    counts: (u64, u64),
}

impl<R: Record, W: IndexKey + Key> Connection<R, W> {
    pub(super) fn begin(replica: Replica<R, W>, number: u64, incoming: Incoming) -> Self {
        Self { replica, number, incoming, shown: 0, coming: None }
    }

    /// Takes what the owner has sent, and shows each version that is whole.
    ///
    /// # Errors
    /// `Corrupt` when it is not what was sent, or does not follow from what came before; `Limit`
    /// when the records are more than the table may hold; `Conflict` when another connection has
    /// taken the place of this one, or keys are repeated. The connection is of no use then: it is
    /// to be dropped, and another one begun.
    ///
    /// # Cancel safety
    /// Not so: a connection of which this was dropped before it ended is to be dropped, too.
    ///
    /// # Cost
    /// What a change of as many records costs; what takes long is done where no task waits.
    pub async fn take(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.incoming.take(bytes);
        self.replica.0.asking.came(self.incoming.came());
        while let Some(message) = self.incoming.next()? {
            self.hear(message).await?;
        }
        Ok(())
    }

    async fn hear(&mut self, message: Message) -> Result<(), Error> {
        let misplaced = || corrupt("a message stands where it cannot");
        let codec = &self.replica.0.codec;
        match message {
            Message::Beat => {}
            Message::Hello(_) => return Err(misplaced()),
            Message::Begin(begin) => self.expect(begin)?,
            Message::Came(body) => {
                let coming = self.coming.as_mut().ok_or_else(misplaced)?;
                coming.counts.0 += each_record(&body, codec, |record| coming.came.put(record))?;
            }
            Message::Went(body) => {
                let Coming { went, counts, .. } = self.coming.as_mut().ok_or_else(misplaced)?;
                counts.1 += each_record(&body, codec, |record| {
                    went.push(record);
                    Ok(())
                })?;
            }
            Message::End(end) => {
                let coming = self.coming.take().ok_or_else(misplaced)?;
                self.end(coming, end).await?;
            }
        }
        Ok(())
    }

    fn expect(&mut self, begin: Begin) -> Result<(), Error> {
        let follows = begin.from.unwrap_or(0) == self.shown && self.shown < begin.number;
        if !follows || self.coming.is_some() {
            return Err(corrupt("a version does not follow the one before it"));
        }
        let window = begin.window()?;
        let came = Fill::new(self.replica.0.table.0.limits.clone());
        self.coming = Some(Coming { begin, window, came, went: Vec::new(), counts: (0, 0) });
        Ok(())
    }

    /// Everything of a version is there: it is shown.
    async fn end(&mut self, coming: Coming<R, W>, end: End) -> Result<(), Error> {
        let Coming { begin, window, came, went, counts } = coming;
        if (end.number, (end.came, end.went)) != (begin.number, counts) {
            return Err(corrupt("a version lacks something"));
        }
        let replica = self.replica.clone();
        let make = move || {
            let table = &replica.0.table;
            let came = came.finish()?;
            let lane = table.lane(table.0.window.place);
            if came.iter().any(|record| !lane.holds(&window, record)) {
                return Err(corrupt("a record is not in the window: its keys are made otherwise"));
            }
            let now = table.snapshot();
            let content = match begin.from {
                None => now.content.filled(&came, &table.0.limits)?,
                Some(_) => changed(table, &now.content, &went, came)?,
            };
            if content.len() as u64 != end.count {
                return Err(corrupt("a version has another number of records"));
            }
            let window: Arc<dyn AnyRanges> = Arc::new(window);
            Ok(Snapshot { content, window: Some(window), marks: Vec::new(), last: now.last })
        };
        let next = match end.came + end.went < MANY as u64 {
            true => make()?,
            false => match tokio::task::spawn_blocking(make).await {
                Ok(made) => made?,
                Err(error) => return Err(self.replica.0.table.not_made(error)),
            },
        };
        self.show(next, end.number)
    }

    fn show(&mut self, next: Snapshot<R>, number: u64) -> Result<(), Error> {
        let Following { table, asking, .. } = &*self.replica.0;
        let mut old = None;
        let is_last = asking.show(self.number, number, || {
            old = Some(table.0.state.swap(Arc::new(next)));
        });
        if !is_last {
            let detail = "another connection has taken the place of this one";
            return Err(Error::new(ErrorKind::Conflict, READ).detail(detail));
        }
        // Not under the lock.
        drop(old);
        self.shown = number;
        table.0.publications.shown.send_replace(());
        table.0.loaded.send_if_modified(|progress| {
            std::mem::replace(progress, Progress::Done) != Progress::Done
        });
        Ok(())
    }
}

/// The content when these have gone and those have come.
fn changed<R: Record, W: IndexKey>(
    table: &Table<R, W>,
    now: &Content<R>,
    went: &[R],
    came: Vec<Arc<R>>,
) -> Result<Content<R>, Error> {
    let gone: Option<Vec<Arc<R>>> =
        went.iter().map(|record| now.get(&record.key()).cloned()).collect();
    let gone = gone.ok_or_else(|| corrupt("a record goes that was not there"))?;
    now.changed(gone, came, &table.0.limits)
}

impl<R: Record, W: IndexKey> Drop for Connection<R, W> {
    fn drop(&mut self) {
        self.replica.0.asking.close(self.number);
    }
}

impl<R: Record, W: IndexKey> fmt::Debug for Connection<R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("of", &self.replica).finish_non_exhaustive()
    }
}
