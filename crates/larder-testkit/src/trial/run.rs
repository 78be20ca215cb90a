//! A whole run: stages one after another, until enough was seen or something was found.

use std::{sync::Arc, time::Duration};

use larder_core::{Clock, safeguard::Safeguard};
use tokio::{runtime::Runtime, task::JoinHandle};

use super::{
    Fate, Journal, Tracking, Trouble,
    readers::{Shared, track_rows},
    scene::Scene,
};
use crate::{
    history::{Minimum, Notes, Read, Report, Way, check},
    random::Random,
};

/// Writer processes.
const WRITERS: u64 = 2;

/// Tasks that read.
const READERS: u64 = 8;

/// How long answers after something befell the file count as given right after it.
const AFTERMATH: Duration = Duration::from_millis(150);

/// One file with its readers.
#[derive(Clone, Debug)]
pub struct Stage {
    /// How the file keeps its journal.
    pub journal: Journal,
    /// How the origin tracks changes.
    pub tracking: Tracking,
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
    /// Whether the first violation ends the run.
    pub stops_at_violation: bool,
    /// The safeguard that is taken out, if any. Only with the feature `mutants`.
    pub without: Option<Safeguard>,
}

impl Plan {
    /// Every combination of journal and tracking, and everything that can befall the file.
    pub fn whole(seed: u64, minimum: Minimum, at_most: Duration) -> Self {
        let all = [Fate::Peace, Fate::Replaced, Fate::Altered, Fate::Away, Fate::Rebuilt];
        let stage = |journal, tracking| Stage { journal, tracking, fates: all.to_vec() };
        Self {
            seed,
            stages: vec![
                stage(Journal::Wal, Tracking::Rows),
                stage(Journal::Delete, Tracking::Rows),
                stage(Journal::Wal, Tracking::Database),
                stage(Journal::Delete, Tracking::Database),
            ],
            round: Duration::from_millis(400),
            minimum,
            at_most,
            stops_at_violation: false,
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
            if plan.stops_at_violation && report.violated != 0 {
                return Ok(report);
            }
        }
    }
    Ok(report)
}

#[cfg(feature = "mutants")]
fn take_out(without: Option<Safeguard>) -> Result<(), Trouble> {
    Safeguard::restore_all();
    if let Some(safeguard) = without {
        safeguard.take_out();
    }
    Ok(())
}

#[cfg(not(feature = "mutants"))]
fn take_out(without: Option<Safeguard>) -> Result<(), Trouble> {
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
    let shared = {
        let _inside = runtime.enter();
        Shared::open(&scene.path(), stage.tracking)?
    };
    let readers = start(&runtime, &shared, seed);
    let acted = act(stage, round, &mut scene, &shared);
    shared.end();
    let mut reads = Vec::new();
    for reader in readers {
        reads.extend(runtime.block_on(reader)?);
    }
    acted?;
    let notes = Notes { written: std::mem::take(&mut scene.written), reads, loads: shared.loads() };
    Ok(check(&notes))
}

fn start(runtime: &Runtime, shared: &Arc<Shared>, seed: u64) -> Vec<JoinHandle<Vec<Read>>> {
    let random = Random::new(seed);
    (0..READERS).map(|n| runtime.spawn(shared.clone().read(random.split(100 + n)))).collect()
}

fn act(stage: &Stage, round: Duration, scene: &mut Scene, shared: &Shared) -> Result<(), Trouble> {
    let millis = u64::try_from(round.as_millis())?;
    for fate in &stage.fates {
        scene.befall(*fate)?;
        let way = match fate {
            Fate::Peace => None,
            Fate::Replaced => Some(Way::FileReplaced),
            Fate::Altered | Fate::Rebuilt => Some(Way::SchemaChange),
            Fate::Away => Some(Way::Reconnect),
        };
        if let Some(way) = way {
            shared.befell(way, AFTERMATH);
        }
        scene.write_for(millis)?;
        if *fate == Fate::Rebuilt && stage.tracking == Tracking::Rows {
            track_rows(&scene.path())?;
        }
    }
    Ok(())
}
