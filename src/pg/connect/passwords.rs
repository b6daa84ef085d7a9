//! The password for a host: the config's, the one of whoever is to be asked, else the one that the user's password file has for it (manual, section 32.16, "The
//! Password File").

use crate::error::Error;
use crate::pg::connect::blocking::off_thread;
use crate::pg::connect::config::{ConnectConfig, Host, Password};
use crate::pg::connect::private_file::{self, Unreadable};
use std::io;
use std::path::Path;

/// Folders of unix sockets that go by the name `localhost` in the file: PostgreSQL's own and Debian's.
const DEFAULT_FOLDERS: [&str; 2] = ["/tmp", "/var/run/postgresql"];

/// What there is to show to a server that asks for a password.
#[derive(Clone, Debug)]
pub(in crate::pg) enum Given {
    Password(Password),
    /// None, and why a file that could have had one was not looked at.
    Nothing(Option<String>),
}

/// The password for this host. Whoever is asked is asked each time, and the file is read each time: either may have another
/// one by then.
///
/// # Errors
/// What the one who is asked fails with.
pub(in crate::pg) async fn of(config: &ConnectConfig, host: &Host) -> Result<Given, Error> {
    if let Some(source) = &config.password_source {
        return Ok(source.ask().await?.map_or(Given::Nothing(None), Given::Password));
    }
    if let Some(password) = &config.password {
        return Ok(Given::Password(password.clone()));
    }
    let Some(path) = config.password_file.clone() else { return Ok(Given::Nothing(None)) };
    let entry = Entry {
        host: host.name.clone(),
        port: host.port,
        database: config.database.clone(),
        user: config.user.clone(),
    };
    let look_up = move || match read(&path) {
        Ok(text) => find(&text, &entry).map_or(Given::Nothing(None), Given::Password),
        Err(why) => Given::Nothing(why.map(|why| format!("the password file {} {why}", path.display()))),
    };
    let unread = |error: Error| Given::Nothing(Some(format!("the password file was not read: {}", error.message())));
    Ok(off_thread(look_up).await.unwrap_or_else(unread))
}

/// The file's text, or why it is not used; a file that is not there is no reason.
fn read(path: &Path) -> Result<String, Option<String>> {
    let content = private_file::read(path, false).map_err(|why| match why {
        Unreadable::System(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => None,
            _ => Some(format!("cannot be read: {error}")),
        },
        Unreadable::NotPlain => Some("is ignored: it is not a plain file".to_owned()),
        Unreadable::Exposed => {
            Some("is ignored: others than its owner have access to it; its permissions should be 0600".to_owned())
        }
    })?;
    String::from_utf8(content).map_err(|_| Some("is ignored: it is not UTF-8".to_owned()))
}

/// What a line has to be for.
struct Entry {
    host: String,
    port: u16,
    database: String,
    user: String,
}

/// The password of the first line that fits.
fn find(text: &str, wanted: &Entry) -> Option<Password> {
    text.lines().filter(|line| !line.trim_start().starts_with('#')).find_map(|line| {
        let (host, rest) = take_field(line)?;
        let (port, rest) = take_field(rest)?;
        let (database, rest) = take_field(rest)?;
        let (user, password) = take_field(rest)?;
        let fits = |field: &str, value: &str| field == "*" || unescape(field) == value;
        let is_local = host == "localhost" && DEFAULT_FOLDERS.contains(&wanted.host.as_str());
        let is_for_us = (is_local || fits(host, &wanted.host))
            && (port == "*" || port.trim().parse() == Ok(wanted.port))
            && fits(database, &wanted.database)
            && fits(user, &wanted.user);
        (is_for_us && !password.is_empty()).then(|| Password(unescape(password)))
    })
}

/// The field that the line begins with, and what is behind its colon. A backslash protects a colon and itself.
fn take_field(line: &str) -> Option<(&str, &str)> {
    let mut is_escaped = false;
    let end = line.find(|character| {
        let is_end = character == ':' && !is_escaped;
        is_escaped = character == '\\' && !is_escaped;
        is_end
    })?;
    Some((&line[..end], &line[end + 1..]))
}

fn unescape(field: &str) -> String {
    let mut plain = String::with_capacity(field.len());
    let mut characters = field.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, characters.peek()) {
            ('\\', Some(&protected @ (':' | '\\'))) => {
                plain.push(protected);
                characters.next();
            }
            _ => plain.push(character),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str, host: &str) -> Option<String> {
        let wanted =
            Entry { host: host.to_owned(), port: 5432, database: "shop".to_owned(), user: "a:n\\n".to_owned() };
        find(text, &wanted).map(|Password(password)| password)
    }

    #[test]
    fn the_first_line_that_fits_counts() {
        let text = "# db:5432:shop:a\\:n\\\\n:no\n\
                    db:5433:shop:a\\:n\\\\n:other port\n\
                    db:5432:shop:ann:other user\n\
                    db:5432:*:a\\:n\\\\n:first\n\
                    *:*:*:*:second";
        assert_eq!(password(text, "db").as_deref(), Some("first"));
        assert_eq!(password(text, "elsewhere").as_deref(), Some("second"));
        assert_eq!(password("db:5432:shop:*:first\r\n", "db").as_deref(), Some("first"));
    }

    #[test]
    fn escapes_and_colons() {
        assert_eq!(password(r"\:\:1:*:*:*:pa\:ss\\word", "::1").as_deref(), Some(r"pa:ss\word"));
        assert_eq!(password(r"a\\:*:*:*:x", r"a\").as_deref(), Some("x"), "an escaped backslash protects no colon");
        assert_eq!(password("db:*:*:*:pa:ss", "db").as_deref(), Some("pa:ss"), "the password is the rest of the line");
        assert_eq!(password(r"db:*:*:*:p\ss", "db").as_deref(), Some(r"p\ss"));
        assert_eq!(password("d*:*:*:*:x", "db"), None, "a star stands for a whole field alone");
    }

    #[test]
    fn unix_sockets_go_by_their_folder_or_as_localhost() {
        for folder in ["/tmp", "/var/run/postgresql"] {
            assert_eq!(password("localhost:*:*:*:x", folder).as_deref(), Some("x"));
            assert_eq!(password(&format!("{folder}:*:*:*:x"), folder).as_deref(), Some("x"));
        }
        assert_eq!(password("localhost:*:*:*:x", "/elsewhere"), None);
    }

    #[test]
    fn broken_lines_are_passed_over() {
        for line in
            ["", ":", "db", "db:5432", "db:5432:shop:*", "db:5432:shop:*:", "db:port:shop:*:x", "\\", "db\\:*:*:*:x"]
        {
            assert_eq!(password(line, "db"), None, "{line}");
        }
    }
}
