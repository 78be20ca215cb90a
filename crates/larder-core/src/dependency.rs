//! Dependencies: what an entry was built from, and the set of them that an entry carries.
//!
//! A dependency names a timeline and an atom on it. The application and the feeds use the same
//! names, so that `invalidate([id("shop", "Artist", [90])])` and a changed row meet in one place.
//! **Invariant**: equal dependencies have equal digests, so a digest can make an entry fall too
//! often (once in 2^64), never too seldom.

use std::{any::Any, fmt, sync::Arc};

use crate::{
    encoding::{put_bytes, put_varint},
    span::Span,
    timeline::Name,
    value::Value,
};

/// What an entry was built from, on a named timeline.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Dependency {
    timeline: Name,
    atom: Atom,
}

/// The thing on the timeline that the entry depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Atom {
    /// One row, by its whole primary key in the declared order of its columns.
    Id {
        /// The table or kind.
        table: Arc<str>,
        /// The values of the primary key.
        key: Vec<Value>,
    },
    /// All rows, present and future, whose columns equal the given values and lie in the span.
    Scope {
        /// The table or kind.
        table: Arc<str>,
        /// Column and value, sorted by column, each column once. Empty only beside a span or a
        /// watch.
        terms: Vec<(Arc<str>, Value)>,
        /// A column and the stretch of its values.
        span: Option<(Arc<str>, Span)>,
        /// What counts as a change of a row that stays in the scope.
        watch: Watch,
    },
    /// Every row of a table.
    Table(Arc<str>),
    /// A label given by the application.
    Tag {
        /// The space of names it is in; empty for none.
        space: Arc<str>,
        /// The label.
        name: Arc<str>,
    },
    /// Everything on the timeline.
    Everything,
}

/// What counts as a change of a row that was in a scope and stays there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Watch {
    /// Any change of the row.
    #[default]
    Row,
    /// A change of these columns, sorted, or of those the scope chooses by. Without columns only
    /// what enters or leaves counts: right for a count, or beside the ids of the rows.
    Columns(Arc<[Arc<str>]>),
}

impl Dependency {
    /// One row of `table`, by its primary key in declared order.
    pub fn id<V: Into<Value>>(
        timeline: impl Into<Name>,
        table: impl Into<Arc<str>>,
        key: impl IntoIterator<Item = V>,
    ) -> Self {
        let key = key.into_iter().map(Into::into).collect();
        Self { timeline: timeline.into(), atom: Atom::Id { table: table.into(), key } }
    }

    /// All rows of `table` whose columns equal the given values; without terms, the whole table.
    ///
    /// A column named twice with different values can match no row; it is widened to its first
    /// value, which is safe.
    pub fn scope<C: Into<Arc<str>>, V: Into<Value>>(
        timeline: impl Into<Name>,
        table: impl Into<Arc<str>>,
        terms: impl IntoIterator<Item = (C, V)>,
    ) -> Self {
        let mut terms: Vec<(Arc<str>, Value)> =
            terms.into_iter().map(|(column, value)| (column.into(), value.into())).collect();
        terms.sort_by(|a, b| a.0.cmp(&b.0));
        terms.dedup_by(|a, b| a.0 == b.0);
        let table = table.into();
        let atom = match terms.is_empty() {
            true => Atom::Table(table),
            false => Atom::Scope { table, terms, span: None, watch: Watch::Row },
        };
        Self { timeline: timeline.into(), atom }
    }

    /// Narrows a scope, or a whole table, to the rows whose `column` lies in `span`. Of two spans
    /// the first is kept, which is the wider answer; any other dependency stays as it is.
    #[must_use]
    pub fn within(self, column: impl Into<Arc<str>>, span: Span) -> Self {
        self.narrowed(|own, _| {
            own.get_or_insert_with(|| (column.into(), span));
        })
    }

    /// Says that a row which stays in the scope, or the table, matters only where one of `columns`
    /// changes. Any other dependency stays as it is.
    #[must_use]
    pub fn watching<C: Into<Arc<str>>>(self, columns: impl IntoIterator<Item = C>) -> Self {
        let mut columns: Vec<Arc<str>> = columns.into_iter().map(Into::into).collect();
        columns.sort();
        columns.dedup();
        self.narrowed(|_, watch| *watch = Watch::Columns(columns.into()))
    }

    /// The scope with this span and watch: how a record is read back.
    pub(crate) fn narrow_to(self, (span, watch): Narrowing) -> Self {
        self.narrowed(|own, own_watch| (*own, *own_watch) = (span, watch))
    }

