//! A whole run: cases one after another, until enough was seen or something was found.

use std::{collections::BTreeMap, sync::Arc, thread, time::Duration};

use larder_core::{Clock, safeguard::Safeguard};
use larder_table::Ranges;
use tokio::runtime::Runtime;

use super::{
    super::{Fate, Journal, Trouble, run::take_out, scene::Scene, writer::Writer},
    Case, Deed, Way,
    ground::{Ground, prepare},
    readers::Shared,
    tellers::{label, tell},
};
use crate::{
    history::{Outcome, Written},
    moments::{self, LABELS, check},
    random::Random,
};

/// Those who write: processes of their own, or threads where they tell of it.
const WRITERS: u64 = 8;

/// Tasks that read.
const READERS: u64 = 8;

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed of everything that is random.
    pub seed: u64,
    /// The cases of one turn.
    pub cases: Vec<Case>,
    /// How many rounds of writing a case has, with a doubt between two.
    pub rounds: u32,
    /// How long each of them lasts.
    pub round: Duration,
    /// What must have been done; turns are repeated until it is.
    pub minimum: Minimum,
    /// No turn begins after this long.
    pub at_most: Duration,
    /// The safeguard that is taken out, if any: then the first violation ends the run. Only with
    /// the feature `mutants`.
    pub without: Option<Safeguard>,
}

/// What a run must have done at least, in each case.
#[derive(Clone, Copy, Debug)]
pub struct Minimum {
    /// Answers in each way.
    pub each_way: u64,
    /// Of each deed.
    pub each_deed: u64,
    /// Answers during which something was committed, in all cases.
    pub beside: u64,
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct Report {
    /// The answers.
    pub answers: moments::Report<(Case, Way)>,
    /// What was done.
    pub deeds: BTreeMap<(Case, Deed), u64>,
    /// Commits by case.
    pub commits: BTreeMap<Case, u64>,
}

impl Report {
    /// What of `minimum` was not reached in `cases`; a run that lacks something is void.
    pub fn lacks(&self, minimum: &Minimum, cases: &[Case]) -> Vec<String> {
        let mut lacks = Vec::new();
        let mut compare = |what: String, count: u64, least: u64| {
            if count < least {
                lacks.push(format!("{count} {what}, at least {least} are needed"));
            }
        };
        for case in cases {
            for way in Way::ALL {
                let count = self.answers.taken.get(&(*case, way)).copied().unwrap_or(0);
                compare(format!("reads {way:?} of {case:?}"), count, minimum.each_way);
            }
            for deed in Deed::of(*case) {
                let count = self.deeds.get(&(*case, *deed)).copied().unwrap_or(0);
                compare(format!("times {deed:?} of {case:?}"), count, minimum.each_deed);
            }
        }
        compare("reads beside a commit".into(), self.answers.beside, minimum.beside);
        lacks
    }

