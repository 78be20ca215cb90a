//! Streams: questions whose rows are handed over one by one, while they are read.
//!
//! Apart from `statement`, whose answers are whole and bounded by their rows: here whoever takes
//! the rows says when it is enough. **Invariant**: all parts of a stream are read in one snapshot,
//! and by a connection that may do nothing but read.

use std::{fmt, sync::Arc, time::Duration};

use larder_core::{Error, Value};
use rusqlite::Connection;

use crate::{
    reader::{Bound, Trouble, bind},
    result_shape::ResultShape,
    row::SqlRow,
    statement::{Reading, Statement},
};

/// A question of any size: parts of the result of a statement.
#[derive(Clone, Debug)]
pub struct Stream {
    /// What is asked.
    pub statement: Arc<Statement>,
    /// One value for each declared parameter of the statement, in declared order.
    pub params: Vec<Value>,
    /// Which parts of its result, one after the other. A row that is in several comes several
    /// times.
    pub parts: Vec<Part>,
    /// What its result has to look like for the conditions of the parts to mean what they should:
    /// under a schema in which it looks otherwise no row is read.
    pub shape: Option<Arc<ResultShape>>,
    /// How long it may take until the last row was taken, waiting for a free connection included.
    pub deadline: Duration,
}

/// The rows of a result that meet a condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// What would stand behind `WHERE`, over the names of the result's columns; without it all
    /// rows. The texts should be few: each is compiled once for each connection.
    pub condition: Option<String>,
    /// The values of `:larder_0`, `:larder_1` and so on in the condition.
    pub values: Vec<Value>,
}

/// What the parameters of conditions begin with.
pub(crate) const OWN: &str = "larder_";

/// Who takes the rows, together with the number of the part that each is of.
pub(crate) type Taker = dyn FnMut(usize, &SqlRow<'_>) -> Result<(), Error> + Send;

/// The same, on its way to a thread.
pub(crate) struct Sink(pub(crate) Box<Taker>);

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sink")
    }
}

impl Part {
    /// Every row.
    pub fn whole() -> Self {
        Self { condition: None, values: Vec::new() }
    }

    /// The text of the question.
    pub fn sql(&self, statement: &Statement) -> String {
        let whole = statement.sql();
        match &self.condition {
            Some(condition) => format!("SELECT * FROM ({whole}) WHERE {condition}"),
            None => format!("SELECT * FROM ({whole})"),
        }
    }
}

impl Stream {
    /// Fails where the schema has changed so that the result does not look as it should.
    pub(crate) fn check(&self, connection: &Connection, reading: &Reading) -> Result<(), Trouble> {
        let Some(shape) = &self.shape else { return Ok(()) };
        let now = reading.shape(connection, &self.statement).map_err(Trouble::Refused)?;
        shape.expect(&now).map_err(Trouble::Refused)
    }

    /// Reads each part and hands over its rows.
    pub(crate) fn read(
        &self,
        connection: &Connection,
        reading: &Reading,
        sink: &mut Sink,
    ) -> Result<(), Trouble> {
        for (number, part) in self.parts.iter().enumerate() {
            let mut prepared = connection.prepare_cached(&part.sql(&self.statement))?;
            bind(&mut prepared, &self.statement, &self.params)?;
            for (place, value) in part.values.iter().enumerate() {
                prepared.raw_bind_parameter(&*format!(":{OWN}{place}"), Bound(value))?;
            }
            let mut cursor = prepared.raw_query();
            while let Some(row) = cursor.next()? {
                let row = SqlRow::new(row, &reading.columns);
                (sink.0)(number, &row).map_err(Trouble::Refused)?;
            }
        }
        Ok(())
    }
}
