//! Records as a stream of Arrow (IPC): batches of columns, each of one type.
//!
//! SQLite lets any value stand in any column, Arrow does not. So all records are looked at first,
//! and a column has the type that it is declared with if all of its values fit, else the narrowest
//! that they do. **Invariant**: no value is left out or rounded: where values of a column have no
//! type in common it is text, and a value in it reads as it would in JSON.

use std::{fmt, sync::Arc};

use arrow_array::{
    ArrayRef, RecordBatch, RecordBatchOptions,
    builder::{BinaryBuilder, Float64Builder, Int64Builder, StringBuilder},
};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use larder::Value;
use larder_table::sql::Row;

use super::key::{Column, Holds};

/// What the columns of some records hold.
#[derive(Clone, Debug)]
pub struct Shape(Vec<Seen>);

/// What was seen in a column.
#[derive(Clone, Copy, Debug)]
struct Seen {
    declared: Holds,
    /// Integers that no float has.
    large: Is,
    integers: Is,
    reals: Is,
    texts: Is,
    blobs: Is,
}

/// Whether something was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Is {
    Absent,
    There,
}

/// The largest number up to which each integer is a float.
const EXACT: u64 = 1 << 53;

impl Shape {
    /// Nothing was seen yet of these columns.
    pub fn new(columns: &[Column]) -> Self {
        let nothing = Is::Absent;
        let seen = columns.iter().map(|column| Seen {
            declared: column.holds,
            large: nothing,
            integers: nothing,
            reals: nothing,
            texts: nothing,
            blobs: nothing,
        });
        Self(seen.collect())
    }

    /// Looks at a record.
    pub fn look_at(&mut self, record: &Row) {
        for (seen, value) in self.0.iter_mut().zip(record.values()) {
            match value {
                Value::Null => {}
                Value::Integer(number) => {
                    seen.integers = Is::There;
                    if EXACT < number.unsigned_abs() {
                        seen.large = Is::There;
                    }
                }
                Value::Real(_) => seen.reals = Is::There,
                Value::Text(_) => seen.texts = Is::There,
                Value::Blob(_) => seen.blobs = Is::There,
            }
        }
    }
}

impl Seen {
    fn data_type(&self) -> DataType {
        use Is::{Absent, There};
        let Self { declared, large, integers, reals, texts, blobs } = *self;
        match (integers, reals, texts, blobs) {
            (Absent, Absent, Absent, Absent) => match declared {
                Holds::Integers => DataType::Int64,
                Holds::Reals | Holds::Numbers => DataType::Float64,
                Holds::Text | Holds::Anything => DataType::Utf8,
            },
            (There, Absent, Absent, Absent) if declared != Holds::Reals || large == There => {
                DataType::Int64
            }
            (_, _, Absent, Absent) if large == Absent => DataType::Float64,
            (Absent, Absent, Absent, There) => DataType::Binary,
            _ => DataType::Utf8,
        }
    }
}

/// Builds one column.
#[derive(Debug)]
enum Builder {
    Integers(Int64Builder),
    Reals(Float64Builder),
    Texts(StringBuilder),
    Blobs(BinaryBuilder),
}

impl Builder {
    fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Int64 => Self::Integers(Int64Builder::new()),
            DataType::Float64 => Self::Reals(Float64Builder::new()),
            DataType::Binary => Self::Blobs(BinaryBuilder::new()),
            _ => Self::Texts(StringBuilder::new()),
        }
    }

    /// What does not fit was seen before the type was chosen, so that nothing becomes null here.
    fn put(&mut self, value: &Value) {
        match (self, value) {
            (Self::Integers(column), Value::Integer(number)) => column.append_value(*number),
            (Self::Integers(column), _) => column.append_null(),
            (Self::Reals(column), Value::Real(number)) => column.append_value(*number),
            #[expect(clippy::cast_precision_loss, reason = "larger ones were seen before")]
            (Self::Reals(column), Value::Integer(number)) => column.append_value(*number as f64),
            (Self::Reals(column), _) => column.append_null(),
            (Self::Texts(column), Value::Null) => column.append_null(),
            (Self::Texts(column), Value::Text(text)) => column.append_value(text),
            (Self::Texts(column), Value::Integer(number)) => {
                column.append_value(number.to_string());
            }
            (Self::Texts(column), Value::Real(number)) => {
                column.append_value(serde_json::Value::from(*number).to_string());
            }
            (Self::Texts(column), Value::Blob(bytes)) => {
                column.append_value(STANDARD.encode(bytes));
            }
            (Self::Blobs(column), Value::Blob(bytes)) => column.append_value(bytes),
            (Self::Blobs(column), _) => column.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Integers(column) => Arc::new(column.finish()),
            Self::Reals(column) => Arc::new(column.finish()),
            Self::Texts(column) => Arc::new(column.finish()),
            Self::Blobs(column) => Arc::new(column.finish()),
        }
    }
}

/// A stream in the making.
pub struct Batches {
    schema: SchemaRef,
    columns: Vec<Builder>,
    records: usize,
    bytes: usize,
    writer: StreamWriter<Vec<u8>>,
}

impl Batches {
    /// Begins a stream of records that look so.
    ///
    /// # Errors
    /// Those of arrow.
    pub fn begin(columns: &[Column], shape: &Shape) -> Result<Self, ArrowError> {
        let types: Vec<DataType> = shape.0.iter().map(Seen::data_type).collect();
        let builders = types.iter().map(Builder::of).collect();
        let field = |(column, of): (&Column, DataType)| Field::new(&column.name, of, true);
        let fields: Vec<Field> = columns.iter().zip(types).map(field).collect();
        let schema = Arc::new(Schema::new(fields));
        let writer = StreamWriter::try_new(Vec::new(), &schema)?;
        Ok(Self { schema, columns: builders, records: 0, bytes: 0, writer })
    }

    /// Adds a record.
    pub fn put(&mut self, record: &Row) {
        for (column, value) in self.columns.iter_mut().zip(record.values()) {
            column.put(value);
        }
        self.records += 1;
        self.bytes += record.bytes();
    }

    /// What the records count that were added since the last batch.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Ends the batch: the bytes that the stream has grown by.
    ///
    /// # Errors
    /// Those of arrow.
    pub fn cut(&mut self) -> Result<Vec<u8>, ArrowError> {
        let arrays = self.columns.iter_mut().map(Builder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.records));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)?;
        (self.records, self.bytes) = (0, 0);
        self.writer.write(&batch)?;
        Ok(std::mem::take(self.writer.get_mut()))
    }

    /// Ends the stream: its last bytes.
    ///
    /// # Errors
    /// Those of arrow.
    pub fn end(mut self) -> Result<Vec<u8>, ArrowError> {
        let mut last = if self.records == 0 { Vec::new() } else { self.cut()? };
        self.writer.finish()?;
        last.append(self.writer.get_mut());
        Ok(last)
    }
}

impl fmt::Debug for Batches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batches").field("schema", &self.schema).finish_non_exhaustive()
    }
}
