//! Trials: a table with lists over it, changed a few times.
//!
//! Before each change every list is asked for anew, as a load would; after it, what the history
//! says of it is compared with what it shows. **Invariant**: whatever is held is given back, so
//! that a long run also shows that nothing piles up.

use larder_core::{
    Change, Dependency, DependencySet, Epoch, History, Name, Position, Tracked, history::Verdict,
    timeline::APP,
};
use larder_testkit::random::Random;

use crate::{
    asked::Asked,
    row::{Known, Row, SHOP, change},
    tally::Tally,
};

const LISTS: u64 = 12;

const CHANGES: u64 = 12;

/// What a mutant makes of dependencies and changes.
pub struct Lens {
    pub asks: fn(Dependency) -> Dependency,
    pub forgets_old: bool,
    pub forgets_modified: bool,
}

impl Lens {
    pub fn clear() -> Self {
        Self { asks: |dependency| dependency, forgets_old: false, forgets_modified: false }
    }

    fn told(&self, mut change: Change) -> Change {
        match &mut change {
            Change::Row(row) if self.forgets_old && row.new.is_some() => row.old = None,
            Change::After(after) if self.forgets_modified => after.modified = Some(Vec::new()),
            _ => {}
        }
        change
    }
}

/// The rows that somebody sees, column by column.
type Shown = Vec<Vec<String>>;

type Show = Box<dyn Fn(&[Row]) -> Shown>;

/// One thing that somebody depends on.
struct Held {
    kind: &'static str,
    words: String,
    before: Shown,
    set: DependencySet,
    show: Show,
}

pub struct Trial {
    random: Random,
    rows: Vec<Row>,
    lists: Vec<Asked>,
    /// On which timeline the changes are told: by the feed, or by the application on `app`.
    on: &'static str,
}

impl Trial {
    pub fn random(random: &mut Random) -> Self {
        let count = random.below(13).cast_signed();
        let rows = (0..count).map(|id| Row::random(random, id)).collect();
        let lists = (0..LISTS).map(|_| Asked::random(random)).collect();
        let on = *random.pick(&[SHOP, APP]);
        Self { random: random.split(1), rows, lists, on }
    }

    /// Fails with the words of a list that changed and was not touched.
    pub fn run(mut self, lens: &Lens, tally: &mut Tally) -> Result<(), String> {
        let shop = Name::from(SHOP);
        let mut history = History::new(self.on.into(), Epoch(1), Position(0), 100_000);
        for position in 1..=CHANGES {
            let position = Position(position);
            let held = self.held(lens);
            let dependencies = || held.iter().flat_map(|held| held.set.iter());
            dependencies().for_each(|dependency| history.register(dependency));
            history.confirm(position);
            let stamp = history.stamp();
            let before = self.rows.clone();
            let (told, known) = change(&mut self.random, &mut self.rows);
            history.apply_named(position, [(&shop, &lens.told(told.change().clone()))]);
            for held in &held {
                let verdict = history.verdict(&stamp, &held.set, position);
                let is_touched = verdict == Verdict::Touched;
                assert!(is_touched || verdict == Verdict::Untouched, "{verdict:?}");
                let has_changed = held.before != (held.show)(&self.rows);
                if has_changed && !is_touched {
                    return Err(self.missed(held, &before, told.change(), known));
                }
                tally.note(held.kind, known, has_changed, is_touched);
            }
            dependencies().for_each(|dependency| history.release(dependency));
            assert_eq!(history.held(), 0);
        }
        Ok(())
    }

    /// Every list, and one row by its id, as they are now.
    fn held(&mut self, lens: &Lens) -> Vec<Held> {
        let mut all: Vec<Held> = Vec::new();
        for asked in &self.lists {
            let mut set = DependencySet::new();
            asked.each(&self.rows, &mut |dependency| set.add((lens.asks)(dependency))).unwrap();
            let (asked, words) = (asked.clone(), format!("{asked:?}"));
            let (kind, before) = (asked.kind(), asked.shown(&self.rows));
            all.push(Held { kind, words, before, set, show: Box::new(move |r| asked.shown(r)) });
        }
        let id = self.random.below(16).cast_signed();
        let show = move |rows: &[Row]| {
            let found = rows.iter().filter(|row| row.id == id);
            found.map(|row| vec![format!("{row:?}")]).collect::<Shown>()
        };
        let set = [Row::description().id([id.into()])].into_iter().collect();
        let (words, before) = (format!("the row {id}"), show(&self.rows));
        all.push(Held { kind: "id", words, before, set, show: Box::new(show) });
        all
    }

    fn missed(&self, held: &Held, before: &[Row], change: &Change, known: Known) -> String {
        let Held { words, set, before: shown, show, .. } = held;
        let (now, dependencies) = (show(&self.rows), set.iter().collect::<Vec<_>>());
        format!(
            "missed on `{}`: {words}\nas {dependencies:?}\n{known:?}: {change:?}\nrows {before:?}\n\
             showed {shown:?}\nand now {now:?}",
            self.on
        )
    }
}
