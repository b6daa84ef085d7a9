//! A row of an answer, read by the types that the statement is known to have.

use crate::error::Error;
use bytes::Bytes;
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::DataRowBody;
use std::ops::Range;
use tokio_postgres::types::{FromSql, Type};

/// A row of an answer.
#[derive(Debug)]
pub(in crate::pg) struct Row {
    bytes: Bytes,
    values: Vec<Option<Range<usize>>>,
}

/// What a column can be read as.
pub(in crate::pg) trait Column: for<'a> FromSql<'a> {
    /// The one type of the server that it is read from.
    const TYPE: Type;
}

macro_rules! columns {
    ($($read:ty: $TYPE:ident),*) => {
        $(impl Column for $read {
            const TYPE: Type = Type::$TYPE;
        })*
    };
}

columns!(bool: BOOL, i16: INT2, i32: INT4, u32: OID, i64: INT8, f64: FLOAT8, String: TEXT, Vec<u8>: BYTEA, Vec<bool>: BOOL_ARRAY, Vec<i64>: INT8_ARRAY, Vec<String>: TEXT_ARRAY);

impl Row {
    /// Takes a message apart.
    pub fn of(body: &DataRowBody) -> std::io::Result<Row> {
        let values = body.ranges().collect()?;
        Ok(Row { bytes: body.buffer_bytes().clone(), values })
    }

    /// How much it takes.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// What is at this place, counted from 0; `None`: null.
    ///
    /// # Errors
    /// `08P01`: nothing is there, or something else.
    pub fn try_get<T: Column>(&self, place: usize) -> Result<Option<T>, Error> {
        let value =
            self.values.get(place).ok_or_else(|| Error::protocol("a row of fewer columns than were asked for"))?;
        let Some(range) = value.clone() else { return Ok(None) };
        match T::from_sql(&T::TYPE, &self.bytes[range]) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(Error::protocol(&format!("a value that is no {}: {error}", T::TYPE))),
        }
    }

    /// A text that others wrote, of which the server gives the bytes: those that are no UTF-8 are replaced.
    ///
    /// # Errors
    /// `08P01`: nothing is there, or something else.
    pub fn try_get_foreign_text(&self, place: usize) -> Result<Option<String>, Error> {
        let bytes: Option<Vec<u8>> = self.try_get(place)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// What is at this place, where it cannot be null.
    ///
    /// # Errors
    /// `08P01`: nothing is there, or something else.
    pub fn get<T: Column>(&self, place: usize) -> Result<T, Error> {
        self.try_get(place)?.ok_or_else(|| Error::protocol("null where a value was asked for"))
    }
}
