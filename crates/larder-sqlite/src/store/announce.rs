//! Announcing: what is invalidated by name, in a line that all caches of a store read.
//!
//! Apart from `standing`, which moves a timeline whose positions its feed gives: here the store
//! gives them, under the lock of the writer, so that caches need not agree on anything before.
//! **Invariant**: an announcement stands in the line, what it touched is buried and the standing of
//! `app` is at its place, all in one transaction; and the line, the standing and the store are in
//! the same life, or whoever comes next begins one.
//!
//! # Implementation notes
//!
//! A and B are caches in two processes, and an entry that both keep hangs on the tag t.
//!
//! *A write against an announcement.* Both are transactions, so one comes first.
//!
//! 1. B loads the entry. A changes what it is built from and announces t.
//! 2. B writes. The line has gone on since B last looked, so B's transaction looks at what A said:
//!    t. Nothing is written. (Where B had looked, its own history says so.)
//! 3. Or B writes first: then A's transaction finds the links and buries the entry.
//!
//! *A read against an announcement.* Entry and standing are from one snapshot. If A's announcement
//! is in it, the entry is gone. If not, the entry is right up to the standing, and B's history is
//! asked about what it has taken up since; what A announces later, B learns when it looks.
//!
//! *Two that announce.* Each finds its own place in its own history at once, before the store gives
//! one, in whatever order; `larder` keeps which is which. None waits for the other's process: only
//! for its transaction.
//!
//! *A process that dies* between its history and the transaction has announced nothing, and told
//! nobody that it had. One that dies after the commit has.
//!
//! *A store that goes back.* A restore puts the store into a new life, and whoever attaches, looks
//! or announces first begins one of the line. Until then a cache that has not noticed judges by its
//! history, which knows more than the line that was restored; after it no standing is of the life
//! that it knows, so that it neither reads nor writes, and at its next look everything falls.

use std::sync::Arc;

use larder_core::{
    Digest, Epoch, Error, Mode, Position,
    announcement::{Announced, Announcement, Cursor, Look, News},
    store::{Begins, SchemesKnown, Standing, Step},
    timeline::APP,
};
use rusqlite::{Connection, Row};

use super::{
    life::{self, Life},
    link, standing,
    writer::Writing,
};

/// Announcements that are kept. A cache that has not looked for longer lets everything fall: ten
/// times fewer are a burst of a few seconds, ten times more could be a third of a gigabyte.
const KEPT: u64 = 4096;

/// Digests of one announcement, 8 bytes each; one that touched more says that everything was. What
/// it buries in the store is exact in any case.
const DIGESTS_MAX: usize = 1024;

/// Characters of the words that tell people what it was.
const WORDS_MAX: usize = 200;

/// What was announced, and where it found the line.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    /// Where the line stood.
    pub(crate) before: Cursor,
    /// As the line has it.
    pub(crate) one: Announcement,
}

/// The standing of `app`, if it is of the life that the store is in.
fn own(connection: &Connection, epoch: Epoch) -> rusqlite::Result<Option<Standing>> {
    let standings = standing::read(connection)?;
    Ok(standings.into_iter().find(|own| *own.timeline == *APP && own.epoch == epoch))
}

/// Where the line stands, in the snapshot of `connection`; `None` where a new life is due.
pub(crate) fn cursor(connection: &Connection, path: &str) -> Result<Option<Cursor>, Error> {
    let Life { epoch, position, nonce, .. } = Life::read(connection, path)?;
    let failed = Writing::failed("look at announcements");
    let own = own(connection, epoch).map_err(failed)?;
    Ok(own.map(|_| Cursor { epoch, position, nonce }))
}

/// Begins a new life of the line if one is due; where it stands.
pub(crate) fn adopt(writing: &mut Writing<'_>, path: &str) -> Result<Cursor, Error> {
    if let Some(cursor) = cursor(writing.connection, path)? {
        return Ok(cursor);
    }
    let failed = Writing::failed("begin a life of the store");
    let Life { epoch, .. } = Life::read(writing.connection, path)?;
    let position = Position::START;
    let begun = Standing { timeline: APP.into(), epoch, position, floor: position, mark: None };
    // No feed goes on in what another life of the store has left.
    writing
        .connection
        .execute_batch("DELETE FROM standing; DELETE FROM announced; DELETE FROM scheme")
        .map_err(failed)?;
    standing::write(writing.connection, &begun).map_err(failed)?;
    let nonce = life::advance(writing, position)?;
    Ok(Cursor { epoch, position, nonce })
}

