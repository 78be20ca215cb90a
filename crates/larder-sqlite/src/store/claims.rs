//! Claims: which key is being loaded by whom, for every process that has the store.
//!
//! The rules are `larder_core::claim`; here they are asked inside a transaction. **Invariant**: a
//! claim is taken, prolonged and given back only while its row is looked at under the lock of the
//! writer, and a value that was loaded under it is written in the transaction that gives it back.

use larder_core::{
    BoxFuture, Error, WallMillis,
    claim::{Claim, Claimed, Decision, Fence, LAPSE, Patience, decide, may_write},
    store::{Claims, Presence, Taken},
};
use rusqlite::{Connection, OptionalExtension, Row};

use super::{
    find,
    handle::SqliteStore,
    life,
    put::millis,
    row_key::{OwnKey, RowKey},
    writer::{Effort, Writing},
};

/// How long the row of a claim that lapsed is kept, for whoever takes it over to count attempts.
/// Nobody asks for a key again that only a killed process wanted, so they must not stay for ever.
const KEPT_MILLIS: u64 = 3_600_000;

/// The claims of a store in the hands of one cache.
#[derive(Debug)]
struct Claiming {
    store: SqliteStore,
    owner: u64,
}

/// Claims for one cache; `None` where no random number is to be had.
pub(crate) fn claims_of(store: &SqliteStore) -> Option<impl Claims + use<>> {
    let owner = life::random().ok()?;
    Some(Claiming { store: store.clone(), owner })
}

const READ: &str = "SELECT owner, number, beaten, deadline, attempt FROM claim \
                    WHERE region = ?1 AND key = ?2";

fn read(
    connection: &Connection,
    region: i64,
    key: RowKey<'_>,
) -> rusqlite::Result<Option<Claimed>> {
    let claimed = |row: &Row<'_>| {
        let number = |index| row.get(index).map(i64::cast_unsigned);
        Ok(Claimed {
            claim: Claim { owner: number(0)?, number: number(1)? },
            beaten: WallMillis(number(2)?),
            deadline: WallMillis(number(3)?),
            attempt: row.get(4)?,
        })
    };
    connection.prepare_cached(READ)?.query_row((region, key), claimed).optional()
}

fn write(
    connection: &Connection,
    region: i64,
    key: RowKey<'_>,
    claimed: &Claimed,
) -> rusqlite::Result<()> {
    let Claimed { claim, beaten, deadline, attempt } = *claimed;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO claim(region, key, owner, number, beaten, deadline, attempt) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute((
            region,
            key,
            claim.owner.cast_signed(),
            claim.number.cast_signed(),
            millis(beaten),
            millis(deadline),
            attempt,
        ))
        .map(drop)
}

fn remove(connection: &Connection, region: i64, key: RowKey<'_>) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM claim WHERE region = ?1 AND key = ?2")?
        .execute((region, key))
        .map(drop)
}

/// Whether a value may be written under `key`; if so, the claim that it is written under is given
/// back with it.
pub(crate) fn pass(
    writing: &Writing<'_>,
    region: i64,
    key: RowKey<'_>,
    fence: Fence,
) -> Result<bool, Error> {
    if fence == Fence::Open {
        return Ok(true);
    }
    let failed = Writing::failed("write an entry");
    let claimed = read(writing.connection, region, key).map_err(failed)?;
    let may = may_write(claimed.as_ref(), fence, writing.now);
    if may && claimed.is_some() {
        remove(writing.connection, region, key).map_err(failed)?;
    }
    Ok(may)
}

/// Takes the claim inside a transaction. Its number is that of the commit, which only grows.
fn take(
    writing: &Writing<'_>,
    region: i64,
    key: RowKey<'_>,
    terms: (u64, WallMillis, Patience),
) -> Result<Taken, Error> {
    let failed = Writing::failed("claim a load");
    let (connection, (owner, deadline, patience)) = (writing.connection, terms);
    let claimed = read(connection, region, key).map_err(failed)?;
    let Decision::Take { attempt, above } = decide(claimed.as_ref(), patience, writing.now) else {
        return Ok(Taken::NotNow);
    };
    let commits: i64 = connection
        .prepare_cached("SELECT entries FROM total WHERE region = 0")
        .and_then(|mut read| read.query_row([], |row| row.get(0)))
        .map_err(failed)?;
    let claim = Claim { owner, number: commits.cast_unsigned().max(above.saturating_add(1)) };
    let beaten = writing.now.plus(LAPSE);
    write(connection, region, key, &Claimed { claim, beaten, deadline, attempt })
        .map_err(failed)?;
    let entry = match find::contains(connection, region, key, writing.now)? {
        true => Presence::Present,
        false => Presence::Absent,
    };
    if 1 < attempt {
        sweep(connection, writing.now).map_err(failed)?;
    }
    Ok(Taken::Now { claim, entry })
}

