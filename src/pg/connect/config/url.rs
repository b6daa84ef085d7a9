//! URLs as `pg` takes them: `postgres://user:password@host:port/database?name=value`, `socket:/directory?db=name`.
//!
//! `pg` leaves them to the WHATWG parser, and so is done here; only lists of hosts, which that parser does not know, are taken
//! out before. What it reads in another way than it is likely to be meant is refused, as a piece of a password would become
//! a host, a port or a database.

use super::escape::missing_escape;
use super::parts::{self, Parts};
use super::refusal::invalid_url;
use crate::error::Error;
use percent_encoding::percent_decode_str;
use url::{form_urlencoded, ParseError, Url};

const SOCKET: &str = "socket";
/// Schemes that need no slashes behind them.
const SCHEMES: [&str; 4] = ["postgres", "postgresql", "pg", SOCKET];
/// `pg` passes over the scheme, so that `postgis://` and `postgresql+driver://` do, but these are certain to mean another server.
const SCHEMES_OF_OTHERS: [&str; 20] = [
    "amqp",
    "amqps",
    "file",
    "ftp",
    "http",
    "https",
    "mariadb",
    "mongodb",
    "mssql",
    "mysql",
    "mysqlx",
    "oracle",
    "prisma",
    "redis",
    "rediss",
    "sqlite",
    "sqlite3",
    "sqlserver",
    "ws",
    "wss",
];
/// What `decodeURI` leaves encoded; with it `pg` reads the path.
const RESERVED: &[u8] = b";/?:@&=+$,#";

/// Whether the text says that it is one.
pub(super) fn is_one(text: &str) -> bool {
    text.starts_with('?') || split_scheme(text).is_some()
}

/// Whether it is one of the path of a socket.
pub(super) fn is_socket(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case(SOCKET))
}

/// The scheme and what is behind its colon.
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let is_ours = SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(scheme));
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.chars().all(|character| character.is_ascii_alphanumeric() || "+-.".contains(character));
    let family = scheme.split('+').next().unwrap_or(scheme);
    let is_of_others = SCHEMES_OF_OTHERS.iter().any(|other| other.eq_ignore_ascii_case(family));
    (is_ours || is_scheme && rest.starts_with("//") && !is_of_others).then_some((scheme, rest))
}

/// Takes it apart.
///
/// # Errors
/// `ERR_INVALID_URL`.
pub(super) fn split(text: &str) -> Result<Parts, Error> {
    // The parser passes over these, wherever they are.
    let text: String = text.chars().filter(|character| !matches!(character, '\t' | '\n' | '\r')).collect();
    let text = if text.starts_with('?') { format!("postgres://{text}") } else { text };
    let (_, rest) = split_scheme(&text).ok_or_else(|| {
        invalid_url(
            "it must be `postgres://user:password@host:port/database`, `socket:/directory?db=database`, `/directory database`, \
             `host=… user=… dbname=…`, `?name=value`, or empty for the variables PGHOST, PGUSER and so on",
        )
    })?;
    let is_socket = is_socket(&text);
    let scheme = if is_socket { SOCKET } else { "postgres" };
    let (url, hosts) = match rest.strip_prefix("//") {
        Some(rest) => {
            let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
            check_tail(tail, authority.is_empty() && !is_socket)?;
            let (user_and_password, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
            if is_socket && !hosts.is_empty() {
                return Err(missing_escape("a socket has no host, and there is one before its path"));
            }
            (parse(&format!("{scheme}://{user_and_password}@host{tail}"))?, hosts)
        }
        None if !rest.starts_with('/') => return Err(invalid_url("a slash must follow the scheme")),
        None => {
            check_tail(rest, !is_socket).map_err(|_| invalid_url("two slashes must follow the scheme"))?;
            (parse(&format!("{scheme}:{rest}"))?, "")
        }
    };
    let mut parts = Parts::default();
    set_parameters(&mut parts, &url, is_socket)?;
    set_login(&mut parts, &url)?;
    if is_socket {
        parts.set("host", decode_path("path of the socket", url.path())?);
        return Ok(parts);
    }
    let (hosts, ports) = split_hosts(hosts)?;
    parts.fill("host", hosts);
    parts.fill("port", ports);
    let path = url.path();
    let database = decode_path("database", path.strip_prefix('/').unwrap_or(path))?;
    if !database.is_empty() {
        parts.set("database", database);
    }
    Ok(parts)
}

/// Checks what is behind the hosts. An at sign there, or a fragment, is the rest of a password that one of `/?#` has cut; so is
/// a colon where there is no host before it (`is_hostless`).
fn check_tail(tail: &str, is_hostless: bool) -> Result<(), Error> {
    let (tail, fragment) = tail.split_once('#').map_or((tail, None), |(tail, fragment)| (tail, Some(fragment)));
    let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
    if fragment.is_some_and(|fragment| !fragment.is_empty()) {
        return Err(missing_escape("a `#` begins a fragment, which a connection string cannot have"));
    }
    let is_torn = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        name.contains('@') || value.contains('@') && parts::known(name).is_none()
    };
    if path.contains('@') || query.split('&').any(is_torn) {
        let first = tail.chars().next().unwrap_or('/');
        return Err(missing_escape(&format!("a `{first}` has ended the host, and an `@` follows")));
    }
    if is_hostless && path.contains(':') {
        return Err(missing_escape("a `:` follows where there is no host"));
    }
    Ok(())
}

