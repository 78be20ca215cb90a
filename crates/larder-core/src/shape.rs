//! Shapes: by which columns the entries of this node choose rows, and so what a change must be
//! compared with.
//!
//! A change of a row is met by the digest of its values, for every set of columns that anybody
//! asked for, and where a span is part of the question by the spans that hold its value. They
//! stand apart from the history because they are about who asks, not about what happened.
//! **Invariant**: a scope that was noticed before a change, and is still held, is among what the
//! change touches if a row of it entered, left, or changed where it is watched.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use crate::{
    by_digest::DigestMap,
    change::{After, RowChange},
    dependency::{Atom, Dependency, Digest, Watch},
    safeguard::Safeguard,
    span::{Span, index::SpanIndex},
    timeline::{Name, Position},
    value::Value,
};

/// The columns by which some entry chooses rows of a table, and those it watches in them.
#[derive(Debug)]
struct Scheme {
    /// Sorted.
    columns: Box<[Arc<str>]>,
    span: Option<Arc<str>>,
    watch: Watch,
}

/// A scope taken apart: what is looked up in the shapes, without a copy of it.
#[derive(Clone, Copy)]
struct Asked<'a> {
    table: &'a Arc<str>,
    terms: &'a [(Arc<str>, Value)],
    span: Option<&'a (Arc<str>, Span)>,
    watch: &'a Watch,
}

impl<'a> Asked<'a> {
    fn of(dependency: &'a Dependency) -> Option<Self> {
        let Atom::Scope { table, terms, span, watch } = dependency.atom() else { return None };
        Some(Self { table, terms, span: span.as_ref(), watch })
    }

    fn column(self) -> Option<&'a Arc<str>> {
        self.span.map(|(column, _)| column)
    }

    fn columns(self) -> impl Iterator<Item = &'a Arc<str>> {
        self.terms.iter().map(|(column, _)| column)
    }

    /// The digest of the equalities beside a span.
    fn group(self, timeline: &str) -> Digest {
        let terms = self.terms.iter().map(|(column, value)| (&**column, value));
        Digest::scope(timeline, self.table, terms, None, &Watch::Row)
    }
}

impl Scheme {
    fn of(asked: Asked<'_>) -> Self {
        let (columns, span) = (asked.columns().cloned().collect(), asked.column().cloned());
        Self { columns, span, watch: asked.watch.clone() }
    }

    fn is_of(&self, asked: Asked<'_>) -> bool {
        self.columns.iter().eq(asked.columns())
            && self.span.as_ref() == asked.column()
            && self.watch == *asked.watch
    }

    /// Whether one of `columns` decides which rows belong to a scope of this scheme.
    fn chooses_by(&self, columns: &[Arc<str>]) -> bool {
        columns
            .iter()
            .any(|column| self.columns.contains(column) || self.span.as_ref() == Some(column))
    }

    /// Whether both images of a row belong to the same scopes of this scheme: most updates leave
    /// the columns alone that a scheme chooses by, and need to be looked for once.
    fn chooses_alike(&self, row: &RowChange, old: &[Value], new: &[Value]) -> bool {
        self.columns
            .iter()
            .chain(&self.span)
            .all(|column| row.place(column).is_some_and(|place| old.get(place) == new.get(place)))
    }

    /// Whether a row that stays where it was is a change for a scope of this scheme.
    fn sees(&self, row: &RowChange, old: &[Value], new: &[Value]) -> bool {
        let differs = |column: &Arc<str>| match row.place(column) {
            Some(place) => old.get(place) != new.get(place),
            // A column that the feed does not report may have changed.
            None => true,
        };
        match &self.watch {
            Watch::Row => true,
            Watch::Columns(columns) => {
                // With another key it is another row: one left, and one entered.
                row.key.iter().any(|&place| old.get(place) != new.get(place))
                    || columns.iter().chain(&self.columns).chain(&self.span).any(differs)
            }
        }
    }
}

/// One scheme in use.
#[derive(Debug)]
struct Shape {
    scheme: Scheme,
    since: Position,
    /// The spans in use, under the digest of the equalities beside them.
    spans: DigestMap<SpanIndex>,
}

/// All shapes that one history knows, by timeline and table. That of `app` knows those of every
/// timeline, because on it changes to any of them are reported by hand.
#[derive(Debug, Default)]
pub(crate) struct Shapes(HashMap<Name, HashMap<Arc<str>, Vec<Shape>>>);

impl Shapes {
    /// Notices changes to `dependency` from `since` on. One with a span is noticed until it is
    /// released as often as it was registered; equalities are few and kept.
    pub(crate) fn register(&mut self, dependency: &Dependency, since: Position) {
        let Some(asked) = Asked::of(dependency) else { return };
        let timeline = dependency.timeline();
        let tables = self.0.entry(timeline.clone()).or_default();
        let shapes = tables.entry(asked.table.clone()).or_default();
        let place = shapes.iter().position(|shape| shape.scheme.is_of(asked));
        let place = place.unwrap_or_else(|| {
            let scheme = Scheme::of(asked);
            shapes.push(Shape { scheme, since, spans: DigestMap::default() });
            shapes.len() - 1
        });
        if let (Some((_, span)), Some(shape)) = (asked.span, shapes.get_mut(place)) {
            let group = shape.spans.entry(asked.group(timeline)).or_default();
            group.hold(span, dependency.digest(), since);
        }
    }