    fn add(&mut self, other: Self) {
        self.answers.add(other.answers);
        other.deeds.into_iter().for_each(|(deed, n)| *self.deeds.entry(deed).or_default() += n);
        let commits = other.commits.into_iter();
        commits.for_each(|(case, n)| *self.commits.entry(case).or_default() += n);
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
    let lacks = |report: &Report| !report.lacks(&plan.minimum, &plan.cases).is_empty();
    while report.commits.is_empty() || (lacks(&report) && clock.now() < end) {
        for case in &plan.cases {
            report.add(play(plan, *case, random.next())?);
            if plan.without.is_some() && report.answers.violated() != 0 {
                return Ok(report);
            }
        }
    }
    Ok(report)
}

fn play(plan: &Plan, case: Case, seed: u64) -> Result<Report, Trouble> {
    let processes = if case.has_feed() { WRITERS } else { 0 };
    let mut scene = Scene::new(Journal::Wal, seed, processes)?;
    prepare(&scene.path())?;
    let (began, ended, outcome) = (0, scene.now(), Outcome::Committed);
    let labels = (LABELS..).take(usize::try_from(super::super::database::BUCKETS)?);
    let labels = labels.map(|row| Written {
        row,
        version: 0,
        bucket: Some(row - LABELS),
        began,
        ended,
        outcome,
    });
    scene.written.extend(labels);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build()?;
    let mut random = Random::new(seed);
    let shared = Arc::new(Shared::new(Ground::open(&scene.path(), case)?));
    runtime.block_on(shared.ground.table.load(Shared::window(&mut random)?))?;
    let readers = (0..READERS).map(|n| runtime.spawn(shared.clone().read(random.split(100 + n))));
    let mut tasks: Vec<_> = readers.collect();
    tasks.push(runtime.spawn(shared.clone().move_about(random.split(200))));
    let acted = act(plan, &mut scene, &shared, &runtime, &mut random);
    shared.end();
    let (mut answers, mut deeds) = (Vec::new(), Vec::new());
    for task in tasks {
        let (more, done) = runtime.block_on(task)??;
        answers.extend(more);
        deeds.extend(done);
    }
    deeds.extend(acted?);
    let mut report = Report::default();
    deeds.into_iter().for_each(|deed| *report.deeds.entry((case, deed)).or_default() += 1);
    let versions: std::collections::BTreeSet<u64> =
        scene.written.iter().map(|note| note.version).collect();
    report.commits.insert(case, versions.len() as u64);
    report.answers = check(&scene.written, &answers);
    Ok(report)
}

/// Rounds of writing, with a doubt between two.
fn act(
    plan: &Plan,
    scene: &mut Scene,
    shared: &Shared,
    runtime: &Runtime,
    random: &mut Random,
) -> Result<Vec<Deed>, Trouble> {
    let mut deeds = Vec::new();
    for round in 0..plan.rounds {
        if let Some(feed) = shared.ground.feed.as_ref().filter(|_| round != 0) {
            scene.befall(Fate::LogLost)?;
            runtime.block_on(feed.catch_up())?;
            runtime.block_on(
                shared.ground.table.select(&shared.ground.by_bucket, Ranges::all()).read(),
            )?;
            deeds.push(Deed::Doubted);
        }
        deeds.extend(write(plan.round, scene, shared, runtime, random)?);
    }
    Ok(deeds)
}

/// One round of writing, by those who write in this case.
fn write(
    round: Duration,
    scene: &mut Scene,
    shared: &Shared,
    runtime: &Runtime,
    random: &mut Random,
) -> Result<Vec<Deed>, Trouble> {
    let (path, until) = (scene.path(), shared.clock.now().plus(round).as_micros());
    let mut own = random.split(random.clone().next());
    random.next();
    let (ground, handle) = (&shared.ground, runtime.handle());
    if !ground.case.has_feed() {
        let mut told = (Vec::new(), Vec::new());
        thread::scope(|scope| {
            let mut threads = Vec::new();
            for number in 1..=WRITERS {
                let writer = Writer::new(&path, own.split(number), number)?;
                let random = own.split(50 + number);
                threads.push(scope.spawn(move || tell(ground, handle, writer, random, until)));
            }
            for thread in threads {
                let (written, deeds) = thread.join().expect("a writer does not panic")?;
                told.0.extend(written);
                told.1.extend(deeds);
            }
            Ok::<_, Trouble>(())
        })?;
        scene.written.extend(told.0);
        return Ok(told.1);
    }
    let millis = u64::try_from(round.as_millis())?;
    own.next();
    let labels = thread::scope(|scope| {
        let labeller =
            (ground.case == Case::Joined).then(|| scope.spawn(|| label(&path, own.clone(), until)));
        scene.write_for(millis)?;
        let join = |thread: thread::ScopedJoinHandle<'_, _>| thread.join().expect("no panic");
        labeller.map_or_else(|| Ok(Vec::new()), join)
    })?;
    scene.written.extend(labels);
    Ok(Vec::new())
}
