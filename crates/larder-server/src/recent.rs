//! The last events, each made into text once, for those who listen and for those who come back.
//!
//! Apart from `route/events.rs`, which sends them: here nobody knows a client, only how far it is.
//! **Invariant**: events are numbered without a gap from 1 on, those that were lost before they got
//! here included; whoever asks for what follows a number is given the next one, or how many of the
//! next are not kept any more, never a later one in silence.

use std::{collections::VecDeque, fmt};

use hyper::body::Bytes;
use larder::{Event, Mode, Moment, Notice, Subscription, What};
use parking_lot::Mutex;
use serde_json::{Value as Json, json};
use tokio::sync::watch;

/// What an event counts against the limit besides its text: its place in the ring.
const PLACE_BYTES: usize = 64;

/// The last events of one run of the server.
pub struct Recent {
    /// Tells the numbers of this run from those of another one.
    run: u64,
    bytes_max: usize,
    ring: Mutex<Ring>,
    grown: watch::Sender<()>,
}

/// What is known now.
#[derive(Debug, Default)]
struct Ring {
    /// The number of each event and its text, in order.
    kept: VecDeque<(u64, Bytes)>,
    bytes: usize,
    /// The number of the last event, kept or not.
    last: u64,
    ended: bool,
}

/// What follows a number.
#[derive(Debug, PartialEq)]
pub enum Next {
    /// The next event, as it is sent.
    Event(Bytes),
    /// So many are not kept any more; go on after that number.
    Missed(u64),
    /// Nothing yet.
    Nothing,
    /// Nothing, and nothing will.
    End,
}

impl Recent {
    /// Keeps events of up to `bytes_max` bytes together, and always the last one.
    pub fn new(bytes_max: usize) -> Result<Self, getrandom::Error> {
        let run = getrandom::u64()?;
        Ok(Self { run, bytes_max, ring: Mutex::default(), grown: watch::Sender::new(()) })
    }

    /// Takes what `subscription` tells until its cache is closed. Seconds count from `started`.
    pub async fn record(&self, mut subscription: Subscription, started: Moment) {
        while let Some(notice) = subscription.next().await {
            match notice {
                Notice::Invalidated(event) => self.add(&shown(&event, started)),
                Notice::Missed(count) => self.skip(count),
                // One that this server has no words for is one that nobody gets.
                _ => self.skip(1),
            }
        }
        self.ring.lock().ended = true;
        self.grown.send_replace(());
    }

    fn add(&self, data: &Json) {
        let mut ring = self.ring.lock();
        ring.last += 1;
        let (number, id) = (ring.last, self.id(ring.last));
        let text = Bytes::from(format!("id: {id}\nevent: invalidated\ndata: {data}\n\n"));
        ring.bytes += text.len() + PLACE_BYTES;
        ring.kept.push_back((number, text));
        while self.bytes_max < ring.bytes && 1 < ring.kept.len() {
            let (_, oldest) = ring.kept.pop_front().unwrap_or_default();
            ring.bytes -= oldest.len() + PLACE_BYTES;
        }
        drop(ring);
        self.grown.send_replace(());
    }

    fn skip(&self, count: u64) {
        self.ring.lock().last += count;
        self.grown.send_replace(());
    }

    /// For whoever waits until there is more.
    pub fn watch(&self) -> watch::Receiver<()> {
        self.grown.subscribe()
    }

    /// The number of the last event.
    pub fn last(&self) -> u64 {
        self.ring.lock().last
    }

    /// What follows the event with that number.
    pub fn after(&self, number: u64) -> Next {
        let ring = self.ring.lock();
        // Numbers of what is kept grow, with gaps where some were lost before they got here.
        let place = ring.kept.partition_point(|(own, _)| *own <= number);
        match ring.kept.get(place) {
            Some((own, text)) if *own == number + 1 => Next::Event(text.clone()),
            Some((own, _)) => Next::Missed(own - number - 1),
            None if number < ring.last => Next::Missed(ring.last - number),
            None if ring.ended => Next::End,
            None => Next::Nothing,
        }
    }

    /// The number as clients are told it.
    pub fn id(&self, number: u64) -> String {
        format!("{:016x}.{number}", self.run)
    }

