//! What a session says of the locks that it holds, for whoever reads `pg_stat_activity`: a comment before its sign of life.
//!
//! Names may be anything. Each byte but letters, digits and a few signs is spelled `%2A`, as in a URL. So no name ends the comment
//! or begins another one, is read otherwise in another encoding, or is taken by a pooler for a request of its own. A name is told
//! from the next by a comma and a space; a part of a semaphore from its name by `#`; `+3` are others.

use crate::core::Name;

/// `pg_stat_activity` shows 1,023 bytes of a statement, unless the server is told otherwise.
const LONGEST_COMMENT: usize = 900;
const BEGIN: &str = "/* advisory-lock: ";
const END: &str = " */ ";
/// Room for how many others there are.
const ROOM_FOR_REST: usize = ", +4294967295".len();

/// The locks of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeldNames {
    /// The names of some.
    pub names: Vec<Name>,
    /// How many there are besides.
    pub others: usize,
}

impl HeldNames {
    /// The comment; as many names as there is room for.
    pub(in crate::pg) fn comment(&self) -> String {
        let mut comment = String::from(BEGIN);
        let mut others = self.others;
        let mut is_first = true;
        for name in &self.names {
            let token = token(name);
            if comment.len() + 2 + token.len() + ROOM_FOR_REST + END.len() > LONGEST_COMMENT {
                others += 1;
                continue;
            }
            if !std::mem::take(&mut is_first) {
                comment.push_str(", ");
            }
            comment.push_str(&token);
        }
        if others > 0 {
            if !is_first {
                comment.push_str(", ");
            }
            comment.push('+');
            comment.push_str(&others.to_string());
        }
        comment.push_str(END);
        comment
    }
}

fn token(name: &Name) -> String {
    let mut token = String::new();
    push_encoded(name.text(), &mut token);
    if let Some(part) = name.part() {
        token.push('#');
        push_encoded(part, &mut token);
    }
    token
}

fn push_encoded(text: &str, out: &mut String) {
    let last = text.len().saturating_sub(1);
    for (place, byte) in text.bytes().enumerate() {
        let is_inner_space = byte == b' ' && place != 0 && place != last;
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'/' | b'@' | b'~') || is_inner_space {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for digit in [byte >> 4, byte & 15] {
                out.push(char::from(b"0123456789ABCDEF"[usize::from(digit)]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{HeldNames, LONGEST_COMMENT};
    use crate::core::Name;

    fn held(names: &[&str], others: usize) -> HeldNames {
        let name = |text: &&str| Name::new(text, None);
        HeldNames { names: names.iter().map(name).collect(), others }
    }

    #[test]
    fn names_are_readable() {
        assert_eq!(held(&["migrations", "post stats"], 0).comment(), "/* advisory-lock: migrations, post stats */ ");
        assert_eq!(held(&["jobs/nightly_2@eu"], 12).comment(), "/* advisory-lock: jobs/nightly_2@eu, +12 */ ");
        assert_eq!(held(&[], 3).comment(), "/* advisory-lock: +3 */ ");
        let slot = Name::new("pool", Some("slot 3"));
        assert_eq!(HeldNames { names: vec![slot], others: 0 }.comment(), "/* advisory-lock: pool#slot 3 */ ");
    }

    #[test]
    fn nothing_leaves_the_comment_or_reads_as_something_else() {
        for name in [
            "*/ SELECT 1 --",
            "/* */",
            "/*+ SeqScan(a) */",
            "a\0b",
            "é",
            "\u{202e}",
            "'",
            "\\'",
            "$$",
            "a, b",
            "+7",
            "a#b",
            "%41",
        ] {
            let comment = held(&[name], 0).comment();
            let inside = comment.strip_prefix("/* advisory-lock: ").and_then(|rest| rest.strip_suffix(" */ "));
            let inside = inside.expect("BUG: the comment has its form");
            assert!(comment.is_ascii() && !comment.chars().any(char::is_control), "{comment}");
            assert!(!inside.contains(['*', '\'', '\\', '$', ':', '=', ',', '+', '#', '"', ';']), "{comment}");
        }
        assert_eq!(held(&[" a ", ""], 0).comment(), "/* advisory-lock: %20a%20,  */ ");
    }

    #[test]
    fn what_has_no_room_is_counted() {
        let long = "*".repeat(200);
        let comment = held(&["short", &long, &long, "last"], 5).comment();
        assert!(comment.len() <= LONGEST_COMMENT, "{}", comment.len());
        assert!(
            comment.starts_with("/* advisory-lock: short, %2A") && comment.ends_with("%2A, last, +6 */ "),
            "{comment}"
        );
        let many: Vec<String> = (0..500).map(|number| format!("name {number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let comment = held(&many, 0).comment();
        assert!((800..=LONGEST_COMMENT).contains(&comment.len()), "{}", comment.len());
    }
}
