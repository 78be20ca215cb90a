//! A batch: one form, many entries; what is done with it and what is said of each.
//!
//! One for `POST /v1/entries:batch` and for `larder cache batch` on a file, so that both take and
//! say the same. **Invariant**: what changes is one commit with all of the batch in it or none;
//! what is wrong with an item is said of that item.

use larder::{Error, ErrorKind};
use larder_core::clock::WallMillis;
use larder_sqlite::store::{Entries, Lifetime, NewEntry, Stored};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    config::Span,
    entry::{self, Line},
    problem::{Code, Problem},
    route::entries::failed,
};

/// Items of a batch at most. With ten times more one commit keeps other writes waiting for a tenth
/// of a second.
pub const ITEMS_MAX: usize = 1000;

/// What was sent: exactly one of the forms.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    region: Option<String>,
    /// For items that do not say how long they live.
    ttl: Option<String>,
    get: Option<Vec<String>>,
    put: Option<Vec<Line>>,
    add: Option<Vec<Line>>,
    remove: Option<Vec<String>>,
    touch: Option<Vec<Living>>,
    incr: Option<Vec<Living>>,
}

/// An item of `touch` or `incr`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Living {
    key: String,
    ttl_ms: Option<u64>,
    by: Option<i64>,
}

enum Form {
    Get(Vec<String>),
    Put(Vec<Line>),
    Add(Vec<Line>),
    Remove(Vec<String>),
    Touch(Vec<Living>),
    Incr(Vec<Living>),
}

impl Form {
    fn of(written: &mut Written) -> Option<Self> {
        let forms = [
            written.get.take().map(Self::Get),
            written.put.take().map(Self::Put),
            written.add.take().map(Self::Add),
            written.remove.take().map(Self::Remove),
            written.touch.take().map(Self::Touch),
            written.incr.take().map(Self::Incr),
        ];
        let mut forms = forms.into_iter().flatten();
        forms.next().filter(|_| forms.next().is_none())
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Get(_) => "get",
            Self::Put(_) => "put",
            Self::Add(_) => "add",
            Self::Remove(_) => "remove",
            Self::Touch(_) => "touch",
            Self::Incr(_) => "incr",
        }
    }

    fn keys(&self) -> Vec<String> {
        match self {
            Self::Get(keys) | Self::Remove(keys) => keys.clone(),
            Self::Put(lines) | Self::Add(lines) => {
                lines.iter().map(|line| line.key.clone()).collect()
            }
            Self::Touch(items) | Self::Incr(items) => {
                items.iter().map(|item| item.key.clone()).collect()
            }
        }
    }
}

fn lifetime(text: &str) -> Result<Lifetime, String> {
    match text {
        "never" => Ok(Lifetime::Forever),
        text => text.parse().map(|span: Span| Lifetime::For(span.0)),
    }
}

/// A batch that can be read; nothing of it is done yet.
pub struct Batch {
    region: String,
    form: Form,
    otherwise: Option<Lifetime>,
}

impl Batch {
    /// What was sent, as far as it can be told from the whole.
    ///
    /// # Errors
    /// `malformed-request`, `batch-too-large`.
    pub fn read(mut written: Written) -> Result<Self, Problem> {
        let malformed = |detail: String| Problem::new(Code::MalformedRequest, detail);
        let otherwise = written.ttl.as_deref().map(lifetime).transpose().map_err(malformed)?;
        let form = Form::of(&mut written).ok_or_else(|| {
            malformed("give exactly one of get, put, add, remove, touch and incr".to_owned())
        })?;
        let region = written.region.unwrap_or_else(|| "default".to_owned());
        Ok(Self { region, form, otherwise })
    }

    /// The region that it is about.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Whether it changes nothing.
    pub fn is_read(&self) -> bool {
        matches!(self.form, Form::Get(_))
    }

