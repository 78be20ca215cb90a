//! Claims, checked in every interleaving of three flights that may stop for as long as they like.
//!
//! Each flight belongs to a process of its own: it takes the claim, reads the origin, writes what
//! it read. The origin changes and time passes whenever they like. Checked to exhaustion: **what is
//! in the store never becomes older**, and nobody is kept from loading for ever. Without the fence,
//! or with claims whose numbers come again, the checker finds the older value.

use larder_core::{
    WallMillis,
    claim::{Claim, Claimed, Decision, Fence, Patience, decide, may_write},
};
use stateright::{Checker, HasDiscoveries, Model, Property};

const FLIGHTS: usize = 3;
const VERSIONS: u8 = 3;
const END: u64 = 4;
const NEVER_OLDER: &str = "the store never becomes older";
const ALL_LOAD: &str = "every flight can end";

/// What is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Removed {
    Nothing,
    Fence,
    /// A late owner finds its own claim where another one is.
    Numbers,
}

struct World(Removed);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Flight {
    Begins,
    Claimed(Claim),
    Loaded(Claim, u8),
    Ended,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    now: u64,
    origin: u8,
    commits: u64,
    record: Option<Claimed>,
    /// What the store has, and whether it ever had something newer.
    stored: Option<u8>,
    was_newer: bool,
    flights: [Flight; FLIGHTS],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Tick,
    Change,
    /// A flight does what is next; when it must wait for a claim, as patiently as this.
    Goes(usize, Patience),
    /// The process of a flight dies.
    Dies(usize),
}

impl World {
    fn fence(&self, claim: Claim) -> Fence {
        if self.0 == Removed::Fence { Fence::Open } else { Fence::Held(claim) }
    }

    fn go(&self, state: &mut State, index: usize, patience: Patience) -> Option<()> {
        let now = WallMillis(state.now);
        let flight = state.flights.get(index).copied()?;
        let next = match flight {
            Flight::Begins => {
                let decision = decide(state.record.as_ref(), patience, now);
                let Decision::Take { attempt, above } = decision else { return None };
                let (owner, number) = match self.0 {
                    Removed::Numbers => (0, 0),
                    Removed::Nothing | Removed::Fence => {
                        (index as u64, state.commits.max(above + 1))
                    }
                };
                let claim = Claim { owner, number };
                let (beaten, deadline) = (WallMillis(state.now + 1), WallMillis(state.now + 2));
                state.record = Some(Claimed { claim, beaten, deadline, attempt });
                state.commits += 1;
                Flight::Claimed(claim)
            }
            Flight::Claimed(claim) => Flight::Loaded(claim, state.origin),
            Flight::Loaded(claim, version) => {
                if may_write(state.record.as_ref(), self.fence(claim), now) {
                    state.was_newer |= state.stored.is_some_and(|stored| version < stored);
                    state.stored = Some(version);
                    state.record = None;
                    state.commits += 1;
                }
                Flight::Ended
            }
            Flight::Ended => return None,
        };
        *state.flights.get_mut(index)? = next;
        Some(())
    }
}

impl Model for World {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            now: 0,
            origin: 0,
            commits: 0,
            record: None,
            stored: None,
            was_newer: false,
            flights: [Flight::Begins; FLIGHTS],
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Step>) {
        if state.now < END {
            actions.push(Step::Tick);
        }
        if state.origin + 1 < VERSIONS {
            actions.push(Step::Change);
        }
        for index in 0..FLIGHTS {
            actions.push(Step::Goes(index, Patience::Waits));
            actions.push(Step::Goes(index, Patience::Over));
            actions.push(Step::Dies(index));
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = state.clone();
        match step {
            Step::Tick => next.now += 1,
            Step::Change => next.origin += 1,
            Step::Goes(index, patience) => self.go(&mut next, index, patience)?,
            Step::Dies(index) => *next.flights.get_mut(index)? = Flight::Ended,
        }
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NEVER_OLDER, |_, state: &State| !state.was_newer),
            // A claim ends with time alone, whoever died.
            // A claim ends with time alone, whoever died; and at once for who has waited enough.
            Property::always(ALL_LOAD, |_, state: &State| {
                let takes = |patience, now| {
                    let decision = decide(state.record.as_ref(), patience, now);
                    matches!(decision, Decision::Take { .. })
                };
                takes(Patience::Over, WallMillis(state.now))
                    && takes(Patience::Waits, WallMillis(state.now + 2))
            }),
        ]
    }
}

#[test]
fn what_was_loaded_earlier_is_never_written_over_what_was_loaded_later() {
    // KD9.
    let checker = World(Removed::Nothing).checker().spawn_bfs().join();
    println!("claims: {} states", checker.unique_state_count());
    assert!(checker.is_done());
    checker.assert_properties();
}

#[test]
fn without_the_fence_or_with_numbers_that_come_again_it_is() {
    for removed in [Removed::Fence, Removed::Numbers] {
        let found = HasDiscoveries::AnyOf([NEVER_OLDER].into());
        let checker = World(removed).checker().finish_when(found).spawn_bfs().join();
        let path = checker.discovery(NEVER_OLDER);
        let steps = path.unwrap_or_else(|| panic!("without {removed:?} nothing is violated"));
        println!("without {removed:?}: {:?}", steps.into_actions());
    }
}
