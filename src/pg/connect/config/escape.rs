//! What tells that a piece of a password has become something else: a host that would be looked up, a path that would be
//! opened, a name that an error repeats. It happens where a character of the password is not escaped, or where a quote or the
//! scheme is missing.
//!
//! A string in which it may have happened is refused, and nothing of it is repeated.

use super::parts;
use super::refusal::{invalid, invalid_string, invalid_url};
use crate::error::Error;
use std::net::Ipv6Addr;

/// Parameters that are neither looked up nor opened nor repeated. They may have anything in them but a password.
const FREE: [&str; 3] = ["options", "application_name", "fallback_application_name"];

/// The error of a URL in which a character of a password, as it seems, has the meaning that it has in URLs.
pub(super) fn missing_escape(what: &str) -> Error {
    invalid_url(&format!(
        "{what}; if that is in a password, escape it: `/` is written %2F, `?` %3F, `#` %23, `@` %40, `:` %3A, `%` %25"
    ))
}

/// The error of a string that is the rest of a URL.
pub(super) fn missing_scheme() -> Error {
    invalid_url("it begins as a folder does and goes on as a URL does: `postgres:` is missing before it")
}

/// Checks a value of a parameter, wherever it was said; `name` is what to call it.
///
/// # Errors
/// `ERR_INVALID_CONNECTION_STRING`, `ERR_INVALID_URL`.
pub(super) fn check(parameter: &str, name: &str, value: &str) -> Result<(), Error> {
    if value.contains('\0') {
        return Err(invalid(name, "a text without a NUL"));
    }
    if parameter == "password" {
        return Ok(());
    }
    if has_parameters(parameter, value) || has_login(parameter, value) {
        return Err(invalid_string(&format!(
            "{name} seems to have other parts in it: a quote, a `&` or a `?` is missing, or has to be escaped"
        )));
    }
    match parameter {
        "host" => value.split(',').map(str::trim).try_for_each(|host| check_host(name, host)),
        free if FREE.contains(&free) => Ok(()),
        _ => check_path(value),
    }
}

/// Whether the value has another parameter in it.
fn has_parameters(parameter: &str, value: &str) -> bool {
    value.match_indices('=').any(|(end, _)| {
        let before = value[..end].trim_end();
        let is_in_name = |character: char| character.is_alphanumeric() || "._-".contains(character);
        let name = before[before.trim_end_matches(is_in_name).len()..].to_ascii_lowercase();
        if FREE.contains(&parameter) {
            return name == "password";
        }
        name.ends_with("password") || parts::known(&name).is_some()
    })
}

/// Whether the value has a URL in it, or the user, the password and the at sign of one.
fn has_login(parameter: &str, value: &str) -> bool {
    let begins_at = |mark: &str| value.split_once(mark).is_some_and(|(_, behind)| behind.contains('@'));
    begins_at("//") || !FREE.contains(&parameter) && (begins_at(":") || value.contains("://"))
}

/// Checks that a host is a name, an address or a folder.
fn check_host(name: &str, host: &str) -> Result<(), Error> {
    if host.starts_with('/') {
        return check_path(host);
    }
    let address = host.split_once('%').map_or(host, |(address, _zone)| address);
    let is_name = host.chars().all(|character| character.is_alphanumeric() || "-_.".contains(character));
    if is_name || address.parse::<Ipv6Addr>().is_ok() {
        return Ok(());
    }
    Err(invalid(name, "a host name, an IP address, or a folder that begins with `/`; a port is a parameter of its own"))
}

/// Checks that what begins like a path is not a URL without its scheme.
fn check_path(value: &str) -> Result<(), Error> {
    let is_login = |segment: &str| segment.contains([':', '=']);
    match value.strip_prefix('/') {
        Some(rest) if rest.starts_with('/') || rest.split('/').next().is_some_and(is_login) => Err(missing_scheme()),
        _ => Ok(()),
    }
}