    fn narrowed(mut self, narrow: impl FnOnce(&mut Option<(Arc<str>, Span)>, &mut Watch)) -> Self {
        if let Atom::Table(table) = self.atom {
            self.atom = Atom::Scope { table, terms: Vec::new(), span: None, watch: Watch::Row };
        }
        if let Atom::Scope { span, watch, .. } = &mut self.atom {
            narrow(span, watch);
        }
        self
    }

    /// Whether it is about rows by their columns, so that changes must be compared with it.
    pub fn is_scope(&self) -> bool {
        matches!(self.atom, Atom::Scope { .. })
    }

    /// Whether changes to it are noticed only while somebody holds it: see `History::release`.
    pub fn is_held(&self) -> bool {
        matches!(self.atom, Atom::Scope { span: Some(_), .. })
    }

    /// Every row of `table`.
    pub fn table(timeline: impl Into<Name>, table: impl Into<Arc<str>>) -> Self {
        Self { timeline: timeline.into(), atom: Atom::Table(table.into()) }
    }

    /// A label of the application.
    pub fn tag(name: impl Into<Arc<str>>) -> Self {
        Self::tag_in("", name)
    }

    /// A label in a space of names of its own: the same name in another space is another label.
    pub fn tag_in(space: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        let atom = Atom::Tag { space: space.into(), name: name.into() };
        Self { timeline: crate::timeline::APP.into(), atom }
    }

    /// Everything on `timeline`: the whole database.
    pub fn everything(timeline: impl Into<Name>) -> Self {
        Self { timeline: timeline.into(), atom: Atom::Everything }
    }

    /// The timeline this dependency lives on.
    pub fn timeline(&self) -> &Name {
        &self.timeline
    }

    /// The thing on the timeline.
    pub fn atom(&self) -> &Atom {
        &self.atom
    }

    /// The table this is about, if it is about one.
    pub fn about_table(&self) -> Option<&Arc<str>> {
        match &self.atom {
            Atom::Id { table, .. } | Atom::Scope { table, .. } | Atom::Table(table) => Some(table),
            Atom::Tag { .. } | Atom::Everything => None,
        }
    }

    /// The digest under which changes and entries meet.
    ///
    /// # Cost
    /// One hash of the encoding, about 100 ns for a short one.
    pub fn digest(&self) -> Digest {
        match &self.atom {
            Atom::Id { table, key } => Digest::id(&self.timeline, table, key.iter()),
            Atom::Scope { table, terms, span, watch } => Digest::scope(
                &self.timeline,
                table,
                terms.iter().map(|(column, value)| (&**column, value)),
                span.as_ref(),
                watch,
            ),
            Atom::Table(table) => Digest::table(&self.timeline, table),
            Atom::Tag { space, name } => Digest::tag(&self.timeline, space, name),
            Atom::Everything => Digest::anything(&self.timeline),
        }
    }
}

/// Prints the dependency as `explain` shows it: `shop/Scope(Album, ArtistId = 90)`.
impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.timeline)?;
        match &self.atom {
            Atom::Id { table, key } => {
                write!(f, "Id({table}")?;
                key.iter().try_for_each(|value| write!(f, ", {value}"))?;
                f.write_str(")")
            }
            Atom::Scope { table, terms, span, watch } => {
                write!(f, "Scope({table}")?;
                terms.iter().try_for_each(|(column, value)| write!(f, ", {column} = {value}"))?;
                if let Some((column, span)) = span {
                    write!(f, ", {column} in {span}")?;
                }
                if let Watch::Columns(columns) = watch {
                    write!(f, ", watching {}", columns.join(" and "))?;
                }
                f.write_str(")")
            }
            Atom::Table(table) => write!(f, "Table({table})"),
            Atom::Tag { space, name } if space.is_empty() => write!(f, "Tag({name})"),
            Atom::Tag { space, name } => write!(f, "Tag({space}, {name})"),
            Atom::Everything => f.write_str("Everything"),
        }
    }
}

impl fmt::Debug for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Sixty-four bits of a cryptographic hash of a dependency's encoding.
///
/// Stable across processes and versions, so that it may be stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub u64);

const ID: u8 = 1;
const SCOPE: u8 = 2;
const TABLE: u8 = 3;
const TAG: u8 = 4;
const EVERYTHING: u8 = 5;
const WITHIN: u8 = 6;
const ANYTHING: u8 = 7;
const SCOPES: u8 = 8;
const NARROWED: u8 = 9;

/// What a scope has besides its equalities.
pub(crate) type Narrowing = (Option<(Arc<str>, Span)>, Watch);

