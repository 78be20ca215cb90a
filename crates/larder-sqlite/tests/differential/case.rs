//! A case: a schema, resources and transactions, all as text, and how a failing one is made small.

use std::fmt;

use crate::{
    change::{self, Transaction},
    random::Random,
    resource::Resource,
    schema::Schema,
};

#[derive(Clone, Debug)]
pub struct Case {
    pub seed: u64,
    pub schema: Vec<String>,
    pub resources: Vec<Resource>,
    pub transactions: Vec<Transaction>,
}

/// How large a case is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub resources: usize,
    pub transactions: usize,
}

impl Case {
    pub fn random(seed: u64, size: Size) -> Self {
        let mut random = Random::new(seed);
        let schema = Schema::random(&mut random);
        let resources =
            (0..size.resources).map(|_| Resource::random(&mut random, &schema)).collect();
        let transactions =
            (0..size.transactions).map(|_| change::transaction(&mut random, &schema)).collect();
        Self { seed, schema: schema.sql, resources, transactions }
    }

    /// The smallest case found that still fails, by leaving things out one at a time.
    pub fn shrink(mut self, failure: Failure, fails: impl Fn(&Self) -> Option<Failure>) -> Failure {
        let mut failure = failure;
        self.resources = vec![failure.resource.clone()];
        self.transactions.truncate(failure.transaction + 1);
        let Some(first) = fails(&self) else {
            failure.case = self;
            return failure;
        };
        failure = first;
        for _ in 0..3 {
            let before = self.transactions.len();
            let mut index = 0;
            while index < self.transactions.len() {
                let mut smaller = self.clone();
                smaller.transactions.remove(index);
                match fails(&smaller) {
                    Some(next) => (failure, self) = (next, smaller),
                    None => index += 1,
                }
            }
            if self.transactions.len() == before {
                break;
            }
        }
        failure.case = self;
        failure
    }
}

/// A result that changed and was served on.
#[derive(Clone, Debug)]
pub struct Failure {
    pub case: Case,
    pub transaction: usize,
    pub resource: Resource,
    pub dependencies: Vec<String>,
    pub before: String,
    pub after: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "a result changed and its entry stayed valid; seed of the case {}",
            self.case.seed
        )?;
        self.case.schema.iter().try_for_each(|sql| writeln!(f, "  {sql};"))?;
        for transaction in &self.case.transactions {
            writeln!(f, "  {};", transaction.join("; "))?;
        }
        writeln!(f, "resource: {}", self.resource.sql)?;
        writeln!(f, "parameters: {:?}", self.resource.parameters)?;
        writeln!(f, "dependencies: {}", self.dependencies.join(" "))?;
        write!(f, "before: {}\nafter:  {}", self.before, self.after)
    }
}
