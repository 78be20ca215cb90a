//! The fork over a feed that is told what to say: who is told what, and when.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use super::*;

const LIFE: Epoch = Epoch(7);

/// A feed that says what it is made to say.
#[derive(Debug)]
struct Hand {
    timeline: Name,
    sink: Mutex<Option<Arc<dyn FeedSink>>>,
    refuses: bool,
}

impl Hand {
    fn new(refuses: bool) -> Arc<Self> {
        Arc::new(Self { timeline: "shop".into(), sink: Mutex::default(), refuses })
    }

    fn tell(&self, tell: impl FnOnce(&dyn FeedSink)) {
        tell(&**self.sink.lock().as_ref().expect("the feed was started"));
    }

    fn begins(&self) {
        self.tell(|sink| sink.restarted("shop", LIFE, Position(1), Doubt::Started));
    }

    fn received(&self, position: u64) {
        let changes = [Change::Touch(Dependency::table("shop", "item"))];
        self.tell(|sink| sink.received("shop", Position(position), &changes));
    }

    fn confirmed(&self, position: u64) {
        self.tell(|sink| sink.confirmed("shop", Position(position), Moment::EARLIEST));
    }
}

impl Feed for Hand {
    fn timeline(&self) -> &Name {
        &self.timeline
    }

    fn start(&self, sink: Arc<dyn FeedSink>) -> Result<(), Error> {
        if self.refuses {
            return Err(Error::new(ErrorKind::Unavailable, "start"));
        }
        *self.sink.lock() = Some(sink);
        Ok(())
    }

    fn start_from(&self, sink: Arc<dyn FeedSink>, left: &Standing) -> Result<(), Error> {
        self.start(sink)?;
        self.tell(|sink| sink.resumed("shop", left.epoch, left.position));
        Ok(())
    }

    fn catch_up(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn has_places(&self) -> bool {
        true
    }

    fn stop(&self) {}
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Began(Epoch, u64),
    Resumed(Epoch, u64),
    Received(u64),
    Confirmed(u64),
    Marked(Option<u8>),
    Lost,
}

#[derive(Debug, Default)]
struct Heard(Mutex<Vec<Call>>);

impl Heard {
    fn take(&self) -> Vec<Call> {
        std::mem::take(&mut self.0.lock())
    }
}

impl FeedSink for Heard {
    fn received(&self, _: &str, position: Position, _: &[Change]) {
        self.0.lock().push(Call::Received(position.0));
    }

    fn confirmed(&self, _: &str, position: Position, _: Moment) {
        self.0.lock().push(Call::Confirmed(position.0));
    }

    fn restarted(&self, _: &str, epoch: Epoch, start: Position, _: Doubt) {
        self.0.lock().push(Call::Began(epoch, start.0));
    }

    fn resumed(&self, _: &str, epoch: Epoch, position: Position) {
        self.0.lock().push(Call::Resumed(epoch, position.0));
    }

    fn recorded(&self, _: &str, _: &Invalidation) {}

    fn records_lost(&self, _: &str, _: Doubt) {
        self.0.lock().push(Call::Lost);
    }
}

fn caught_up(feed: &dyn Feed) -> Result<(), Error> {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(feed.catch_up()).poll(&mut context) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("nothing is waited for"),
    }
}

#[test]
fn a_branch_has_the_places_of_the_feed() {
    assert!(Fork::new(Hand::new(false)).branch().has_places());
}

