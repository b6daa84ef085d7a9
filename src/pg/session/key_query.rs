//! What a session asks about a key, whether there is a pooler or not: the parameters, and how the answers are read.

use crate::core::Key;
use crate::pg::fault::Fault;
use crate::pg::session::call::{Answer, Parameter};
use crate::pg::session::holder::Holder;
use crate::pg::session::row::Row;
use std::future::Future;
use tokio_postgres::error::SqlState;
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

    /// With whether names are to be had as bytes.
    pub fn with<'a>(&'a self, as_bytes: &'a bool) -> [Parameter<'a>; 4] {
        let [high, low, space] = self.as_parameters();
        [high, low, space, (as_bytes, Type::BOOL)]
    }

    pub fn as_parameters(&self) -> [Parameter<'_>; 3] {
        [(&self.high, Type::INT4), (&self.low, Type::INT4), (&self.space, Type::INT2)]
    }
}

/// Asks for what has names that others wrote: as text, and as bytes where one of them is no text that there is in UTF-8.
pub(super) async fn ask_for_foreign_texts<F: Future<Output = Answer>>(ask: impl Fn(bool) -> F) -> Answer {
    let is_no_text = |code: &str| {
        [SqlState::CHARACTER_NOT_IN_REPERTOIRE, SqlState::UNTRANSLATABLE_CHARACTER]
            .iter()
            .any(|state| state.code() == code)
    };
    match ask(false).await {
        Err(Fault::Statement(error)) if is_no_text(error.code()) => ask(true).await,
        answer => answer,
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