/// Self-delimiting, and in front of the terms, which are not.
pub(crate) fn put_narrowing(out: &mut Vec<u8>, span: Option<&(Arc<str>, Span)>, watch: &Watch) {
    match span {
        None => out.push(0),
        Some((column, span)) => {
            out.push(1);
            put_bytes(out, column.as_bytes());
            span.encode(out);
        }
    }
    match watch {
        Watch::Row => out.push(0),
        Watch::Columns(columns) => {
            out.push(1);
            put_varint(out, columns.len() as u64);
            columns.iter().for_each(|column| put_bytes(out, column.as_bytes()));
        }
    }
}

impl Digest {
    pub(crate) fn id<'a>(
        timeline: &str,
        table: &str,
        key: impl IntoIterator<Item = &'a Value>,
    ) -> Self {
        Self::of(timeline, ID, |out| {
            put_bytes(out, table.as_bytes());
            key.into_iter().for_each(|value| value.encode(out));
        })
    }

    pub(crate) fn scope<'a>(
        timeline: &str,
        table: &str,
        terms: impl IntoIterator<Item = (&'a str, &'a Value)>,
        span: Option<&(Arc<str>, Span)>,
        watch: &Watch,
    ) -> Self {
        let is_plain = span.is_none() && *watch == Watch::Row;
        Self::of(timeline, if is_plain { SCOPE } else { NARROWED }, |out| {
            put_bytes(out, table.as_bytes());
            if !is_plain {
                put_narrowing(out, span, watch);
            }
            for (column, value) in terms {
                put_bytes(out, column.as_bytes());
                value.encode(out);
            }
        })
    }

    pub(crate) fn table(timeline: &str, table: &str) -> Self {
        Self::of(timeline, TABLE, |out| put_bytes(out, table.as_bytes()))
    }

    pub(crate) fn tag(timeline: &str, space: &str, name: &str) -> Self {
        Self::of(timeline, TAG, |out| {
            put_bytes(out, space.as_bytes());
            put_bytes(out, name.as_bytes());
        })
    }

    /// The link that every dependency on `timeline` carries besides its own, so that a touch of
    /// everything reaches all of them.
    pub fn everything(timeline: &str) -> Self {
        Self::of(timeline, EVERYTHING, |_| {})
    }

    /// The digest that every change on `timeline` touches, whatever it is about: what depends on
    /// everything falls with each of them.
    pub(crate) fn anything(timeline: &str) -> Self {
        Self::of(timeline, ANYTHING, |_| {})
    }

    /// The link that every id, scope and table dependency on `table` carries besides its own, so
    /// that a change which cannot be narrowed reaches all of them.
    pub(crate) fn within(timeline: &str, table: &str) -> Self {
        Self::of(timeline, WITHIN, |out| put_bytes(out, table.as_bytes()))
    }

    /// The link that every scope of `table` carries besides its own: a row that is said to have
    /// changed, without its values, may be in any of them.
    pub(crate) fn scopes(timeline: &str, table: &str) -> Self {
        Self::of(timeline, SCOPES, |out| put_bytes(out, table.as_bytes()))
    }

    fn of(timeline: &str, kind: u8, fill: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut bytes = Vec::with_capacity(96);
        put_bytes(&mut bytes, timeline.as_bytes());
        bytes.push(kind);
        fill(&mut bytes);
        let hash = blake3::hash(&bytes);
        let (head, _) = hash.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
        Self(u64::from_le_bytes(*head))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The dependencies of one entry, with the digests under which it is linked.
///
/// Apart from its own digest every dependency on a table adds the table's `within` link, and every
/// dependency at all adds that of everything on its timeline; a scope adds that of all scopes of
/// its table. Clones share the lists until one of them is added to: a set goes from the load to the
/// entry and to everybody who waits for it, and hardly ever grows on the way.
#[derive(Clone, Debug, Default)]
pub struct DependencySet(Option<Arc<Lists>>);

#[derive(Clone, Debug, Default)]
struct Lists {
    items: Vec<Dependency>,
    digests: Vec<Digest>,
    widened: bool,
    holds: Vec<Hold>,
}

/// What keeps a dependency that [`Dependency::is_held`] noticed, for as long as it is kept.
pub type Hold = Arc<dyn Any + Send + Sync>;

impl DependencySet {
    /// Bytes that clones share, besides the contents of the lists; for the weight of an entry.
    pub const SHARED_BYTES: usize = size_of::<Lists>() + 2 * size_of::<usize>();

    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a dependency; one that is there already changes nothing.
    ///
    /// # Cost
    /// A hash and a search among the digests, and two more hashes for the first of a table. A copy
    /// of the lists when a clone shares them.
    pub fn add(&mut self, dependency: Dependency) {
        self.lists_mut().add(dependency);
    }

    /// Keeps `hold` for as long as this set or a copy of it is there.
    pub fn keep(&mut self, hold: Hold) {
        if !self.holds().iter().any(|own| Arc::ptr_eq(own, &hold)) {
            self.lists_mut().holds.push(hold);
        }
    }

    /// What is kept, for a set that takes these dependencies over.
    pub fn holds(&self) -> &[Hold] {
        self.0.as_ref().map_or(&[], |lists| &lists.holds)
    }

    /// Whether it was larger than its limit once, and is now wider than what was read.
    pub fn is_widened(&self) -> bool {
        self.0.as_ref().is_some_and(|lists| lists.widened)
    }

    /// Says that it is wider than what was read.
    pub fn mark_widened(&mut self) {
        self.lists_mut().widened = true;
    }

    fn lists_mut(&mut self) -> &mut Lists {
        Arc::make_mut(self.0.get_or_insert_default())
    }

    fn items(&self) -> &[Dependency] {
        self.0.as_ref().map_or(&[], |lists| &lists.items)
    }

    /// The dependencies, in the order they were added.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Dependency> {
        self.items().iter()
    }

    /// The digests under which an entry with these dependencies is linked, sorted, each once.
    pub fn digests(&self) -> &[Digest] {
        self.0.as_ref().map_or(&[], |lists| &lists.digests)
    }

    /// Number of dependencies, without the links that follow from them.
    pub fn len(&self) -> usize {
        self.items().len()
    }

    /// Whether there is no dependency.
    pub fn is_empty(&self) -> bool {
        self.items().is_empty()
    }

    /// Whether any dependency lives on `timeline`.
    pub fn reads(&self, timeline: &str) -> bool {
        self.iter().any(|dependency| &**dependency.timeline() == timeline)
    }

    /// Sixty-four bits, of which each digest sets one: two sets without a common bit have no
    /// common digest.
    pub fn signature(&self) -> u64 {
        signature(self.digests())
    }
}