/// Removes what nobody will take over. Where one owner was lost, others were.
fn sweep(connection: &Connection, now: WallMillis) -> rusqlite::Result<()> {
    let before = WallMillis(now.0.saturating_sub(KEPT_MILLIS));
    connection
        .prepare_cached("DELETE FROM claim WHERE beaten < ?1")?
        .execute([millis(before)])
        .map(drop)
}

/// What `act` makes of the claim, if it is held still; whether it was.
fn if_held(
    writing: &Writing<'_>,
    region: i64,
    key: RowKey<'_>,
    claim: Claim,
    act: impl FnOnce(&Connection, Claimed) -> rusqlite::Result<()>,
) -> Result<bool, Error> {
    let connection = writing.connection;
    let done = read(connection, region, key).and_then(|claimed| match claimed {
        Some(claimed) if claimed.claim == claim => act(connection, claimed).map(|()| true),
        Some(_) | None => Ok(false),
    });
    done.map_err(Writing::failed("keep the claim of a load"))
}

impl Claims for Claiming {
    fn holder<'a>(
        &'a self,
        region: &'a str,
        key: &'a [u8],
    ) -> BoxFuture<'a, Result<Option<WallMillis>, Error>> {
        Box::pin(async move {
            let (named, now) = (self.store.named(region), self.store.options().clock.wall());
            let key = OwnKey::from(RowKey::Bytes(key));
            let look = move |connection: &Connection| {
                let failed = Writing::failed("look for a claim");
                let find = |region| read(connection, region, key.as_row()).map_err(failed);
                let claimed = named.read(connection, None, find)?;
                Ok(match decide(claimed.as_ref(), Patience::Waits, now) {
                    Decision::Held(until) => Some(until),
                    Decision::Take { .. } => None,
                })
            };
            match self.store.pool().borrow(&look)? {
                Some(found) => Ok(found),
                None => self.store.pool().read(look).await,
            }
        })
    }

    fn take<'a>(
        &'a self,
        region: &'a str,
        key: &'a [u8],
        deadline: WallMillis,
        patience: Patience,
    ) -> BoxFuture<'a, Result<Taken, Error>> {
        let (key, terms) = (key.to_vec(), (self.owner, deadline, patience));
        Box::pin(async move {
            let act = move |writing: &mut Writing<'_>, region| {
                take(writing, region, RowKey::Bytes(&key), terms)
            };
            self.store.entries(region).write(Effort::ROW, act).await
        })
    }

    fn beat<'a>(
        &'a self,
        region: &'a str,
        key: &'a [u8],
        claim: Claim,
    ) -> BoxFuture<'a, Result<bool, Error>> {
        let key = key.to_vec();
        Box::pin(async move {
            let act = move |writing: &mut Writing<'_>, region| {
                let (key, beaten) = (RowKey::Bytes(&key), writing.now.plus(LAPSE));
                if_held(writing, region, key, claim, |connection, claimed| {
                    write(connection, region, key, &Claimed { beaten, ..claimed })
                })
            };
            self.store.entries(region).change(Effort::ROW, false, act).await
        })
    }

    fn give_back<'a>(
        &'a self,
        region: &'a str,
        key: &'a [u8],
        claim: Claim,
    ) -> BoxFuture<'a, Result<(), Error>> {
        let key = key.to_vec();
        Box::pin(async move {
            let act = move |writing: &mut Writing<'_>, region| {
                let key = RowKey::Bytes(&key);
                if_held(writing, region, key, claim, |connection, _| {
                    remove(connection, region, key)
                })
            };
            self.store.entries(region).change(Effort::ROW, false, act).await.map(drop)
        })
    }

    fn next_commit(&self) -> BoxFuture<'static, ()> {
        self.store.next_commit()
    }
}
