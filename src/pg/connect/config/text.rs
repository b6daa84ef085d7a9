//! The forms that a connection string can have.

use super::parts::Parts;
use super::{escape, key_value, url};
use crate::error::Error;

/// Takes a connection string of any form apart.
///
/// # Errors
/// `ERR_INVALID_URL`, `ERR_INVALID_CONNECTION_STRING`.
pub(super) fn split(text: &str) -> Result<Parts, Error> {
    let text = text.trim_matches(|character: char| character <= ' ');
    if text.is_empty() {
        return Ok(Parts::default());
    }
    if text.starts_with('/') {
        return split_socket(text);
    }
    if !url::is_one(text) && key_value::is_one(text) {
        return key_value::split(text);
    }
    url::split(text)
}

/// `/directory database`: the form in which `pg` names a unix socket.
fn split_socket(text: &str) -> Result<Parts, Error> {
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