    /// Does it at `now` with `entries`, which are those of its region: what is answered. The values
    /// in it have at most `bytes_max` bytes as JSON, or are one.
    ///
    /// # Errors
    /// `batch-too-large`; those of the store, and of the items, all of which it names.
    pub async fn run(
        self,
        entries: Entries,
        now: WallMillis,
        bytes_max: u64,
    ) -> Result<Value, Problem> {
        let Self { region, form, otherwise } = self;
        let (name, keys) = (form.name(), form.keys());
        if ITEMS_MAX < keys.len() {
            let detail = format!("{} items, at most {ITEMS_MAX}; nothing was done", keys.len());
            return Err(Problem::new(Code::BatchTooLarge, detail).with("limit_items", ITEMS_MAX));
        }
        let running = Running { entries, region, keys, otherwise, now };
        let results = running.run(form, bytes_max).await?;
        Ok(json!({ "form": name, "atomic": true, "results": results }))
    }
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("form", &self.form.name()).finish_non_exhaustive()
    }
}

struct Running {
    entries: Entries,
    region: String,
    keys: Vec<String>,
    otherwise: Option<Lifetime>,
    now: WallMillis,
}

impl Running {
    /// Does it; one object for each item.
    async fn run(&self, form: Form, bytes_max: u64) -> Result<Vec<Value>, Problem> {
        let all = |error: Error| self.refused(&error);
        let entries = &self.entries;
        Ok(match form {
            Form::Get(keys) => {
                let values = entries.get_each(keys, bytes_max).await.map_err(all)?;
                let mut answer = Room::of(bytes_max, &values);
                self.each(values, |value| answer.shown(value))
            }
            Form::Put(lines) => {
                let lines = self.lines(lines)?;
                let placed = entries.insert_many(lines).await.map_err(all)?;
                self.each(placed, |placed| json!({ "placed": entry::placed(placed) }))
            }
            Form::Add(lines) => {
                let lines = self.lines(lines)?;
                let placed = entries.add_many(lines).await.map_err(all)?;
                self.each(placed, |placed| json!({ "placed": entry::placed(placed) }))
            }
            Form::Remove(keys) => {
                let removed = entries.remove_many(keys).await.map_err(all)?;
                self.each(removed, |removed| json!({ "removed": u64::from(removed) }))
            }
            Form::Touch(items) => {
                let lives = self.checked(items, |item| match item.by {
                    Some(_) => Err("`by` is for incr".to_owned()),
                    None => Ok((item.key.clone(), self.lifetime(&item)?)),
                })?;
                let touched = entries.touch_many(lives).await.map_err(all)?;
                self.each(touched, |touched| json!({ "touched": u64::from(touched) }))
            }
            Form::Incr(items) => {
                let numbers = self.checked(items, |item| {
                    Ok((item.key.clone(), item.by.unwrap_or(1), self.lifetime(&item)?))
                })?;
                let sums = entries.incr_many(numbers).await.map_err(all)?;
                self.each(sums, |sum| json!({ "value": sum }))
            }
        })
    }

    /// The result of each item beside its key.
    fn each<T>(&self, results: Vec<T>, mut shown: impl FnMut(T) -> Value) -> Vec<Value> {
        let one = |(key, result): (&String, T)| {
            let mut shown = shown(result);
            if let Value::Object(members) = &mut shown {
                members.insert("key".to_owned(), key.as_str().into());
            }
            shown
        };
        self.keys.iter().zip(results).map(one).collect()
    }

    fn lifetime(&self, item: &Living) -> Result<Lifetime, String> {
        match (item.ttl_ms, self.otherwise) {
            (Some(0), _) => Err("has a ttl_ms of 0".to_owned()),
            (Some(millis), _) => Ok(Lifetime::For(std::time::Duration::from_millis(millis))),
            (None, Some(lifetime)) => Ok(lifetime),
            (None, None) => Err("does not say how long it lives: add ttl_ms, or `ttl` for all \
                                 (\"10m\", \"never\")"
                .to_owned()),
        }
    }

