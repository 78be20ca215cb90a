//! Following: a table that hears of changes from a feed, and carries them out by itself.
//!
//! The feed speaks of rows of the origin's tables; rules say what they mean for the records here: a
//! row that *is* a record is put or removed as it was told, without asking the origin; a row from
//! which records are joined together names them by a key of some index, before and after.
//! Reading order: `image` and `rules`; `meaning`, what they make of a batch of changes, which is
//! `told`; `sink`, where the feed delivers it; `followed` is what the table holds of the feed.
//! **Invariant**: what no rule can say precisely puts everything in doubt, never nothing.

use std::sync::{Arc, atomic::AtomicU64};

use larder_core::{
    Clock, Error, ErrorKind, Moment, dependency::Dependency, feed::Feed, store::Standing,
    timeline::Stamp,
};

use crate::{index::IndexKey, record::Record, restore::Resuming, table::Table};

mod image;

mod rules;

mod meaning;

mod told;

mod sink;

mod followed;

pub(crate) use followed::Followed;
pub use image::Image;
pub(crate) use meaning::Meaning;
pub use rules::Rules;
pub(crate) use told::Told;

use followed::Hearing;
use rules::Rule;
use sink::Sink;

/// How a feed is started.
pub(crate) enum Starting<'a> {
    /// For a table that knows nothing.
    Anew,
    /// For one that may go on from there.
    From(&'a Standing, Arc<Resuming>),
}

impl<R: Record, W: IndexKey> Table<R, W> {
    /// Follows `feed`, by `rules`, for as long as there is a handle on this table. To be called
    /// before [`Table::load`], so that nothing that happens meanwhile is missed. `clock` is the one
    /// that the feed has: how old its knowledge is cannot be said by another.
    ///
    /// # Errors
    /// `Conflict` when the table follows a feed or is loaded; those of the feed.
    pub fn follow(&self, feed: Arc<dyn Feed>, rules: Rules<R>, clock: Clock) -> Result<(), Error> {
        self.expect_unfollowed()?;
        self.check_rules(&rules)?;
        self.start(feed, rules, clock, Starting::Anew).map(drop)
    }

    /// Fails unless the rules are of this table.
    pub(crate) fn check_rules(&self, rules: &Rules<R>) -> Result<(), Error> {
        rules.rules.iter().try_for_each(|(_, rule)| self.check(rule))
    }

    pub(crate) fn start(
        &self,
        feed: Arc<dyn Feed>,
        rules: Rules<R>,
        clock: Clock,
        starting: Starting<'_>,
    ) -> Result<Arc<Meaning<R>>, Error> {
        let Rules { rules, max_staleness, hearing, said, .. } = rules;
        let tables: Vec<Arc<str>> = rules.iter().map(|(table, _)| table.clone()).collect();
        let proven = Arc::new(AtomicU64::new(Moment::EARLIEST.as_micros()));
        let (left, resuming) = match starting {
            Starting::Anew => (None, None),
            Starting::From(left, resuming) => (Some(left), Some(resuming)),
        };
        let meaning = Arc::new(Meaning { rules, hearing: hearing.clone() });
        let (table, own, heard) = (Arc::downgrade(&self.0), meaning.clone(), proven.clone());
        let sink = Arc::new(Sink { table, meaning: own, proven: heard, resuming });
        match left {
            None => feed.start(sink)?,
            Some(left) => feed.start_from(sink, left)?,
        }
        let is_owner = false;
        let followed =
            Followed { feed, tables, said, hearing, proven, clock, max_staleness, is_owner };
        self.set_followed(followed)?;
        Ok(meaning)
    }

    /// Fails when there are changes that a rule speaks of and the feed does not tell.
    pub(crate) fn expect_heard(&self) -> Result<(), Error> {
        let Some(Followed { feed, tables, hearing: Hearing::Expected, .. }) = self.0.followed.get()
        else {
            return Ok(());
        };
        let timeline = feed.timeline();
        let whole = |table: &&Arc<str>| {
            let whole = Dependency::table(timeline.clone(), (*table).clone());
            self.companion(&whole).is_some()
        };
        match tables.iter().find(whole) {
            None => Ok(()),
            Some(table) => Err(self.refuse_rule(format!(
                "the feed of `{timeline}` does not tell of every change of the table `{table}`; \
                 track it, or mend its name"
            ))),
        }
    }

    /// What has to be depended on besides `dependency` for the feed to tell of every change of it.
    /// Nothing where the origin sees to that: the feed would touch what is not watched at every
    /// commit from then on.
    pub(crate) fn companion(&self, dependency: &Dependency) -> Option<Dependency> {
        let Followed { feed, hearing: Hearing::Expected, .. } = self.0.followed.get()? else {
            return None;
        };
        let timeline = feed.timeline().clone();
        if timeline != *dependency.timeline() {
            return None;
        }
        let (epoch, as_of) = self.heard();
        feed.companion(dependency, &Stamp { timeline, epoch, as_of })
    }

    fn check(&self, rule: &Rule<R>) -> Result<(), Error> {
        let Rule::Touch(place, _) = rule else { return Ok(()) };
        if place.of != self.0.window.of {
            return Err(self.refuse_rule("a rule names an index of another table".into()));
        }
        let lane = self.lane(place.place);
        if lane.can_load() {
            return Ok(());
        }
        Err(self.refuse_rule(format!(
            "a rule touches records by the index `{}`, by which they cannot be loaded again; say \
             how with `loads_by`",
            lane.name()
        )))
    }

    #[cold]
    fn refuse_rule(&self, detail: String) -> Error {
        Error::new(ErrorKind::Config, "follow a feed with table")
            .subject(format!("`{}`", self.name()))
            .detail(detail)
    }
}
