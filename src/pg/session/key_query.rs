//! What a session asks about a key, whether there is a pooler or not: the parameters, and how the answers are read.

use crate::core::Key;
use crate::pg::fault::Fault;
use crate::pg::session::call::Parameter;
use crate::pg::session::holder::Holder;
use crate::pg::session::row::Row;
use tokio_postgres::types::Type;

/// A key as the statements about one take it: both halves, and which key space they are of.
pub(super) struct KeyParameters {
    high: i32,
    low: i32,
    space: i16,
}

impl KeyParameters {
    pub fn of(key: Key) -> KeyParameters {
        let (high, low) = key.halves();
        KeyParameters { high, low, space: key.space() }
    }

    pub fn as_parameters(&self) -> [Parameter<'_>; 3] {
        [(&self.high, Type::INT4), (&self.low, Type::INT4), (&self.space, Type::INT2)]
    }
}

/// Whether there is something of the kind that was asked for. No row: there is not.
pub(super) fn read_yes_or_no(rows: &[Row]) -> Result<bool, Fault> {
    rows.first().map_or(Ok(false), |row| row.get(0)).map_err(Fault::Lost)
}

/// The rows of [`crate::pg::sql::HOLDERS`].
pub(super) fn read_holders(rows: &[Row]) -> Result<Vec<Holder>, Fault> {
    rows.iter().map(Holder::read).collect::<Result<Vec<Holder>, _>>().map_err(Fault::Lost)
}

/// The server's time in a row of [`crate::pg::sql::VERIFY`], in milliseconds since 1970, to the microsecond, which is what the
/// server counts.
pub(super) fn read_time(row: &Row) -> Result<f64, Fault> {
    let seconds: f64 = row.get(1).map_err(Fault::Lost)?;
    Ok((seconds * 1e6).round() / 1e3)
}
