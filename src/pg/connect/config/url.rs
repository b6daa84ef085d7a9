//! URLs as `pg` takes them: `postgres://user:password@host:port/database?name=value`, `socket:/directory?db=name`.
//!
//! `pg` leaves them to the WHATWG parser, and so is done here; only lists of hosts, which that parser does not know, are taken
//! out before.

use super::invalid_url;
use super::parts::Parts;
use crate::error::Error;
use percent_encoding::percent_decode_str;
use url::{form_urlencoded, ParseError, Url};

const SCHEMES: [&str; 4] = ["postgres", "postgresql", "pg", "socket"];
/// What `decodeURI` leaves encoded; with it `pg` reads the path.
const RESERVED: &[u8] = b";/?:@&=+$,#";

/// Whether the text says that it is one.
pub(super) fn is_one(text: &str) -> bool {
    text.starts_with('?') || text.split_once(':').is_some_and(|(scheme, _)| is_scheme(scheme))
}

fn is_scheme(text: &str) -> bool {
    SCHEMES.iter().any(|scheme| scheme.eq_ignore_ascii_case(text))
}

/// Takes it apart.
///
/// # Errors
/// `ERR_INVALID_URL`.
pub(super) fn split(text: &str) -> Result<Parts, Error> {
    if !is_one(text) {
        return Err(invalid_url("it must begin with postgres:// or postgresql://"));
    }
    // The parser passes over these, wherever they are.
    let text: String = text.chars().filter(|character| !matches!(character, '\t' | '\n' | '\r')).collect();
    let text = if text.starts_with('?') { format!("postgres://{text}") } else { text };
    let (url, hosts) = match text.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            let (authority, tail) = rest.split_at(end);
            let (user_and_password, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
            (parse(&format!("{scheme}://{user_and_password}@host{tail}"))?, hosts)
        }
        _ => (parse(&text)?, ""),
    };
    if url.cannot_be_a_base() {
        return Err(invalid_url("a slash must follow the scheme"));
    }
    let is_socket = url.scheme() == "socket";
    let mut parts = Parts::default();
    set_parameters(&mut parts, &url, is_socket)?;
    parts.fill("user", decode("user", url.username())?)?;
    parts.fill("password", decode("password", url.password().unwrap_or(""))?)?;
    if is_socket {
        parts.set("host", decode_path("path of the socket", url.path())?)?;
        return Ok(parts);
    }
    let (hosts, ports) = split_hosts(hosts)?;
    parts.fill("host", hosts)?;
    parts.fill("port", ports)?;
    let path = url.path();
    let database = decode_path("database", path.strip_prefix('/').unwrap_or(path))?;
    if !database.is_empty() {
        parts.set("database", database)?;
    }
    Ok(parts)
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
            name => Parts::known(name),
        };
        let Some(known) = known else { continue };
        let encoded = pair.split_once('=').map_or("", |(_, encoded)| encoded);
        parts.set(known, decode(known, &encoded.replace('+', " "))?)?;
    }
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
        ParseError::InvalidPort => invalid_url("the port must be a number from 1 to 65535"),
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
