//! A whole run: stages one after another, until enough was seen or something was found.

use std::{sync::Arc, time::Duration};

use larder_core::{Clock, safeguard::Safeguard};
use tokio::{runtime::Runtime, task::JoinHandle};

use super::{
    Fate, Journal, Stored, Tracking, Trouble, ground::track_rows, kept::Noted, readers::Shared,
    scene::Scene,
};
use crate::{
    history::{Kind, Minimum, Notes, Read, Report, Way, check},
    random::Random,
};

/// Writer processes.
const WRITERS: u64 = 2;

/// Tasks that read.
const READERS: u64 = 8;

/// Tasks that read the nodes that keep a store, one for each.
const READERS_KEPT: u64 = 2;

/// Tasks that change rows and tell of it, for each node.
const TELLERS: u64 = 2;

/// Files of a store that is in several.
const FILES: u32 = 3;

/// How long answers after something befell the file count as given right after it.
const AFTERMATH: Duration = Duration::from_millis(150);

/// One file with its readers.
#[derive(Clone, Debug)]
pub struct Stage {
    /// How the file keeps its journal.
    pub journal: Journal,
    /// How the origin tracks changes.
    pub tracking: Tracking,
    /// Whether nodes that keep a store take part.
    pub stored: Stored,
    /// What befalls the file, each followed by a round of writing.
    pub fates: Vec<Fate>,
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed of everything that is random.
    pub seed: u64,
    /// The stages of one turn.
    pub stages: Vec<Stage>,
    /// How long each round of writing lasts.
    pub round: Duration,
    /// What must have been done; turns are repeated until it is.
    pub minimum: Minimum,
    /// No turn begins after this long.
    pub at_most: Duration,
    /// The violation that ends the run, if one does.
    pub stops_at: Option<Sight>,
    /// The safeguard that is taken out, if any. Only with the feature `mutants`.
    pub without: Option<Safeguard>,
}

/// Where a violation is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// Anywhere.
    Anywhere,
    /// In an answer from an entry of this kind.
    Kind(Kind),
    /// In an answer that came about in this way.
    Way(Way),
}

impl Sight {
    /// The kind or way of this name.
    pub fn named(name: &str) -> Option<Self> {
        let kinds = Kind::ALL.into_iter().map(|kind| (format!("{kind:?}"), Self::Kind(kind)));
        let ways = Way::ALL.into_iter().map(|way| (format!("{way:?}"), Self::Way(way)));
        kinds.chain(ways).find(|(own, _)| own == name).map(|(_, sight)| sight)
    }

    /// Violations that `report` has here.
    pub fn count(self, report: &Report) -> u64 {
        let is_here = |(kind, way): &(Kind, Way)| match self {
            Self::Anywhere => true,
            Self::Kind(own) => *kind == own,
            Self::Way(own) => *way == own,
        };
        let here = report.violated_in.iter().filter(|(place, _)| is_here(place));
        here.map(|(_, count)| count).sum()
    }
}

impl Plan {
    /// Every combination of journal and tracking, and everything that can befall the file. What is
    /// kept is in one file in every other stage, and in several in the rest: with the next seed it
    /// is the other way round.
    pub fn whole(seed: u64, minimum: Minimum, at_most: Duration) -> Self {
        let stage = |number: u64, journal, tracking| {
            let fates = Fate::ALL.into_iter();
            // Without triggers there is no log that could be lost.
            let fates = fates.filter(|fate| tracking == Tracking::Rows || *fate != Fate::LogLost);
            let stored = Stored::Kept(if (seed + number).is_multiple_of(2) { 1 } else { FILES });
            Stage { journal, tracking, stored, fates: fates.collect() }
        };
        Self {
            seed,
            stages: vec![
                stage(0, Journal::Wal, Tracking::Rows),
                stage(1, Journal::Delete, Tracking::Rows),
                stage(1, Journal::Wal, Tracking::Database),
                stage(0, Journal::Delete, Tracking::Database),
            ],
            round: Duration::from_millis(400),
            minimum,
            at_most,
            stops_at: None,
            without: None,
        }
    }
}

/// Runs `plan` to its end.
///
/// # Errors
/// Whatever keeps the test itself from running; a violation is no error but in the report.
pub fn run(plan: &Plan) -> Result<Report, Trouble> {
    take_out(plan.without)?;
    let clock = Clock::system();
    let end = clock.now().plus(plan.at_most);
    let mut random = Random::new(plan.seed);
    let mut report = Report::default();
    let mut is_first_turn = true;
    while is_first_turn || (!report.lacks(&plan.minimum).is_empty() && clock.now() < end) {
        is_first_turn = false;
        for stage in &plan.stages {
            report.add(play(stage, plan.round, random.next())?);
            if plan.stops_at.is_some_and(|sight| sight.count(&report) != 0) {
                return Ok(report);
            }
        }
    }
    Ok(report)
}

