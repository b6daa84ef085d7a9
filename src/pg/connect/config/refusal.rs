//! How it is said that a connection string cannot be used.
//!
//! Invariant: no message repeats a value. A character of a password that was not escaped makes any part of the string hold a
//! piece of it.

use crate::error::Error;

/// The string is no URL that can be taken apart.
pub(super) fn invalid_url(why: &str) -> Error {
    Error::new("ERR_INVALID_URL", format!("invalid connection string: {why}"))
}

/// The string is not in the form that it begins like.
pub(super) fn invalid_string(why: &str) -> Error {
    Error::new("ERR_INVALID_CONNECTION_STRING", format!("invalid connection string: {why}"))
}

/// The parameter or variable of this name has a value that it cannot have.
pub(super) fn invalid(name: &str, expected: &str) -> Error {
    Error::new("ERR_INVALID_CONNECTION_STRING", format!("invalid {name}: expected {expected}"))
}

/// The parameter or variable of this name asks for what is not done.
pub(super) fn unmet(name: &str, why: &str) -> Error {
    Error::new("ERR_INVALID_CONNECTION_STRING", format!("{name} cannot be honoured: {why}"))
}
