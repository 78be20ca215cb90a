//! The backups that are kept in a directory: their names, and which of them go.
//!
//! Apart from taking one, because the directory may be looked through without a store.
//! **Invariant**: the names of one store's backups sort as they were taken, and no other file is
//! ever listed or removed.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use larder_core::{Error, ErrorKind, clock::WallMillis};

use super::{backup::Backup, value_file::Directory};
use crate::error::from_io;

const SUFFIX: &str = ".backup";

/// What a killed process left of a backup is removed when it is so old.
const LEFT_BEHIND: Duration = Duration::from_secs(24 * 3600);

/// Where backups are kept, how often one is taken, and how many stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    pub(crate) directory: PathBuf,
    pub(crate) every: Duration,
    pub(crate) keep: usize,
}

impl Schedule {
    /// Whether it is time for the next one, whoever took the last.
    pub(crate) fn is_due(&self, store: &Path, now: WallMillis) -> Result<bool, Error> {
        // One that is dated after now was named by a clock that has been set back: it must neither
        // stop the backups nor make every round take one.
        let taken = list(&self.directory, store)?.into_iter().map(|backup| backup.taken);
        let last = taken.rev().find(|taken| *taken <= now);
        Ok(last.is_none_or(|last| self.every <= now.since(last)))
    }

    /// The path of the one that is taken now.
    pub(crate) fn path(&self, store: &Path, now: WallMillis) -> Result<PathBuf, Error> {
        fs::create_dir_all(&self.directory)
            .map_err(|error| from_io("make the directory of backups", &self.directory, &error))?;
        let mut name = prefix(store);
        name.push(written(now));
        name.push(SUFFIX);
        Ok(self.directory.join(name))
    }

    /// Removes those that are too many: those dated after `now` first, then the oldest.
    pub(crate) fn trim(&self, store: &Path, now: WallMillis) -> Result<(), Error> {
        let mut kept = list(&self.directory, store)?;
        let surplus = kept.len().saturating_sub(self.keep.max(1));
        // Stable: each part stays in the order in which it was taken.
        kept.sort_by_key(|backup| backup.taken <= now);
        for old in kept.into_iter().take(surplus) {
            // Another process that keeps the same store may have been quicker.
            match fs::remove_file(&old.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(from_io("remove an old backup", &old.path, &error));
                }
                _ => Directory::of(&old.path).clear(|_| false)?,
            }
        }
        for path in left_behind(&self.directory, store, now) {
            tracing::info!(file = %path.display(), "removing what is left of a backup");
            let _ = fs::remove_file(path);
        }
        for backup in without_pages(&self.directory, store, now) {
            tracing::info!(backup = %backup.display(), "removing the value files of a backup");
            Directory::of(&backup).clear(|_| false)?;
        }
        Ok(())
    }
}

/// The backups of the store at `store` that are in `directory`, the oldest first.
///
/// # Errors
/// Those of reading the directory; one that is not there is empty.
pub(crate) fn list(directory: &Path, store: &Path) -> Result<Vec<Backup>, Error> {
    let failed = |error: io::Error| from_io("list backups", directory, &error);
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if let Some(taken) = taken_of(&entry.file_name(), store) {
            found.push(Backup { path: entry.path(), taken });
        }
    }
    found.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

/// The newest of `kept` that is not younger than `at`.
pub(crate) fn as_of(kept: Vec<Backup>, at: WallMillis) -> Result<Backup, Error> {
    let oldest = kept.first().map(|backup| written(backup.taken));
    kept.into_iter().rev().find(|backup| backup.taken <= at).ok_or_else(|| {
        let there = match oldest {
            Some(oldest) => format!("the oldest that is kept was taken at {oldest}"),
            None => "none is kept".to_owned(),
        };
        Error::new(ErrorKind::NotFound, "find a backup").detail(there)
    })
}

fn prefix(store: &Path) -> OsString {
    let mut name = store.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name
}

fn taken_of(name: &std::ffi::OsStr, store: &Path) -> Option<WallMillis> {
    let name = name.to_str()?;
    read(name.strip_prefix(prefix(store).to_str()?)?.strip_suffix(SUFFIX)?)
}

/// What processes that were killed left of backups.
fn left_behind(directory: &Path, store: &Path, now: WallMillis) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let is_old = |entry: &fs::DirEntry| {
        let name = entry.file_name();
        // `cache.db.20261122T053312.123Z.backup.0123456789abcdef.part`
        let whole = name.to_str().and_then(|name| name.strip_suffix(".part")?.rsplit_once('.'));
        let taken = whole.and_then(|(whole, _)| taken_of(whole.as_ref(), store));
        taken.is_some_and(|taken| LEFT_BEHIND <= now.since(taken))
    };
    entries.flatten().filter(is_old).map(|entry| entry.path()).collect()
}

/// Backups of which processes that were killed left value files only.
fn without_pages(directory: &Path, store: &Path, now: WallMillis) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let backup = |entry: fs::DirEntry| {
        let name = entry.file_name();
        let backup = name.to_str()?.strip_suffix("-values")?;
        let taken = taken_of(backup.as_ref(), store)?;
        let path = entry.path().with_file_name(backup);
        (LEFT_BEHIND <= now.since(taken) && !path.exists()).then_some(path)
    };
    entries.flatten().filter_map(backup).collect()
}

/// A time as `20261122T053312.123Z`.
pub(crate) fn written(at: WallMillis) -> String {
    let (days, millis) = (at.0 / 86_400_000, at.0 % 86_400_000);
    let (year, month, day) = civil(days);
    let (hour, minute) = (millis / 3_600_000, millis / 60_000 % 60);
    let (second, milli) = (millis / 1000 % 60, millis % 1000);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}.{milli:03}Z")
}

/// Reads what [`written`] wrote, and nothing else.
fn read(text: &str) -> Option<WallMillis> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(9, 11)?, number(11, 13)?, number(13, 15)?);
    // No later than this, and hardly earlier.
    let latest = year.checked_sub(1969)? * 366;
    let days = (0..=latest).rev().find(|days| civil(*days) == (year, month, day))?;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    let at = WallMillis(seconds * 1000 + number(16, 19)?);
    (written(at) == text).then_some(at)
}

/// Year, month and day of a number of days since 1970 in the Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    // Counted from the first of March of the year 0, so that the leap day is a year's last.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_so_that_they_sort() {
        for (millis, text) in [
            (0, "19700101T000000.000Z"),
            (951_782_400_000, "20000229T000000.000Z"),
            (1_767_225_600_000, "20260101T000000.000Z"),
            (1_795_325_592_123, "20261122T053312.123Z"),
            (1_767_225_600_000 + 86_399_999, "20260101T235959.999Z"),
            (4_107_542_399_999, "21000228T235959.999Z"),
            (4_107_542_400_000, "21000301T000000.000Z"),
        ] {
            assert_eq!(written(WallMillis(millis)), text);
            assert_eq!(read(text), Some(WallMillis(millis)));
        }
        for bad in [
            "",
            "20261301T000000.000Z",
            "20260101T000000.000",
            "2026-01-01",
            "20260230T000000.000Z",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_backups_of_the_store_are_listed() {
        let store = Path::new("/somewhere/cache.db");
        let name = "cache.db.20260101T000000.000Z.backup";
        assert!(taken_of(name.as_ref(), store).is_some());
        for other in [
            "cache.db",
            "cache.db.backup",
            "other.db.20260101T000000.000Z.backup",
            "cache.db.20260101T000000.000Z.backup.0123.part",
            "cache.db-witness",
        ] {
            assert_eq!(taken_of(other.as_ref(), store), None, "{other}");
        }
    }
}
