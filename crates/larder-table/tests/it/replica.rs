//! Replicas: a table that is read in the place of another one, over a connection that may end at
//! any byte.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use larder_core::{BoxFuture, Clock, Error, ErrorKind};
use larder_table::{
    Codec, Connection, Definition, Incoming, Index, Outgoing, Owner, Ranges, Record, Replica,
    Table, Version,
};
use parking_lot::Mutex;

#[derive(Clone, Debug, PartialEq)]
struct Person {
    id: i64,
    city: i64,
    name: String,
}

impl Record for Person {
    type Key = i64;

    fn key(&self) -> i64 {
        self.id
    }
}

fn person(id: i64, city: i64, name: &str) -> Person {
    Person { id, city, name: name.to_owned() }
}

fn codec() -> Codec<Person> {
    let encode = |one: &Person, out: &mut Vec<u8>| {
        [one.id, one.city].iter().for_each(|part| out.extend_from_slice(&part.to_le_bytes()));
        out.extend_from_slice(one.name.as_bytes());
    };
    Codec::new(1, encode, |bytes| {
        let corrupt = || Error::new(ErrorKind::Corrupt, "decode a person");
        let (id, rest) = bytes.split_first_chunk::<8>().ok_or_else(corrupt)?;
        let (city, name) = rest.split_first_chunk::<8>().ok_or_else(corrupt)?;
        let [id, city] = [id, city].map(|part| i64::from_le_bytes(*part));
        let name = String::from_utf8(name.to_vec()).map_err(|_| corrupt())?;
        Ok(Person { id, city, name })
    })
}

/// How long what comes is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

fn definition(wait: Duration) -> (Definition<Person>, Index<Person, i64>) {
    let mut definition = Definition::new("people");
    definition.wait_for_load(wait);
    let by_city = definition.index("city", |one: &Person| one.city);
    (definition, by_city)
}

type Rows = Arc<Mutex<BTreeMap<i64, Person>>>;

/// The owner: a table that is told of changes by hand.
#[derive(Clone)]
struct Truth {
    rows: Rows,
    table: Table<Person, i64>,
    by_city: Index<Person, i64>,
    loads: Arc<AtomicUsize>,
}

impl Truth {
    async fn new(people: impl IntoIterator<Item = Person>) -> Self {
        let rows: Rows =
            Arc::new(Mutex::new(people.into_iter().map(|one| (one.id, one)).collect()));
        let (mut definition, by_city) = definition(PATIENCE);
        let (own, loads) = (rows.clone(), Arc::new(AtomicUsize::new(0)));
        let count = loads.clone();
        definition.loads_by(&by_city, move |cities: Ranges<i64>, fill| {
            count.fetch_add(1, Ordering::SeqCst);
            let all: Vec<Person> = own.lock().values().cloned().collect();
            let all = all.into_iter().filter(|one| cities.contains(&one.city));
            std::future::ready(fill.put_all(all))
        });
        let table = definition.build(&by_city).unwrap();
        table.load(Ranges::of(0..100).unwrap()).await.unwrap();
        Self { rows, table, by_city, loads }
    }

    /// Commits, and tells the table.
    fn put(&self, one: Person) {
        let city = one.city;
        let old = self.rows.lock().insert(one.id, one);
        self.tell(old.map(|old| old.city).into_iter().chain([city]));
    }

    fn remove(&self, id: i64) {
        let old = self.rows.lock().remove(&id).unwrap();
        self.tell([old.city]);
    }

    fn tell(&self, cities: impl IntoIterator<Item = i64>) {
        let invalidation = self.table.invalidation();
        invalidation.by(&self.by_city, &Ranges::only(cities), &Ranges::none()).commit().unwrap();
    }

    fn shown(&self) -> Vec<Person> {
        let window = self.table.window().unwrap();
        self.rows.lock().values().filter(|one| window.contains(&one.city)).cloned().collect()
    }
}

impl std::fmt::Debug for Truth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.table.fmt(f)
    }
}

impl Owner for Truth {
    fn version(&self) -> BoxFuture<'_, Result<Version, Error>> {
        Box::pin(self.table.version())
    }
}

/// An owner that says what it is made to say.
#[derive(Debug, Default)]
struct Puppet {
    life: AtomicU64,
    number: AtomicU64,
}

impl Owner for Puppet {
    fn version(&self) -> BoxFuture<'_, Result<Version, Error>> {
        let of = |number: &AtomicU64| number.load(Ordering::SeqCst);
        Box::pin(std::future::ready(Ok(Version { life: of(&self.life), number: of(&self.number) })))
    }
}

struct Follower {
    table: Table<Person, i64>,
    by_city: Index<Person, i64>,
    replica: Replica<Person, i64>,
}