    fn lines(&self, lines: Vec<Line>) -> Result<Vec<(String, NewEntry)>, Problem> {
        self.checked(lines, |mut line| {
            if line.region.take().is_some_and(|region| region != self.region) {
                return Err("is of another region: a batch is of one".to_owned());
            }
            let key = std::mem::take(&mut line.key);
            // What has expired is written all the same, and never there: the batch stays in step.
            let gone = NewEntry::new(Stored::text(""), Lifetime::Until(self.now));
            Ok((key, line.entry(self.now, self.otherwise)?.unwrap_or(gone)))
        })
    }

    /// What each item means, or what is wrong with all that are wrong.
    fn checked<T, R>(
        &self,
        items: Vec<T>,
        check: impl Fn(T) -> Result<R, String>,
    ) -> Result<Vec<R>, Problem> {
        let (mut meant, mut wrong) = (Vec::with_capacity(items.len()), Vec::new());
        for (at, item) in items.into_iter().enumerate() {
            match check(item) {
                Ok(item) => meant.push(item),
                Err(detail) => {
                    let problem = Problem::new(Code::MalformedRequest, detail);
                    wrong.push(self.item(at, &problem));
                }
            }
        }
        match wrong.len() {
            0 => Ok(meant),
            count => {
                let detail = format!("{count} items are wrong, see `items`; nothing was done");
                Err(Problem::new(Code::MalformedRequest, detail).with("items", wrong))
            }
        }
    }

    fn item(&self, at: usize, problem: &Problem) -> Value {
        json!({ "index": at, "key": self.keys.get(at), "error": problem.as_object() })
    }

    /// A batch that was not done, and because of which item, if it was one.
    fn refused(&self, error: &Error) -> Problem {
        let problem = failed(error);
        match larder_sqlite::store::item_of(error) {
            Some(at) => {
                let item = self.item(at, &problem);
                problem.with("items", vec![item])
            }
            None => problem,
        }
    }
}

/// The room for values in one answer. As JSON a value takes up to six times its bytes, so what is
/// counted is what is sent.
struct Room {
    bytes_max: u64,
    left: u64,
    /// Whether any value was read: what had no room then may have some beside fewer others.
    is_shared: bool,
    is_begun: bool,
}

impl Room {
    fn of(bytes_max: u64, values: &[Result<Option<Stored>, Error>]) -> Self {
        let is_shared = values.iter().any(|value| matches!(value, Ok(Some(_))));
        Self { bytes_max, left: bytes_max, is_shared, is_begun: false }
    }

    /// What is said of one value. The first is given however long it becomes: whoever asks again
    /// for what was left out gets on with each request.
    fn shown(&mut self, value: Result<Option<Stored>, Error>) -> Value {
        let stored = match value {
            Ok(None) => return json!({ "found": false }),
            Ok(Some(stored)) => stored,
            Err(error) if error.kind() == ErrorKind::Limit => return self.no_room(),
            Err(error) => return json!({ "error": failed(&error).as_object() }),
        };
        let (name, text) = entry::written(&stored.bytes);
        let text = Value::from(text);
        let length = text.to_string().len() as u64;
        if self.left < length && self.is_begun {
            return self.no_room();
        }
        self.left = self.left.saturating_sub(length);
        self.is_begun = true;
        json!({ "found": true, "kind": stored.kind.as_str(), name: text })
    }

    fn no_room(&self) -> Value {
        let limit = format!("the {} bytes of one answer (store.value_size)", self.bytes_max);
        let problem = if self.is_shared {
            let detail = format!("with the others it has more than {limit}: ask with fewer keys");
            Problem::new(Code::AnswerTooLarge, detail)
        } else {
            Problem::new(Code::EntryTooLarge, format!("by itself it has more than {limit}"))
        };
        json!({ "error": problem.as_object() })
    }
}
