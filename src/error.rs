//! The one error of the crate: a code to match on, a sentence to read, and what caused it.
//!
//! Invariant: no message holds a password or a whole connection string, so every error may be logged.

mod errno;

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::sync::Arc;

/// Why a call failed. Cheap to clone: one lost session is reported to everybody who held a lock on it.
#[derive(Clone, Debug)]
pub struct Error(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    code: Cow<'static, str>,
    message: String,
    peer: Option<Peer>,
    server: Option<ServerDetails>,
    cause: Option<Error>,
    foreign: Option<Foreign>,
}

/// An error of the caller's own code, which is kept elsewhere by a number until nobody can be told it any more.
struct Foreign {
    number: u64,
    forget: Box<dyn Fn(u64) + Send + Sync>,
}

impl Drop for Foreign {
    fn drop(&mut self) {
        (self.forget)(self.number);
    }
}

impl fmt::Debug for Foreign {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.number)
    }
}

/// What was tried when a connection could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Address, host name, or path of the socket.
    pub address: String,
    /// The TCP port; `None` for a socket in the file system.
    pub port: Option<u16>,
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(formatter, "{}:{port}", self.address),
            None => formatter.write_str(&self.address),
        }
    }
}

/// What the server said besides code and message.
#[derive(Clone, Debug, Default)]
pub struct ServerDetails {
    /// `ERROR`, `FATAL` or `PANIC`.
    pub severity: String,
    /// More about the case at hand.
    pub detail: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Error {
    /// An error of this package or of the system.
    #[must_use]
    pub fn new(code: &'static str, message: impl Into<String>) -> Error {
        Error::build(Cow::Borrowed(code), message.into(), None, None, None)
    }

    /// The session of a hold is gone (`ERR_LOCK_LOST`).
    #[must_use]
    pub fn lock_lost(cause: &Error) -> Error {
        let message = format!("the lock is lost: {}", cause.message());
        Error::build(Cow::Borrowed("ERR_LOCK_LOST"), message, None, None, Some(cause.clone()))
    }

    /// The function that gives the password has failed, by an error that the caller is told in the place of this one. `forget` is
    /// called with its number once nobody can be told any more.
    #[must_use]
    pub fn foreign(number: u64, forget: impl Fn(u64) + Send + Sync + 'static) -> Error {
        Error(Arc::new(Inner {
            code: Cow::Borrowed("ERR_PASSWORD_FUNCTION"),
            message: "the function that gives the password has failed".to_owned(),
            peer: None,
            server: None,
            cause: None,
            foreign: Some(Foreign { number, forget: Box::new(forget) }),
        }))
    }

    /// The number of an error of the caller's own code, if it is one.
    #[must_use]
    pub fn foreign_number(&self) -> Option<u64> {
        self.0.foreign.as_ref().map(|foreign| foreign.number)
    }

    /// The owner was closed (`ERR_CLIENT_CLOSED`).
    #[must_use]
    pub fn client_closed() -> Error {
        Error::new("ERR_CLIENT_CLOSED", "the client is closed")
    }

    /// A session lock would exclude nobody (`ERR_TRANSACTION_POOLING`).
    #[must_use]
    pub fn transaction_pooling() -> Error {
        Error::new(
            "ERR_TRANSACTION_POOLING",
            "the server is behind a pooler that shares sessions between clients: a lock held there excludes nobody; \
             set the option transactionPooling (or pgbouncer=true in the connection string; where it is set, it is \
             directConnectionString that leads to a pooler), connect to the server directly (Neon: the host without -pooler; Supabase: port 5432), or use session pooling",
        )
    }

    /// A pooler leaves not even a transaction to one server session (`ERR_TRANSACTION_POOLING`).
    #[must_use]
    pub fn statement_pooling() -> Error {
        Error::new(
            "ERR_TRANSACTION_POOLING",
            "the server is behind a pooler that may give each statement to another session: no lock can be held there; \
             connect to the server directly, or use transaction pooling or session pooling",
        )
    }

    /// A pooler has lent no session of the server (`53300`, as PostgreSQL calls it that there are too many connections).
    #[must_use]
    pub fn no_server_session(cause: &Error) -> Error {
        let message = format!("the pooler has no server session to lend: {}", cause.message());
        Error::build(Cow::Borrowed("53300"), message, cause.peer().cloned(), None, Some(cause.clone()))
    }

    /// A pooler cannot reach the server, or is refused by it (`08001`).
    #[must_use]
    pub fn no_server_behind_pooler(cause: &Error) -> Error {
        let message = format!("the pooler cannot connect to the server: {}", cause.message());
        Error::build(Cow::Borrowed("08001"), message, cause.peer().cloned(), None, Some(cause.clone()))
    }

    /// All sessions that may hold a lock through a pooler do (`53300`).
    #[must_use]
    pub fn no_pinned_connection(most: usize) -> Error {
        let message = format!("all {most} connections hold locks that may do so (maxPinnedConnections)");
        Error::build(Cow::Borrowed("53300"), message, None, None, None)
    }

    /// A hold that is a transaction through a pooler has no token (`ERR_FENCING_UNAVAILABLE`).
    #[must_use]
    pub fn no_fence_through_pooler() -> Error {
        Error::new(
            "ERR_FENCING_UNAVAILABLE",
            "with transactionPooling there are no tokens and fences: take the lock by a direct connection; \
             its fence may be sent through the pooler",
        )
    }

    /// A pooler leads to another database than the direct connection (`ERR_OTHER_DATABASE`).
    #[must_use]
    pub fn other_database() -> Error {
        Error::new(
            "ERR_OTHER_DATABASE",
            "directConnectionString leads to another database than the connection string: what is locked by the one is not seen by the other",
        )
    }

    /// Whether it is [`Error::other_database`].
    #[must_use]
    pub fn is_other_database(&self) -> bool {
        self.code() == "ERR_OTHER_DATABASE"
    }

    /// Whether there was no room for one more session, which may be otherwise a moment later.
    #[must_use]
    pub fn is_lack_of_sessions(&self) -> bool {
        self.code() == "53300"
    }

    /// Whether somebody has cancelled the statement.
    #[must_use]
    pub fn is_cancel(&self) -> bool {
        self.code() == "57014"
    }

    /// Whether it is [`Error::client_closed`].
    #[must_use]
    pub fn is_client_closed(&self) -> bool {
        self.code() == "ERR_CLIENT_CLOSED"
    }

    /// Whether it is that nobody has answered in time.
    #[must_use]
    pub fn is_silence(&self) -> bool {
        self.code() == "ETIMEDOUT" || self.0.cause.as_ref().is_some_and(Error::is_silence)
    }

    /// Whether it is [`Error::transaction_pooling`].
    #[must_use]
    pub fn is_transaction_pooling(&self) -> bool {
        self.code() == "ERR_TRANSACTION_POOLING"
    }

    /// Owners wait for each other, as PostgreSQL reports it (`40P01`).
    #[must_use]
    pub fn deadlock() -> Error {
        Error::new(
            "40P01",
            "deadlock detected: this wait and others wait for each other, each for a lock that the next holds",
        )
    }

    /// What the server says is not PostgreSQL's protocol (`08P01`).
    #[must_use]
    pub fn protocol(what: &str) -> Error {
        Error::new("08P01", format!("the server answered outside of the protocol: {what}"))
    }

    /// What the server said.
    #[must_use]
    pub fn from_server(code: String, message: String, details: ServerDetails) -> Error {
        Error::build(Cow::Owned(code), message, None, Some(details), None)
    }

    /// An error of the operating system, with the name that Node gives it; or one of this crate's that has come in its place,
    /// as failures of TLS do.
    #[must_use]
    pub fn system(error: &io::Error, peer: Option<Peer>) -> Error {
        if let Some(own) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            return own.clone();
        }
        let code = errno::name(error);
        let place = peer.as_ref().map_or(String::new(), |peer| format!(" {peer}"));
        Error::build(Cow::Borrowed(code), format!("{code}{place}: {error}"), peer, None, None)
    }

