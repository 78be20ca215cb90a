//! Items: what a request names, be it ids, scopes, tables, tags or everything of an origin.
//!
//! One form for `POST /v1/invalidate`, for who depends on what, and for what a resource declares.
//! It stands apart from `tables.rs`, which knows the tables of one origin. **Invariant**: an item
//! that names nothing is an error, never a silent success.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use larder::{Condition, Dependency, Error, Span, Value};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use crate::{
    catalog::Catalog,
    literal,
    origin::Origin,
    problem::{Code, Problem},
    tables::Tables,
    tag::Tag,
};

/// The most items of one request, and what their lists may multiply to: their application is one
/// step, and steps must stay short.
pub const ITEMS_MAX: usize = 1000;

/// The timeline of what no origin owns.
pub const APP: &str = "app";

/// Conditions on columns, as they were written.
pub type Conditions = Vec<(String, Condition)>;

/// What a request names.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Items {
    /// `["shop.Artist", 90]`: a row by its primary key.
    pub ids: Vec<Vec<Json>>,
    /// `["shop.Album", {"ArtistId": 90}]`: all rows that meet these conditions.
    pub scopes: Vec<(String, Map<String, Json>)>,
    /// `"shop.Album"`: every row.
    pub tables: Vec<String>,
    /// `"front-page"`, or `["artist", "90"]` in a namespace: a label of the application.
    pub tags: Vec<Tag>,
    /// `"shop"`: all that was built from this origin, or, for `"app"`, from what none owns.
    pub everything: Vec<String>,
}

/// The dependencies that items mean: a scope with lists means several.
#[derive(Debug, Default)]
pub struct Meaning {
    /// All of them, item after item.
    pub dependencies: Vec<Dependency>,
    /// For each kind of item, how many dependencies each item means.
    counts: Vec<(&'static str, Vec<usize>)>,
}

/// The tables of the origins that a request names, looked up once.
#[derive(Debug)]
pub struct Names(Vec<(String, Tables)>);

/// Where a name such as `shop.Album` leads.
#[derive(Debug)]
pub enum Place<'a, 'b> {
    /// To a table of an origin.
    Origin(&'a Tables, &'b str),
    /// To a kind that the application speaks of.
    App(&'b str),
}

impl Items {
    /// The origins it names. Another one that is down does not keep a change from being told.
    pub fn origins(&self) -> BTreeSet<String> {
        let ids = self.ids.iter().filter_map(|item| item.first()?.as_str());
        let scopes = self.scopes.iter().map(|(name, _)| name.as_str());
        let names = ids.chain(scopes).chain(self.tables.iter().map(String::as_str));
        let names = names.filter_map(|name| Some(name.split_once('.')?.0));
        names.chain(self.everything.iter().map(String::as_str)).map(str::to_owned).collect()
    }

    /// Adds the items of another one behind these.
    pub fn extend(&mut self, other: Self) {
        self.ids.extend(other.ids);
        self.scopes.extend(other.scopes);
        self.tables.extend(other.tables);
        self.tags.extend(other.tags);
        self.everything.extend(other.everything);
    }

    /// Fails unless something is named, and not too much.
    pub fn check_count(&self) -> Result<(), Problem> {
        let Self { ids, scopes, tables, tags, everything } = self;
        let count = ids.len() + scopes.len() + tables.len() + tags.len() + everything.len();
        let detail = match count {
            0 => "name something in ids, scopes, tables, tags or everything".to_owned(),
            1..=ITEMS_MAX => return Ok(()),
            _ => format!("{count} items, the limit is {ITEMS_MAX}; send several requests"),
        };
        Err(Problem::new(Code::MalformedRequest, detail))
    }

