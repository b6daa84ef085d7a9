//! Who runs the server at the other end of a unix socket (`requirepeer`).

use crate::error::Error;
use nix::unistd::{Uid, User};
use tokio::net::UnixStream;

/// Checks that the server runs as this user of the operating system.
///
/// # Errors
/// `ERR_WRONG_SERVER`: it does not, or nobody can tell.
pub(in crate::pg) fn check(stream: &UnixStream, required: &str) -> Result<(), Error> {
    let owner = stream.peer_cred().map(|credentials| User::from_uid(Uid::from_raw(credentials.uid())));
    match owner {
        Ok(Ok(Some(user))) if user.name == required => Ok(()),
        Ok(Ok(Some(user))) => Err(refused(&format!("by {}", user.name))),
        Ok(Ok(None)) => Err(refused("by a user without a name")),
        Ok(Err(_)) | Err(_) => Err(refused("nobody can tell by whom")),
    }
}

fn refused(runner: &str) -> Error {
    Error::new("ERR_WRONG_SERVER", format!("the server is run {runner}, and requirepeer asks for another user"))
}
