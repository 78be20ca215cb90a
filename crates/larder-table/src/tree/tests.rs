//! The tree against a sorted map, under random edits.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use proptest::prelude::*;

use super::{edits::Kind, *};
use crate::measure::Summed;

#[derive(Debug, PartialEq)]
struct Row {
    id: u8,
    group: u8,
    amount: i64,
}

impl Record for Row {
    type Key = u8;

    fn key(&self) -> u8 {
        self.id
    }
}

type Sums = Summed<Row, i64>;

fn amounts() -> Sums {
    Summed(Arc::new(|row: &Row| row.amount))
}

impl<K: Ord + Clone, R: Record, M: Measure<R>> Tree<K, R, M> {
    /// Fails unless every block says the truth of what is below it.
    fn check(&self) {
        fn depth<K: Ord, R: Record, M: Measure<R>>(node: &Node<K, R, M>, is_root: bool) -> usize {
            assert!(node.width() <= WIDTH);
            let Below::Blocks(blocks) = &node.below else {
                assert!(is_root || node.width() != 0, "no block is empty");
                return 0;
            };
            assert!(!is_root || 1 < blocks.len(), "a root of one block is that block");
            let mut end = 0;
            let depths: Vec<usize> = blocks.iter().map(|one| depth(&one.node, false)).collect();
            for (block, key) in blocks.iter().zip(&node.keys) {
                end += block.node.len();
                assert_eq!(block.end, end);
                assert!(block.node.keys.first() == Some(key));
            }
            assert!(depths.iter().all(|one| *one == depths[0]), "all leaves are at one depth");
            depths[0] + 1
        }
        depth(&self.root, true);
    }
}

/// What is to be put under an id, or none for taking out what is there.
type Step = Vec<(u8, Option<(u8, i64)>)>;

fn apply(
    tree: &Tree<u8, Row, Sums>,
    model: &mut BTreeMap<(u8, u8), Arc<Row>>,
    step: Step,
) -> Tree<u8, Row, Sums> {
    let mut edits: BTreeMap<(u8, u8), Edit<u8, Row>> = BTreeMap::new();
    for (id, new) in step {
        let old =
            model.iter().find(|((_, own), _)| *own == id).map(|(place, row)| (*place, row.clone()));
        if let Some((place, row)) = old {
            model.remove(&place);
            edits.insert(place, Edit { key: place.0, record: row, kind: Kind::Take });
        }
        if let Some((group, amount)) = new {
            let row = Arc::new(Row { id, group, amount });
            model.insert((group, id), row.clone());
            edits.insert((group, id), Edit { key: group, record: row, kind: Kind::Put });
        }
    }
    tree.edited(edits.into_values().collect(), &amounts())
}

fn agree(tree: &Tree<u8, Row, Sums>, model: &BTreeMap<(u8, u8), Arc<Row>>, groups: Range<u8>) {
    tree.check();
    assert_eq!(tree.len(), model.len());
    let (from, to) = (tree.rank(|key| *key < groups.start), tree.rank(|key| *key < groups.end));
    let expected: Vec<&Arc<Row>> =
        model.range((groups.start, 0)..(groups.end, 0)).map(|(_, row)| row).collect();
    let found: Vec<&Arc<Row>> = tree.rows(from, to).map(|(_, row)| row).collect();
    assert_eq!(found, expected);
    let mut back: Vec<&Arc<Row>> = tree.rows(from, to).rev().map(|(_, row)| row).collect();
    back.reverse();
    assert_eq!(back, expected);
    let sum: i64 = expected.iter().map(|row| row.amount).sum();
    assert_eq!(tree.sum(from, to, &amounts()), i128::from(sum));
    let mut met = tree.rows(from, to);
    let (first, last) = (met.next().map(|(_, row)| row), met.next_back().map(|(_, row)| row));
    assert_eq!(first, expected.first().copied());
    assert_eq!(last, expected.get(1..).and_then(<[_]>::last).copied());
}

