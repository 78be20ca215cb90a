//! `GET /v1/tables/{table}?index=...&from=...&to=...`: what is asked, and the read itself.
//!
//! `answer.rs` makes bytes of what was found. **Invariant**: a range holds its first key and not
//! its last; what a query says that is not known is refused.

use std::{ops::Bound, sync::Arc};

use http::{HeaderMap, Response, header::ACCEPT, request::Parts};
use larder::{Error, ErrorKind, Value};
use larder_table::{
    Cursor, Outside, Page, Ranges, Selection,
    sql::{Row, RowKey},
};

use crate::{
    body::Reply,
    config::table::PRIMARY,
    parameters, position,
    problem::{Code, Problem},
    server::Server,
    table::{
        Index, Table,
        cursor::{self, Order},
        key,
    },
};

use super::{
    super::{
        entries::asked::{Asked, ill},
        resource,
    },
    answer::{self, Format},
    failure,
};

const KNOWN: [&str; 11] = [
    "index", "from", "to", "prefix", "and", "and_from", "and_to", "order", "limit", "cursor",
    "outside",
];

/// Records of a JSON page when nobody says, and at most.
const PAGE: (usize, usize) = (100, 10_000);

/// Records at most of a part that is asked for with a limit or a cursor, in a stream: each is held
/// with its key until it was sent.
const PART_MAX: usize = 100_000;

/// What is asked.
#[derive(Debug)]
pub(super) struct Question<'a> {
    pub(super) index: &'a Index,
    ranges: Ranges<RowKey>,
    and: Option<(&'a Index, Ranges<RowKey>)>,
    pub(super) order: Order,
    /// How many records at most; all of them at once without.
    limit: Option<usize>,
    after: Option<Cursor<RowKey, RowKey>>,
    outside: Outside,
}

/// What was found.
#[derive(Debug)]
pub(super) enum Found {
    Page(Page<Row, RowKey>),
    All(Selection<Row, RowKey>, Order),
}

/// Whether the window covered what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Covered {
    Wholly,
    /// With its slack: what the origin has there is not in the answer.
    WithSlack,
    NotWholly,
}

pub(super) async fn answer(
    server: &Arc<Server>,
    table: &Arc<Table>,
    head: &Parts,
) -> Result<Response<Reply>, Problem> {
    let format = Format::of(&head.headers, ACCEPT);
    let query = head.uri.query().unwrap_or_default();
    let question = Question::read(server, table, query, format)?;
    if let Some(at_least) = position::wanted(&head.headers)? {
        // What a position means where the table comes from its owner knows, which is asked.
        if table.replica_of.is_none() {
            resource::reach(server, at_least).await?;
        }
        // The cache is told before the table is.
        table.catch_up().await.map_err(|error| failure::of(server, table, &error))?;
    }
    let limit = server.config.server.request_timeout;
    let read = tokio::time::timeout(limit, question.find(table)).await;
    let found = read.unwrap_or_else(|_| {
        let detail = format!("it took longer than {limit:?}");
        Err(Error::new(ErrorKind::Timeout, "answer the request").detail(detail))
    });
    let (found, covered, token) = found.map_err(|error| failure::of(server, table, &error))?;
    let position = server.positions.header(&token);
    answer::respond(table, &question, found, covered, position, format)
}

impl<'a> Question<'a> {
    fn read(
        server: &Server,
        table: &'a Table,
        query: &str,
        format: Format,
    ) -> Result<Self, Problem> {
        // A cursor holds two keys, encoded: what a head may be long bounds it.
        let asked = Asked::read(query, &KNOWN, server.config.server.header_bytes)?;
        let limit = server.config.server.parameter_bytes;
        let long = |name: &&&str| **name != "cursor" && limit < asked.get(name).map_or(0, str::len);
        if let Some(name) = KNOWN.iter().find(long) {
            let detail = format!("the limit is {limit} bytes (server.parameter_size)");
            return Err(parameters::about(Code::ParameterTooLong, name, detail));
        }
        let index = index(table, asked.get("index").unwrap_or(PRIMARY))?;
        let ranges = ranges(&asked, index)?;
        let and = asked.get("and").map(|name| {
            let index = self::index(table, name)?;
            Ok::<_, Problem>((index, between(&asked, index, ["and_from", "and_to"])?))
        });
        let order = match asked.get("order") {
            None | Some("asc") => Order::Asc,
            Some("desc") => Order::Desc,
            Some(_) => return Err(ill("order", "`order` must be asc or desc".to_owned())),
        };
        let outside = match asked.get("outside") {
            None | Some("load") => Outside::LoadMissing,
            Some("load-all") => Outside::LoadAll,
            Some("refuse") => Outside::Refuse,
            Some(_) => {
                let detail = "`outside` must be load (only what is missing), load-all or refuse";
                return Err(ill("outside", detail.to_owned()));
            }
        };
        let after = asked.get("cursor").map(|text| {
            cursor::decoded(text, &index.name, order).ok_or_else(|| {
                let detail = "send back what `next` said, with the same index and order";
                parameters::about(Code::MalformedCursor, "cursor", detail.to_owned())
            })
        });
        let (after, and) = (after.transpose()?, and.transpose()?);
        let limit = match format {
            Format::Json => Some(asked.number("limit", PAGE.0, (1, PAGE.1))?),
            Format::Lines | Format::Arrow if asked.get("limit").is_none() && after.is_none() => {
                None
            }
            Format::Lines | Format::Arrow => {
                Some(asked.number("limit", PART_MAX, (1, PART_MAX))?)
            }
        };
        Ok(Self { index, ranges, and, order, limit, after, outside })
    }

