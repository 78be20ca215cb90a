//! What a table saves, and what becomes of it: a feed in the hands of the test, and files that are
//! not as they were written.

use std::{
    fmt, fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use larder_core::{
    BoxFuture, Clock, Dependency, Epoch, Error, ErrorKind, Name, Position, Value,
    change::{Change, RowChange},
    feed::{Doubt, Feed, FeedSink, Mark},
    store::Standing,
};
use larder_table::{Codec, Definition, Image, Lost, Ranges, Restored, Rules};
use larder_testkit::temp::TempDir;
use parking_lot::Mutex;

use super::origin::{Ground, Reading, reading};

/// What a feed says when it is started, with where it was left.
type FirstWord = dyn Fn(&dyn FeedSink, &Standing) + Send + Sync;

/// A feed that says what it is given to say.
struct Told {
    name: Name,
    first: Box<FirstWord>,
    sink: Mutex<Option<Arc<dyn FeedSink>>>,
    /// How often it was started from somewhere.
    resumed: AtomicUsize,
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Told")
    }
}

impl Feed for Told {
    fn timeline(&self) -> &Name {
        &self.name
    }

    fn start(&self, sink: Arc<dyn FeedSink>) -> Result<(), Error> {
        sink.marking("told", mark(0));
        sink.restarted("told", Epoch(1), Position(0), Doubt::Started);
        *self.sink.lock() = Some(sink);
        Ok(())
    }

    fn start_from(&self, sink: Arc<dyn FeedSink>, left: &Standing) -> Result<(), Error> {
        self.resumed.fetch_add(1, Ordering::SeqCst);
        (self.first)(&*sink, left);
        *self.sink.lock() = Some(sink);
        Ok(())
    }

    fn catch_up(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn stop(&self) {}
}

fn mark(number: u64) -> Option<Mark> {
    Some(Mark { bytes: number.to_le_bytes().to_vec(), place: Some(Position(number)) })
}

fn told(first: impl Fn(&dyn FeedSink, &Standing) + Send + Sync + 'static) -> Arc<Told> {
    let (first, sink) = (Box::new(first), Mutex::default());
    Arc::new(Told { name: "told".into(), first, sink, resumed: AtomicUsize::new(0) })
}

/// A feed that goes on where it was left.
fn goes_on() -> Arc<Told> {
    told(|sink, left| sink.resumed("told", left.epoch, left.position))
}

/// Tells of a row as it is now, at a place of the log.
fn put(sink: &dyn FeedSink, position: u64, row: &Reading) {
    let new = [row.device, row.id, row.time, row.value].map(Value::Integer).to_vec();
    let row = RowChange {
        table: "reading".into(),
        columns: ["device", "id", "time", "value"].map(Into::into).into(),
        key: [1].into(),
        old: None,
        new: Some(new),
    };
    sink.marking("told", mark(position));
    sink.received("told", Position(position), &[Change::Row(row)]);
}

fn confirm(sink: &dyn FeedSink, position: u64) {
    sink.confirmed("told", Position(position), Clock::system().now());
}

impl Told {
    fn put(&self, position: u64, row: &Reading) {
        put(&**self.sink.lock().as_ref().unwrap(), position, row);
    }

    fn confirm(&self, position: u64) {
        confirm(&**self.sink.lock().as_ref().unwrap(), position);
    }
}

fn record(row: &Image<'_>) -> Option<Reading> {
    let [id, device, time, value] = ["id", "device", "time", "value"].map(|name| row.integer(name));
    Some(reading(id?, device?, time?, value?))
}

fn rules() -> Rules<Reading> {
    Rules::new().records("reading", record).max_staleness(Duration::from_secs(3600))
}

fn codec(version: u32) -> Codec<Reading> {
    let encode = |one: &Reading, out: &mut Vec<u8>| {
        [one.id, one.device, one.time, one.value]
            .iter()
            .for_each(|part| out.extend_from_slice(&part.to_le_bytes()));
    };
    Codec::new(version, encode, |bytes| {
        let parts: Vec<i64> =
            bytes.as_chunks::<8>().0.iter().map(|part| i64::from_le_bytes(*part)).collect();
        match parts[..] {
            [id, device, time, value] => Ok(reading(id, device, time, value)),
            _ => Err(Error::new(ErrorKind::Corrupt, "decode a reading")),
        }
    })
}

struct Kept {
    _dir: TempDir,
    path: PathBuf,
}

impl Kept {
    fn new() -> Self {
        let dir = TempDir::new("table-kept").unwrap();
        let path = dir.path().join("readings.kept");
        Self { _dir: dir, path }
    }

