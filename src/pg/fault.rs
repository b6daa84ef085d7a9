//! How work on a session fails.

use crate::error::Error;
use tokio_postgres::error::SqlState;

/// How work on a session fails.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This statement failed; the session lives.
    Statement(Error),
    /// The session is gone, with all its locks.
    Lost(Error),
}

impl Fault {
    /// What has come of something, unless it has ended the session.
    ///
    /// # Errors
    /// Why the session is lost.
    pub fn unless_lost<T>(result: Result<T, Fault>) -> Result<Result<T, Error>, Error> {
        match result {
            Ok(answer) => Ok(Ok(answer)),
            Err(Fault::Statement(error)) => Ok(Err(error)),
            Err(Fault::Lost(cause)) => Err(cause),
        }
    }

    /// What the server says of a statement.
    #[must_use]
    pub fn of_statement(error: Error) -> Fault {
        // A session whose statements are unknown, or known to somebody else, has not got the backend any more that it began with.
        let foreign = [SqlState::INVALID_SQL_STATEMENT_NAME, SqlState::DUPLICATE_PSTATEMENT];
        if foreign.iter().any(|state| state.code() == error.code()) {
            return Fault::Lost(Error::transaction_pooling());
        }
        match error.server() {
            Some(server) if server.severity == "ERROR" => Fault::Statement(error),
            _ => Fault::Lost(error),
        }
    }

    /// An answer that is outside of the protocol, or of another shape than was asked for: it comes from no PostgreSQL, and
    /// nothing that the server says can be trusted.
    #[must_use]
    pub fn of_protocol(what: &str) -> Fault {
        Fault::Lost(Error::protocol(what))
    }

    /// The error alone.
    #[must_use]
    pub fn into_error(self) -> Error {
        let (Fault::Statement(error) | Fault::Lost(error)) = self;
        error
    }

    /// The same, where the session cannot go on after it.
    #[must_use]
    pub fn into_loss(self) -> Fault {
        Fault::Lost(self.into_error())
    }

    /// Whether the role lacks a right that the statement needs. Then nothing of it is done.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self, Fault::Statement(error) if error.code() == SqlState::INSUFFICIENT_PRIVILEGE.code())
    }

    /// Whether somebody has cancelled the statement.
    #[must_use]
    pub fn is_cancel(&self) -> bool {
        matches!(self, Fault::Statement(error) if error.is_cancel())
    }
}
