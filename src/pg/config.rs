//! From a connection string and the `PG*` variables to where and as whom to connect, as the npm package `pg` reads them.

use crate::error::Error;
use percent_encoding::percent_decode_str;
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

const DEFAULT_PORT: u16 = 5432;
const DEFAULT_APPLICATION_NAME: &str = "advisory-lock-native";
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where, as whom and how to connect. Equal configs lead to the same server as the same user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConnectConfig {
    pub(super) address: Address,
    pub(super) user: Option<String>,
    pub(super) password: Option<Password>,
    pub(super) database: Option<String>,
    pub(super) application_name: String,
    /// Settings for the server, in the form of its command line (`-c name=value`).
    pub(super) options: Option<String>,
    /// For the whole way to a session that is ready.
    pub(super) connect_timeout: Duration,
}

/// What names a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Address {
    Tcp { host: String, port: u16 },
    Unix { path: PathBuf },
}

/// A password that cannot be printed by accident.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Password(pub(super) String);

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[hidden]")
    }
}

/// The parts of a connection string, by `pg`'s names; what is absent or empty falls through to the environment.
type Parts = HashMap<String, String>;

impl ConnectConfig {
    /// Reads a connection string; what it leaves out comes from `environment` (a variable's name to its value).
    ///
    /// # Errors
    /// `ERR_INVALID_URL`, `ERR_INVALID_CONNECTION_STRING`: it names the part at fault. `ERR_TLS_NOT_SUPPORTED`: TLS is
    /// asked for.
    pub fn parse(text: &str, environment: impl Fn(&str) -> Option<String>) -> Result<ConnectConfig, Error> {
        let parts = split(text)?;
        let part = |name: &str, variable: &str| {
            let given = parts.get(name).filter(|value| !value.is_empty()).cloned();
            given.or_else(|| environment(variable).filter(|value| !value.is_empty()))
        };
        refuse_tls(&parts, environment("PGSSLMODE").as_deref())?;
        if parts.values().any(|value| value.contains('\0')) {
            return Err(Error::new("ERR_INVALID_CONNECTION_STRING", "invalid connection string: it contains a NUL"));
        }
        let port = part("port", "PGPORT").map_or(Ok(DEFAULT_PORT), |port| parse_port(&port))?;
        let host = part("host", "PGHOST").unwrap_or_else(|| "localhost".to_owned());
        let address = if host.starts_with('/') {
            Address::Unix { path: PathBuf::from(host).join(format!(".s.PGSQL.{port}")) }
        } else {
            Address::Tcp { host, port }
        };
        let connect_timeout = match part("connect_timeout", "PGCONNECT_TIMEOUT") {
            None => DEFAULT_CONNECT_TIMEOUT,
            Some(seconds) => parse_seconds(&seconds)?,
        };
        Ok(ConnectConfig {
            address,
            user: part("user", "PGUSER").or_else(|| part("", "USER")).or_else(|| part("", "USERNAME")),
            password: part("password", "PGPASSWORD").map(Password),
            database: part("database", "PGDATABASE"),
            application_name: part("application_name", "PGAPPNAME")
                .or_else(|| parts.get("fallback_application_name").cloned())
                .unwrap_or_else(|| DEFAULT_APPLICATION_NAME.to_owned()),
            options: part("options", "PGOPTIONS"),
            connect_timeout,
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

fn split(text: &str) -> Result<Parts, Error> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(Parts::new());
    }
    if text.starts_with('/') {
        // `/directory database`: the form in which `pg` names a unix socket.
        let (directory, database) = text.split_once(' ').unwrap_or((text, ""));
        return Ok(Parts::from([
            ("host".to_owned(), directory.to_owned()),
            ("database".to_owned(), database.trim().to_owned()),
        ]));
    }
    split_url(text)
}

fn split_url(text: &str) -> Result<Parts, Error> {
    // The parser's own messages say what is wrong without repeating the text, which may hold a password.
    let url = Url::parse(text).map_err(|error| invalid_url(&error.to_string()))?;
    if !matches!(url.scheme(), "postgres" | "postgresql" | "pg" | "socket") {
        return Err(invalid_url("the scheme must be postgres:// or postgresql://"));
    }
    let mut parts = Parts::new();
    let mut set = |name: &str, value: String| {
        if !value.is_empty() {
            parts.insert(name.to_owned(), value);
        }
    };
    set("user", decode("user", url.username())?);
    set("password", decode("password", url.password().unwrap_or(""))?);
    if let Some(port) = url.port() {
        set("port", port.to_string());
    }
    let path = decode("database", url.path())?;
    if url.scheme() == "socket" {
        set("host", path);
    } else {
        let host = decode("host", url.host_str().unwrap_or(""))?;
        set("host", host.trim_start_matches('[').trim_end_matches(']').to_owned());
        set("database", path.strip_prefix('/').unwrap_or(&path).to_owned());
    }
    for (name, value) in url.query_pairs() {
        let name = match &*name {
            "dbname" | "db" => "database",
            other => other,
        };
        set(name, value.into_owned());
    }
    Ok(parts)
}

fn decode(part: &str, text: &str) -> Result<String, Error> {
    percent_decode_str(text)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| invalid_url(&format!("the {part} is not UTF-8 once its percent signs are resolved")))
}

fn invalid_url(what: &str) -> Error {
    Error::new("ERR_INVALID_URL", format!("invalid connection string: {what}"))
}

fn invalid(part: &str, expected: &str) -> Error {
    Error::new("ERR_INVALID_CONNECTION_STRING", format!("invalid {part}: expected {expected}"))
}

fn parse_port(text: &str) -> Result<u16, Error> {
    match text.parse() {
        Ok(0) | Err(_) => Err(invalid("port", "a number from 1 to 65535")),
        Ok(port) => Ok(port),
    }
}

fn parse_seconds(text: &str) -> Result<Duration, Error> {
    match text.parse::<u32>() {
        // As in libpq, 0 is no limit; a call has its own.
        Ok(0) => Ok(Duration::from_secs(u64::from(u32::MAX))),
        Ok(seconds) => Ok(Duration::from_secs(u64::from(seconds))),
        Err(_) => Err(invalid("connect_timeout", "a whole number of seconds")),
    }
}

/// What asks for TLS must not be answered in plain text.
fn refuse_tls(parts: &Parts, variable: Option<&str>) -> Result<(), Error> {
    let mode = parts.get("sslmode").map(String::as_str);
    let asked = match (mode, parts.get("ssl").map(String::as_str)) {
        (Some(mode), _) => !matches!(mode, "disable" | "allow"),
        (None, Some(ssl)) => !matches!(ssl, "false" | "0"),
        (None, None) => variable.is_some_and(|mode| !matches!(mode, "" | "disable" | "allow")),
    };
    if asked {
        return Err(Error::new(
            "ERR_TLS_NOT_SUPPORTED",
            "the connection string or PGSSLMODE asks for TLS, which this version does not speak",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ConnectConfig {
        ConnectConfig::parse(text, |_| None).unwrap()
    }

    fn code(text: &str) -> String {
        let error = ConnectConfig::parse(text, |_| None).unwrap_err();
        assert!(!error.message().contains("secret"), "{error}");
        error.code().to_owned()
    }

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp { host: host.to_owned(), port }
    }

    #[test]
    fn urls_give_every_part_decoded() {
        let config = parse("postgres://us%40er:p%3Ass@[::1]:6543/my%20db?application_name=a+b&unknown=1");
        assert_eq!(config.address, tcp("::1", 6543));
        assert_eq!(config.user.as_deref(), Some("us@er"));
        assert_eq!(config.password, Some(Password("p:ss".to_owned())));
        assert_eq!(config.database.as_deref(), Some("my db"));
        assert_eq!(config.application_name, "a b");
    }

    #[test]
    fn the_last_at_sign_ends_the_password() {
        let config = parse("postgres://u:p@ss@h/d");
        assert_eq!((config.address, config.password), (tcp("h", 5432), Some(Password("p@ss".to_owned()))));
    }

    #[test]
    fn what_is_left_out_comes_from_the_environment() {
        let environment = |name: &str| {
            let value = match name {
                "PGHOST" => "db.example",
                "PGPORT" => "7",
                "PGUSER" => "ann",
                "PGPASSWORD" => "pw",
                "PGDATABASE" => "shop",
                _ => return None,
            };
            Some(value.to_owned())
        };
        for text in ["", "postgres://"] {
            let config = ConnectConfig::parse(text, environment).unwrap();
            assert_eq!(config.address, tcp("db.example", 7));
            assert_eq!(config.user.as_deref(), Some("ann"));
            assert_eq!(config.password, Some(Password("pw".to_owned())));
            assert_eq!(config.database.as_deref(), Some("shop"));
        }
        assert_eq!(parse("postgres:///db").address, tcp("localhost", 5432));
    }

    #[test]
    fn unix_sockets_in_each_form() {
        let path = PathBuf::from("/run/pg/.s.PGSQL.5432");
        for text in [
            "/run/pg shop",
            "socket:/run/pg?db=shop",
            "postgres:///shop?host=/run/pg",
            "postgres://%2Frun%2Fpg/shop",
            "postgres://example/shop?host=/run/pg",
        ] {
            let config = parse(text);
            assert_eq!(config.address, Address::Unix { path: path.clone() }, "{text}");
            assert_eq!(config.database.as_deref(), Some("shop"), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_named_without_the_password() {
        assert_eq!(code("postgres://u:secret@h:99999/d"), "ERR_INVALID_URL");
        assert_eq!(code("postgres://u:secret@h:port/d"), "ERR_INVALID_URL");
        assert_eq!(code("secret"), "ERR_INVALID_URL");
        assert_eq!(code("mysql://u:secret@h/d"), "ERR_INVALID_URL");
        assert_eq!(code("postgres://u:secret%ff@h/d"), "ERR_INVALID_URL");
        assert_eq!(code("postgres://u:secret@h/d?port=0"), "ERR_INVALID_CONNECTION_STRING");
        assert_eq!(code("postgres://u:secret@h/d?connect_timeout=soon"), "ERR_INVALID_CONNECTION_STRING");
        assert_eq!(code("postgres://u:secret@h/d?sslmode=require"), "ERR_TLS_NOT_SUPPORTED");
        assert_eq!(code("postgres://u:secret@h/d?ssl=true"), "ERR_TLS_NOT_SUPPORTED");
        assert_eq!(parse("postgres://h/d?sslmode=disable").address, tcp("h", 5432));
    }

    #[test]
    fn debug_output_hides_the_password() {
        assert!(!format!("{:?}", parse("postgres://u:secret@h/d")).contains("secret"));
    }
}
