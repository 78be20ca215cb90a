//! The bounded memory of one timeline: what was touched, and where.
//!
//! It answers one question, "was any of these dependencies touched after that position?", exactly
//! for the last [`History::capacity`] touches and with "yes" for everything older. **Invariant**: a
//! touch that happened is never answered "no".

use std::collections::{VecDeque, hash_map::Entry};

use crate::{
    by_digest::DigestMap,
    change::{Change, touched_by_name},
    dependency::{Atom, Dependency, DependencySet, Digest},
    shape::Shapes,
    timeline::{APP, Epoch, Name, Position, Stamp},
};

/// Touches remembered by default: about 50 bytes each, and only once there were that many.
///
/// Ten times fewer and a load of ten seconds beside 10,000 changes a second would find its position
/// forgotten; ten times more would take half a gigabyte for nothing.
pub const DEFAULT_CAPACITY: usize = 1_000_000;

/// The memory of one timeline in one node.
#[derive(Debug)]
pub struct History {
    timeline: Name,
    epoch: Epoch,
    capacity: usize,
    /// Everything at or below this is forgotten: a record with an earlier `as_of` is a miss.
    floor: Position,
    /// Received and applied up to here.
    applied: Position,
    /// Visible to loads up to here.
    confirmed: Position,
    /// The last position at which everything was touched.
    everything: Position,
    ring: VecDeque<(Position, Digest)>,
    last: DigestMap<Position>,
    shapes: Shapes,
}

/// What a batch of changes touched.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Each digest once, sorted.
    pub digests: Vec<Digest>,
    /// Whether everything on the timeline was touched.
    pub everything: bool,
}

/// How far a batch of changes reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// What it names.
    Named,
    /// Everything on the timeline.
    Everything,
}

/// Whether a value with a given stamp can still be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing it depends on was touched.
    Untouched,
    /// Something it depends on was touched.
    Touched,
    /// Its position lies below what this node remembers.
    Forgotten,
    /// Its position lies beyond what this node knows.
    Beyond,
    /// It belongs to another life of the timeline.
    OtherEpoch,
}

impl History {
    /// An empty memory that begins at `start`: nothing is known of what was before.
    pub fn new(timeline: Name, epoch: Epoch, start: Position, capacity: usize) -> Self {
        Self {
            timeline,
            epoch,
            capacity,
            floor: start,
            applied: start,
            confirmed: start,
            everything: start,
            ring: VecDeque::new(),
            last: DigestMap::default(),
            shapes: Shapes::default(),
        }
    }

    /// The timeline this is the memory of.
    pub fn timeline(&self) -> &Name {
        &self.timeline
    }

    /// The current life of the timeline.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Everything up to here was received and applied.
    pub fn applied(&self) -> Position {
        self.applied
    }

    /// Everything up to here is also visible to a load that begins now.
    pub fn confirmed(&self) -> Position {
        self.confirmed
    }

    /// The number of touches remembered at most.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Touches remembered now.
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether no touch is remembered.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// The last position at which everything was touched at once.
    pub fn everything(&self) -> Position {
        self.everything
    }

    /// The stamp for a load that begins now: the *confirmed* position.
    pub fn stamp(&self) -> Stamp {
        Stamp { timeline: self.timeline.clone(), epoch: self.epoch, as_of: self.confirmed }
    }

    /// Notices, from now on, changes to the scopes of `dependency` precisely.
    ///
    /// Must be called before a load whose result depends on it takes its stamps: changes applied
    /// earlier are only remembered by row and table. A dependency that [`Dependency::is_held`] is
    /// noticed until it is released as often as it was registered.
    pub fn register(&mut self, dependency: &Dependency) {
        self.shapes.register(dependency, self.applied);
    }

    /// Gives one registration of a dependency that is held back: whoever depended on it is gone.
    ///
    /// # Callers must
    /// hold it for as long as a load or an entry depends on it.
    pub fn release(&mut self, dependency: &Dependency) {
        self.shapes.release(dependency);
    }

    /// Dependencies that are held now.
    pub fn held(&self) -> usize {
        self.shapes.spans()
    }

    /// Applies one batch that ends at `position`.
    ///
    /// A position that does not grow is a fault of the feed; it is answered by touching
    /// everything, which is safe.
    pub fn apply(&mut self, position: Position, changes: &[Change]) -> Touched {
        let timeline = self.timeline.clone();
        self.apply_named(position, changes.iter().map(|change| (&timeline, change)))
    }