#[cfg(feature = "mutants")]
pub(super) fn take_out(without: Option<Safeguard>) -> Result<(), Trouble> {
    Safeguard::restore_all();
    if let Some(safeguard) = without {
        safeguard.take_out();
    }
    Ok(())
}

#[cfg(not(feature = "mutants"))]
pub(super) fn take_out(without: Option<Safeguard>) -> Result<(), Trouble> {
    match without {
        None => Ok(()),
        Some(safeguard) => Err(format!("{safeguard:?} needs the feature `mutants`").into()),
    }
}

fn play(stage: &Stage, round: Duration, seed: u64) -> Result<Report, Trouble> {
    let mut scene = Scene::new(stage.journal, seed, WRITERS)?;
    if stage.tracking == Tracking::Rows {
        track_rows(&scene.path())?;
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build()?;
    let random = Random::new(seed);
    let (path, store) = (scene.path(), scene.store());
    let mut told = random.split(1);
    let stored_in = match stage.stored {
        Stored::Kept(files) => files,
        Stored::Idle => 1,
    };
    let opened = Shared::open(&path, (&store, stored_in), stage.tracking, &mut told);
    let (shared, told) = runtime.block_on(opened)?;
    scene.written.extend(told);
    let (readers, tellers) = start(stage.stored, &runtime, &shared, &random);
    let acted = act(stage, round, &mut scene, &shared, &runtime);
    shared.end();
    let mut reads = Vec::new();
    for reader in readers {
        reads.extend(runtime.block_on(reader)?);
    }
    for teller in tellers {
        let (written, more) = runtime.block_on(teller)??;
        scene.written.extend(written);
        reads.extend(more);
    }
    acted?;
    let notes = Notes { written: std::mem::take(&mut scene.written), reads, loads: shared.loads() };
    Ok(check(&notes))
}

type Reader = JoinHandle<Vec<Read>>;

type Teller = JoinHandle<Noted>;

fn start(
    stored: Stored,
    runtime: &Runtime,
    shared: &Arc<Shared>,
    random: &Random,
) -> (Vec<Reader>, Vec<Teller>) {
    let (nodes, readers_kept) = match stored {
        Stored::Kept(_) => (2, READERS_KEPT),
        Stored::Idle => (0, 0),
    };
    let reader = |n| runtime.spawn(shared.clone().read(random.split(100 + n)));
    let teller = |n: u64| {
        let node = usize::from(!n.is_multiple_of(TELLERS));
        runtime.spawn(shared.clone().tell(node, random.split(200 + n)))
    };
    let reads_kept = |n| runtime.spawn(shared.clone().read_kept(n, random.split(300 + n)));
    let lives = |n| runtime.spawn(shared.clone().live(n, random.split(400 + n)));
    let tells = |n| runtime.spawn(shared.clone().tell_kept(n, random.split(500 + n)));
    let kept = (0..nodes).map(lives).chain((0..nodes).map(tells));
    let readers = (0..READERS).map(reader).chain((0..readers_kept).map(reads_kept));
    (readers.collect(), (0..2 * TELLERS).map(teller).chain(kept).collect())
}

fn act(
    stage: &Stage,
    round: Duration,
    scene: &mut Scene,
    shared: &Shared,
    runtime: &Runtime,
) -> Result<(), Trouble> {
    let millis = u64::try_from(round.as_millis())?;
    for (number, fate) in stage.fates.iter().enumerate() {
        let epoch = shared.epoch();
        scene.befall(*fate)?;
        let way = match fate {
            Fate::Peace => None,
            Fate::Replaced => Some(Way::FileReplaced),
            Fate::Altered | Fate::Rebuilt => Some(Way::SchemaChange),
            Fate::Away => Some(Way::Reconnect),
            Fate::LogLost => Some(Way::Doubted),
            Fate::Restarted => Some(Way::Restarted),
        };
        if let Some(way) = way {
            shared.notebook.befell(way, AFTERMATH);
        }
        if *fate == Fate::Restarted {
            runtime.block_on(shared.restart(number))?;
        }
        scene.write_for(millis)?;
        if *fate == Fate::LogLost && shared.epoch() == epoch {
            return Err("the log was emptied and the feed did not doubt".into());
        }
        if *fate == Fate::Rebuilt && stage.tracking == Tracking::Rows {
            track_rows(&scene.path())?;
        }
    }
    Ok(())
}
