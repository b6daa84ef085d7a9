//! Who uses which advisory lock of the database, as the server's catalogues tell it: sessions of this package and of anybody else.

use crate::core::{Key, Mode};
use crate::error::Error;
use crate::pg::fault::Fault;
use crate::pg::session::key_query::ask_for_foreign_texts;
use crate::pg::session::pooled::PooledSession;
use crate::pg::session::row::Row;
use crate::pg::session::{decode, turn, Session};
use crate::pg::sql;
use std::collections::HashSet;
use tokio_postgres::types::Type;

/// A session that holds a key or waits for it, or a prepared transaction that holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct LockUse {
    /// The process id of its backend. `None`: it is a prepared transaction, which has none.
    pub pid: Option<i32>,
    /// What it holds or waits for.
    pub key: Key,
    /// How it holds the key, or wants to.
    pub mode: Mode,
    /// Whether it holds the key; it waits otherwise.
    pub granted: bool,
    /// When it queued, in milliseconds since 1970. `None` for who holds the key, and before PostgreSQL 14.
    pub waiting_since: Option<f64>,
    /// Empty where the session gave none; `None` where the session is gone by now.
    pub application_name: Option<String>,
    /// `None` over a unix socket, or where the asking role may not see it.
    pub client_address: Option<String>,
    /// When the session began, as `waiting_since`. `None` where the asking role may not see it.
    pub connected_since: Option<f64>,
    /// The comment in which it says what it holds, if it does; of each session once.
    pub comment: Option<String>,
    /// Whether the asking role may see what the session does.
    pub is_visible: bool,
    /// The name of the prepared transaction, if it is one that is still there.
    pub prepared_transaction: Option<String>,
    /// The server's time at which this was so, as `waiting_since`.
    pub time: f64,
}

impl Session {
    /// Who holds which key of the database or waits for it. The keys by which this package keeps its own order (places in a queue,
    /// links between waits) are left out.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn overview(&self) -> Result<Vec<LockUse>, Fault> {
        let ask = |as_bytes| async move { self.look(sql::OVERVIEW, &[(&as_bytes, Type::BOOL)]).await };
        read(&ask_for_foreign_texts(ask).await?)
    }
}

impl PooledSession {
    /// The same through a pooler that lends server sessions for one transaction.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn overview(&self) -> Result<Vec<LockUse>, Fault> {
        let ask = |as_bytes| async move { self.ask_between(sql::OVERVIEW, &[(&as_bytes, Type::BOOL)]).await };
        read(&ask_for_foreign_texts(ask).await?)
    }
}

fn read(rows: &[Row]) -> Result<Vec<LockUse>, Fault> {
    let mut uses = Vec::with_capacity(rows.len());
    for row in rows {
        // A link, or the time that belongs to it.
        if !decode::<bool>(row.get(11))? {
            uses.extend(decode(LockUse::read(row))?);
        }
    }
    let places: HashSet<Key> = uses.iter().flat_map(|one| turn::places_of(one.key)).collect();
    uses.retain(|one| !places.contains(&one.key));
    Ok(uses)
}

impl LockUse {
    /// Reads a row of [`crate::pg::sql::OVERVIEW`]; nothing where it is no key's.
    fn read(row: &Row) -> Result<Option<LockUse>, Error> {
        let Some(key) = Key::from_halves(row.get(1)?, row.get(2)?, row.get(3)?) else { return Ok(None) };
        Ok(Some(LockUse {
            pid: row.try_get(0)?,
            key,
            mode: if row.get(4)? { Mode::Exclusive } else { Mode::Shared },
            granted: row.get(5)?,
            waiting_since: row.try_get(6)?,
            application_name: row.try_get(7)?,
            client_address: row.try_get(8)?,
            connected_since: row.try_get(9)?,
            comment: row.try_get_foreign_text(10)?,
            is_visible: row.get(12)?,
            time: row.get(13)?,
            prepared_transaction: row.try_get_foreign_text(14)?,
        }))
    }
}
