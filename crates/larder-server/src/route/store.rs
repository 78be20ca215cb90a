//! The store as a whole: `GET /v1/stats`, its part of the status, and what it says when the file
//! was found broken.
//!
//! Apart from `entries`, which is about what is in it. **Invariant**: a store that is corrupt, or
//! was replaced because it was, says so wherever it is asked how it is, until it is closed.

use http::{Response, StatusCode};
use larder_sqlite::store::{Condition, Refill, SqliteStore};
use serde_json::{Value, json};

use crate::{body::Reply, problem::Problem, server::Server, stats};

use super::{entries::store, turn::survey};

/// Findings of a check that are shown; the log has all.
const FINDINGS: usize = 10;

/// Every word that [`word`] gives.
pub(super) const WORDS: [&str; 5] = ["unchecked", "sound", "corrupt", "moved", "replaced"];

/// `GET /v1/stats`: how the store is doing.
pub(super) async fn stats(server: &Server) -> Result<Response<Reply>, Problem> {
    let store = store(server)?.clone();
    let shown = survey(server, async move { stats::of(&store).await }).await?;
    Ok(super::json(StatusCode::OK, &shown))
}

/// What the status says of it.
pub(super) async fn shown(store: &SqliteStore) -> Value {
    let mut shown = condition(&store.condition());
    // A store that cannot be asked still has a condition.
    if let (Ok(stats), Value::Object(members)) = (store.stats().await, &mut shown) {
        members.insert("entries".to_owned(), stats.entries.into());
        members.insert("bytes".to_owned(), stats.bytes.into());
    }
    shown
}

/// The condition in one word.
pub(super) fn word(condition: &Condition) -> &'static str {
    match condition {
        Condition::Sound => "sound",
        Condition::Corrupt(_) => "corrupt",
        Condition::Moved => "moved",
        Condition::Replaced { .. } => "replaced",
        _ => "unchecked",
    }
}

fn condition(condition: &Condition) -> Value {
    let (mut findings, mut kept, mut backup) = (&[][..], None, None);
    let says = match condition {
        Condition::Corrupt(found) => {
            findings = found.get(..FINDINGS).unwrap_or(found);
            "THE STORE IS CORRUPT: what is read may be an error, never a wrong value; restore a \
             backup (`larder cache backups`, `larder cache restore`)"
                .to_owned()
        }
        Condition::Moved => "THE FILE OF THE STORE WAS MOVED OR REMOVED: what is written is lost; \
             start the server again"
            .to_owned(),
        Condition::Replaced { put_aside, refill } => {
            kept = put_aside.as_ref().map(|path| path.display().to_string());
            backup = match refill {
                Refill::Backup(path) => Some(path.display().to_string()),
                Refill::Empty => None,
            };
            let place = match &backup {
                Some(backup) => format!("the backup {backup} has taken its place"),
                None => "there was no sound backup, so it began empty".to_owned(),
            };
            let kept = match &kept {
                Some(kept) => format!("the corrupt file is kept as {kept}"),
                None => "nothing of the corrupt file could be kept".to_owned(),
            };
            format!("THE STORE WAS CORRUPT AND WAS REPLACED: {place}; {kept}")
        }
        _ => String::new(),
    };
    json!({
        "condition": word(condition),
        "says": says,
        "findings": findings,
        "put_aside": kept,
        "backup": backup,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_about_a_corrupt_store_is_said_loudly() {
        // SD14, S15: quarantine and restore are seen by whoever asks.
        let aside = Some("/x/cache.db.corrupt".into());
        let by_backup = Refill::Backup("/b/monday.backup".into());
        for (state, name, words) in [
            (Condition::Sound, "sound", &[][..]),
            (Condition::Corrupt(vec!["page 3".into()]), "corrupt", &["CORRUPT", "restore"]),
            (Condition::Moved, "moved", &["MOVED"]),
            (
                Condition::Replaced { put_aside: aside.clone(), refill: by_backup },
                "replaced",
                &["REPLACED", "/b/monday.backup", "/x/cache.db.corrupt"],
            ),
            (
                Condition::Replaced { put_aside: aside, refill: Refill::Empty },
                "replaced",
                &["REPLACED", "empty"],
            ),
        ] {
            let shown = condition(&state);
            assert_eq!(shown["condition"], name);
            assert!(WORDS.contains(&name));
            let says = shown["says"].as_str().unwrap();
            assert_eq!(says.is_empty(), words.is_empty(), "{says}");
            assert!(words.iter().all(|word| says.contains(word)), "{says}");
        }
    }
}
