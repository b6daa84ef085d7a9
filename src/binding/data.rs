//! Answers that are more than a number, as data: JavaScript makes a fresh `Error` of each failure.

use super::numbers::exact;
use crate::core::Mode;
use crate::error::Error;
use crate::pg::{Fenced, Holder};
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
    /// The number of an error that JavaScript has, and that is told in the place of this one.
    pub foreign: Option<f64>,
}

/// A session that holds a key or waits for it, or a prepared transaction that holds it.
#[napi(object)]
pub struct HolderData {
    /// The process id of its backend. `None`: it is a prepared transaction, which has none.
    pub pid: Option<i32>,
    /// The session's `application_name`.
    pub application_name: Option<String>,
    /// Where the session comes from.
    pub client_address: Option<String>,
    /// Shared rather than exclusive.
    pub shared: bool,
    /// Whether it holds the key.
    pub granted: bool,
    /// Milliseconds since 1970.
    pub waiting_since: Option<f64>,
    /// The same of the session's begin.
    pub connected_since: Option<f64>,
    /// The name of the prepared transaction.
    pub prepared_transaction: Option<String>,
}

/// What a fenced hold has of its own.
#[napi(object)]
pub struct FencedData {
    /// The number of its own key, in decimal.
    pub own_number: String,
    /// Its token, in decimal.
    pub token: String,
    /// Whether another hold of its owner has waited for those before it.
    pub is_covered: bool,
}

impl FencedData {
    pub(super) fn of(Fenced { own_number, token }: Fenced, is_covered: bool) -> FencedData {
        FencedData { own_number: own_number.to_string(), token: token.to_string(), is_covered }
    }
}

impl From<Holder> for HolderData {
    fn from(holder: Holder) -> HolderData {
        HolderData {
            pid: holder.pid,
            application_name: holder.application_name,
            client_address: holder.client_address,
            shared: holder.mode == Mode::Shared,
            granted: holder.granted,
            waiting_since: holder.waiting_since,
            connected_since: holder.connected_since,
            prepared_transaction: holder.prepared_transaction,
        }
    }
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
            foreign: error.foreign_number().map(exact),
        }
    }
}