/// Begins a new life of the line, in place of one that cannot be gone on in.
pub(crate) fn renew(writing: &mut Writing<'_>, path: &str) -> Result<Cursor, Error> {
    let life = Life::read(writing.connection, path)?.renewed()?;
    life.write(writing.connection).map_err(Writing::failed("begin a life of the store"))?;
    adopt(writing, path)
}

/// Carries out a step that is announced by `author`: gives it the next place, buries what it
/// touched, and leaves it to others.
pub(crate) fn announce(
    writing: &mut Writing<'_>,
    path: &str,
    author: u64,
    step: &Step,
    announced: &Announced,
) -> Result<Said, Error> {
    let failed = Writing::failed("announce an invalidation");
    let before = adopt(writing, path)?;
    let connection = writing.connection;
    let own = own(connection, before.epoch).map_err(failed)?.ok_or_else(|| lost(path))?;
    let position = before.position.next();
    bury(connection, before.epoch, step, announced).map_err(failed)?;
    let floor = if step.everything { position } else { own.floor };
    let moved = Standing { position, floor, ..own };
    standing::write(connection, &moved).map_err(failed)?;
    let nonce = life::advance(writing, position)?;
    let cursor = Cursor { epoch: before.epoch, position, nonce };
    let many = DIGESTS_MAX < step.digests.len() + announced.tables.len();
    let one = Announcement {
        cursor,
        author,
        upto: step.position,
        digests: if many { Vec::new() } else { step.digests.clone() },
        everything: many || step.everything,
        mode: announced.mode,
        tables: if many { Vec::new() } else { announced.tables.clone() },
        what: announced.what.clone(),
    };
    write(connection, &one).map_err(failed)?;
    Ok(Said { before, one })
}

/// Buries what a step touched that is announced in the life `epoch`.
pub(crate) fn bury(
    connection: &Connection,
    epoch: Epoch,
    step: &Step,
    announced: &Announced,
) -> rusqlite::Result<()> {
    let is_behind = !announced.tables.is_empty()
        && (announced.epoch != epoch || announced.schemes < link::count_schemes(connection)?);
    let tables = announced.tables.iter().filter(|_| is_behind);
    for digest in step.digests.iter().chain(tables) {
        link::bury(connection, *digest)?;
    }
    Ok(())
}

/// Takes the next place in the line for something that touches nothing.
pub(crate) fn take_place(
    writing: &mut Writing<'_>,
    path: &str,
    what: &str,
) -> Result<Cursor, Error> {
    let announced = Announced {
        mode: Mode::Hard,
        tables: Vec::new(),
        schemes: 0,
        epoch: Epoch::VOID,
        what: what.into(),
    };
    let step = Step {
        timeline: APP.into(),
        epoch: Epoch::VOID,
        begins: Begins::Anew(None),
        position: Position::START,
        digests: Vec::new(),
        tables: Vec::new(),
        schemes: SchemesKnown::NONE,
        everything: false,
        mark: None,
        announced: None,
    };
    announce(writing, path, 0, &step, &announced).map(|said| said.one.cursor)
}

fn lost(path: &str) -> Error {
    Error::new(larder_core::ErrorKind::Corrupt, "announce an invalidation")
        .subject(path)
        .detail("it has no standing of `app`")
}

/// What was announced since `since`, in the snapshot of `connection`; `None` where a new life is
/// due.
pub(crate) fn look(
    connection: &Connection,
    path: &str,
    since: Cursor,
    schemes: usize,
) -> Result<Option<Look>, Error> {
    let failed = Writing::failed("look at announcements");
    let Life { epoch, position, nonce, .. } = Life::read(connection, path)?;
    let known = link::count_schemes(connection).map_err(failed)?;
    let schemes = (known != schemes || since.epoch != epoch)
        .then(|| link::schemes(connection))
        .transpose()?;
    let cursor = Cursor { epoch, position, nonce };
    if cursor == since {
        // Whoever has been here knows that the line is in this life.
        return Ok(Some(Look { since, cursor, news: News::All(Vec::new()), schemes }));
    }
    if own(connection, epoch).map_err(failed)?.is_none() {
        return Ok(None);
    }
    let news = match read(connection, since, position).map_err(failed)? {
        Some(all) if since.epoch == epoch => News::All(all),
        Some(_) | None => News::Lost,
    };
    Ok(Some(Look { since, cursor, news, schemes }))
}