#[test]
fn who_joins_is_told_of_all_that_its_loads_may_have_missed() {
    let feed = Hand::new(false);
    let fork = Fork::new(feed.clone());
    let (first, second, heard) = (fork.branch(), fork.branch(), Arc::<Heard>::default());
    first.start(Arc::<Heard>::default()).unwrap();
    feed.begins();
    feed.confirmed(4);
    feed.received(5);
    second.start(heard.clone()).unwrap();
    assert_eq!(caught_up(&*second).unwrap_err().kind(), ErrorKind::Conflict);
    caught_up(&*first).unwrap();
    feed.received(6);
    feed.confirmed(4);
    assert_eq!(heard.take(), []);
    feed.confirmed(5);
    let told = [Call::Began(LIFE, 5), Call::Received(6), Call::Confirmed(5)];
    assert_eq!(heard.take(), told);
    caught_up(&*second).unwrap();
    feed.received(7);
    assert_eq!(heard.take(), [Call::Received(7)]);
    second.stop();
    feed.confirmed(7);
    assert_eq!(heard.take(), []);
    let (third, heard) = (fork.branch(), Arc::<Heard>::default());
    third.start(heard.clone()).unwrap();
    assert_eq!(heard.take(), [Call::Began(LIFE, 7)], "loads show all that was received");
}

#[test]
fn only_who_starts_the_feed_goes_on_where_it_was_left() {
    let fork = Fork::new(Hand::new(false));
    let (first, second) = (fork.branch(), fork.branch());
    let (one, other) = (Arc::<Heard>::default(), Arc::<Heard>::default());
    let left = Standing {
        timeline: "shop".into(),
        epoch: LIFE,
        position: Position(9),
        floor: Position::START,
        mark: None,
    };
    first.start_from(one.clone(), &left).unwrap();
    second.start_from(other.clone(), &left).unwrap();
    assert_eq!(one.take(), [Call::Resumed(LIFE, 9)]);
    assert_eq!(other.take(), [Call::Lost, Call::Began(LIFE, 9)]);
}

#[test]
fn feed_that_does_not_start_can_be_started_by_another_branch() {
    let fork = Fork::new(Hand::new(true));
    for branch in [fork.branch(), fork.branch()] {
        let refused = branch.start(Arc::<Heard>::default()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unavailable);
    }
}

/// Keeps what it is told, marks included.
#[derive(Debug, Default)]
struct Keeper(Heard);

impl FeedSink for Keeper {
    fn received(&self, timeline: &str, position: Position, changes: &[Change]) {
        self.0.received(timeline, position, changes);
    }

    fn confirmed(&self, timeline: &str, position: Position, moment: Moment) {
        self.0.confirmed(timeline, position, moment);
    }

    fn restarted(&self, timeline: &str, epoch: Epoch, start: Position, doubt: Doubt) {
        self.0.restarted(timeline, epoch, start, doubt);
    }

    fn marking(&self, _: &str, mark: Option<Mark>) {
        let mark = mark.and_then(|mark| mark.bytes.first().copied());
        self.0.0.lock().push(Call::Marked(mark));
    }

    fn recorded(&self, _: &str, _: &Invalidation) {}

    fn records_lost(&self, _: &str, _: Doubt) {}
}

#[test]
fn who_joins_is_given_the_mark_that_leads_behind_what_it_need_not_be_told() {
    let feed = Hand::new(false);
    let fork = Fork::new(feed.clone());
    let mark = |number: u8| {
        let mark = Mark { bytes: vec![number], place: Some(Position(number.into())) };
        feed.tell(|sink| sink.marking("shop", Some(mark.clone())));
    };
    fork.branch().start(Arc::<Heard>::default()).unwrap();
    mark(1);
    feed.begins();
    mark(4);
    feed.received(4);
    feed.confirmed(4);
    let (second, heard) = (fork.branch(), Arc::<Keeper>::default());
    second.start(heard.clone()).unwrap();
    assert_eq!(heard.0.take(), [Call::Marked(Some(4)), Call::Began(LIFE, 4)]);
    mark(5);
    feed.received(5);
    assert_eq!(heard.0.take(), [Call::Marked(Some(5)), Call::Received(5)]);
    let (third, heard) = (fork.branch(), Arc::<Keeper>::default());
    third.start(heard.clone()).unwrap();
    mark(6);
    feed.received(6);
    feed.confirmed(5);
    let told = [Call::Marked(None), Call::Began(LIFE, 5), Call::Received(6), Call::Confirmed(5)];
    assert_eq!(heard.0.take(), told, "mark 6 leads behind what is told after");
}