    /// The same error, with the peer that it came from where it names none yet.
    #[must_use]
    pub fn at(self, peer: &Peer) -> Error {
        if self.0.peer.is_some() || self.0.server.is_some() || self.0.foreign.is_some() {
            return self;
        }
        let Inner { code, message, server, cause, .. } = &*self.0;
        Error::build(code.clone(), message.clone(), Some(peer.clone()), server.clone(), cause.clone())
    }

    /// The same error, which says what it is about.
    #[must_use]
    pub fn about(self, what: &str) -> Error {
        let Inner { code, message, peer, server, cause, .. } = &*self.0;
        Error::build(code.clone(), format!("{what}: {message}"), peer.clone(), server.clone(), cause.clone())
    }

    /// Whether another host may still do: this one cannot be reached, does not take sessions now, or is not of the kind that
    /// is looked for. Whoever has answered otherwise has answered for all.
    #[must_use]
    pub fn leaves_other_hosts(&self) -> bool {
        let code = self.code();
        // Of the system, and not of TLS, which was spoken with somebody.
        let is_system = code.starts_with('E') && !code.starts_with("ERR_") && code != "EPROTO";
        // Shutting down, crashed, starting up; read-only.
        is_system || ["57P01", "57P02", "57P03", "25006"].contains(&code)
    }