impl Follower {
    fn new(owner: Arc<dyn Owner>, max_staleness: Duration) -> Self {
        Self::waiting(owner, max_staleness, PATIENCE)
    }

    fn impatient(owner: Arc<dyn Owner>, max_staleness: Duration) -> Self {
        Self::waiting(owner, max_staleness, Duration::from_millis(50))
    }

    fn waiting(owner: Arc<dyn Owner>, max_staleness: Duration, wait: Duration) -> Self {
        let (definition, by_city) = definition(wait);
        let replica = definition
            .replica(&by_city, "owner", owner, codec(), Clock::system(), max_staleness)
            .unwrap();
        Self { table: replica.table().clone(), by_city, replica }
    }

    async fn all(&self) -> Result<Vec<Person>, Error> {
        let window = self.table.window().unwrap_or_else(|| Ranges::of(0..100).unwrap());
        let found = self.table.select(&self.by_city, window).read().await?;
        let mut all: Vec<Person> = found.iter().map(|one| (**one).clone()).collect();
        all.sort_by_key(|one| one.id);
        Ok(all)
    }

    /// Brings everything that `truth` sends, for as long as the task is not ended.
    fn follow(&self, truth: &Truth) -> tokio::task::JoinHandle<()> {
        let (replica, mut outgoing) =
            (self.replica.clone(), truth.table.outgoing(&codec(), vec![]));
        tokio::spawn(async move {
            let mut incoming = Incoming::new();
            incoming.take(&outgoing.next().await.unwrap());
            let mut connection = replica.connect(incoming).unwrap();
            loop {
                connection.take(&outgoing.next().await.unwrap()).await.unwrap();
            }
        })
    }
}

/// All bytes up to the end of the version that the owner has now.
async fn sent(truth: &Truth, outgoing: &mut Outgoing<Person, i64>) -> Vec<u8> {
    truth.table.version().await.unwrap();
    let mut bytes = Vec::new();
    loop {
        tokio::select! {
            biased;
            more = outgoing.next() => bytes.extend(more.unwrap()),
            // There is nothing more to send.
            () = std::future::ready(()) => return bytes,
        }
    }
}

fn connected(follower: &Follower, bytes: &[u8]) -> Option<Connection<Person, i64>> {
    let mut incoming = Incoming::new();
    incoming.take(bytes);
    incoming.hello().ok()??;
    follower.replica.connect(incoming).ok()
}

fn people() -> Vec<Person> {
    (0..20).map(|id| person(id, id % 5, &format!("one {id}"))).collect()
}

/// Issue 5: what was committed before a read began is in it, at a replica as at its owner.
#[tokio::test(flavor = "multi_thread")]
async fn replica_that_must_not_be_stale_shows_every_change_that_came_before_the_read() {
    let truth = Truth::new(people()).await;
    let owner = Arc::new(truth.clone());
    let followers = [0, 1].map(|_| Follower::new(owner.clone(), Duration::ZERO));
    let tasks = followers.each_ref().map(|one| one.follow(&truth));
    for step in 0..50 {
        match step % 4 {
            0 => truth.put(person(step, step % 5, "new")),
            1 => truth.put(person(step % 20, 7, "moved")),
            2 => truth.put(person(3, 3, &format!("changed {step}"))),
            _ => {
                let first = *truth.rows.lock().keys().next().unwrap();
                truth.remove(first);
            }
        }
        for follower in &followers {
            assert_eq!(follower.all().await.unwrap(), truth.shown(), "step {step}");
        }
    }
    let stats = followers[0].replica.stats();
    assert!(stats.is_connected && 1 < stats.versions && stats.age.is_some(), "{stats:?}");
    // A read of what is young enough asks nobody.
    let lenient = Follower::new(owner, Duration::from_secs(3600));
    let task = lenient.follow(&truth);
    lenient.all().await.unwrap();
    let loads = truth.loads.load(Ordering::SeqCst);
    truth.put(person(1, 1, "later"));
    lenient.all().await.unwrap();
    assert_eq!(truth.loads.load(Ordering::SeqCst), loads, "the owner was not asked");
    tasks.into_iter().chain([task]).for_each(|task| task.abort());
}

