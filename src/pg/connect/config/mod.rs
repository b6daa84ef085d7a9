//! From a connection string, a configuration object and the `PG*` variables to where, as whom and how to connect, as the npm
//! package `pg` reads them; besides that, libpq's key=value form and its lists of hosts.
//!
//! The string is taken apart here and handed on field by field: `tokio_postgres` reads strings otherwise. Nothing is
//! looked at but the string and the variables: files are read when a connection is made.
//!
//! Invariant: no error repeats a value of the string, of which a part of a password may have become any part by mistake.

mod authentication;
mod description;
mod environment;
mod escape;
mod host;
mod key_value;
mod keywords;
mod parameters;
mod parts;
mod password;
mod pem;
mod refusal;
mod safeguards;
mod target;
#[cfg(test)]
mod tests;
mod text;
mod tls_policy;
mod trust;
mod url;

pub(in crate::pg) use authentication::{AuthMethod, ChannelBinding, RequireAuth};
pub use description::{Description, TlsFields};
pub(in crate::pg) use host::Host;
pub use password::{Password, PasswordAnswer, PasswordQuestion, PasswordSource};
pub(in crate::pg) use pem::Pem;
pub(in crate::pg) use target::{Server, Target};
pub(in crate::pg) use tls_policy::{Roots, TlsPolicy, Versions};
pub(in crate::pg) use trust::Trust;

use crate::error::Error;
use environment::Environment;
use parameters::Parameters;
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
    /// Whom to ask for a password, whatever else there is.
    pub(in crate::pg) password_source: Option<PasswordSource>,
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
    /// The operating system's user who has to run the server; with unix sockets alone.
    pub(in crate::pg) required_peer: Option<String>,
    /// How many iterations of SCRAM the server may ask for; 0: any number.
    pub(in crate::pg) scram_max_iterations: u32,
    /// Whether a transaction pooler is said to be there.
    pub(in crate::pg) is_pooled: bool,
    /// For the whole way to a session that is ready, over all hosts.
    pub(in crate::pg) connect_timeout: Duration,
}

impl ConnectConfig {
    /// Reads a description, which may be a string alone; what it leaves out comes from `variables` (a variable's name to its
    /// value).
    ///
    /// # Errors
    /// `ERR_INVALID_URL`, `ERR_INVALID_CONNECTION_STRING`: it names the part at fault.
    pub fn parse(
        description: impl Into<Description>,
        variables: impl Fn(&str) -> Option<String>,
    ) -> Result<ConnectConfig, Error> {
        let parameters = Parameters::new(description.into().merge()?, Environment::new(&variables));
        safeguards::refuse_unsupported(&parameters)?;
        let user = match parameters.text("user")?.or_else(|| parameters.environment.user()) {
            Some(user) => user,
            None => return Err(refusal::invalid("user", "one, as the system tells none")),
        };
        let hosts = host::read(&parameters)?;
        let tls = tls_policy::read(&parameters, &hosts)?;
        let password_source = parameters.password_source.clone();
        let password = if password_source.is_none() { parameters.text("password")?.map(Password) } else { None };
        Ok(ConnectConfig {
            target: target::read(&parameters, hosts.len())?,
            required_peer: safeguards::read_required_peer(&parameters, &hosts)?,
            hosts,
            password_file: match (&password, &password_source) {
                (None, None) => read_password_file(&parameters)?,
                _ => None,
            },
            password_source,
            password,
            database: parameters.text("database")?.unwrap_or_else(|| user.clone()),
            user,
            application_name: match parameters.get("application_name")? {
                Some(name) => name.text,
                None => {
                    parameters.text("fallback_application_name")?.unwrap_or_else(|| DEFAULT_APPLICATION_NAME.to_owned())
                }
            },
            options: read_options(&parameters)?,
            channel_binding: authentication::read_channel_binding(&parameters, tls.is_some())?,
            require_auth: authentication::read_require_auth(&parameters)?,
            scram_max_iterations: authentication::read_scram_max_iterations(&parameters)?,
            tls,
            is_pooled: read_pgbouncer(&parameters)?,
            connect_timeout: read_connect_timeout(&parameters)?,
        })
    }

    /// The same with another `application_name`.
    #[must_use]
    pub fn with_application_name(self, application_name: String) -> ConnectConfig {
        ConnectConfig { application_name, ..self }
    }

    /// Whether the description says that a transaction pooler is there.
    #[must_use]
    pub fn is_pooled(&self) -> bool {
        self.is_pooled
    }

    /// What is said of a server that has not answered within somebody's own limit of time.
    #[must_use]
    pub fn no_answer(&self) -> Error {
        let error = Error::new("ETIMEDOUT", "ETIMEDOUT: the server has not answered yet");
        match &self.hosts[..] {
            [host] => error.at(&host.peer()),
            _ => error,
        }
    }

    /// The same with another limit for connecting.
    #[must_use]
    pub fn with_connect_timeout(self, connect_timeout: Duration) -> ConnectConfig {
        ConnectConfig { connect_timeout, ..self }
    }
}

/// The file that may hold the password: the one that was said, else the user's own.
///
/// `PGPASSWORD`, even an empty one, keeps `pg` from looking into the file.
fn read_password_file(parameters: &Parameters) -> Result<Option<PathBuf>, Error> {
    if parameters.environment.has("PGPASSWORD") {
        return Ok(None);
    }
    if let Some(path) = parameters.text("passfile")? {
        return Ok(Some(PathBuf::from(path)));
    }
    let (variable, file) = if cfg!(windows) { ("APPDATA", "postgresql/pgpass.conf") } else { ("HOME", ".pgpass") };
    Ok(parameters.environment.get(variable).map(|folder| PathBuf::from(folder).join(file)))
}

/// The settings that the server is started with: those of `options`, and the time limits that have parameters of their own,
/// which win as in `pg`.
fn read_options(parameters: &Parameters) -> Result<Option<String>, Error> {
    let mut all: Vec<String> = parameters.text("options")?.into_iter().collect();
    for name in SERVER_TIMEOUTS {
        let Some(value) = parameters.get(name)? else { continue };
        match value.text.parse::<u32>() {
            Ok(milliseconds) if i32::try_from(milliseconds).is_ok() => all.push(format!("-c {name}={milliseconds}")),
            _ => return Err(value.invalid("a whole number of milliseconds")),
        }
    }
    Ok(if all.is_empty() { None } else { Some(all.join(" ")) })
}

/// Prisma's word for a transaction pooler, which many strings have.
fn read_pgbouncer(parameters: &Parameters) -> Result<bool, Error> {
    let Some(value) = parameters.get("pgbouncer")? else { return Ok(false) };
    match value.text.as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(value.invalid("true or false")),
    }
}

fn read_connect_timeout(parameters: &Parameters) -> Result<Duration, Error> {
    let Some(value) = parameters.get("connect_timeout")? else { return Ok(DEFAULT_CONNECT_TIMEOUT) };
    match value.text.parse::<u32>() {
        // As in libpq, 0 is no limit; a call has its own.
        Ok(0) => Ok(Duration::from_secs(u64::from(u32::MAX))),
        Ok(seconds) => Ok(Duration::from_secs(u64::from(seconds))),
        Err(_) => Err(value.invalid("a whole number of seconds")),
    }
}
