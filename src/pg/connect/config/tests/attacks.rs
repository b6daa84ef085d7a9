//! The parser under fire: whatever comes, it ends, does not panic, names what is wrong, and tells no password.

use super::numbers::Numbers;
use crate::pg::connect::config::ConnectConfig;
use proptest::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Parts of it would be found as well: no other text here has these letters.
const SECRET: &str = "zqzqzq";
const INPUTS: usize = 300_000;

const VALID: [&str; 14] = [
    "postgres://user:zqzqzq@example.org:5432/database",
    "postgresql://us%40er:zqzqzq@[2001:db8::1]:6543/my%20db?application_name=a+b&sslmode=verify-full",
    "pg://u:zqzqzq@h/d?host=/run/pg&port=5433&options=-c%20geqo%3Doff",
    "postgres://u:zqzqzq@a:1,b:2,[::1]:3/d?target_session_attrs=read-write&connect_timeout=3",
    "postgres://u:zqzqzq@/d?host=a,b&port=1,2&hostaddr=127.0.0.1,::1",
    "postgres://%2Frun%2Fpg/d?user=u&password=zqzqzq&ssl=true&sslrootcert=/ca.pem",
    "socket:/run/pg?db=d&user=u&password=zqzqzq",
    "socket://u:zqzqzq@/run/pg?db=d",
    "/run/pg database",
    "host=h port=5432 user=u password=zqzqzq dbname=d sslmode=require uselibpqcompat=true",
    r"host='h' user = 'O\'Neil' password='zqzqzq' options='-c geqo=off' channel_binding=require",
    "hostaddr=::1,127.0.0.1 port=1,2 password=zqzqzq sslcert=/a sslkey=/b sslnegotiation=direct",
    "postgres://u:zqzqzq@h/d?statement_timeout=5&lock_timeout=6&idle_in_transaction_session_timeout=7",
    "postgres://u:zqzqzq@h?dbname=d&passfile=/f&fallback_application_name=x&sslnegotiation=postgres",
];

const PIECES: [&str; 40] = [
    "%",
    "%2",
    "%zz",
    "%ff",
    "%00",
    "%25",
    "%40",
    "@",
    ":",
    "/",
    "?",
    "&",
    "=",
    "#",
    ",",
    "[",
    "]",
    " ",
    "'",
    "\\",
    "\0",
    "\t",
    "\n",
    "+",
    "\u{feff}",
    "é",
    "\u{1f512}",
    "\u{202e}",
    "99999",
    "0",
    "-1",
    "..",
    "postgres://",
    "host=",
    "&sslmode=",
    "&port=",
    "&ssl=",
    "&password=",
    "user",
    "::",
];

/// A valid string with some changes, none of which is within the password.
fn mutated(numbers: &mut Numbers) -> String {
    let mut text = VALID[numbers.below(VALID.len())].to_owned();
    for _ in 0..=numbers.below(4) {
        let secret = text.find(SECRET).map(|begin| begin..begin + SECRET.len());
        let place = |numbers: &mut Numbers, text: &str| {
            let mut place = numbers.below(text.len() + 1);
            while !text.is_char_boundary(place) || secret.as_ref().is_some_and(|secret| secret.contains(&place)) {
                place -= 1;
            }
            place
        };
        let (one, other) = (place(numbers, &text), place(numbers, &text));
        let (begin, end) = (one.min(other), one.max(other));
        let holds_secret = secret.as_ref().is_some_and(|secret| begin <= secret.start && secret.start < end);
        match numbers.below(5) {
            0 if !holds_secret => text.replace_range(begin..end, ""),
            1 if !holds_secret => text.replace_range(begin..end, PIECES[numbers.below(PIECES.len())]),
            2 if !holds_secret && end - begin < 64 => {
                let copy = text[begin..end].to_owned();
                text.insert_str(begin, &copy);
            }
            3 => text.truncate(if holds_secret { text.len() } else { end }),
            _ => text.insert_str(begin, PIECES[numbers.below(PIECES.len())]),
        }
    }
    text
}

/// Reads it; whether it could be used.
fn attack(text: &str) -> bool {
    match ConnectConfig::parse(text, |_| None) {
        Ok(config) => {
            assert!(!config.hosts.is_empty(), "{text:?}");
            assert!(config.hosts.iter().all(|host| !host.name.is_empty() && host.port > 0), "{text:?}");
            true
        }
        Err(error) => {
            assert!(["ERR_INVALID_URL", "ERR_INVALID_CONNECTION_STRING"].contains(&error.code()), "{text:?}");
            assert!(!error.message().contains("zq"), "{text:?} gives away: {error}");
            // Something of what is wrong, and no long echo of the input.
            assert!((20..300).contains(&error.message().len()), "{text:?}: {error}");
            false
        }
    }
}

#[test]
fn mutations_of_valid_strings() {
    let begin = Instant::now();
    let usable = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let usable = &usable;
            scope.spawn(move || {
                let mut numbers = Numbers::new(thread as u64);
                let mut count = 0;
                for _ in 0..INPUTS.div_ceil(threads) {
                    let text = mutated(&mut numbers);
                    let before = Instant::now();
                    count += usize::from(attack(&text));
                    assert!(before.elapsed().as_secs() < 1, "{text:?} takes long");
                }
                usable.fetch_add(count, Ordering::Relaxed);
            });
        }
    });
    let usable = usable.into_inner();
    println!("{INPUTS} inputs, {usable} usable, in {:?}", begin.elapsed());
    assert!(usable > INPUTS / 10 && usable < INPUTS * 9 / 10, "{usable} of {INPUTS} were usable");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_text_at_all(text in ".*") {
        attack(&text);
    }

    #[test]
    fn any_bytes_behind_a_scheme(text in "(postgres://|socket:|pg://u:|host=)[ -~\\x00-\\x1f\\u{80}-\\u{ffff}]{0,80}") {
        attack(&text);
    }

    #[test]
    fn what_is_encoded_comes_back(user in "[^\\x00:/=]{1,20}", password in "[^\\x00]{1,20}", database in "[^\\x00:/=]{1,20}") {
        let encode = |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        let url = format!("postgres://{}:{}@h/?dbname={}", encode(&user), encode(&password), encode(&database));
        let config = ConnectConfig::parse(url.as_str(), |_| None).unwrap();
        prop_assert_eq!((&config.user, &config.database), (&user, &database));
        prop_assert_eq!(config.password.map(|password| password.0), Some(password));
    }

    #[test]
    fn what_is_quoted_comes_back(user in "[^\\x00:/=]{1,20}", password in "[^\\x00]{1,20}") {
        let quote = |text: &str| format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"));
        let text = format!("user={} password = {} host=h", quote(&user), quote(&password));
        let config = ConnectConfig::parse(text.as_str(), |_| None).unwrap();
        prop_assert_eq!(&config.user, &user);
        prop_assert_eq!(config.password.map(|password| password.0), Some(password));
    }

    #[test]
    fn no_debug_output_tells_the_password(password in "[a-z]{12}") {
        let config = ConnectConfig::parse(format!("postgres://u:{password}@h/d").as_str(), |_| None).unwrap();
        let shown = format!("{config:?}");
        prop_assert!(!shown.contains(&password));
    }
}
