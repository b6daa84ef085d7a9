//! The forms that a connection string can have.

use super::parts::Parts;
use super::{escape, key_value, url};
use crate::error::Error;

/// Parts on which a string of some form decides even where it does not say them.
type Decided = &'static [&'static str];

const NOTHING: Decided = &[];
const BY_FOLDER: Decided = &["host", "database"];
const BY_SOCKET: Decided = &["user", "password", "host", "database"];
const BY_URL: Decided = &["user", "password", "host", "port", "database"];

/// Takes a connection string of any form apart; with the parts on which nobody else may decide any more.
///
/// # Errors
/// `ERR_INVALID_URL`, `ERR_INVALID_CONNECTION_STRING`.
pub(super) fn split(text: &str) -> Result<(Parts, Decided), Error> {
    let text = text.trim_matches(|character: char| character <= ' ');
    if text.is_empty() {
        return Ok((Parts::default(), NOTHING));
    }
    if text.starts_with('/') {
        return Ok((split_folder(text)?, BY_FOLDER));
    }
    if !url::is_one(text) && key_value::is_one(text) {
        return Ok((key_value::split(text)?, BY_URL));
    }
    Ok((url::split(text)?, if url::is_socket(text) { BY_SOCKET } else { BY_URL }))
}

/// `/directory database`: the form in which `pg` names a unix socket.
fn split_folder(text: &str) -> Result<Parts, Error> {
    if text.contains('@') {
        return Err(escape::missing_scheme());
    }
    let mut words = text.split(' ');
    let mut parts = Parts::default();
    for name in ["host", "database"] {
        if let Some(word) = words.next() {
            parts.set(name, word.to_owned());
        }
    }
    Ok(parts)
}
