//! What can happen next, in the shop, in the node and to the readers.

use larder_core::{
    Stamp,
    flight::{may_begin, may_store, may_take},
    history::Verdict,
};
use stateright::{Model, Property};

use crate::{
    config::{Config, Kind, Removed},
    knowledge::{Memories, arrival, dependencies},
    state::{
        Announced, Flight, How, Logged, Mark, Marks, Reader, Record, Seen, State, Waiting, bit,
    },
};

pub(crate) const FRESH: &str = "no fresh answer misses what was known when the read began";
pub(crate) const TWO_LOADS: &str = "a read costs at most two loads";
pub(crate) const ANSWERED: &str = "every read is answered in the end";

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A commit is written to the log: from now on it can be streamed.
    Commit,
    /// The commit at this place of the log becomes visible to loads.
    Show(usize),
    /// The log loses its last commit.
    Restore,
    /// Something changes that the feed cannot see.
    ChangeBesideTheFeed,
    /// The node receives and applies the next commit.
    Apply,
    /// The node learns how far everything applied is visible.
    Confirm,
    /// The node notices that the log is not the one it read, and starts a new epoch.
    Restart,
    /// `invalidate` is called and returns.
    Invalidate,
    /// The first announced change reaches the entry.
    Sweep,
    /// A read begins: it is answered from memory or the store, or waits.
    Read(usize),
    /// A flight takes its stamps.
    Begin,
    /// The flight reads.
    Load,
    /// The value is linked under its dependencies.
    Link,
    /// The value is checked and published; the flight lands.
    Land,
    /// The entry leaves memory for want of room.
    Evict,
    /// The shape is registered at last, where it was not when the flight began.
    Register,
}

/// The model: a world and the node in it.
#[derive(Debug)]
pub(crate) struct Larder {
    config: Config,
    memories: Memories,
}

impl Larder {
    pub(crate) fn new(config: Config) -> Self {
        let memories = Memories::new(&config.commits, config.hidden_changes);
        Self { config, memories }
    }

    fn removes(&self, removed: Removed) -> bool {
        self.config.removed == removed
    }

    /// The commits among `seen` that the entry depends on.
    fn relevant(&self, seen: Seen) -> Seen {
        let numbered = self.config.commits.iter().zip(1u8..);
        let mask = numbered.filter(|(kind, _)| **kind != Kind::Other);
        let mask = mask.fold(0, |bits, (_, number)| bits | bit(number));
        Seen { commits: seen.commits & mask, ..seen }
    }

    fn is_in_doubt(&self, state: &State) -> bool {
        let at_cursor = state.number_at(state.known.position());
        if self.removes(Removed::NonceCompared) {
            at_cursor.is_none()
        } else {
            at_cursor != Some(state.nonce)
        }
    }

    /// The stamps as the rules see them, less what is taken out.
    fn stamps(&self, state: &State, marks: Marks) -> larder_core::Stamps {
        let mut marks = marks;
        if self.removes(Removed::EpochCompared) {
            marks.life = state.known.life;
        }
        if self.removes(Removed::AppStampOfItsOwn) {
            marks.app = marks.shop;
        }
        marks.stamps()
    }

    /// The stamps of a load that begins now.
    fn marks(&self, state: &State) -> Marks {
        let shop: Stamp = self.memories.shop(&state.known).history.stamp();
        let app: Stamp = self.memories.app(state.invalidations).history.stamp();
        let received = self.removes(Removed::Confirmation);
        let confirmed = u8::try_from(shop.as_of.0).unwrap();
        Marks {
            life: u8::try_from(shop.epoch.0).unwrap(),
            shop: if received { state.known.position() } else { confirmed },
            app: u8::try_from(app.as_of.0).unwrap(),
        }
    }

    fn register(&self, state: &mut State) {
        let now = state.known.position();
        state.known.registered.get_or_insert(now);
    }

    fn may_store(&self, state: &State, record: &Record) -> bool {
        let stamps = self.stamps(state, record.marks);
        let shop = self.memories.shop(&state.known);
        let app = self.memories.app(state.invalidations);
        may_store(&shop.history, &stamps, dependencies())
            && may_store(&app.history, &stamps, dependencies())
    }

