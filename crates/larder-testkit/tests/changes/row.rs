//! Rows of a table with a column of each kind, and what may happen to them.

use std::sync::{Arc, OnceLock};

use larder_core::{Change, Description, Tracked, TrackedChange, Value};
use larder_testkit::random::Random;

pub const SHOP: &str = "shop";

const NAMES: [&str; 5] = ["", "a", "a:b", "ab", "b"];

#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub id: i64,
    pub group: Option<i64>,
    pub name: &'static str,
    pub price: i64,
    pub rating: Option<f64>,
    pub stock: i64,
    /// Shown, and not reported by changes.
    pub title: u64,
}

impl Tracked for Row {
    fn description() -> &'static Description {
        static DESCRIPTION: OnceLock<Description> = OnceLock::new();
        DESCRIPTION.get_or_init(|| {
            let columns = ["group", "id", "name", "price", "rating", "stock"];
            Description::of(SHOP, "Article").with_columns(&columns, &[1]).with_rest(&["title"])
        })
    }

    fn image(&self) -> Vec<Value> {
        vec![
            self.group.into(),
            self.id.into(),
            self.name.into(),
            self.price.into(),
            self.rating.into(),
            self.stock.into(),
        ]
    }
}

impl Row {
    pub fn random(random: &mut Random, id: i64) -> Self {
        Self {
            id,
            group: group(random),
            name: name(random),
            price: price(random),
            rating: (!random.once_in(4)).then(|| rating(random)),
            stock: price(random),
            title: random.next(),
        }
    }

    /// With one to three columns changed, and its key once in a while.
    fn changed(&self, random: &mut Random, free: i64) -> Self {
        let (other, mut new) = (Self::random(random, self.id), self.clone());
        for _ in 0..=random.below(2) {
            match random.below(6) {
                0 => new.group = other.group,
                1 => new.name = other.name,
                2 => new.price = other.price,
                3 => new.rating = other.rating,
                4 => new.stock = other.stock,
                _ => new.title = other.title,
            }
        }
        if random.once_in(20) {
            new.id = free;
        }
        new
    }

    /// The names of the columns in which two rows differ.
    fn differences(&self, other: &Self) -> Vec<Arc<str>> {
        let (own, image) = (self.image(), other.image());
        let columns = Self::description().columns.iter().enumerate();
        let known = columns.filter(|(place, _)| own[*place] != image[*place]);
        let known = known.map(|(_, column)| column.clone());
        known.chain((self.title != other.title).then(|| "title".into())).collect()
    }
}

pub fn group(random: &mut Random) -> Option<i64> {
    (!random.once_in(4)).then(|| random.below(3).cast_signed())
}

pub fn name(random: &mut Random) -> &'static str {
    random.pick::<&str>(&NAMES)
}

pub fn price(random: &mut Random) -> i64 {
    random.below(8).cast_signed()
}

pub fn rating(random: &mut Random) -> f64 {
    *random.pick(&[-0.0, 0.0, 0.5, 1.0, 2.5])
}

/// What is known of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Known {
    /// The row before and after.
    Both,
    /// The row after, and which columns were modified.
    Modified,
    /// The row after.
    After,
}

/// Changes `rows`, and says how it is told.
pub fn change(random: &mut Random, rows: &mut Vec<Row>) -> (TrackedChange, Known) {
    let free = (0..).find(|id| rows.iter().all(|row| row.id != *id)).unwrap();
    let place = usize::try_from(random.below(rows.len().max(1) as u64)).unwrap();
    match random.below(6) {
        0 if rows.len() < 16 => {
            let new = Row::random(random, free);
            rows.push(new.clone());
            (Change::created(&new), Known::Both)
        }
        1 if !rows.is_empty() => (Change::deleted(&rows.swap_remove(place)), Known::Both),
        _ if rows.is_empty() => change(random, rows),
        _ => {
            let (old, mut new) = (rows[place].clone(), rows[place].changed(random, free));
            if new == old {
                new.title = random.next();
            }
            rows[place] = new.clone();
            let modified = old.differences(&new);
            let is_other_row = old.id != new.id;
            match random.below(4) {
                0 if !is_other_row => (Change::updated_to(&new), Known::After),
                1 => (Change::updated_to(&new).modified(modified), Known::Modified),
                _ => (Change::updated(&old, &new), Known::Both),
            }
        }
    }
}
