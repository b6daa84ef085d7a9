//! The parts that a connection string is taken apart into, whatever its form.

use super::{invalid, key_value, url};
use crate::error::Error;
use std::collections::HashMap;

/// Every part that counts, by `pg`'s name or libpq's. Others are ignored, as `pg` does.
const NAMES: [&str; 24] = [
    "user",
    "password",
    "host",
    "hostaddr",
    "port",
    "database",
    "application_name",
    "fallback_application_name",
    "options",
    "connect_timeout",
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "ssl",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslnegotiation",
    "uselibpqcompat",
    "channel_binding",
    "require_auth",
    "target_session_attrs",
    "passfile",
];

/// What a connection string says.
#[derive(Default)]
pub(super) struct Parts(HashMap<&'static str, String>);

impl Parts {
    /// The name under which a part counts, if it does.
    pub fn known(name: &str) -> Option<&'static str> {
        match name {
            "dbname" => Some("database"),
            _ => NAMES.into_iter().find(|known| *known == name),
        }
    }

    /// A part; an empty one says nothing.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether the part is there, be it empty.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets a part, in place of what it was.
    ///
    /// # Errors
    /// `ERR_INVALID_CONNECTION_STRING`: the server could not be told of a text with a NUL in it.
    pub fn set(&mut self, name: &'static str, value: String) -> Result<(), Error> {
        if value.contains('\0') {
            return Err(invalid(name, "a text without a NUL"));
        }
        self.0.insert(name, value);
        Ok(())
    }

    /// Sets a part that says nothing yet.
    ///
    /// # Errors
    /// As [`Parts::set`].
    pub fn fill(&mut self, name: &'static str, value: String) -> Result<(), Error> {
        if self.get(name).is_none() && !value.is_empty() {
            self.set(name, value)?;
        }
        Ok(())
    }
}

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
    let mut words = text.split(' ');
    let mut parts = Parts::default();
    for name in ["host", "database"] {
        if let Some(word) = words.next() {
            parts.set(name, word.to_owned())?;
        }
    }
    Ok(parts)
}
