//! The form of libpq: `host=example.org user='O\'Neil'` (manual, section 32.1.1.1, "Keyword/Value Connection Strings").

use super::keywords::{self, Keyword};
use super::parts::Parts;
use super::refusal::invalid_string;
use crate::error::Error;

/// Whether the text is of this form: it begins with a name and an equals sign.
pub(super) fn is_one(text: &str) -> bool {
    text.split_once('=').is_some_and(|(name, _)| is_name(name.trim_end()))
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|character| character.is_ascii_alphanumeric() || character == '_')
}

/// Takes it apart.
///
/// # Errors
/// `ERR_INVALID_CONNECTION_STRING`: it names the parameter behind which nothing can be understood any more, or which one may be
/// meant by a keyword that is none.
pub(super) fn split(text: &str) -> Result<Parts, Error> {
    let mut parts = Parts::default();
    let mut rest = text.trim_start();
    let mut last: Option<Keyword> = None;
    while !rest.is_empty() {
        // What stands in a name's place may be the end of a password: it is not repeated.
        let broken = || {
            let last = last.map_or("the beginning", Keyword::name);
            invalid_string(&format!(
                "expected a name and `=` behind {last}; a value with blanks in it needs quotes, and a quote in it a backslash"
            ))
        };
        let (name, behind) = rest.split_once('=').ok_or_else(broken)?;
        let name = name.trim_end();
        if !is_name(name) {
            return Err(broken());
        }
        let keyword = keywords::find(name).ok_or_else(|| unknown(name, last))?;
        let (value, behind) = take_value(behind.trim_start())
            .ok_or_else(|| invalid_string(&format!("the quotes or the backslash in {} have no end", keyword.name())))?;
        if let Keyword::Parameter(name) = keyword {
            parts.set(name, value);
        }
        last = Some(keyword);
        rest = behind.trim_start();
    }
    Ok(parts)
}

/// The error of a keyword that is none. It does not repeat it, as it may be the end of a password with a blank in it.
fn unknown(name: &str, last: Option<Keyword>) -> Error {
    let place = last.map_or("its first parameter".to_owned(), |last| format!("the parameter behind {}", last.name()));
    let advice = match keywords::meant_by(name) {
        Some(meant) => format!("`{meant}` may be meant"),
        None => "in this form there are those of libpq, and a value with blanks in it needs quotes".to_owned(),
    };
    invalid_string(&format!("{place} is not known: {advice}"))
}

/// The value that the text begins with, and what is behind it; `None` where it does not end.
fn take_value(text: &str) -> Option<(String, &str)> {
    let (mut characters, is_quoted) = match text.strip_prefix('\'') {
        Some(quoted) => (quoted.chars(), true),
        None => (text.chars(), false),
    };
    let mut value = String::new();
    loop {
        let rest = characters.as_str();
        match characters.next() {
            Some('\\') => value.push(characters.next()?),
            Some('\'') if is_quoted => return Some((value, characters.as_str())),
            Some(blank) if !is_quoted && blank.is_ascii_whitespace() => return Some((value, rest)),
            Some(character) => value.push(character),
            None if is_quoted => return None,
            None => return Some((value, "")),
        }
    }
}
