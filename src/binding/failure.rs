//! Errors as data: JavaScript makes a fresh `Error` of each, with the caller's stack.

use crate::error::Error;
use napi_derive::napi;

/// What an `AdvisoryLockError` is made of.
#[napi(object)]
pub struct Failure {
    /// What to match on.
    pub code: String,
    /// What to read.
    pub message: String,
    /// The address that was tried.
    pub address: Option<String>,
    /// The port that was tried.
    pub port: Option<u16>,
    /// The server's severity.
    pub severity: Option<String>,
    /// The server's detail.
    pub detail: Option<String>,
    /// The server's hint.
    pub hint: Option<String>,
}

/// The error and its causes, outermost first.
pub fn failures(error: &Error) -> Vec<Failure> {
    std::iter::successors(Some(error), |error| error.cause()).map(Failure::from).collect()
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Failure {
        let server = error.server();
        Failure {
            code: error.code().to_owned(),
            message: error.message().to_owned(),
            address: error.peer().map(|peer| peer.address.clone()),
            port: error.peer().and_then(|peer| peer.port),
            severity: server.map(|server| server.severity.clone()),
            detail: server.and_then(|server| server.detail.clone()),
            hint: server.and_then(|server| server.hint.clone()),
        }
    }
}