    /// The records, whether the window covered them, and what they reflect at least.
    async fn find(&self, table: &Table) -> Result<(Found, Covered, larder::Token), Error> {
        table.held.loaded().await?;
        let token = table.reflects();
        let found = match self.find_within(table, Outside::Refuse).await {
            Err(error)
                if error.kind() == ErrorKind::NotFound && self.outside != Outside::Refuse =>
            {
                (self.find_within(table, self.outside).await?, Covered::NotWholly)
            }
            found => {
                let found = found?;
                let covered =
                    if found.is_within_slack() { Covered::WithSlack } else { Covered::Wholly };
                (found, covered)
            }
        };
        Ok((found.0, found.1, token))
    }

    async fn find_within(&self, table: &Table, outside: Outside) -> Result<Found, Error> {
        let select = table.held.select(&self.index.order, self.ranges.clone()).outside(outside);
        let select = match &self.and {
            Some((index, ranges)) => select.and(&index.order, ranges.clone()),
            None => select,
        };
        let Some(limit) = self.limit else {
            return select.read().await.map(|all| Found::All(all, self.order));
        };
        let page = select.page(limit);
        let page = match self.order {
            Order::Asc => page,
            Order::Desc => page.descending(),
        };
        let page = match &self.after {
            Some(cursor) => page.after(cursor.clone()),
            None => page,
        };
        page.read().await.map(Found::Page)
    }
}

impl Found {
    /// The records, in the order that was asked for.
    pub(super) fn iter(&self) -> Box<dyn Iterator<Item = &Arc<Row>> + Send + '_> {
        match self {
            Self::Page(page) => Box::new(page.iter()),
            Self::All(all, Order::Asc) => Box::new(all.iter()),
            Self::All(all, Order::Desc) => Box::new(all.iter().rev()),
        }
    }

    fn is_within_slack(&self) -> bool {
        match self {
            Self::Page(page) => page.is_within_slack(),
            Self::All(all, _) => all.is_within_slack(),
        }
    }

    /// Where the next page goes on, if there is more.
    pub(super) fn next(&self) -> Option<Cursor<RowKey, RowKey>> {
        match self {
            Self::Page(page) => page.next(),
            Self::All(..) => None,
        }
    }
}

fn index<'a>(table: &'a Table, name: &str) -> Result<&'a Index, Problem> {
    table.index(name).ok_or_else(|| no_index(table, name))
}

/// There is no such index, but others.
pub(super) fn no_index(table: &Table, name: &str) -> Problem {
    let shown: String = name.chars().take(64).collect();
    let known: Vec<&str> = table.indexes.iter().map(|index| &*index.name).collect();
    let detail = format!("{} has no index `{shown}`; it has {}", table.name, known.join(", "));
    Problem::new(Code::NoIndex, detail).with("table", &*table.name)
}

fn ranges(asked: &Asked, index: &Index) -> Result<Ranges<RowKey>, Problem> {
    let Some(prefix) = asked.get("prefix") else { return between(asked, index, ["from", "to"]) };
    if asked.get("from").is_some() || asked.get("to").is_some() {
        return Err(ill("prefix", "give `prefix`, or `from` and `to`".to_owned()));
    }
    let values = key::read(prefix, &index.columns).map_err(|why| ill("prefix", why))?;
    Ok(beginning(values))
}

/// All keys that begin with these values.
pub(super) fn beginning(values: Vec<Value>) -> Ranges<RowKey> {
    let range = RowKey::within(Bound::Included(values.clone()), Bound::Included(values));
    range.unwrap_or_else(|_| Ranges::none())
}

fn between(
    asked: &Asked,
    index: &Index,
    names: [&'static str; 2],
) -> Result<Ranges<RowKey>, Problem> {
    let [from, to] = names.map(|name| {
        let read = asked.get(name).map(|text| key::read(text, &index.columns));
        read.transpose().map_err(|why| ill(name, why))
    });
    crate::table::window::range(from?, to?).map_err(|_| {
        let [from, to] = names;
        let detail = format!(
            "`{to}` comes before `{from}` in the index `{}`; the smaller key comes first, also \
             with order=desc",
            index.name
        );
        ill(to, detail)
    })
}

impl Format {
    /// What the client asked for.
    fn of(headers: &HeaderMap, accept: http::HeaderName) -> Self {
        let lines = headers.get_all(accept).iter().filter_map(|line| line.to_str().ok());
        let types = lines.flat_map(|line| line.split(','));
        let named = types.filter_map(|one| one.split(';').next()).map(str::trim);
        named.filter_map(Self::named).next().unwrap_or(Self::Json)
    }
}
