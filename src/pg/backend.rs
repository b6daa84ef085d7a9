//! The server's side of a session.

use crate::error::Error;

/// A process of the server, and what a session has left there to know it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::pg) struct Backend {
    /// The process id.
    pub pid: i32,
    /// The fingerprint of the session that it belongs to; empty: of none.
    pub fingerprint: String,
}

/// A fingerprint that no other session has, of whichever process on whichever machine.
pub(in crate::pg) fn new_fingerprint() -> Result<String, Error> {
    let mut chance = [0; 8];
    getrandom::fill(&mut chance).map_err(|error| Error::system(&error.into(), None))?;
    Ok(format!("{:016x}", u64::from_ne_bytes(chance)))
}
