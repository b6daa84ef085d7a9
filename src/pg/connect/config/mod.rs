//! From a connection string and the `PG*` variables to where, as whom and how to connect, as the npm package `pg` reads
//! them; besides that, libpq's key=value form and its lists of hosts.
//!
//! The string is taken apart here and handed on field by field: `tokio_postgres` reads strings otherwise. Nothing is
//! looked at but the string and the variables: files are read when a connection is made.
//!
//! Invariant: no error repeats a value of the string, of which a part of a password may have become any part by mistake.

mod authentication;
mod environment;
mod host;
mod key_value;
mod parts;
mod target;
#[cfg(test)]
mod tests;
mod tls_policy;
mod url;

#[allow(unused_imports)]
pub(in crate::pg) use authentication::{AuthMethod, ChannelBinding, RequireAuth};
pub(in crate::pg) use host::Host;
pub(in crate::pg) use target::{Server, Target};
pub(in crate::pg) use tls_policy::{Roots, TlsPolicy, Trust};

use crate::error::Error;
use environment::Environment;
use parts::Parts;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

const DEFAULT_APPLICATION_NAME: &str = "advisory-lock-native";
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time limits that `pg` hands on to the server, in milliseconds.
const SERVER_TIMEOUTS: [&str; 3] = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"];

/// Where, as whom and how to connect. Equal configs lead to the same server as the same user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConnectConfig {
    /// In the order in which they are tried; at least one.
    pub(in crate::pg) hosts: Vec<Host>,
    pub(in crate::pg) target: Target,
    pub(in crate::pg) user: String,
    pub(in crate::pg) password: Option<Password>,
    /// Where to look for a password if none is given.
    pub(in crate::pg) password_file: Option<PathBuf>,
    pub(in crate::pg) database: String,
    pub(in crate::pg) application_name: String,
    /// Settings for the server, in the form of its command line (`-c name=value`).
    pub(in crate::pg) options: Option<String>,
    /// `None`: plain text.
    pub(in crate::pg) tls: Option<TlsPolicy>,
    pub(in crate::pg) channel_binding: ChannelBinding,
    /// How the server may ask who the client is.
    pub(in crate::pg) require_auth: RequireAuth,
    /// For the whole way to a session that is ready, over all hosts.
    pub(in crate::pg) connect_timeout: Duration,
}

/// A password that cannot be printed by accident.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(in crate::pg) struct Password(pub(super) String);

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[hidden]")
    }
}

impl ConnectConfig {
    /// Reads a connection string; what it leaves out comes from `variables` (a variable's name to its value).
    ///
    /// # Errors
    /// `ERR_INVALID_URL`, `ERR_INVALID_CONNECTION_STRING`: it names the part at fault.
    pub fn parse(text: &str, variables: impl Fn(&str) -> Option<String>) -> Result<ConnectConfig, Error> {
        let parts = parts::split(text)?;
        let environment = Environment::new(&variables);
        let part = |name: &str, variable: &str| environment.unless(parts.get(name), variable);
        let user = match part("user", "PGUSER").or_else(|| environment.user()) {
            Some(user) => user,
            None => return Err(invalid("user", "one, as the system tells none")),
        };
        let hosts = host::read(
            part("host", "PGHOST").as_deref(),
            part("hostaddr", "PGHOSTADDR").as_deref(),
            part("port", "PGPORT").as_deref(),
        )?;
        let tls = tls_policy::read(&parts, &environment)?;
        let channel_binding =
            authentication::read_channel_binding(part("channel_binding", "PGCHANNELBINDING").as_deref())?;
        if channel_binding == ChannelBinding::Require && tls.is_none() {
            return Err(invalid("channel_binding", "TLS to be used where it is `require`"));
        }
        let password = part("password", "PGPASSWORD").map(Password);
        Ok(ConnectConfig {
            target: target::read(part("target_session_attrs", "PGTARGETSESSIONATTRS").as_deref(), hosts.len())?,
            hosts,
            password_file: if password.is_none() { environment.password_file(parts.get("passfile")) } else { None },
            password,
            database: part("database", "PGDATABASE").unwrap_or_else(|| user.clone()),
            user,
            application_name: part("application_name", "PGAPPNAME")
                .or_else(|| parts.get("fallback_application_name").map(str::to_owned))
                .unwrap_or_else(|| DEFAULT_APPLICATION_NAME.to_owned()),
            options: read_options(&parts, part("options", "PGOPTIONS"))?,
            tls,
            channel_binding,
            require_auth: authentication::read_require_auth(part("require_auth", "PGREQUIREAUTH").as_deref())?,
            connect_timeout: match part("connect_timeout", "PGCONNECT_TIMEOUT") {
                None => DEFAULT_CONNECT_TIMEOUT,
                Some(seconds) => parse_seconds(&seconds)?,
            },
        })
    }

    /// The same with another `application_name`.
    #[must_use]
    pub fn with_application_name(self, application_name: String) -> ConnectConfig {
        ConnectConfig { application_name, ..self }
    }

    /// The same with another limit for connecting.
    #[must_use]
    pub fn with_connect_timeout(self, connect_timeout: Duration) -> ConnectConfig {
        ConnectConfig { connect_timeout, ..self }
    }
}

fn invalid_url(what: &str) -> Error {
    Error::new("ERR_INVALID_URL", format!("invalid connection string: {what}"))
}

fn invalid(part: &str, expected: &str) -> Error {
    Error::new("ERR_INVALID_CONNECTION_STRING", format!("invalid {part}: expected {expected}"))
}

/// The settings that the server is started with: those of `options`, and the time limits that have parameters of their own,
/// which win as in `pg`.
fn read_options(parts: &Parts, options: Option<String>) -> Result<Option<String>, Error> {
    let mut all: Vec<String> = options.into_iter().collect();
    for name in SERVER_TIMEOUTS {
        let Some(value) = parts.get(name) else { continue };
        match value.parse::<u32>() {
            Ok(milliseconds) if i32::try_from(milliseconds).is_ok() => all.push(format!("-c {name}={milliseconds}")),
            _ => return Err(invalid(name, "a whole number of milliseconds")),
        }
    }
    Ok(if all.is_empty() { None } else { Some(all.join(" ")) })
}

fn parse_seconds(text: &str) -> Result<Duration, Error> {
    match text.parse::<u32>() {
        // As in libpq, 0 is no limit; a call has its own.
        Ok(0) => Ok(Duration::from_secs(u64::from(u32::MAX))),
        Ok(seconds) => Ok(Duration::from_secs(u64::from(seconds))),
        Err(_) => Err(invalid("connect_timeout", "a whole number of seconds")),
    }
}