    /// What it means among these tables.
    pub fn meaning(&self, names: &Names) -> Result<Meaning, Problem> {
        let mut meaning = Meaning::default();
        meaning.add("ids", &self.ids, |item| Ok(vec![id(names, item)?]))?;
        meaning.add("scopes", &self.scopes, |(name, terms)| scope(names, name, terms))?;
        meaning.add("tables", &self.tables, |name| {
            Ok(vec![match names.place(name)? {
                Place::Origin(tables, table) => tables.table(table).map_err(unknown)?,
                Place::App(kind) => Dependency::table(APP, kind),
            }])
        })?;
        meaning.add("tags", &self.tags, |tag| Ok(vec![tag.dependency().map_err(unknown)?]))?;
        meaning.add("everything", &self.everything, |name| {
            names.timeline(name).map(|name| vec![Dependency::everything(name)])
        })?;
        Ok(meaning)
    }
}

impl Meaning {
    fn add<T>(
        &mut self,
        kind: &'static str,
        items: &[T],
        mean: impl Fn(&T) -> Result<Vec<Dependency>, Problem>,
    ) -> Result<(), Problem> {
        let mut counts = Vec::with_capacity(items.len());
        for (place, item) in items.iter().enumerate() {
            let which = |problem: Problem| problem.with("kind", kind).with("item", place);
            let found = mean(item).map_err(which)?;
            counts.push(found.len());
            self.dependencies.extend(found);
            if ITEMS_MAX < self.dependencies.len() {
                let detail = format!(
                    "with their lists multiplied the items are over {ITEMS_MAX}; send several \
                     requests, or name the tables"
                );
                return Err(Problem::new(Code::MalformedRequest, detail));
            }
        }
        self.counts.push((kind, counts));
        Ok(())
    }

    /// Entries for each dependency, in their order, as entries for each item by kind. What several
    /// dependencies of one item reach may be the same, so no item is given more than `total`.
    pub fn by_item(&self, entries: impl IntoIterator<Item = u64>, total: u64) -> Json {
        let mut entries = entries.into_iter();
        let mut kinds = Map::new();
        for (kind, counts) in &self.counts {
            let each = counts.iter().map(|count| {
                let sum: u64 = entries.by_ref().take(*count).sum();
                sum.min(total)
            });
            kinds.insert((*kind).to_owned(), json!(each.collect::<Vec<_>>()));
        }
        Json::Object(kinds)
    }
}

impl Names {
    /// No origin at all: for items of which each is on `app`.
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// Looks the tables of `wanted` up, as far as they are origins.
    pub async fn read(catalog: &Arc<Catalog>, wanted: BTreeSet<String>) -> Result<Self, Problem> {
        let catalog = catalog.clone();
        // It asks SQLite, which blocks.
        let names = tokio::task::spawn_blocking(move || Self::look_up(&catalog.origins, &wanted));
        names.await.map_err(|_| unreadable())?.map_err(|_| unreadable())
    }

    /// As [`Names::read`], for whoever may block.
    pub fn look_up<'a>(
        origins: impl IntoIterator<Item = &'a Origin>,
        wanted: &BTreeSet<String>,
    ) -> Result<Self, Error> {
        let each = origins.into_iter().filter(|origin| wanted.contains(&origin.name));
        each.map(|origin| Ok((origin.name.clone(), origin.tables()?)))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Where `shop.Artist` leads.
    pub fn place<'a, 'b>(&'a self, name: &'b str) -> Result<Place<'a, 'b>, Problem> {
        let unknown = || {
            let shown: String = name.chars().take(64).collect();
            let detail = format!(
                "`{shown}` is no table here: write ORIGIN.TABLE, as shop.Artist; GET /v1/status \
                 lists the origins"
            );
            Problem::new(Code::UnknownTable, detail).with("table", shown)
        };
        let (origin, table) = name.split_once('.').ok_or_else(unknown)?;
        if origin == APP && !table.is_empty() {
            return Ok(Place::App(table));
        }
        let own = self.tracked(origin)?.filter(|tables| tables.has(table));
        own.map(|tables| Place::Origin(tables, table)).ok_or_else(unknown)
    }

    /// The tables of an origin, if there is one; it must be tracked.
    fn tracked(&self, origin: &str) -> Result<Option<&Tables>, Problem> {
        let own = self.0.iter().find(|(own, _)| own == origin).map(|(_, tables)| tables);
        if own.is_some_and(|tables| !tables.is_tracked()) {
            let detail = format!("`{origin}` is not tracked: its answers live for their TTL");
            return Err(Problem::new(Code::UnknownTable, detail));
        }
        Ok(own)
    }

    /// The name, if it is that of a timeline.
    fn timeline<'b>(&self, name: &'b str) -> Result<&'b str, Problem> {
        if name == APP || self.tracked(name)?.is_some() {
            return Ok(name);
        }
        let shown: String = name.chars().take(64).collect();
        let detail =
            format!("`{shown}` is no origin here, nor `app`; GET /v1/status lists the origins");
        Err(Problem::new(Code::UnknownTable, detail))
    }
}