/// How many of the last dependencies are looked at for one whose links a new one would add too.
/// The rows of a page come from a few tables in turns; ten times more would cost as much as the
/// hashes that it saves.
const NEIGHBOURS: usize = 4;

impl Lists {
    fn add(&mut self, dependency: Dependency) {
        if !self.add_digest(dependency.digest()) {
            return;
        }
        let last = self.items.iter().rev().take(NEIGHBOURS);
        if !last.into_iter().any(|other| dependency.is_linked_with(other)) {
            self.add_links(&dependency);
        }
        self.items.push(dependency);
    }

    /// Adds the links that the dependency has besides its own.
    fn add_links(&mut self, dependency: &Dependency) {
        if let Some(table) = dependency.about_table() {
            self.add_digest(Digest::within(&dependency.timeline, table));
        }
        if let Atom::Scope { table, .. } = &dependency.atom {
            self.add_digest(Digest::scopes(&dependency.timeline, table));
        }
        self.add_digest(Digest::everything(&dependency.timeline));
    }

    /// Whether the digest is new.
    fn add_digest(&mut self, digest: Digest) -> bool {
        match self.digests.binary_search(&digest) {
            Ok(_) => false,
            Err(place) => {
                self.digests.insert(place, digest);
                true
            }
        }
    }
}

impl Dependency {
    /// Whether `other` brings every link that this one has besides its own.
    fn is_linked_with(&self, other: &Self) -> bool {
        let is_scope = |dependency: &Self| matches!(dependency.atom, Atom::Scope { .. });
        (!is_scope(self) || is_scope(other))
            && self.timeline == other.timeline
            && (self.about_table().is_none() || self.about_table() == other.about_table())
    }
}

/// The signature of `digests`: the union of one bit for each.
pub fn signature(digests: &[Digest]) -> u64 {
    digests.iter().fold(0, |bits, digest| bits | 1 << (digest.0 & 63))
}

impl FromIterator<Dependency> for DependencySet {
    fn from_iter<I: IntoIterator<Item = Dependency>>(dependencies: I) -> Self {
        let mut set = Self::new();
        for dependency in dependencies {
            set.add(dependency);
        }
        set
    }
}

impl Extend<Dependency> for DependencySet {
    fn extend<I: IntoIterator<Item = Dependency>>(&mut self, dependencies: I) {
        for dependency in dependencies {
            self.add(dependency);
        }
    }
}
