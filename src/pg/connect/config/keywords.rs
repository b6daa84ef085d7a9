//! The keywords of libpq's own form. libpq refuses those that it does not know, as one that is mistyped may have asked for more
//! safety.

use super::parts;

/// What libpq 18 knows besides the parameters that count, and with the last two what it knew before version 14. None of them asks
/// for more safety.
const WITHOUT_EFFECT: [&str; 24] = [
    "client_encoding",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "replication",
    "max_protocol_version",
    "sslcompression",
    "sslkeylogfile",
    "sslpassword",
    "krbsrvname",
    "gsslib",
    "gssdelegation",
    "scram_client_key",
    "scram_server_key",
    "servicefile",
    "load_balance_hosts",
    "oauth_issuer",
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_scope",
    "authtype",
    "tty",
];
/// So many letters may be wrong in a keyword, and no more than a third of them.
const MOST_WRONG: usize = 2;

/// What a keyword stands for.
#[derive(Clone, Copy)]
pub(super) enum Keyword {
    /// A parameter that counts.
    Parameter(&'static str),
    /// What is passed over.
    WithoutEffect(&'static str),
}

impl Keyword {
    /// What to call it in an error.
    pub fn name(self) -> &'static str {
        match self {
            Keyword::Parameter(name) | Keyword::WithoutEffect(name) => name,
        }
    }
}

/// The keyword of this name, if there is one.
pub(super) fn find(name: &str) -> Option<Keyword> {
    let without_effect = || WITHOUT_EFFECT.into_iter().find(|known| *known == name).map(Keyword::WithoutEffect);
    parts::known(name).map(Keyword::Parameter).or_else(without_effect)
}

/// The keyword that somebody has mistyped. The name itself may be a piece of a password and can be told to nobody.
pub(super) fn meant_by(name: &str) -> Option<&'static str> {
    let name = simplified(name);
    let wrong = |known: &'static str| {
        let known_letters = simplified(known);
        if name.len().abs_diff(known_letters.len()) > MOST_WRONG {
            return None;
        }
        let count = distance(&name, &known_letters);
        (count <= MOST_WRONG && count * 3 <= known_letters.len()).then_some((count, known))
    };
    let names = parts::names().chain(["dbname"]).chain(WITHOUT_EFFECT);
    names.filter_map(wrong).min_by_key(|(count, _)| *count).map(|(_, known)| known)
}

/// The letters that make the difference.
fn simplified(name: &str) -> Vec<u8> {
    name.bytes().filter(|byte| *byte != b'_').map(|byte| byte.to_ascii_lowercase()).collect()
}

/// How many letters have to be put in, left out or changed to make one of the other (Levenshtein).
fn distance(one: &[u8], other: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in one.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (place, theirs) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != theirs);
            diagonal = row[place + 1];
            row[place + 1] = changed.min(diagonal + 1).min(row[place] + 1);
        }
    }
    row[other.len()]
}