    fn may_take(&self, state: &State, record: &Record, waiting: &Waiting) -> bool {
        let stamps = self.stamps(state, record.marks);
        let arrival = arrival(larder_core::Epoch(waiting.life.into()), waiting.shop, waiting.app);
        let shop = self.memories.shop(&state.known);
        let app = self.memories.app(state.invalidations);
        may_take(&shop.history, &stamps, dependencies(), &arrival)
            && may_take(&app.history, &stamps, dependencies(), &arrival)
    }

    fn may_begin(&self, state: &State, waiting: &Waiting) -> bool {
        let arrival = arrival(larder_core::Epoch(waiting.life.into()), waiting.shop, waiting.app);
        waiting.declined == 0
            || self.removes(Removed::SecondFlightWaits)
            || (may_begin(&self.memories.shop(&state.known).history, &arrival)
                && may_begin(&self.memories.app(state.invalidations).history, &arrival))
    }

    /// Whether an announced change means the entry with these stamps.
    fn means(&self, state: &State, announced: Announced, marks: Marks) -> bool {
        match announced {
            Announced::Shop(position) => {
                let memory = self.memories.shop(&state.known);
                let is_later = marks.life != state.known.life || marks.shop < position;
                is_later && memory.batch_touches(state.known.start, position)
            }
            Announced::App(position) => {
                let as_of =
                    if self.removes(Removed::AppStampOfItsOwn) { marks.shop } else { marks.app };
                let memory = self.memories.app(state.invalidations);
                as_of < position && memory.batch_touches(0, position)
            }
        }
    }

    /// The value that a read finds in memory.
    fn hit(&self, state: &State) -> Option<Record> {
        let (record, Mark::Valid) = state.entry? else { return None };
        if record.marks.life != state.known.life && !self.removes(Removed::EpochCompared) {
            return None;
        }
        let is_meant = state.announced.iter().any(|item| self.means(state, *item, record.marks));
        (!is_meant || self.removes(Removed::PendingConsulted)).then_some(record)
    }

    /// The value that a read finds in the store.
    fn stored(&self, state: &State) -> Option<Record> {
        let record = state.stored?;
        let stamps = self.stamps(state, record.marks);
        let shop = self.memories.shop(&state.known);
        let app = self.memories.app(state.invalidations);
        [&shop.history, &app.history]
            .iter()
            .all(|history| {
                let stamp = stamps.get(history.timeline()).unwrap();
                history.verdict(stamp, dependencies(), history.applied()) == Verdict::Untouched
            })
            .then_some(record)
    }

    fn read(&self, state: &mut State, index: usize) {
        let must = self.relevant(state.knows);
        let found = self.hit(state).map(|record| (record, How::Hit));
        let found = found.or_else(|| self.stored(state).map(|record| (record, How::Stored)));
        let is_aboard = state.flight.is_some();
        let known = &state.known;
        let waiting = Waiting {
            life: known.life,
            shop: known.position(),
            app: state.invalidations,
            must,
            declined: 0,
            is_aboard,
            is_leader: !is_aboard,
        };
        let reader = state.readers.get_mut(index).unwrap();
        reader.begun += 1;
        match found {
            Some((record, how)) => {
                reader.last = Some(how);
                state.is_stale_shown |= !record.seen.includes(must);
            }
            None => reader.waiting = Some(waiting),
        }
    }

    fn begin(&self, state: &mut State) {
        let late = [Removed::RegistrationBeforeStamps, Removed::RegistrationBeforeCheck];
        if !late.contains(&self.config.removed) {
            self.register(state);
        }
        let later = self.removes(Removed::StampBeforeLoad);
        state.flight = Some(Flight::Begun((!later).then(|| self.marks(state))));
        for waiting in state.readers.iter_mut().filter_map(|reader| reader.waiting.as_mut()) {
            waiting.is_aboard = true;
        }
    }

    fn link(&self, state: &mut State, seen: Seen, marks: Option<Marks>) {
        let record = Record { seen, marks: marks.unwrap_or_else(|| self.marks(state)) };
        let turned_around = self.removes(Removed::LinkBeforeCheck);
        let checked = turned_around.then(|| self.may_store(state, &record));
        if !turned_around {
            state.entry = Some((record, Mark::Linked));
        }
        state.flight = Some(Flight::Linked(record, checked));
    }