fn parse(text: &str) -> Result<Url, Error> {
    // The parser's own messages say what is wrong without repeating the text, which may hold a password.
    Url::parse(text).map_err(|error| invalid_url(&error.to_string()))
}

/// The parameters behind the question mark; of several with one name the last counts.
fn set_parameters(parts: &mut Parts, url: &Url, is_socket: bool) -> Result<(), Error> {
    for pair in url.query().unwrap_or("").split('&') {
        let Some((name, _)) = form_urlencoded::parse(pair.as_bytes()).next() else { continue };
        let known = match &*name {
            "db" if is_socket => Some("database"),
            name => parts::known(name),
        };
        let Some(known) = known else { continue };
        let encoded = pair.split_once('=').map_or("", |(_, encoded)| encoded);
        parts.set(known, decode(known, &encoded.replace('+', " "))?);
    }
    Ok(())
}

/// User and password, where no parameter says them.
fn set_login(parts: &mut Parts, url: &Url) -> Result<(), Error> {
    let user = decode("user", url.username())?;
    if url.password().is_none() && user.contains(':') {
        return Err(invalid_url("the `:` between user and password must not be escaped"));
    }
    parts.fill("user", user);
    parts.fill("password", decode("password", url.password().unwrap_or(""))?);
    Ok(())
}

/// Splits `host:port,host:port` into a list of hosts and a list of ports; entries may be empty.
fn split_hosts(list: &str) -> Result<(String, String), Error> {
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    for entry in list.split(',') {
        let (host, port) = match entry.strip_prefix(':') {
            // For the parser a port needs a host.
            Some(port) => (String::new(), split_host(&format!("host:{port}"))?.1),
            None if entry.is_empty() => (String::new(), String::new()),
            None => split_host(entry)?,
        };
        hosts.push(host);
        ports.push(port);
    }
    let has_port = ports.iter().any(|port| !port.is_empty());
    Ok((hosts.join(","), if has_port { ports.join(",") } else { String::new() }))
}

fn split_host(entry: &str) -> Result<(String, String), Error> {
    let url = Url::parse(&format!("postgres://{entry}")).map_err(|error| match error {
        ParseError::InvalidPort => missing_escape("the port must be a number from 1 to 65535"),
        error => invalid_url(&format!("the host: {error}")),
    })?;
    let host = decode("host", url.host_str().unwrap_or(""))?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host).to_owned();
    Ok((host, url.port().map_or(String::new(), |port| port.to_string())))
}

fn decode(part: &str, text: &str) -> Result<String, Error> {
    check_escapes(part, text)?;
    let decoded = percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| invalid_url(&format!("the {part} is not UTF-8 once its percent signs are resolved")))?;
    Ok(decoded.into_owned())
}

/// Decodes what `decodeURI` does.
fn decode_path(part: &str, text: &str) -> Result<String, Error> {
    check_escapes(part, text)?;
    let mut kept = String::with_capacity(text.len());
    for (index, piece) in text.split('%').enumerate() {
        let is_reserved = index > 0 && u8::from_str_radix(&piece[..2], 16).is_ok_and(|byte| RESERVED.contains(&byte));
        if index > 0 {
            // Decoding gives the percent sign back.
            kept.push_str(if is_reserved { "%25" } else { "%" });
        }
        kept.push_str(piece);
    }
    decode(part, &kept)
}

/// `pg` leaves a percent sign alone that no two hexadecimal digits follow, and then all the others of the string as well.
fn check_escapes(part: &str, text: &str) -> Result<(), Error> {
    let is_escape = |piece: &str| piece.len() >= 2 && piece.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit);
    if text.split('%').skip(1).all(is_escape) {
        return Ok(());
    }
    Err(invalid_url(&format!(
        "a percent sign in the {part} is not followed by two hexadecimal digits: it is written %25"
    )))
}
