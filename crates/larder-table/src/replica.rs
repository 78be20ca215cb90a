//! Replica: a table that follows another one, of another process, and is read in its place.
//!
//! Apart from `follow`, which hears of rows and knows an origin: a replica is sent whole versions
//! of its owner's table, and has nobody else to ask. How bytes come to it is not said here.
//! **Invariant**: what a replica shows is one version of its owner; and a read shows one that is at
//! least as new as what the owner would have shown at some moment that is not longer ago than the
//! replica's `max_staleness`.
//!
//! Reading order: `asking`, how old what it shows may be taken to be; `connection`, how it comes.

mod asking;

mod connection;

use std::{fmt, sync::Arc, time::Duration};

use larder_core::{Clock, Error, Key};

pub use self::{
    asking::{Owner, ReplicaStats},
    connection::Connection,
};

use self::asking::Asking;

use crate::{
    codec::Codec,
    definition::Definition,
    follow::Followed,
    frames::corrupt,
    incoming::Incoming,
    index::{Index, IndexKey},
    kept::Described,
    record::Record,
    table::Table,
};

/// A table that follows another one: [`Definition::replica`]. Cloning shares it.
pub struct Replica<R: Record, W: IndexKey>(Arc<Following<R, W>>);

struct Following<R: Record, W: IndexKey> {
    table: Table<R, W>,
    codec: Codec<R>,
    described: Described,
    asking: Arc<Asking>,
}

impl<R: Record> Definition<R> {
    /// A table that follows the one of another process, which is `called` so in errors; connections
    /// bring to it what that sends ([`Table::outgoing`]). It has no loaders: what is outside the
    /// owner's window is asked of the owner.
    ///
    /// The definition has the indexes of the owner's under the same names, in the same order, and
    /// the same index of the window; `codec` reads what the owner's wrote. Windows and records are
    /// changed at the owner only.
    ///
    /// A read asks the owner first where the last question was asked longer than `max_staleness`
    /// ago, and at zero each time: then it sees all that the owner's origin showed when it began.
    /// It waits for the answer, for the connection and for what it has to be sent, at most as long
    /// as [`Definition::wait_for_load`] says.
    ///
    /// # Errors
    /// As [`Definition::build`]; `Config` when the codec or keys of the window cannot be compared.
    pub fn replica<W: IndexKey + Key>(
        mut self,
        window: &Index<R, W>,
        called: &str,
        owner: Arc<dyn Owner>,
        codec: Codec<R>,
        clock: Clock,
        max_staleness: Duration,
    ) -> Result<Replica<R, W>, Error> {
        // Never called: a table must have one, and a replica loads nothing (`Table::ask`).
        self.loads_by(window, |_, _| std::future::ready(Ok(())));
        let table = self.build(window)?;
        let asking = Arc::new(Asking::new(owner, called, clock.clone(), table.wait()));
        let proven = asking.proven();
        table.set_followed(Followed::owner(asking.clone(), proven, clock, max_staleness))?;
        let described = table.described_to_others(&codec);
        Ok(Replica(Arc::new(Following { table, codec, described, asking })))
    }
}

impl<R: Record, W: IndexKey + Key> Replica<R, W> {
    /// The table, to be read.
    pub fn table(&self) -> &Table<R, W> {
        &self.0.table
    }

    /// A connection to the owner begins, over which `incoming` comes, with what it has brought so
    /// far. Whatever an earlier one brings is refused from now on.
    ///
    /// # Errors
    /// `Config` when the owner's table is of another definition; those of [`Incoming::hello`], and
    /// `Corrupt` when it has not said what it is of.
    pub fn connect(&self, mut incoming: Incoming) -> Result<Connection<R, W>, Error> {
        let asking = &self.0.asking;
        let hello = incoming.hello()?.ok_or_else(|| corrupt("it has not said what it is of"))?;
        hello.check(&self.0.described)?;
        let number = asking.open(hello.life);
        Ok(Connection::begin(self.clone(), number, incoming))
    }

    /// How it is, and what has come.
    pub fn stats(&self) -> ReplicaStats {
        self.0.asking.stats()
    }
}

impl<R: Record, W: IndexKey> Clone for Replica<R, W> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<R: Record, W: IndexKey> fmt::Debug for Replica<R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica")
            .field("table", &self.0.table)
            .field("owner", &self.0.asking.called)
            .finish_non_exhaustive()
    }
}