    /// What three readings within times 0 to 9 are, saved at position 5.
    async fn written() -> Self {
        let kept = Self::new();
        let (ground, feed) = (Ground::new(), goes_on());
        ground.table.follow(feed.clone(), rules(), Clock::system()).unwrap();
        feed.confirm(0);
        (1..4).for_each(|id| ground.origin.put(reading(id, 7, id, id * 10)));
        ground.table.load(Ranges::of(0..9).unwrap()).await.unwrap();
        feed.put(5, &reading(1, 7, 1, 11));
        feed.confirm(5);
        assert_eq!(ground.table.save(&kept.path, &codec(1)).await.unwrap(), 3);
        kept
    }

    async fn restore(&self, ground: &Ground, feed: Arc<Told>) -> Restored {
        let (codec, clock) = (codec(1), Clock::system());
        let restored = ground.table.restore(&self.path, &codec, feed, rules(), clock);
        restored.await.unwrap()
    }
}

/// The first load answers with this, after what was lost.
async fn loads_as_usual(ground: &Ground) {
    ground.origin.put(reading(8, 1, 8, 80));
    assert_eq!(ground.origin.loads(), 0);
    ground.table.load(Ranges::of(0..9).unwrap()).await.unwrap();
    assert_eq!(ground.shown(0..9).await, [(8, 80)]);
    assert_eq!(ground.origin.loads(), 1, "nothing that was told before the load is in doubt");
}

fn why(restored: Restored) -> Lost {
    match restored {
        Restored::Whole(_) => panic!("it was restored"),
        Restored::Lost(lost) => lost,
    }
}

fn file_error(restored: Restored) -> Error {
    match why(restored) {
        Lost::File(error) => error,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn table_begins_with_what_was_saved_and_asks_nobody() {
    let kept = Kept::written().await;
    let (ground, feed) = (Ground::new(), goes_on());
    let restored = kept.restore(&ground, feed.clone()).await;
    assert!(matches!(restored, Restored::Whole(3)), "{restored:?}");
    assert_eq!(ground.shown(0..9).await, [(1, 11), (2, 20), (3, 30)]);
    let of_seven = ground.table.select(&ground.by_device, Ranges::prefix(7));
    let of_seven = of_seven.and(&ground.by_time, Ranges::of(2..9).unwrap()).read().await.unwrap();
    assert_eq!(of_seven.count(), 2);
    feed.put(6, &reading(2, 7, 2, 21));
    feed.confirm(6);
    assert_eq!(ground.shown(0..9).await, [(1, 11), (2, 21), (3, 30)]);
    assert_eq!(ground.origin.loads(), 0);
    assert_eq!(ground.table.load(Ranges::all()).await.unwrap_err().kind(), ErrorKind::Conflict);
    // The window is the one that was saved.
    assert_eq!(ground.table.adjust(Ranges::of(2..12).unwrap()).await.unwrap().expired.len(), 1);
    assert_eq!(ground.origin.loads(), 1);
}

/// What is told between the first word and the end of the restore belongs to it.
#[tokio::test]
async fn what_is_told_while_a_table_is_restored_is_laid_over_the_file() {
    let kept = Kept::written().await;
    let feed = told(|sink, left| {
        assert_eq!(left.position, Position(5));
        assert_eq!(left.mark, mark(5).map(|mark| mark.bytes));
        sink.resumed("told", left.epoch, left.position);
        put(sink, 6, &reading(3, 7, 3, 31));
        confirm(sink, 6);
        put(sink, 7, &reading(4, 7, 4, 40));
        confirm(sink, 7);
        put(sink, 8, &reading(5, 7, 5, 50));
    });
    let ground = Ground::new();
    assert!(matches!(kept.restore(&ground, feed.clone()).await, Restored::Whole(3)));
    assert_eq!(ground.shown(0..9).await, [(1, 11), (2, 20), (3, 31), (4, 40)]);
    feed.confirm(8);
    assert_eq!(ground.shown(4..9).await, [(4, 40), (5, 50)]);
    assert_eq!(ground.origin.loads(), 0);
}

/// What was told and is not shown is not in the file, and told again to whoever goes on there.
#[tokio::test]
async fn place_of_a_file_is_not_behind_what_it_shows() {
    let (kept, ground, feed) = (Kept::new(), Ground::new(), goes_on());
    ground.table.follow(feed.clone(), rules(), Clock::system()).unwrap();
    feed.confirm(0);
    ground.origin.put(reading(1, 7, 1, 10));
    ground.table.load(Ranges::of(0..9).unwrap()).await.unwrap();
    feed.put(5, &reading(1, 7, 1, 11));
    feed.confirm(5);
    feed.put(6, &reading(1, 7, 1, 12));
    ground.table.save(&kept.path, &codec(1)).await.unwrap();
    let later = Ground::new();
    let feed = told(|sink, left| {
        sink.resumed("told", left.epoch, left.position);
        // All of its log behind there.
        for position in left.position.0 + 1..7 {
            put(sink, position, &reading(1, 7, 1, position.cast_signed() + 6));
            confirm(sink, position);
        }
    });
    assert!(matches!(kept.restore(&later, feed).await, Restored::Whole(1)));
    assert_eq!(later.shown(0..9).await, [(1, 12)]);
}

#[tokio::test]
async fn life_that_does_not_go_on_leaves_an_empty_table_that_can_be_loaded() {
    let kept = Kept::written().await;
    let anew = |sink: &dyn FeedSink| {
        sink.marking("told", mark(9));
        sink.restarted("told", Epoch(2), Position(9), Doubt::LogBroken);
    };
    let ground = Ground::new();
    let lost = why(kept.restore(&ground, told(move |sink, _| anew(sink))).await);
    assert!(matches!(lost, Lost::Anew(Doubt::LogBroken)), "{lost}");
    loads_as_usual(&ground).await;
    // It goes on, and then does not.
    let ground = Ground::new();
    let feed = told(move |sink, left| {
        sink.resumed("told", left.epoch, left.position);
        anew(sink);
    });
    let lost = why(kept.restore(&ground, feed).await);
    assert!(matches!(lost, Lost::Anew(Doubt::LogBroken)), "{lost}");
    loads_as_usual(&ground).await;
    // It goes on, and what it tells means everything; or what was recorded is lost.
    let touches = |sink: &dyn FeedSink, left: &Standing| {
        sink.resumed("told", left.epoch, left.position);
        let all = Change::Touch(Dependency::everything("told"));
        sink.received("told", Position(6), &[all]);
    };
    let loses = |sink: &dyn FeedSink, left: &Standing| {
        sink.records_lost("told", Doubt::LogBroken);
        sink.resumed("told", left.epoch, left.position);
    };
    for feed in [told(touches), told(loses)] {
        let ground = Ground::new();
        let lost = why(kept.restore(&ground, feed).await);
        assert!(matches!(lost, Lost::InDoubt), "{lost}");
        loads_as_usual(&ground).await;
    }
}

#[tokio::test]
async fn file_that_is_cut_or_altered_anywhere_is_not_believed_in_part() {
    let kept = Kept::written().await;
    let whole = fs::read(&kept.path).unwrap();
    let refused = async |bytes: &[u8], kinds: &[ErrorKind], at: usize| {
        fs::write(&kept.path, bytes).unwrap();
        let (ground, feed) = (Ground::new(), goes_on());
        let error = file_error(kept.restore(&ground, feed.clone()).await);
        assert!(kinds.contains(&error.kind()), "{at}: {error:?}");
        assert!(error.to_string().contains("`readings` at "), "{error}");
        assert_eq!(feed.resumed.load(Ordering::SeqCst), 0, "nobody goes on there");
        assert_eq!(ground.table.stats().records, 0);
        ground
    };
    for end in 0..whole.len() {
        refused(&whole[..end], &[ErrorKind::Corrupt], end).await;
    }
    for place in 0..whole.len() {
        for bit in [1, 0x80] {
            let mut flipped = whole.clone();
            flipped[place] ^= bit;
            let version = [ErrorKind::Unsupported];
            let kinds = if place == 3 { &version } else { &[ErrorKind::Corrupt] };
            refused(&flipped, kinds, place).await;
        }
    }
    let ground = refused(b"something else that is long enough", &[ErrorKind::Corrupt], 0).await;
    loads_as_usual(&ground).await;
    fs::remove_file(&kept.path).unwrap();
    let ground = Ground::new();
    let error = file_error(kept.restore(&ground, goes_on()).await);
    assert_eq!(error.kind(), ErrorKind::NotFound);
    loads_as_usual(&ground).await;
}

#[tokio::test]
async fn file_of_another_definition_is_refused_with_what_differs() {
    let kept = Kept::written().await;
    let refused = |error: Error, kind: ErrorKind, words: &str| {
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    };
    let ground = Ground::new();
    let (clock, one, two) = (Clock::system(), codec(1), codec(2));
    let restored = ground.table.restore(&kept.path, &two, goes_on(), rules(), clock.clone());
    refused(file_error(restored.await.unwrap()), ErrorKind::Config, "codecs");
    let ground = Ground::new();
    let more = rules().doubts("device");
    let restored = ground.table.restore(&kept.path, &one, goes_on(), more, clock.clone());
    refused(file_error(restored.await.unwrap()), ErrorKind::Config, "rules by which");
    let ground = Ground::with(|definition| {
        definition.index("more", |one: &Reading| one.value);
    });
    refused(file_error(kept.restore(&ground, goes_on()).await), ErrorKind::Config, "indexes");
    let ground = Ground::by_key();
    refused(file_error(kept.restore(&ground, goes_on()).await), ErrorKind::Config, "windows");
    let ground = Ground::with(|definition| {
        definition.limit(20, |_| 10);
    });
    refused(file_error(kept.restore(&ground, goes_on()).await), ErrorKind::Limit, "20");
    let ground = Ground::with(|definition| {
        definition.index("x", |_| 0);
    });
    refused(file_error(kept.restore(&ground, goes_on()).await), ErrorKind::Config, "indexes");
    // Of the same words, by another key: its records are not in its window.
    let mut definition = Definition::new("readings");
    let by_time = definition.index("time", |one: &Reading| one.time + 100);
    definition.index("device_time", |one: &Reading| (one.device, one.time));
    definition.group("values", |one: &Reading| one.device, |one| one.value);
    definition.multi("digits", |one: &Reading| vec![one.value]);
    definition.loads_by(&by_time, |_, _| async { Ok(()) });
    let table = definition.build(&by_time).unwrap();
    let restored = table.restore(&kept.path, &one, goes_on(), rules(), clock);
    refused(file_error(restored.await.unwrap()), ErrorKind::Config, "not in its window");
}

#[tokio::test]
async fn what_cannot_be_proven_is_not_written() {
    let kept = Kept::new();
    let ground = Ground::loaded(&[reading(1, 7, 1, 10)], 0..9).await;
    let error = ground.table.save(&kept.path, &codec(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("follows no feed"), "{error}");
    // The last thing that it said has no place.
    let (ground, feed) = (Ground::new(), goes_on());
    ground.table.follow(feed.clone(), rules(), Clock::system()).unwrap();
    feed.confirm(0);
    ground.table.load(Ranges::of(0..9).unwrap()).await.unwrap();
    let sink = feed.sink.lock().clone().unwrap();
    sink.received("told", Position(5), &[]);
    confirm(&*sink, 5);
    let error = ground.table.save(&kept.path, &codec(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(!kept.path.exists());
}

/// What is in doubt is loaded before it is written, also what reads go on with.
#[tokio::test]
async fn what_is_in_doubt_is_loaded_before_it_is_written() {
    let (kept, ground, feed) = (Kept::new(), Ground::new(), goes_on());
    ground.table.follow(feed.clone(), rules(), Clock::system()).unwrap();
    feed.confirm(0);
    (1..4).for_each(|id| ground.origin.put(reading(id, 7, id, id * 10)));
    ground.table.load(Ranges::of(0..9).unwrap()).await.unwrap();
    (1..4).for_each(|id| ground.origin.put(reading(id, 7, id, id * 10 + 5)));
    let only = |time: i64| Ranges::only([time]);
    let invalidation = || ground.table.invalidation();
    invalidation().by(&ground.by_time, &only(1), &Ranges::none()).commit().unwrap();
    let by_two = invalidation().by(&ground.by_time, &only(2), &Ranges::none());
    by_two.serve_stale().commit().unwrap();
    ground.table.save(&kept.path, &codec(1)).await.unwrap();
    let later = Ground::new();
    kept.restore(&later, goes_on()).await;
    assert_eq!(later.shown(0..9).await, [(1, 15), (2, 25), (3, 30)]);
}

#[tokio::test]
async fn save_that_fails_leaves_the_file_that_was_there() {
    let kept = Kept::written().await;
    let before = fs::read(&kept.path).unwrap();
    let (ground, feed) = (Ground::new(), goes_on());
    kept.restore(&ground, feed.clone()).await;
    feed.put(6, &reading(2, 7, 2, 21));
    feed.confirm(6);
    let aside = PathBuf::from(format!("{}-aside", kept.path.display()));
    fs::create_dir(&aside).unwrap();
    let error = ground.table.save(&kept.path, &codec(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(fs::read(&kept.path).unwrap(), before);
    fs::remove_dir(&aside).unwrap();
    // What a process that was killed has left aside.
    fs::write(&aside, b"half of").unwrap();
    ground.table.save(&kept.path, &codec(1)).await.unwrap();
    let later = Ground::new();
    assert!(matches!(kept.restore(&later, goes_on()).await, Restored::Whole(3)));
    assert_eq!(later.shown(2..3).await, [(2, 21)]);
}
