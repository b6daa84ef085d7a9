//! The server's side of a session.

/// A process of the server, and what a session has left there to know it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::pg) struct Backend {
    /// The process id.
    pub pid: i32,
    /// The mark of the session that it belongs to; empty: of none.
    pub mark: String,
}
