//! Who uses a key, as the server's catalogues tell it.

use crate::core::Mode;
use crate::error::Error;
use crate::pg::session::row::Row;

/// A session that holds a key or waits for it in the server's queue, or a prepared transaction that holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Holder {
    /// The process id of its backend. `None`: it is a prepared transaction, which has none.
    pub pid: Option<i32>,
    /// Empty where the session gave none; `None` where the asking role may not see it.
    pub application_name: Option<String>,
    /// `None` over a unix socket, or where the asking role may not see it.
    pub client_address: Option<String>,
    /// How it holds the key, or wants to.
    pub mode: Mode,
    /// Whether it holds the key; it waits otherwise.
    pub granted: bool,
    /// When it queued, in milliseconds since 1970. `None` for who holds the key, and before PostgreSQL 14.
    pub waiting_since: Option<f64>,
    /// When the session began, in the same way. `None` where the asking role may not see it.
    pub connected_since: Option<f64>,
    /// The name of the prepared transaction, if it is one that is still there.
    pub prepared_transaction: Option<String>,
}

impl Holder {
    /// Reads a row of [`crate::pg::sql::HOLDERS`].
    pub(in crate::pg) fn read(row: &Row) -> Result<Holder, Error> {
        Ok(Holder {
            pid: row.try_get(0)?,
            application_name: row.try_get(1)?,
            client_address: row.try_get(2)?,
            mode: if row.get(3)? { Mode::Exclusive } else { Mode::Shared },
            granted: row.get(4)?,
            waiting_since: row.try_get(5)?,
            connected_since: row.try_get(6)?,
            prepared_transaction: row.try_get_foreign_text(7)?,
        })
    }
}