    /// No host would do, for these reasons in their order. The code is that of the last.
    ///
    /// # Panics
    /// Without a reason.
    #[must_use]
    pub fn of_all_hosts(reasons: &[Error]) -> Error {
        let last = reasons.last().expect("BUG: no host was tried");
        if reasons.len() == 1 {
            return last.clone();
        }
        let described: Vec<String> = reasons
            .iter()
            .map(|reason| match reason.peer() {
                Some(peer) => format!("{peer}: {}", reason.message()),
                None => reason.message().to_owned(),
            })
            .collect();
        let message = format!("none of the hosts will do: {}", described.join("; "));
        let Inner { code, peer, server, .. } = &*last.0;
        Error::build(code.clone(), message, peer.clone(), server.clone(), Some(last.clone()))
    }

    fn build(
        code: Cow<'static, str>,
        message: String,
        peer: Option<Peer>,
        server: Option<ServerDetails>,
        cause: Option<Error>,
    ) -> Error {
        Error(Arc::new(Inner { code, message, peer, server, cause, foreign: None }))
    }

    /// What to match on: `ERR_…`, a SQLSTATE, or the system's name.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// What to read.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Where the connection was tried.
    #[must_use]
    pub fn peer(&self) -> Option<&Peer> {
        self.0.peer.as_ref()
    }

    /// What the server added.
    #[must_use]
    pub fn server(&self) -> Option<&ServerDetails> {
        self.0.server.as_ref()
    }

    /// What led to this error.
    #[must_use]
    pub fn cause(&self) -> Option<&Error> {
        self.0.cause.as_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.message())
    }
}

impl std::error::Error for Error {}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Error {
        if let Some(said) = error.as_db_error() {
            let details = ServerDetails {
                severity: said.severity().to_owned(),
                detail: said.detail().map(str::to_owned),
                hint: said.hint().map(str::to_owned),
            };
            return Error::from_server(said.code().code().to_owned(), said.message().to_owned(), details);
        }
        if error.is_closed() {
            return Error::new("ECONNRESET", "the server closed the connection");
        }
        let mut source = std::error::Error::source(&error);
        while let Some(inner) = source {
            if let Some(io) = inner.downcast_ref::<io::Error>() {
                return Error::system(io, None);
            }
            source = inner.source();
        }
        // What is left: an answer outside the protocol, or a way to authenticate that cannot be gone.
        let detail = std::error::Error::source(&error).map_or(String::new(), |source| format!(": {source}"));
        Error::new("08P01", format!("{error}{detail}"))
    }
}