/// Whether something that others than `author` announced after `known` reaches what is linked under
/// `digests`, or may.
pub(crate) fn reaches(
    connection: &Connection,
    author: u64,
    known: Position,
    now: Position,
    digests: &[Digest],
) -> rusqlite::Result<bool> {
    if now <= known {
        return Ok(false);
    }
    let all = between(connection, known, now)?;
    let is_of_others = |one: &&Announcement| one.author != author;
    Ok(all.is_none_or(|all| all.iter().filter(is_of_others).any(|one| one.reaches(digests))))
}

/// What stands after `since`, if the line goes on from there.
fn read(
    connection: &Connection,
    since: Cursor,
    now: Position,
) -> rusqlite::Result<Option<Vec<Announcement>>> {
    // Below what is kept the next line must still be there; at the start there is none.
    if is_contradicted(connection, since)? || now < since.position {
        return Ok(None);
    }
    between(connection, since.position, now)
}

/// Whether something else was announced at the place of `cursor`, as far as the line still has it.
pub(crate) fn is_contradicted(connection: &Connection, cursor: Cursor) -> rusqlite::Result<bool> {
    let nonce: Option<i64> = connection
        .prepare_cached("SELECT max(nonce) FROM announced WHERE position = ?1")?
        .query_row([cursor.position.0.cast_signed()], |row| row.get(0))?;
    Ok(nonce.is_some_and(|nonce| nonce.cast_unsigned() != cursor.nonce))
}

/// What stands after `since`, up to `now`; `None` where something is missing.
pub(crate) fn between(
    connection: &Connection,
    since: Position,
    now: Position,
) -> rusqlite::Result<Option<Vec<Announcement>>> {
    if KEPT < now.0.saturating_sub(since.0) {
        return Ok(None);
    }
    let epoch: i64 =
        connection.prepare_cached("SELECT epoch FROM store")?.query_row([], |row| row.get(0))?;
    let all: Vec<Announcement> = connection
        .prepare_cached(
            "SELECT position, nonce, author, upto, mode, everything, digests, tables, what \
             FROM announced WHERE ?1 < position ORDER BY position",
        )?
        .query_map([since.0.cast_signed()], |row| announcement(row, Epoch(epoch.cast_unsigned())))?
        .collect::<rusqlite::Result<_>>()?;
    let is_whole = all.len() as u64 == now.0 - since.0;
    Ok(is_whole.then_some(all))
}

const SOFT: i64 = 1;

fn announcement(row: &Row<'_>, epoch: Epoch) -> rusqlite::Result<Announcement> {
    let number = |index| row.get(index).map(i64::cast_unsigned);
    let digests = |index| {
        let bytes = row.get_ref(index)?.as_blob()?;
        let digest = |bytes: &[u8; 8]| Digest(u64::from_le_bytes(*bytes));
        Ok::<_, rusqlite::Error>(bytes.as_chunks::<8>().0.iter().map(digest).collect())
    };
    let what: String = row.get(8)?;
    Ok(Announcement {
        cursor: Cursor { epoch, position: Position(number(0)?), nonce: number(1)? },
        author: number(2)?,
        upto: Position(number(3)?),
        mode: if row.get::<_, i64>(4)? == SOFT { Mode::Soft } else { Mode::Hard },
        everything: row.get(5)?,
        digests: digests(6)?,
        tables: digests(7)?,
        what: Arc::from(what),
    })
}

/// Leaves an announcement to others.
pub(crate) fn write(connection: &Connection, one: &Announcement) -> rusqlite::Result<()> {
    let bytes = |digests: &[Digest]| -> Vec<u8> {
        digests.iter().flat_map(|digest| digest.0.to_le_bytes()).collect()
    };
    let Announcement { cursor: Cursor { position, nonce, .. }, author, upto, .. } = *one;
    let words: String = one.what.chars().take(WORDS_MAX).collect();
    connection
        .prepare_cached(
            "INSERT INTO announced(position, nonce, author, upto, mode, everything, digests, \
             tables, what) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute((
            position.0.cast_signed(),
            nonce.cast_signed(),
            author.cast_signed(),
            upto.0.cast_signed(),
            i64::from(one.mode == Mode::Soft) * SOFT,
            one.everything,
            bytes(&one.digests),
            bytes(&one.tables),
            words,
        ))?;
    connection
        .prepare_cached("DELETE FROM announced WHERE position <= ?1")?
        .execute([position.0.saturating_sub(KEPT).cast_signed()])
        .map(drop)
}
