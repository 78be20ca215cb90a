//! What depends on an origin, in caches and processes that keep it in one store.
//!
//! Nodes with a handle of their own each stand for processes where nothing has to die; where one is
//! to be killed or stopped, this program is started again. **Invariant** under test: what one has
//! loaded the others serve without a load, and a change of the origin makes it fall for all of
//! them, whoever hears of it first and whoever dies; on another log, in another life, and where
//! nobody can say, it is a miss.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use larder::{Doubt, MemoryLimit, Source};
use larder_testkit::random::Random;

use crate::{
    peer::{self, Peer},
    shop::{Hears, Node, OFTEN, Shop},
};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn what_one_has_loaded_the_other_serves_without_a_load() {
    let shop = Shop::new();
    let [one, other] = [shop.node(Hears::Soon).await, shop.node(Hears::Soon).await];
    assert_eq!(one.album(1).await, (1, Source::Loaded));
    assert_eq!(other.album(1).await, (1, Source::Store));
    assert_eq!(other.artist(2).await, (4, Source::Loaded));
    assert_eq!(one.artist(2).await, (4, Source::Store));
    assert_eq!((one.albums.stats().loads, other.albums.stats().loads), (1, 0));
    // Also to one that begins later, while both live, and to one after all are gone.
    assert_eq!(shop.node(Hears::Soon).await.album(1).await, (1, Source::Store));
    for node in [one, other] {
        node.cache.close().await;
    }
    assert_eq!(shop.node(Hears::Soon).await.artist(2).await, (4, Source::Store));
}

#[tokio::test]
async fn nobody_takes_or_waits_for_the_lock_of_those_who_cannot_share() {
    let shop = Shop::new();
    let lock = shop.path().join("cache.db-origins");
    drop(shop.node(Hears::Soon).await);
    assert!(!lock.exists(), "it was taken");
    // Held by another one, as by a cache that follows some origin in `database` mode.
    let held = rusqlite::Connection::open(&lock).unwrap();
    held.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let [one, other] = [shop.node(Hears::Soon).await, shop.node(Hears::Soon).await];
    assert_eq!(one.album(1).await, (1, Source::Loaded));
    assert_eq!(other.album(1).await, (1, Source::Store));
}

#[tokio::test]
async fn a_change_falls_for_both_whoever_hears_of_it_first() {
    for (first, second) in [(Hears::Soon, Hears::WhenItAsks), (Hears::WhenItAsks, Hears::Soon)] {
        let shop = Shop::new();
        let [one, other] = [shop.node(first).await, shop.node(second).await];
        for id in [1, 2] {
            assert_eq!(one.album(id).await, (1, Source::Loaded));
            assert_eq!(other.album(id).await, (1, Source::Store));
        }
        assert_eq!(shop.change(1), 2);
        let [early, late] = if first == Hears::Soon { [&one, &other] } else { [&other, &one] };
        early.cache.catch_up().await.unwrap();
        assert_eq!(early.album(1).await, (2, Source::Loaded));
        assert_eq!(early.album(2).await, (1, Source::Hit));
        // The store has moved on to where the late one has not been.
        let third = shop.node(Hears::Soon).await;
        assert_eq!(third.album(1).await, (2, Source::Store));
        assert_eq!(third.album(2).await, (1, Source::Store));
        assert_eq!(late.artist(1).await, (5, Source::Loaded));
        late.cache.catch_up().await.unwrap();
        assert_eq!(late.album(1).await, (2, Source::Store));
        assert_eq!(late.album(2).await, (1, Source::Hit));
    }
}

#[tokio::test]
async fn one_that_has_not_heard_of_a_change_asks_before_it_takes_anything_from_the_store() {
    let shop = Shop::new();
    let [one, late] = [shop.careful().await, shop.node(Hears::WhenItAsks).await];
    for id in 1..6 {
        assert_eq!(one.album(id).await, (1, Source::Loaded));
        assert_eq!(shop.change(id), 2);
        assert_eq!(one.album(id).await, (2, Source::Loaded));
        // The store stands at a place where it has not been.
        assert_eq!(late.album(id).await, (2, Source::Store));
    }
}