    fn land(&self, state: &mut State, record: Record, checked: Option<bool>) {
        let unchecked = self.removes(Removed::FillCheck);
        let is_alive = matches!(state.entry, Some((_, Mark::Linked)));
        let publish =
            checked.unwrap_or_else(|| is_alive && (unchecked || self.may_store(state, &record)));
        state.entry = publish.then_some((record, Mark::Valid));
        if self.config.has_store {
            // The store takes whatever comes: a record that lost its race is dead on arrival.
            state.stored = Some(record);
        }
        state.flight = None;
        for index in 0..state.readers.len() {
            let Some(waiting) = state.readers.get(index).and_then(|reader| reader.waiting) else {
                continue;
            };
            if waiting.is_aboard {
                self.hand_over(state, index, waiting, record);
            }
        }
    }

    fn hand_over(&self, state: &mut State, index: usize, mut waiting: Waiting, record: Record) {
        let takes = self.removes(Removed::JoinerCheck) || self.may_take(state, &record, &waiting);
        let reader: &mut Reader = state.readers.get_mut(index).unwrap();
        if takes {
            reader.waiting = None;
            reader.last = Some(match (waiting.declined, waiting.is_leader) {
                (0, true) => How::Led,
                (0, false) => How::Joined,
                _ => How::SecondFlight,
            });
            state.is_stale_shown |= !record.seen.includes(waiting.must);
        } else {
            waiting.declined += 1;
            waiting.is_aboard = false;
            reader.waiting = Some(waiting);
            state.is_third_load |= 2 <= waiting.declined;
        }
    }

    fn restart(&self, state: &mut State) {
        let end = state.log_end();
        let known = &mut state.known;
        known.life += 1;
        known.start = end;
        known.applied.clear();
        known.confirmed = end;
        known.registered = known.registered.map(|_| end);
        state.nonce = state.number_at(end).unwrap();
        // The start of a life counts as applied.
        state.knows.commits = state.log.iter().fold(0, |bits, logged| bits | bit(logged.number));
        state.announced.retain(|item| matches!(item, Announced::App(_)));
    }

    fn restore(&self, state: &mut State) {
        let lost = bit(state.log.pop().unwrap().number);
        state.restored += 1;
        // What is no longer true needs to be in no answer.
        state.knows.commits &= !lost;
        for waiting in state.readers.iter_mut().filter_map(|reader| reader.waiting.as_mut()) {
            waiting.must.commits &= !lost;
        }
    }

    fn apply(&self, state: &mut State) {
        let position = state.known.position() + 1;
        let number = state.number_at(position).unwrap();
        state.known.applied.push(number);
        state.nonce = number;
        // A node that applied a position knows everything up to it.
        for logged in state.log.iter().take(usize::from(position)) {
            state.knows.commits |= bit(logged.number);
        }
        state.announced.push(Announced::Shop(position));
    }

    fn sweep(&self, state: &mut State) {
        let announced = state.announced.remove(0);
        if let Some((record, mark)) = state.entry
            && mark != Mark::Dead
            && self.means(state, announced, record.marks)
        {
            state.entry = Some((record, Mark::Dead));
        }
    }
}