    /// Gives back one registration of a dependency with a span.
    pub(crate) fn release(&mut self, dependency: &Dependency) {
        let Some(asked) = Asked::of(dependency).filter(|asked| asked.span.is_some()) else {
            return;
        };
        let timeline = dependency.timeline();
        let shapes = self.0.get_mut(timeline).and_then(|tables| tables.get_mut(asked.table));
        let mut shapes = shapes.into_iter().flatten();
        let Some(shape) = shapes.find(|shape| shape.scheme.is_of(asked)) else { return };
        if let Entry::Occupied(mut spans) = shape.spans.entry(asked.group(timeline)) {
            spans.get_mut().release(dependency.digest());
            if spans.get().is_empty() {
                spans.remove();
            }
        }
    }

    /// Since when changes to `dependency`, a scope, are noticed; `None` when they are not.
    pub(crate) fn since(&self, dependency: &Dependency) -> Option<Position> {
        let asked = Asked::of(dependency)?;
        let timeline = dependency.timeline();
        let shape = self.of(timeline, asked.table).find(|shape| shape.scheme.is_of(asked))?;
        match asked.span {
            None => Some(shape.since),
            Some(_) => shape.spans.get(&asked.group(timeline))?.since(dependency.digest()),
        }
    }

    /// A new life of the timeline: everything is noticed from `since` on.
    pub(crate) fn restart(&mut self, since: Position) {
        for shape in self.0.values_mut().flat_map(HashMap::values_mut).flatten() {
            shape.since = since;
            shape.spans.values_mut().for_each(|spans| spans.restart(since));
        }
    }

    fn of(&self, timeline: &str, table: &str) -> impl Iterator<Item = &Shape> {
        self.0.get(timeline).and_then(|tables| tables.get(table)).into_iter().flatten()
    }

    /// Spans in use.
    pub(crate) fn spans(&self) -> usize {
        let shapes = self.0.values().flat_map(HashMap::values).flatten();
        shapes.flat_map(|shape| shape.spans.values()).map(SpanIndex::len).sum()
    }

    /// Calls `touch` with the digest of everything `row` touches among ids, the table and scopes.
    ///
    /// A scheme with a column that the feed does not report, or a row without its values, touches
    /// everything within the table.
    pub(crate) fn touched_by_row(
        &self,
        timeline: &str,
        row: &RowChange,
        touch: &mut dyn FnMut(Digest),
    ) {
        touch(Digest::anything(timeline));
        touch(Digest::table(timeline, &row.table));
        let images = [&row.old, &row.new];
        if !row.is_whole() || images.iter().all(|image| image.is_none()) {
            return touch(Digest::within(timeline, &row.table));
        }
        for image in images.into_iter().flatten() {
            touch(row.id(timeline, image));
        }
        for shape in self.of(timeline, &row.table) {
            let mut images = images;
            if let (Some(old), Some(new)) = (&row.old, &row.new) {
                if !shape.scheme.sees(row, old, new) {
                    continue;
                }
                let is_alike = shape.scheme.chooses_alike(row, old, new);
                if is_alike || Safeguard::OldImageCompared.is_off() {
                    images = [&None, &row.new];
                }
            }
            for image in images.into_iter().flatten() {
                if shape.touched(timeline, row, image, touch).is_none() {
                    return touch(Digest::within(timeline, &row.table));
                }
            }
        }
    }

    /// The same for a row of which only the state after the change is known: whatever it may have
    /// left is widened to all scopes of the table.
    pub(crate) fn touched_by_after(
        &self,
        timeline: &str,
        after: &After,
        touch: &mut dyn FnMut(Digest),
    ) {
        let row = &after.row;
        let key_changed = |modified: &[Arc<str>]| {
            row.key.iter().filter_map(|&place| row.columns.get(place)).any(|c| modified.contains(c))
        };
        let Some(modified) = &after.modified else {
            self.touched_by_row(timeline, row, touch);
            return touch(Digest::scopes(timeline, &row.table));
        };
        if key_changed(modified) {
            touch(Digest::anything(timeline));
            return touch(Digest::within(timeline, &row.table));
        }
        let mut shapes = self.of(timeline, &row.table);
        let may_have_left = shapes.any(|shape| shape.scheme.chooses_by(modified));
        self.touched_by_row(timeline, row, touch);
        if may_have_left {
            touch(Digest::scopes(timeline, &row.table));
        }
    }
}

impl Shape {
    /// Touches the scopes of this shape that hold `image`; `None` when a column is not reported.
    fn touched(
        &self,
        timeline: &str,
        row: &RowChange,
        image: &[Value],
        touch: &mut dyn FnMut(Digest),
    ) -> Option<()> {
        let columns = self.scheme.columns.iter();
        let terms: Option<Vec<(&str, &Value)>> =
            columns.map(|column| Some((&**column, image.get(row.place(column)?)?))).collect();
        let terms = terms?;
        let Some(column) = &self.scheme.span else {
            touch(Digest::scope(timeline, &row.table, terms, None, &self.scheme.watch));
            return Some(());
        };
        let value = image.get(row.place(column)?)?;
        let group = Digest::scope(timeline, &row.table, terms, None, &Watch::Row);
        if let Some(spans) = self.spans.get(&group).filter(|_| !Safeguard::RangesCompared.is_off())
        {
            spans.holding(value, touch);
        }
        Some(())
    }
}