#[tokio::test(flavor = "multi_thread")]
async fn window_of_the_owner_is_that_of_its_replicas_in_one_step() {
    let truth = Truth::new(people()).await;
    let follower = Follower::new(Arc::new(truth.clone()), Duration::ZERO);
    let task = follower.follow(&truth);
    assert_eq!(follower.all().await.unwrap().len(), 20);
    truth.table.adjust(Ranges::of(3..200).unwrap()).await.unwrap();
    assert_eq!(follower.table.get(&3).await.unwrap().unwrap().city, 3);
    assert_eq!(follower.table.window(), truth.table.window());
    assert_eq!(follower.all().await.unwrap(), truth.shown());
    // What is outside is asked of the owner, by whoever wants it.
    let outside = follower.table.range(&follower.by_city, 0..5).await.unwrap_err();
    assert_eq!(outside.kind(), ErrorKind::NotFound);
    assert!(outside.to_string().contains("owner"), "{outside}");
    // By an index that has nothing to do with the window it may be anywhere.
    let other = follower.table.range(&follower.table.primary(), ..).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::NotFound, "{other}");
    task.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn replica_is_changed_by_its_owner_only() {
    let truth = Truth::new(people()).await;
    let follower = Follower::new(Arc::new(truth.clone()), Duration::ZERO);
    let task = follower.follow(&truth);
    follower.all().await.unwrap();
    let table = &follower.table;
    let kinds = [
        table.adjust(Ranges::of(0..1).unwrap()).await.unwrap_err(),
        table.reload(Ranges::of(0..1).unwrap()).await.unwrap_err(),
        table.load(Ranges::all()).await.unwrap_err(),
        table.invalidation().keys([1]).commit().unwrap_err(),
        table.save("never", &codec()).await.unwrap_err(),
    ];
    for error in kinds {
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains("owner"), "{error}");
    }
    assert!(table.reflects().is_none());
    assert_eq!(follower.all().await.unwrap(), truth.shown());
    task.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_that_is_cut_at_any_byte_shows_a_version_or_nothing() {
    let truth = Truth::new(people()).await;
    let mut outgoing = truth.table.outgoing(&codec(), b"about".to_vec());
    let (mut bytes, mut versions) = (Vec::new(), Vec::new());
    for step in 0..3 {
        bytes.extend(sent(&truth, &mut outgoing).await);
        versions.push(truth.shown());
        truth.put(person(step, 9, "changed"));
        truth.remove(10 + step);
        truth.put(person(100 + step, 1, "new"));
    }
    let life = truth.table.version().await.unwrap().life;
    let (mut least, mut seen) = (0, 0);
    for end in 0..=bytes.len() {
        let puppet = Arc::new(Puppet::default());
        puppet.life.store(life, Ordering::SeqCst);
        let follower = Follower::new(puppet, Duration::ZERO);
        let Some(mut connection) = connected(&follower, &bytes[..end]) else { continue };
        connection.take(&[]).await.unwrap();
        if follower.table.window().is_none() {
            assert_eq!(least, 0, "a version that was whole is not shown at {end}");
            continue;
        }
        let shown = follower.all().await.unwrap();
        let place = versions.iter().position(|version| *version == shown);
        let place = place.unwrap_or_else(|| panic!("cut at {end} it shows no version: {shown:?}"));
        assert!(least <= place, "versions go back at {end}");
        (least, seen) = (place, seen + 1);
        assert_eq!(follower.table.stats().records, versions[place].len() as u64);
    }
    assert_eq!((least, 100 < seen), (2, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_shown_of_a_stream_in_which_any_byte_is_another() {
    let truth = Truth::new(people()).await;
    let mut outgoing = truth.table.outgoing(&codec(), Vec::new());
    let first = sent(&truth, &mut outgoing).await;
    let before = truth.shown();
    truth.put(person(3, 3, "changed"));
    let second = sent(&truth, &mut outgoing).await;
    let life = truth.table.version().await.unwrap().life;
    for place in 0..second.len() {
        let puppet = Arc::new(Puppet::default());
        puppet.life.store(life, Ordering::SeqCst);
        let follower = Follower::new(puppet, Duration::ZERO);
        let mut connection = connected(&follower, &first).unwrap();
        connection.take(&[]).await.unwrap();
        let mut spoiled = second.clone();
        spoiled[place] ^= 1 << (place % 8);
        // A length that is longer than what comes is waited for.
        connection.take(&spoiled).await.ok();
        assert_eq!(follower.all().await.unwrap(), before, "at {place}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shown_counts_for_the_connection_and_the_life_that_was_asked_only() {
    let truth = Truth::new(people()).await;
    let puppet = Arc::new(Puppet::default());
    let life = truth.table.version().await.unwrap().life;
    puppet.life.store(life, Ordering::SeqCst);
    let follower = Follower::impatient(puppet.clone(), Duration::from_secs(3600));
    let unconnected = follower.all().await.unwrap_err();
    assert_eq!(unconnected.kind(), ErrorKind::Unavailable);
    assert!(unconnected.to_string().contains("not connected"), "{unconnected}");
    let bytes = sent(&truth, &mut truth.table.outgoing(&codec(), Vec::new())).await;
    let mut connection = connected(&follower, &bytes).unwrap();
    connection.take(&[]).await.unwrap();
    assert_eq!(follower.all().await.unwrap().len(), 20);
    // A connection that has ended proves nothing, however young the last answer is.
    drop(connection);
    assert_eq!(follower.all().await.unwrap_err().kind(), ErrorKind::Unavailable);
    let mut connection = connected(&follower, &bytes).unwrap();
    connection.take(&[]).await.unwrap();
    assert_eq!(follower.all().await.unwrap().len(), 20);
    // The answer names what has not come yet.
    let strict = Follower::impatient(puppet.clone(), Duration::ZERO);
    let mut own = connected(&strict, &bytes).unwrap();
    own.take(&[]).await.unwrap();
    puppet.number.store(2, Ordering::SeqCst);
    assert_eq!(strict.all().await.unwrap_err().kind(), ErrorKind::Unavailable);
    puppet.number.store(1, Ordering::SeqCst);
    assert_eq!(strict.all().await.unwrap().len(), 20);
    // Another life answers: its numbers mean nothing here.
    puppet.life.store(life ^ 1, Ordering::SeqCst);
    assert_eq!(strict.all().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(!strict.replica.stats().is_connected);
    // What an earlier connection brings is refused.
    let mut outgoing = truth.table.outgoing(&codec(), Vec::new());
    let whole = sent(&truth, &mut outgoing).await;
    let mut earlier = connected(&follower, &whole).unwrap();
    let _later = connected(&follower, &whole).unwrap();
    assert_eq!(earlier.take(&[]).await.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn replica_that_is_slow_is_sent_the_newest_version_only() {
    let truth = Truth::new(people()).await;
    let mut outgoing = truth.table.outgoing(&codec(), Vec::new());
    let whole = sent(&truth, &mut outgoing).await;
    for step in 0..100 {
        truth.put(person(1, 1, &format!("changed {step}")));
        truth.table.version().await.unwrap();
    }
    let after = sent(&truth, &mut outgoing).await;
    assert!(after.len() < 1000, "{} bytes are more than one record", after.len());
    let follower = Follower::new(Arc::new(truth.clone()), Duration::ZERO);
    let mut connection = connected(&follower, &whole).unwrap();
    connection.take(&after).await.unwrap();
    assert_eq!(follower.replica.stats().versions, 2);
    assert_eq!(follower.all().await.unwrap(), truth.shown());
    assert!(outgoing.beat().unwrap().len() < 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn table_of_another_definition_is_not_followed() {
    let truth = Truth::new(people()).await;
    let bytes = sent(&truth, &mut truth.table.outgoing(&codec(), Vec::new())).await;
    let mut incoming = Incoming::new();
    incoming.take(&bytes);
    let (mut definition, by_city) = definition(PATIENCE);
    definition.index("name", |one: &Person| one.name.clone());
    let owner: Arc<dyn Owner> = Arc::new(Puppet::default());
    let replica = definition
        .replica(&by_city, "owner", owner, codec(), Clock::system(), Duration::ZERO)
        .unwrap();
    let error = replica.connect(incoming).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("indexes"), "{error}");
}

/// Random changes, random pauses of the connection, and now and then another one.
#[tokio::test(flavor = "multi_thread")]
async fn random_changes_come_to_what_the_owner_shows() {
    for seed in [7, Clock::system().now().as_micros()] {
        println!("replica: seed {seed}");
        let mut state = seed | 1;
        let mut next = |below: i64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            i64::try_from(state >> 33).unwrap() % below
        };
        let truth = Truth::new((0..300).map(|id| person(id, id % 50, "one"))).await;
        let follower = Follower::new(Arc::new(truth.clone()), Duration::ZERO);
        let mut task = follower.follow(&truth);
        for step in 0..200 {
            for _ in 0..next(30) {
                match next(3) {
                    0 => truth.put(person(next(400), next(120), &format!("{step}"))),
                    1 => truth.put(person(1000 + next(1000), next(50), "new")),
                    _ => {
                        let first = *truth.rows.lock().keys().nth(5).unwrap();
                        truth.remove(first);
                    }
                }
            }
            if next(20) == 0 {
                let low = next(30);
                truth.table.adjust(Ranges::of(low..low + 60).unwrap()).await.unwrap();
            }
            if next(25) == 0 {
                task.abort();
                task = follower.follow(&truth);
            }
            // The window is known once the first version has come.
            follower.table.catch_up().await.unwrap();
            assert_eq!(follower.all().await.unwrap(), truth.shown(), "step {step}");
        }
        task.abort();
    }
}
