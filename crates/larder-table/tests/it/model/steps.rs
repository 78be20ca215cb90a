//! What can happen in the model test.

use larder_table::{Meanwhile, Outside};
use proptest::prelude::*;

/// A row that is written or goes, and how it is told of.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) id: i64,
    /// Device and time; `None` when it goes.
    pub(super) to: Option<(i64, i64)>,
    pub(super) named: Named,
    pub(super) meanwhile: Meanwhile,
}

/// By which indexes a change is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Key,
    Time,
    Device,
    KeyAndTime,
    TimeAndDevice,
}

#[derive(Clone, Debug)]
pub(super) enum Op {
    Adjust(i64, i64),
    Reload(i64, i64),
    Refresh,
    Get(i64),
    Read(i64, i64, Outside),
    ByDevice(i64, i64, i64),
    ByDigit(i64),
}

impl Op {
    /// Whether all of it happens or nothing. A read may have ended a refresh that it needed before
    /// it came to its own load.
    pub(super) fn is_one_step(&self) -> bool {
        matches!(self, Self::Adjust(..) | Self::Reload(..) | Self::Refresh)
    }
}

/// What becomes of an operation.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Finish,
    Drop,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Change(Change),
    Do(Op),
    /// The origin fails after so many records.
    Fail(Op, usize),
    /// An operation is polled so often, then something may change, and it ends.
    Beside(Op, usize, Option<Change>, End),
    Group(i64),
}

fn change() -> impl Strategy<Value = Change> {
    let named = prop_oneof![
        Just(Named::Key),
        Just(Named::Time),
        Just(Named::Device),
        Just(Named::KeyAndTime),
        Just(Named::TimeAndDevice),
    ];
    let meanwhile = prop_oneof![4 => Just(Meanwhile::Refresh), 1 => Just(Meanwhile::ServeStale)];
    let to = prop_oneof![
        3 => (0..3i64, 0..20i64).prop_map(Some),
        1 => Just(None),
    ];
    (0..24i64, to, named, meanwhile).prop_map(|(id, to, named, meanwhile)| Change {
        id,
        to,
        named,
        meanwhile,
    })
}

fn op() -> impl Strategy<Value = Op> {
    let outside =
        prop_oneof![Just(Outside::LoadMissing), Just(Outside::LoadAll), Just(Outside::Refuse)];
    let range = || (0..20i64, 0..12i64).prop_map(|(low, len)| (low, low + len));
    prop_oneof![
        2 => range().prop_map(|(low, high)| Op::Adjust(low, high)),
        1 => range().prop_map(|(low, high)| Op::Reload(low, high)),
        1 => Just(Op::Refresh),
        1 => (0..24i64).prop_map(Op::Get),
        3 => (range(), outside).prop_map(|((low, high), out)| Op::Read(low, high, out)),
        2 => (0..3i64, range()).prop_map(|(own, (low, high))| Op::ByDevice(own, low, high)),
        1 => (0..10i64).prop_map(Op::ByDigit),
    ]
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let end = prop_oneof![Just(End::Finish), Just(End::Drop)];
    prop_oneof![
        5 => change().prop_map(Step::Change),
        5 => op().prop_map(Step::Do),
        1 => (op(), 0..4usize).prop_map(|(op, after)| Step::Fail(op, after)),
        4 => (op(), 0..24usize, proptest::option::of(change()), end)
            .prop_map(|(op, polls, change, end)| Step::Beside(op, polls, change, end)),
        1 => (0..3i64).prop_map(Step::Group),
    ]
}