    /// The number that `id` stands for, if it is one that this run has given out.
    pub fn number(&self, id: &str) -> Option<u64> {
        let number = id.split_once('.')?.1.parse().ok()?;
        (number <= self.last() && self.id(number) == id).then_some(number)
    }

    /// How many events are kept, and how many bytes they count.
    pub fn kept(&self) -> (usize, usize) {
        let ring = self.ring.lock();
        (ring.kept.len(), ring.bytes)
    }
}

impl fmt::Debug for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (events, bytes) = self.kept();
        f.debug_struct("Recent").field("events", &events).field("bytes", &bytes).finish()
    }
}

fn shown(event: &Event, started: Moment) -> Json {
    let what = match &event.what {
        What::Named(dependencies) => {
            let names: Vec<String> = dependencies.iter().map(ToString::to_string).collect();
            json!({ "named": names })
        }
        What::Reported { changes, words } => json!({ "reported": &**words, "changes": changes }),
        What::Restarted(doubt) => json!({ "restarted": doubt.to_string() }),
        _ => json!({}),
    };
    json!({
        "timeline": &*event.timeline,
        "position": event.position.0,
        "what": what,
        "mode": match event.mode {
            Mode::Hard => "hard",
            Mode::Soft => "soft",
        },
        "entries": event.entries,
        // As `uptime_seconds` of the status has it: wall clocks go back.
        "at": event.at.since(started).as_secs_f64(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(next: Next) -> u64 {
        let Next::Event(text) = next else { panic!("no event: {next:?}") };
        let text = String::from_utf8(text.to_vec()).unwrap();
        let id = text.lines().next().unwrap();
        id.rsplit('.').next().unwrap().parse().unwrap()
    }

    #[test]
    fn whoever_reads_on_gets_each_event_or_is_told_how_many_are_gone() {
        let recent = Recent::new(1000).unwrap();
        assert_eq!(recent.after(0), Next::Nothing);
        for n in 0..100 {
            recent.add(&json!({ "n": n }));
        }
        let (kept, bytes) = recent.kept();
        assert!(2 < kept && kept < 20 && bytes <= 1000, "{kept} events, {bytes} bytes");
        let (mut at, mut missed, mut heard) = (0, 0, 0);
        loop {
            match recent.after(at) {
                Next::Missed(count) => {
                    missed += count;
                    at += count;
                }
                next @ Next::Event(_) => {
                    at += 1;
                    assert_eq!(number(next), at);
                    heard += 1;
                }
                Next::Nothing | Next::End => break,
            }
        }
        assert_eq!((heard, missed + heard, at), (kept as u64, 100, recent.last()));
        // One that is larger than everything may be is kept alone.
        recent.add(&json!({ "n": "x".repeat(5000) }));
        assert_eq!((recent.kept().0, number(recent.after(100))), (1, 101));
        recent.add(&json!({ "n": 1 }));
        assert_eq!((recent.kept().0, recent.after(100)), (1, Next::Missed(1)));
    }

    #[test]
    fn what_was_lost_before_it_got_here_is_missing_at_its_place() {
        let recent = Recent::new(1000).unwrap();
        recent.add(&json!(1));
        recent.skip(3);
        recent.add(&json!(2));
        assert_eq!(number(recent.after(0)), 1);
        assert_eq!(recent.after(1), Next::Missed(3));
        assert_eq!(number(recent.after(4)), 5);
        recent.skip(2);
        assert_eq!(recent.after(5), Next::Missed(2));
        assert_eq!(recent.after(7), Next::Nothing);
    }

    #[test]
    fn an_id_is_good_in_the_run_that_gave_it_out() {
        let recent = Recent::new(1000).unwrap();
        recent.add(&json!(1));
        for number in [0, 1] {
            assert_eq!(recent.number(&recent.id(number)), Some(number));
        }
        let other = Recent::new(1000).unwrap();
        for id in [other.id(0), recent.id(2), "app.1".into(), String::new(), recent.id(1) + "0"] {
            assert_eq!(recent.number(&id), None, "{id}");
        }
    }
}