impl Model for Larder {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        let hidden = state.log.iter().enumerate().filter(|(_, logged)| !logged.is_visible);
        steps.extend(hidden.map(|(place, _)| Step::Show(place)));
        let all_visible = state.visible_prefix() == state.log_end();
        let (position, doubt) = (state.known.position(), self.is_in_doubt(state));
        let visible = state.visible_prefix().min(position);
        let can_confirm = !doubt && state.known.confirmed < visible;
        let reads = state.readers.iter().zip(self.config.reads).enumerate();
        let may_read = reads
            .filter(|(_, (reader, reads))| reader.waiting.is_none() && reader.begun < *reads)
            .map(|(index, _)| (true, Step::Read(index)));
        let waiting = || state.readers.iter().filter_map(|reader| reader.waiting.as_ref());
        let can_begin = state.flight.is_none()
            && waiting().next().is_some()
            && waiting().all(|waiting| self.may_begin(state, waiting));
        let is_valid = matches!(state.entry, Some((_, Mark::Valid)));
        let possible = [
            (usize::from(state.committed) < self.config.commits.len(), Step::Commit),
            (
                state.restored < self.config.restores && all_visible && !state.log.is_empty(),
                Step::Restore,
            ),
            (state.hidden < self.config.hidden_changes, Step::ChangeBesideTheFeed),
            (!doubt && position < state.log_end(), Step::Apply),
            (can_confirm && !self.removes(Removed::ConfirmationEver), Step::Confirm),
            (doubt && (all_visible || self.removes(Removed::StartBarrier)), Step::Restart),
            (state.knows.hidden < state.hidden, Step::Invalidate),
            (!state.announced.is_empty(), Step::Sweep),
            (can_begin, Step::Begin),
            (is_valid && self.config.has_store, Step::Evict),
            (
                is_valid
                    && state.known.registered.is_none()
                    && self.removes(Removed::RegistrationBeforeCheck),
                Step::Register,
            ),
            (matches!(state.flight, Some(Flight::Begun(_))), Step::Load),
            (matches!(state.flight, Some(Flight::Loaded(..))), Step::Link),
            (matches!(state.flight, Some(Flight::Linked(..))), Step::Land),
        ];
        let possible = possible.into_iter().chain(may_read);
        steps.extend(possible.filter(|(is_possible, _)| *is_possible).map(|(_, step)| step));
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        match (step, state.flight) {
            (Step::Commit, _) => {
                state.committed += 1;
                state.log.push(Logged { number: state.committed, is_visible: false });
            }
            (Step::Show(place), _) => state.log.get_mut(place).unwrap().is_visible = true,
            (Step::Restore, _) => self.restore(&mut state),
            (Step::ChangeBesideTheFeed, _) => state.hidden += 1,
            (Step::Apply, _) => self.apply(&mut state),
            (Step::Confirm, _) => {
                state.known.confirmed = state.visible_prefix().min(state.known.position());
            }
            (Step::Restart, _) => self.restart(&mut state),
            (Step::Invalidate, _) => {
                state.invalidations += 1;
                state.announced.push(Announced::App(state.invalidations));
                state.knows.hidden = state.hidden;
            }
            (Step::Sweep, _) => self.sweep(&mut state),
            (Step::Read(index), _) => self.read(&mut state, index),
            (Step::Begin, _) => self.begin(&mut state),
            (Step::Evict, _) => state.entry = None,
            (Step::Register, _) => self.register(&mut state),
            (Step::Load, Some(Flight::Begun(marks))) => {
                if self.removes(Removed::RegistrationBeforeStamps) {
                    self.register(&mut state);
                }
                state.flight = Some(Flight::Loaded(state.visible(), marks));
            }
            (Step::Link, Some(Flight::Loaded(seen, marks))) => self.link(&mut state, seen, marks),
            (Step::Land, Some(Flight::Linked(record, checked))) => {
                self.land(&mut state, record, checked);
            }
            (Step::Load | Step::Link | Step::Land, _) => return None,
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn was(state: &State, how: How) -> bool {
            state.readers.iter().any(|reader| reader.last == Some(how))
        }
        let mut properties = vec![
            Property::always(FRESH, |_, state: &State| !state.is_stale_shown),
            Property::always(TWO_LOADS, |_, state: &State| !state.is_third_load),
            Property::always(ANSWERED, |model: &Self, state: &State| {
                let mut steps = Vec::new();
                let waits = state.readers.iter().any(|reader| reader.waiting.is_some());
                if waits {
                    model.actions(state, &mut steps);
                }
                !waits || !steps.is_empty()
            }),
            Property::sometimes("a read hits", |_, state: &State| was(state, How::Hit)),
            Property::sometimes("a hit shows a change", |_, state: &State| {
                was(state, How::Hit) && state.knows.commits != 0
            }),
            Property::sometimes("a reader leads", |_, state: &State| was(state, How::Led)),
            Property::sometimes("a reader joins", |_, state: &State| was(state, How::Joined)),
            Property::sometimes("a second flight answers both", |_, state: &State| {
                state.readers.iter().all(|reader| reader.last == Some(How::SecondFlight))
            }),
        ];
        if self.config.has_store {
            properties.push(Property::sometimes("the store answers", |_, state: &State| {
                was(state, How::Stored)
            }));
        }
        if 0 < self.config.restores {
            properties.push(Property::sometimes("a hit in a later life", |_, state: &State| {
                was(state, How::Hit) && 0 < state.known.life
            }));
        }
        properties
    }
}
