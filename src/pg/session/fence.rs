//! What a fenced hold has of its own on its session: a key, and a token that grows.

use crate::core::{Key, Mode, Modes, Step};
use crate::error::Error;
use crate::pg::fault::Fault;
use crate::pg::session::call::Statement;
use crate::pg::session::{batch, decode, Session};
use crate::pg::sql;
use tokio_postgres::types::Type;

/// What a session has taken for a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fenced {
    /// The number of a single key, which the session has locked exclusively, and nobody had before.
    pub own_number: i64,
    /// Greater than that of any hold of this database before.
    pub token: i64,
}

impl Fenced {
    /// The key that the session has locked.
    #[must_use]
    pub const fn own_key(self) -> Key {
        Key::Single(self.own_number)
    }
}

impl Session {
    /// Locks a key that nobody else knows, to the end of the session, by which others can show that they look at the same database.
    ///
    /// # Errors
    /// [`Fault`].
    ///
    /// # Cancel safety
    /// None: the key may be locked.
    pub async fn lock_random_key(&self) -> Result<Key, Fault> {
        let key = Key::Single(random_number().map_err(Fault::Statement)?);
        let steps = [Step::Try { key, mode: Mode::Exclusive }];
        match batch::read(&steps, self.ask_for(&steps).await)?[..] {
            [true] => Ok(key),
            _ => Err(Fault::Statement(Error::new("55P03", "somebody has locked a key of chance"))),
        }
    }

    /// Takes a key by which others can tell a hold of this session from all others, and a token.
    ///
    /// # Errors
    /// [`Fault::Statement`]: nothing is taken. [`Fault::Lost`].
    ///
    /// # Cancel safety
    /// None: the key may be taken.
    pub async fn fence(&self) -> Result<Fenced, Fault> {
        let own_number = random_number().map_err(Fault::Statement)?;
        let own_key = Key::Single(own_number);
        self.trace(|| format!("fence by {own_key}"));
        let parameters = [(&own_number as _, Type::INT8), (&self.backend.fingerprint as _, Type::TEXT)];
        let asked = self.wire.ask(Statement::once(sql::FENCE_HOLD), &parameters, self.patience.answer).await;
        let rows = match asked {
            Ok(rows) => rows,
            Err(Fault::Statement(error)) => {
                // The lock outlives the statement.
                let release = Step::Release { key: own_key, held: Modes::only(Mode::Exclusive) };
                self.salvage(&[vec![release]]).await?;
                return Err(Fault::Statement(error));
            }
            Err(lost) => return Err(lost),
        };
        self.verify_backend(rows.first())?;
        let token = decode(rows[0].get(2))?;
        if decode(rows[0].get(1))? {
            Ok(Fenced { own_number, token })
        } else {
            Err(Fault::Statement(Error::new("55P03", "somebody has locked the key that a fence was to have to itself")))
        }
    }
}

fn random_number() -> Result<i64, Error> {
    let mut chance = [0; 8];
    getrandom::fill(&mut chance).map_err(|error| Error::system(&error.into(), None))?;
    Ok(i64::from_ne_bytes(chance))
}
