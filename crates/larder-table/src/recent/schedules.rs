//! Every order in which a feed, its origin and loads can go on.
//!
//! A table takes turns by tokio's locks, which no scheduler of ours can choose for; but what is
//! decided under them is decided here, and has few enough steps to try every order of them.
//! **Invariant**: whenever the table is looked at, it is the origin as of what is confirmed, whole.

use std::{collections::BTreeMap, sync::Arc};

use larder_core::{Epoch, Position};

use super::{Began, Recent};
use crate::record::Record;

#[derive(Debug, PartialEq)]
struct Row {
    id: u8,
    version: usize,
}

impl Record for Row {
    type Key = u8;

    fn key(&self) -> u8 {
        self.id
    }
}

type Rows = BTreeMap<u8, Arc<Row>>;

/// What each commit does: rows that it writes, and rows that it removes.
const COMMITS: [(&[u8], &[u8]); 3] = [(&[1, 2], &[]), (&[1, 3], &[2]), (&[2], &[1])];

/// One who goes on by himself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Actor {
    /// The origin shows one more commit to loads.
    Origin,
    /// The feed receives one more, shown or not.
    Receives,
    /// The feed confirms one more, which is shown and received.
    Confirms,
    /// A load begins, reads, and is published.
    Load(usize),
}

/// How far a load is.
enum Load {
    NotYet,
    Began(Began),
    Read(Began, Rows),
    Ended,
}

/// Whether whoever loads asks the feed before he publishes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    Feed,
    Nobody,
}

struct Scene {
    recent: Recent<Row>,
    commits: usize,
    shown: usize,
    received: usize,
    confirmed: usize,
    loads: Vec<Load>,
    /// Of the table, once it is loaded.
    content: Option<Rows>,
    asks: Asks,
}

/// The origin after so many commits.
fn origin(commits: usize) -> Rows {
    let mut rows: Rows = (1..4).map(|id| (id, Arc::new(Row { id, version: 0 }))).collect();
    for (place, (put, removed)) in COMMITS.iter().take(commits).enumerate() {
        let version = place + 1;
        rows.extend(put.iter().map(|id| (*id, Arc::new(Row { id: *id, version }))));
        rows.retain(|id, _| !removed.contains(id));
    }
    rows
}

impl Scene {
    fn new(commits: usize, loads: usize, asks: Asks) -> Self {
        let mut recent = Recent::default();
        recent.restart(Epoch(1), Position(0));
        let loads = (0..loads).map(|_| Load::NotYet).collect();
        let (shown, received, confirmed) = (0, 0, 0);
        Self { recent, commits, shown, received, confirmed, loads, content: None, asks }
    }

    fn can(&self, actor: Actor) -> bool {
        match actor {
            Actor::Origin => self.shown < self.commits,
            Actor::Receives => self.received < self.commits,
            Actor::Confirms => self.confirmed < self.shown.min(self.received),
            Actor::Load(number) => !matches!(self.loads[number], Load::Ended),
        }
    }

    fn go_on(&mut self, actor: Actor) {
        match actor {
            Actor::Origin => self.shown += 1,
            Actor::Receives => self.receive(),
            Actor::Confirms => self.confirm(),
            Actor::Load(number) => {
                let before = std::mem::replace(&mut self.loads[number], Load::Ended);
                self.loads[number] = match before {
                    Load::NotYet => Load::Began(self.recent.begin()),
                    Load::Began(began) => Load::Read(began, origin(self.shown)),
                    Load::Read(began, rows) => self.publish(began, rows),
                    Load::Ended => Load::Ended,
                }
            }
        }
    }

    fn receive(&mut self) {
        let (put, removed) = COMMITS[self.received];
        self.received += 1;
        let (position, version) = (Position(self.received as u64), self.received);
        for id in removed {
            self.recent.told(position, *id, None);
        }
        for id in put {
            self.recent.told(position, *id, Some(Arc::new(Row { id: *id, version })));
        }
    }

    fn confirm(&mut self) {
        self.confirmed += 1;
        let (told, _) = self.recent.confirm(Position(self.confirmed as u64));
        if let Some(content) = &mut self.content {
            lay_over(content, told);
        }
    }

    fn publish(&mut self, began: Began, mut rows: Rows) -> Load {
        // What was shown before is told and confirmed when the feed has answered.
        while self.asks == Asks::Feed && self.confirmed < self.shown {
            if self.received == self.confirmed {
                self.receive();
            }
            self.confirm();
        }
        lay_over(&mut rows, self.recent.since(began));
        self.content = Some(rows);
        self.recent.end(began);
        Load::Ended
    }

    fn is_right(&self) -> bool {
        self.content.as_ref().is_none_or(|content| *content == origin(self.confirmed))
    }
}

fn lay_over(rows: &mut Rows, told: Vec<(u8, Option<Arc<Row>>)>) {
    for (id, row) in told {
        match row {
            Some(row) => drop(rows.insert(id, row)),
            None => drop(rows.remove(&id)),
        }
    }
}

/// Tries every order, and returns how many there are and the first that goes wrong. An order is
/// played from its beginning each time, up to where the last one went another way.
fn all_orders(commits: usize, loads: usize, asks: Asks) -> (usize, Option<Vec<Actor>>) {
    let mut actors = vec![Actor::Origin, Actor::Receives, Actor::Confirms];
    actors.extend((0..loads).map(Actor::Load));
    let mut choices: Vec<(usize, usize)> = Vec::new();
    let mut count = 0;
    loop {
        let (mut scene, mut order) = (Scene::new(commits, loads, asks), Vec::new());
        loop {
            let able: Vec<Actor> =
                actors.iter().copied().filter(|actor| scene.can(*actor)).collect();
            if able.is_empty() {
                break;
            }
            if choices.len() == order.len() {
                choices.push((0, able.len()));
            }
            let actor = able[choices[order.len()].0];
            scene.go_on(actor);
            order.push(actor);
            if !scene.is_right() {
                return (count, Some(order));
            }
        }
        count += 1;
        while choices.last().is_some_and(|(chosen, able)| chosen + 1 == *able) {
            choices.pop();
        }
        match choices.last_mut() {
            Some((chosen, _)) => *chosen += 1,
            None => return (count, None),
        }
    }
}

#[test]
fn table_is_the_origin_as_of_what_is_confirmed_in_every_order() {
    for (commits, loads) in [(3, 1), (1, 2)] {
        let (count, wrong) = all_orders(commits, loads, Asks::Feed);
        assert_eq!(wrong, None);
        assert!(1_000 < count, "{count} orders");
    }
}

#[test]
fn some_order_goes_wrong_where_the_feed_is_not_asked_before_a_publication() {
    let (_, wrong) = all_orders(2, 1, Asks::Nobody);
    assert!(wrong.is_some());
}