    /// Applies one batch of changes that were reported here although each is of something on the
    /// timeline named beside it: what the application itself says on `app`.
    pub fn apply_named<'a>(
        &mut self,
        position: Position,
        changes: impl IntoIterator<Item = (&'a Name, &'a Change)>,
    ) -> Touched {
        let mut touched = self.advance(position);
        for (timeline, change) in changes {
            self.collect(timeline, change, &mut touched);
        }
        self.remember_all(&mut touched);
        touched
    }

    /// Applies, as one position, that `dependencies` were touched by name; the digests that each of
    /// them touches, sorted.
    pub fn touch(&mut self, position: Position, dependencies: &[Dependency]) -> Vec<Vec<Digest>> {
        let mut touched = self.advance(position);
        let each = dependencies.iter().map(|dependency| {
            let begin = touched.digests.len();
            self.collect_touch(dependency, &mut touched);
            let mut own = touched.digests.get(begin..).unwrap_or_default().to_vec();
            own.sort_unstable();
            own
        });
        let each = each.collect();
        self.remember_all(&mut touched);
        each
    }

    /// Applies, as one position, what another node touched: it has worked out the digests.
    pub fn apply_digests(&mut self, position: Position, digests: &[Digest], reach: Reach) {
        let mut touched = self.advance(position);
        touched.digests.extend_from_slice(digests);
        touched.everything |= reach == Reach::Everything;
        self.remember_all(&mut touched);
    }

    /// Goes to `position`: what is touched there so far.
    fn advance(&mut self, position: Position) -> Touched {
        let grows = self.applied < position;
        self.applied = if grows { position } else { self.applied.next() };
        Touched { everything: !grows, ..Touched::default() }
    }

    fn remember_all(&mut self, touched: &mut Touched) {
        touched.digests.sort_unstable();
        touched.digests.dedup();
        if touched.everything {
            self.everything = self.applied;
        }
        for &digest in &touched.digests {
            self.remember(digest);
        }
    }

    fn collect_touch(&self, dependency: &Dependency, touched: &mut Touched) {
        let own = *dependency.timeline() == self.timeline;
        if own && matches!(dependency.atom(), Atom::Everything) {
            touched.everything = true;
        }
        touched_by_name(dependency, &mut |digest| touched.digests.push(digest));
    }

    fn collect(&self, timeline: &str, change: &Change, touched: &mut Touched) {
        let digests = &mut touched.digests;
        match change {
            Change::Touch(dependency) => self.collect_touch(dependency, touched),
            Change::Row(row) | Change::Perhaps(row) => {
                let touch = &mut |digest| digests.push(digest);
                self.shapes.touched_by_row(timeline, row, touch);
            }
            Change::After(after) => {
                let touch = &mut |digest| digests.push(digest);
                self.shapes.touched_by_after(timeline, after, touch);
            }
        }
    }

    fn remember(&mut self, digest: Digest) {
        self.last.insert(digest, self.applied);
        self.ring.push_back((self.applied, digest));
        while self.capacity < self.ring.len() {
            let Some((position, digest)) = self.ring.pop_front() else { break };
            self.floor = self.floor.max(position);
            // One search, not two: at a million touches each is a miss of every processor cache.
            if let Entry::Occupied(last) = self.last.entry(digest)
                && *last.get() == position
            {
                last.remove();
            }
        }
    }

    /// Marks everything up to `position` as visible to loads.
    pub fn confirm(&mut self, position: Position) {
        self.confirmed = self.confirmed.max(position).min(self.applied);
    }

    /// Starts a new life of the timeline at `start`: everything before is a miss.
    pub fn restart(&mut self, epoch: Epoch, start: Position) {
        let shapes = std::mem::take(&mut self.shapes);
        *self = Self::new(self.timeline.clone(), epoch, start, self.capacity);
        self.shapes = shapes;
        self.shapes.restart(start);
    }

    /// Whether a value stamped `stamp` with `dependencies` reflects every change up to `upto`.
    ///
    /// Where a dependency was touched after `upto`, an earlier touch may be answered for as well:
    /// only the last one is remembered.
    pub fn verdict(&self, stamp: &Stamp, dependencies: &DependencySet, upto: Position) -> Verdict {
        if stamp.epoch != self.epoch || stamp.epoch == Epoch::VOID {
            return Verdict::OtherEpoch;
        }
        if self.applied < stamp.as_of {
            return Verdict::Beyond;
        }
        if upto <= stamp.as_of {
            return Verdict::Untouched;
        }
        if stamp.as_of < self.floor {
            return Verdict::Forgotten;
        }
        if stamp.as_of < self.everything {
            return Verdict::Touched;
        }
        let after = |digest: &Digest| self.last.get(digest).is_some_and(|at| stamp.as_of < *at);
        if dependencies.digests().iter().any(after)
            || dependencies.iter().any(|dependency| self.was_unnoticed(stamp.as_of, dependency))
        {
            return Verdict::Touched;
        }
        Verdict::Untouched
    }

    /// Whether `dependency` is a scope that was registered only after `as_of`, while its table was
    /// touched: then nobody looked for it, and the answer is the table's.
    fn was_unnoticed(&self, as_of: Position, dependency: &Dependency) -> bool {
        let Atom::Scope { table, .. } = dependency.atom() else { return false };
        // On `app` rows of any timeline are reported; elsewhere only the timeline's own.
        if *dependency.timeline() != self.timeline && *self.timeline != *APP {
            return false;
        }
        match self.shapes.since(dependency) {
            Some(since) if since <= as_of => false,
            _ => {
                let digest = Digest::table(dependency.timeline(), table);
                self.last.get(&digest).is_some_and(|at| as_of < *at)
            }
        }
    }
}
