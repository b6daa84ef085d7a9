//! What a caller describes: a connection string, and the fields of a configuration object of `pg`'s beside it.

use super::parts::{self, Parts};
use super::password::PasswordSource;
use super::text;
use crate::error::Error;

/// A connection string, and what a configuration object says besides. Never printed.
#[derive(Clone, Default)]
pub struct Description {
    /// The string, which may be empty.
    pub text: String,
    /// Fields by the names of parameters. `ssl` is `true`, `false` or `no-verify`; unknown ones are ignored.
    pub fields: Vec<(String, String)>,
    /// The fields of `ssl`, where it is an object.
    pub tls: TlsFields,
    /// Whom to ask for the password.
    pub password_source: Option<PasswordSource>,
}

/// The fields of `ssl` that are no parameters.
#[derive(Clone, Default)]
pub struct TlsFields {
    /// Who is trusted, as PEM.
    pub ca: Option<String>,
    /// The client's certificate, as PEM.
    pub cert: Option<String>,
    /// The key that belongs to it, as PEM.
    pub key: Option<String>,
    /// What the server is called where its host is an address.
    pub servername: Option<String>,
}

impl From<&str> for Description {
    fn from(text: &str) -> Description {
        Description { text: text.to_owned(), ..Description::default() }
    }
}

/// A description with one value for each part.
pub(super) struct Merged {
    pub parts: Parts,
    pub tls: TlsFields,
    pub password_source: Option<PasswordSource>,
}

impl Description {
    /// Takes the string apart and adds what it leaves to the fields, as `pg` does: a string of some form has the last word on
    /// user, password, host, port and database, be it by silence, and one that speaks of TLS has it on all of that.
    ///
    /// # Errors
    /// `ERR_INVALID_URL`, `ERR_INVALID_CONNECTION_STRING`.
    pub(super) fn merge(self) -> Result<Merged, Error> {
        let Description { text, fields, tls, password_source } = self;
        let (mut parts, decided) = text::split(&text)?;
        let decides_on_tls = decides_on_tls(&parts);
        let is_left = |parts: &Parts, name: &str| {
            !(parts.has(name) || decided.contains(&name) || decides_on_tls && name == "ssl")
        };
        let password_source = password_source.filter(|_| is_left(&parts, "password"));
        for (name, value) in fields {
            if let Some(name) = parts::known_field(&name).filter(|name| is_left(&parts, name)) {
                parts.set(name, value);
            }
        }
        Ok(Merged { parts, tls: if decides_on_tls { TlsFields::default() } else { tls }, password_source })
    }
}

/// Whether the string says something of TLS that `pg` makes an `ssl` of its own from.
fn decides_on_tls(parts: &Parts) -> bool {
    parts.has("ssl")
        || ["sslmode", "sslrootcert", "sslcert", "sslkey", "requiressl"].iter().any(|name| parts.get(name).is_some())
        || parts.get("sslnegotiation") == Some("direct")
}