#[tokio::test]
async fn of_two_that_begin_together_both_go_on_in_one_life() {
    // Nothing is written while nobody waits: both find the store without a standing.
    let shop = Shop::new();
    let [one, other] = [shop.hasty(Hears::Soon).await, shop.hasty(Hears::Soon).await];
    for node in [&one, &other, &one] {
        node.settle().await;
    }
    for round in 1..4 {
        assert_eq!(one.album(1).await, (round, Source::Loaded));
        assert_eq!(other.album(1).await, (round, Source::Store));
        shop.change(1);
        for node in [&one, &other] {
            node.cache.catch_up().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_schema_that_changes_is_one_new_life_for_all() {
    let shop = Shop::new();
    let [one, other] = [shop.careful().await, shop.careful().await];
    for round in 0..3 {
        assert_eq!(one.album(1).await, (1, Source::Loaded), "{round}");
        assert_eq!(other.album(1).await, (1, Source::Store), "{round}");
        let sql = format!("CREATE TABLE more{round}(x)");
        shop.application().execute(&sql, []).unwrap();
    }
    // Whoever has not looked since finds the store in a life that it does not know.
    let third = shop.node(Hears::WhenItAsks).await;
    shop.application().execute("CREATE TABLE last(x)", []).unwrap();
    assert_eq!(one.album(1).await, (1, Source::Loaded));
    assert_eq!(third.album(1).await, (1, Source::Store));
    assert_eq!(other.album(1).await, (1, Source::Store));
}

#[tokio::test]
async fn one_that_had_too_much_waiting_goes_on_in_the_life_of_the_others() {
    let shop = Shop::new();
    let [one, late] = [shop.node(Hears::Soon).await, shop.node(Hears::WhenItAsks).await];
    for id in [1, 2] {
        assert_eq!(one.album(id).await, (1, Source::Loaded));
        assert_eq!(late.album(id).await, (1, Source::Store));
    }
    for _ in 0..3 {
        shop.change_often(1);
        one.cache.catch_up().await.unwrap();
    }
    one.settle().await;
    late.cache.catch_up().await.unwrap();
    assert_eq!(late.last_doubt(), Some(Doubt::Overflow));
    let version = 1 + 3 * OFTEN;
    assert_eq!(late.album(2).await, (1, Source::Store));
    assert_eq!(one.album(1).await, (version, Source::Loaded));
    assert_eq!(late.album(1).await, (version, Source::Store));
    assert_eq!(shop.node(Hears::Soon).await.album(2).await, (1, Source::Store));
    assert_eq!(one.album(2).await, (1, Source::Hit));
}

#[tokio::test]
async fn what_nobody_could_read_is_a_miss_for_all() {
    let shop = Shop::new();
    let late = shop.node(Hears::WhenItAsks).await;
    for id in [1, 2] {
        assert_eq!(late.album(id).await, (1, Source::Loaded));
    }
    for _ in 0..3 {
        shop.change_often(1);
    }
    shop.change(2);
    late.cache.catch_up().await.unwrap();
    assert_eq!(late.last_doubt(), Some(Doubt::Overflow));
    // Also to one that comes once the store has moved on, over what was not read.
    shop.change(3);
    late.settle().await;
    let next = shop.node(Hears::Soon).await;
    assert_eq!(next.album(2).await, (2, Source::Loaded));
    assert_eq!(late.album(2).await, (2, Source::Store));
    let version = 1 + 3 * OFTEN;
    assert_eq!(late.album(1).await, (version, Source::Loaded));
    assert_eq!(next.album(1).await, (version, Source::Store));
}

#[tokio::test]
async fn what_was_loaded_from_a_log_that_went_back_is_a_miss_for_whoever_never_saw_it() {
    // The mutant of this is in `tests/mutants.rs`.
    let shop = Shop::new();
    shop.change(3);
    let [one, late] = [shop.node(Hears::WhenItAsks).await, shop.node(Hears::WhenItAsks).await];
    shop.change(1);
    one.cache.catch_up().await.unwrap();
    assert_eq!(one.album(1).await, (2, Source::Loaded));
    shop.take_back_a_change();
    // It finds its own place in the log, and goes on to the one where the store stands.
    late.cache.catch_up().await.unwrap();
    assert_eq!(late.album(1).await, (1, Source::Loaded));
    // The other one finds out, and that records may be lost; then both go on in one life.
    one.settle().await;
    assert_eq!(one.album(2).await, (1, Source::Loaded));
    late.settle().await;
    assert_eq!(late.album(2).await, (1, Source::Store));
}

#[tokio::test]
async fn after_a_restore_of_the_store_both_go_on_in_one_new_life() {
    // J5.
    let shop = Shop::new();
    let [one, other] = [shop.careful().await, shop.careful().await];
    assert_eq!(one.album(1).await, (1, Source::Loaded));
    let store = shop.store().await;
    let backup = shop.path().join("backup.db");
    store.backup(&backup).await.unwrap();
    shop.change(1);
    assert_eq!(other.album(1).await, (2, Source::Loaded));
    store.restore(&backup).await.unwrap();
    for node in [&one, &other] {
        assert_eq!(node.album(1).await.0, 2);
    }
    // What is refused begins the life; what is loaded then is kept.
    for node in [&one, &other, &one] {
        node.settle().await;
        node.albums.remove(&1).await.unwrap();
    }
    shop.change(1);
    assert_eq!(one.album(1).await, (3, Source::Loaded));
    assert_eq!(other.album(1).await, (3, Source::Store));
}

#[tokio::test]
async fn what_nothing_watches_each_loads_for_itself() {
    let shop = Shop::new();
    let [one, other] = [shop.careful().await, shop.careful().await];
    for version in 1..4 {
        assert_eq!(one.note(1).await, (version, Source::Loaded));
        assert_eq!(other.note(1).await, (version, Source::Loaded));
        assert_eq!(one.note(1).await, (version, Source::Hit));
        // What is tracked is shared beside it.
        assert_eq!(one.album(version).await, (1, Source::Loaded));
        assert_eq!(other.album(version).await, (1, Source::Store));
        shop.application().execute("UPDATE note SET version = version + 1", []).unwrap();
    }
}

#[tokio::test]
async fn a_token_of_one_is_reached_on_the_other() {
    let shop = Shop::new();
    let [one, other] = [shop.careful().await, shop.node(Hears::WhenItAsks).await];
    assert_eq!(other.album(1).await, (1, Source::Loaded));
    // Of what nothing watches each has its own count.
    assert_eq!(one.note(1).await, (1, Source::Loaded));
    for _ in 0..5 {
        shop.change(1);
        shop.application().execute("UPDATE note SET version = version + 1", []).unwrap();
        one.cache.catch_up().await.unwrap();
    }
    other.cache.reach(&one.cache.token(), MINUTE).await.unwrap();
    assert_eq!(other.album(1).await, (6, Source::Loaded));
    one.cache.reach(&other.cache.token(), MINUTE).await.unwrap();
}

/// How old the knowledge of a process may be that is stopped.
const CHILD_STALENESS: Duration = Duration::from_millis(50);

async fn process_node(path: &Path) -> Node {
    Node::open(path, Hears::Soon, CHILD_STALENESS, MemoryLimit::default()).await
}

/// Run in a process of its own by the tests below. For each line it is told, the id of an album, it
/// says what it read; for any other it asks the origin what has changed.
#[test]
fn life_of_a_shop() {
    let Some(path) = peer::place() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let node = process_node(&path).await;
        peer::say("ready");
        for line in peer::told() {
            let Ok(id) = line.parse() else {
                node.cache.catch_up().await.unwrap();
                peer::say("caught up");
                continue;
            };
            let (version, source) = node.album(id).await;
            peer::say(format_args!("{version} {source:?}"));
        }
    });
}

/// A process on the same shop and store.
fn peer_of(shop: &Shop) -> Peer {
    let mut peer = Peer::start("shared_feed::life_of_a_shop", shop.path());
    assert_eq!(peer.says(), "ready");
    peer
}

/// An album of which the peer has said `Loaded` and this process then has it from the store. On a
/// machine that is too busy for that within the time that a flight has for the store, another one
/// is tried.
async fn shared_by_both(peer: &mut Peer, here: &Node) -> i64 {
    for id in 1..=8 {
        let said = peer.does(id);
        let (version, source) = here.album(id).await;
        if said == format!("{version} Loaded") && source == Source::Store {
            return id;
        }
    }
    panic!("nothing came through the store");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_process_that_is_killed_has_kept_is_served_and_falls() {
    let shop = Shop::new();
    let mut peer = peer_of(&shop);
    let here = process_node(shop.path()).await;
    let id = shared_by_both(&mut peer, &here).await;
    peer.kill();
    let late = process_node(shop.path()).await;
    assert_eq!(late.album(id).await, (1, Source::Store));
    let version = shop.change(id);
    for node in [&here, &late] {
        node.cache.catch_up().await.unwrap();
        assert_eq!(node.album(id).await.0, version);
    }
    // Another one begins, and this one goes on.
    let mut peer = peer_of(&shop);
    let version = shop.change(id);
    let said = |source: &str| format!("{version} {source}");
    here.cache.catch_up().await.unwrap();
    assert_eq!(here.album(id).await.0, version);
    let says = peer.does(id);
    assert!([said("Store"), said("Loaded")].contains(&says), "{says}");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_stopped_while_the_origin_changed_serves_nothing_old() {
    let shop = Shop::new();
    let mut peer = peer_of(&shop);
    let here = process_node(shop.path()).await;
    let id = shared_by_both(&mut peer, &here).await;
    for _ in 0..5 {
        peer.signal("-STOP");
        let version = shop.change(id);
        here.cache.catch_up().await.unwrap();
        assert_eq!(here.album(id).await.0, version, "stopped in the middle of whatever it did");
        // How long it is stopped is what this is about.
        tokio::time::sleep(CHILD_STALENESS * 2).await;
        // It has the line before it goes on, so that nothing is quicker than its next read.
        peer.tell(id);
        peer.signal("-CONT");
        let says = peer.says();
        assert!(says.starts_with(&format!("{version} ")) && !says.contains("Hit"), "{says}");
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_sleeps_through_a_new_life_of_the_log_serves_nothing_of_the_old_one() {
    let shop = Shop::new();
    shop.change(3);
    let mut peer = peer_of(&shop);
    let here = process_node(shop.path()).await;
    let id = shared_by_both(&mut peer, &here).await;
    shop.change(1);
    here.cache.catch_up().await.unwrap();
    assert_eq!(here.album(1).await.0, 2);
    peer.signal("-STOP");
    shop.take_back_a_change();
    here.cache.catch_up().await.unwrap();
    assert_eq!(here.album(1).await.0, 1);
    // For longer than what it knows may be old.
    tokio::time::sleep(CHILD_STALENESS * 2).await;
    peer.tell(1);
    peer.signal("-CONT");
    let says = peer.says();
    assert!(says.starts_with("1 "), "{says}");
    // And both are in one life again.
    let version = shop.change(id);
    here.cache.catch_up().await.unwrap();
    assert_eq!(here.album(id).await.0, version);
    assert_eq!(peer.does("catch up"), "caught up");
    let says = peer.does(id);
    assert!(says.starts_with(&format!("{version} ")), "{says}");
}

/// Reads on two nodes with so little memory that much comes from the store, while rows change, the
/// schema does, and the log goes back. What was committed before a reader asked the origin is in
/// its answer, and nothing that was taken back.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn random_changes_are_never_missed_on_two_nodes() {
    for seed in larder_testkit::random::seeds() {
        let shop = Arc::new(Shop::new());
        let committed: Arc<Vec<AtomicI64>> = Arc::new((0..9).map(|_| AtomicI64::new(1)).collect());
        let mut nodes = Vec::new();
        for _ in 0..2 {
            let memory = MemoryLimit::bytes(2 << 10);
            let node = Node::open(shop.path(), Hears::Soon, Duration::from_secs(1), memory).await;
            nodes.push(Arc::new(node));
        }
        let tasks = (0..6).map(|stream| {
            let random = Random::new(seed).split(stream);
            tokio::spawn(read_and_change(nodes.clone(), shop.clone(), committed.clone(), random))
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        for node in &nodes {
            let stats = node.albums.stats();
            println!("{stats:?}");
            assert!(0 < stats.store_hits && 0 < stats.loads, "{stats:?}");
        }
    }
}

async fn read_and_change(
    nodes: Vec<Arc<Node>>,
    shop: Arc<Shop>,
    committed: Arc<Vec<AtomicI64>>,
    mut random: Random,
) {
    for _ in 0..150 {
        let id = i64::try_from(1 + random.below(8)).unwrap();
        let album = &committed[usize::try_from(id).unwrap()];
        if random.once_in(6) {
            let shop = shop.clone();
            let changed = tokio::task::spawn_blocking(move || {
                let application = shop.application();
                application.busy_timeout(MINUTE).unwrap();
                let sql = "UPDATE album SET version = version + 1 WHERE id = ?1 RETURNING version";
                application.query_row(sql, [id], |row| row.get(0)).unwrap()
            });
            album.fetch_max(changed.await.unwrap(), Ordering::SeqCst);
        } else if random.once_in(60) {
            let (shop, name) = (shop.clone(), random.next());
            let altered = tokio::task::spawn_blocking(move || {
                let application = shop.application();
                application.busy_timeout(MINUTE).unwrap();
                application.execute(&format!("CREATE TABLE more{name}(x)"), []).unwrap();
            });
            altered.await.unwrap();
        } else {
            let least = album.load(Ordering::SeqCst);
            let node = random.pick(&nodes);
            if node.cache.catch_up().await.is_err() {
                continue;
            }
            let (version, source) = node.album(id).await;
            assert!(least <= version, "{id}: {version} {source:?}, committed {least}");
            let (sum, source) = node.artist(2 - id % 2).await;
            assert!(least + 3 <= sum, "{id}: {sum} {source:?}, committed {least}");
        }
    }
}