/// Multiplies the lists: the terms of each combination, and the one range there may be.
///
/// It refuses what a load would only widen: here a wider name would be another one.
#[expect(clippy::type_complexity, reason = "it is taken apart where it is called")]
pub fn combinations(
    conditions: Vec<(Arc<str>, Condition)>,
    most: usize,
) -> Result<(Vec<Vec<(Arc<str>, Value)>>, Option<(Arc<str>, Span)>), String> {
    if conditions.is_empty() {
        return Err("a scope needs a column and its value; name the table instead".into());
    }
    let (mut combinations, mut span) = (vec![Vec::new()], None);
    let mut seen = HashSet::new();
    for (column, condition) in conditions {
        if !seen.insert(column.clone()) {
            return Err(format!("`{column}` is there twice"));
        }
        match condition {
            Condition::AnyOf(values) => {
                if most < combinations.len().saturating_mul(values.len()) {
                    return Err(format!("its lists multiply to over {most}; name less of them"));
                }
                let longer = |terms: &Vec<(Arc<str>, Value)>| {
                    let with = |value: &Value| {
                        terms.iter().cloned().chain([(column.clone(), value.clone())]).collect()
                    };
                    values.iter().map(with).collect::<Vec<_>>()
                };
                combinations = combinations.iter().flat_map(longer).collect();
            }
            Condition::Within(_) if span.is_some() => {
                return Err("a scope has at most one range; name the others less closely".into());
            }
            Condition::Within(own) => span = Some((column, own)),
        }
    }
    Ok((combinations, span))
}

fn unreadable() -> Problem {
    let detail = "the names of the tables cannot be looked up now; nothing was done";
    Problem::new(Code::OriginUnavailable, detail).retry_after(1)
}

fn unknown(detail: String) -> Problem {
    Problem::new(Code::UnknownItem, detail)
}

fn id(names: &Names, item: &[Json]) -> Result<Dependency, Problem> {
    let shape = || {
        let detail = "an id is a table and the values of its primary key: [\"shop.Artist\", 90]";
        Problem::new(Code::MalformedRequest, detail)
    };
    let (name, key) = item.split_first().ok_or_else(shape)?;
    let place = names.place(name.as_str().ok_or_else(shape)?)?;
    let key = key.iter().map(literal::value).collect::<Result<Vec<_>, _>>().map_err(unknown)?;
    match place {
        Place::Origin(tables, table) => tables.id(table, key).map_err(unknown),
        Place::App(_) if key.is_empty() => Err(shape()),
        Place::App(kind) => {
            let key: Vec<Value> = key.into_iter().map(literal::on_app).collect();
            Ok(Dependency::id(APP, kind, key))
        }
    }
}

fn scope(names: &Names, name: &str, terms: &Map<String, Json>) -> Result<Vec<Dependency>, Problem> {
    let place = names.place(name)?;
    let condition =
        |(column, json): (&String, &Json)| Ok((column.clone(), literal::condition(json)?));
    let conditions =
        terms.iter().map(condition).collect::<Result<Conditions, _>>().map_err(unknown)?;
    match place {
        Place::Origin(tables, table) => tables.scope(table, conditions),
        Place::App(kind) => {
            let own = conditions
                .into_iter()
                .map(|(column, condition)| (column.into(), literal::condition_on_app(condition)));
            combinations(own.collect(), ITEMS_MAX).map(|(combinations, span)| {
                let each = combinations.into_iter().map(|terms| {
                    let scope = Dependency::scope(APP, kind, terms);
                    match &span {
                        Some((column, span)) => scope.within(column.clone(), span.clone()),
                        None => scope,
                    }
                });
                each.collect()
            })
        }
    }
    .map_err(unknown)
}