proptest! {
    /// T18.
    #[test]
    fn tree_is_as_a_sorted_map_and_older_ones_stay_as_they_were(
        start in proptest::collection::btree_map(any::<u8>(), (0..8u8, -9..9i64), 0..120),
        steps in proptest::collection::vec(
            proptest::collection::vec(
                (any::<u8>(), proptest::option::weighted(0.6, (0..8u8, -9..9i64))), 0..40,
            ),
            0..12,
        ),
        low in 0..8u8,
        high in 0..9u8,
    ) {
        let (high, mut model) = (high.max(low), BTreeMap::new());
        for (id, (group, amount)) in start {
            model.insert((group, id), Arc::new(Row { id, group, amount }));
        }
        let entries: Vec<_> = model.iter().map(|((group, _), row)| (*group, row.clone())).collect();
        let mut tree = Tree::build(entries.into_iter(), &amounts());
        let mut held = Vec::new();
        for step in steps {
            held.push((tree.clone(), model.clone()));
            tree = apply(&tree, &mut model, step);
            agree(&tree, &model, low..high);
        }
        for (earlier, before) in held {
            agree(&earlier, &before, low..high);
            differ(&earlier, &before, &tree, &model);
        }
    }
}

type Model = BTreeMap<(u8, u8), Arc<Row>>;

/// What two trees do not share has all that differs between them, and nothing else that is in one.
fn differ(
    earlier: &Tree<u8, Row, Sums>,
    before: &Model,
    tree: &Tree<u8, Row, Sums>,
    model: &Model,
) {
    let found = tree.differences(earlier);
    let pointers =
        |records: &[Arc<Row>]| -> Vec<*const Row> { records.iter().map(Arc::as_ptr).collect() };
    let only = |of: &[*const Row], other: &[*const Row]| -> BTreeSet<*const Row> {
        of.iter().filter(|one| !other.contains(one)).copied().collect()
    };
    let [old, new] =
        [before, model].map(|model| pointers(&model.values().cloned().collect::<Vec<_>>()));
    let [went, came] = [&found.before, &found.after].map(|records| pointers(records));
    assert_eq!(only(&went, &came), only(&old, &new));
    assert_eq!(only(&came, &went), only(&new, &old));
}

#[test]
fn blocks_that_two_trees_share_are_no_difference() {
    let entries = (0..1000_u32).map(|number| (number, Arc::new(Numbered(number))));
    let tree: Tree<u32, Numbered, crate::measure::Nothing> =
        Tree::build(entries, &crate::measure::Nothing);
    let same = tree.clone().differences(&tree);
    assert!(same.before.is_empty() && same.after.is_empty());
    let edit = Edit { key: 500, record: Arc::new(Numbered(500)), kind: Kind::Put };
    let edited = tree.edited(vec![edit], &crate::measure::Nothing);
    let found = edited.differences(&tree);
    assert!(found.before.len() <= 2 * WIDTH && found.after.len() <= 2 * WIDTH);
    // One more depth above the same blocks.
    let more = (1000..5000).map(|number| Edit {
        key: number,
        record: Arc::new(Numbered(number)),
        kind: Kind::Put,
    });
    let grown = tree.edited(more.collect(), &crate::measure::Nothing);
    let found = grown.differences(&tree);
    assert!((4000..4000 + 2 * WIDTH).contains(&found.after.len()), "{}", found.after.len());
    assert!(found.before.len() <= 2 * WIDTH);
    let empty = Tree::default();
    assert_eq!(tree.differences(&empty).after.len(), 1000);
    assert_eq!(empty.differences(&tree).before.len(), 1000);
}

#[test]
fn what_is_always_put_at_the_end_leaves_full_leaves() {
    let mut tree: Tree<u32, Numbered, crate::measure::Nothing> = Tree::default();
    for number in 0..1000 {
        let record = Arc::new(Numbered(number));
        let edit = Edit { key: number, record, kind: Kind::Put };
        tree = tree.edited(vec![edit], &crate::measure::Nothing);
    }
    tree.check();
    assert_eq!(leaves(&tree.root), 1000 / WIDTH);
}

struct Numbered(u32);

impl Record for Numbered {
    type Key = u32;

    fn key(&self) -> u32 {
        self.0
    }
}

fn leaves<K, R, M: Measure<R>>(node: &Node<K, R, M>) -> usize {
    match &node.below {
        Below::Records(_) => 1,
        Below::Blocks(blocks) => blocks.iter().map(|block| leaves(&block.node)).sum(),
    }
}
