//! A password whose characters are not escaped, in a string with mistakes: no piece of it becomes a host that is looked up, a
//! path or a name that is repeated, and none is in an error.

use super::numbers::Numbers;
use crate::pg::connect::config::{ConnectConfig, Roots};

const STRINGS: usize = 60_000;
/// Pieces of this length are looked for.
const PIECE: usize = 4;

/// Where a password is and what is written around it. `{}` stands for it.
const TEMPLATES: [&str; 13] = [
    "postgres://user:{}@example.org:5432/database?sslmode=verify-full",
    "postgresql://user:{}@[::1]/database",
    "postgres://user:{}@a:1,b:2/d?target_session_attrs=any",
    "postgres://user:{}@/d?host=/run/pg&application_name=me",
    "postgis://user:{}@example.org",
    "postgres:///d?host=example.org&user=user&password={}&port=5433",
    "?user=user&password={}&host=example.org",
    "socket://user:{}@/run/pg?db=d",
    "socket:/run/pg?db=d&user=user&password={}",
    "host=example.org port=5432 user=user password={} dbname=d",
    "host=example.org user=user password='{}' dbname=d sslmode=require",
    "password={} host=/run/pg",
    "host='example.org' password = '{}'",
];

/// The same with a mistake in them already.
const MISTAKEN: [&str; 9] = [
    "//user:{}@example.org/database",
    "/user:{}@example.org/database",
    "user:{}@example.org:5432/database",
    "postgres:/user:{}@example.org/database",
    "postgres//user:{}@example.org/database",
    "postgresuser:{}@example.org/database",
    "host=postgres://user:{}@example.org/database",
    "DATABASE_URL=postgres://user:{}@example.org/database",
    "\"postgres://user:{}@example.org/database\"",
];

/// Variables in which somebody may write what belongs to another one.
const VARIABLES: [&str; 5] = ["PGHOST", "PGDATABASE", "PGSSLROOTCERT", "PGPORT", "PGHOSTADDR"];

const LETTERS: &[u8] = b"zqxjvkw";
const MARKS: &[u8] = b"@/#?:%&=' ,[]\\;+\"";

fn secret(numbers: &mut Numbers) -> String {
    let length = 8 + numbers.below(8);
    let mut secret: String = (0..length).map(|_| char::from(LETTERS[numbers.below(LETTERS.len())])).collect();
    for _ in 0..numbers.below(4) {
        let place = 1 + numbers.below(length - 1);
        secret.replace_range(place..=place, &char::from(MARKS[numbers.below(MARKS.len())]).to_string());
    }
    secret
}

/// A slip of the hand that leaves the password alone.
fn slip(numbers: &mut Numbers, template: &mut String) {
    let hole = template.find("{}").map_or(0..0, |start| start..start + 2);
    let place = numbers.below(template.len());
    if hole.contains(&place) || !template.is_char_boundary(place) || !template.is_char_boundary(place + 1) {
        return;
    }
    let mark = char::from(MARKS[numbers.below(MARKS.len())]).to_string();
    match numbers.below(3) {
        0 => template.replace_range(place..=place, ""),
        1 => template.replace_range(place..=place, &mark),
        _ => template.insert_str(place, &mark),
    }
}

/// What would be looked up, opened or repeated.
fn shown(config: &ConnectConfig) -> Vec<String> {
    let mut shown: Vec<String> = config.hosts.iter().map(|host| host.peer().to_string()).collect();
    // Where the colon before the password is lost, nothing tells it from the name of a user.
    shown.extend(Some(config.database.clone()).filter(|database| *database != config.user));
    shown.push(config.application_name.clone());
    shown.extend(config.options.clone());
    shown.extend(config.required_peer.clone());
    let mut pems = Vec::new();
    if let Some(tls) = &config.tls {
        pems.extend(tls.identity.iter().flat_map(|identity| [&identity.certificate, &identity.key]));
        if let Roots::Named(pem) = &tls.roots {
            pems.push(pem);
        }
    }
    shown.extend(config.password_file.iter().map(|path| path.display().to_string()));
    shown.extend(pems.into_iter().map(|pem| pem.to_string()));
    shown
}

/// A piece of the secret in the text, if there is one.
fn piece_in<'a>(secret: &'a str, text: &str) -> Option<&'a str> {
    (0..=secret.len() - PIECE).map(|start| &secret[start..start + PIECE]).find(|piece| text.contains(piece))
}

#[test]
fn no_piece_of_a_password_is_shown() {
    let mut numbers = Numbers::new(7);
    let (mut usable, mut refused) = (0, 0);
    for _ in 0..STRINGS {
        let secret = secret(&mut numbers);
        let in_variable = if numbers.below(8) == 0 { VARIABLES[numbers.below(VARIABLES.len())] } else { "" };
        let (templates, slips) = match numbers.below(3) {
            // A whole string in the place of another value is mistake enough.
            _ if !in_variable.is_empty() => (&TEMPLATES[..], 0),
            0 => (&MISTAKEN[..], numbers.below(2)),
            _ => (&TEMPLATES[..], numbers.below(2)),
        };
        let mut template = templates[numbers.below(templates.len())].to_owned();
        for _ in 0..slips {
            slip(&mut numbers, &mut template);
        }
        if slips == 0 && numbers.below(4) == 0 {
            let end = template.find("{}").map_or(0, |hole| hole + 2);
            template.truncate(end + numbers.below(template.len() - end + 1));
        }
        if secret.contains('@') && !template.contains("{}@") {
            // Without the at sign behind the password the last one in it makes a URL that nothing is wrong with.
            continue;
        }
        let text = template.replace("{}", &secret);
        let string = if in_variable.is_empty() { text.as_str() } else { "postgres://?sslmode=require" };
        match ConnectConfig::parse(string, |name| (name == in_variable).then(|| text.clone())) {
            Err(error) => {
                refused += 1;
                assert_eq!(piece_in(&secret, &format!("{error:?}")), None, "{text:?} {in_variable}: {error}");
            }
            Ok(config) => {
                usable += 1;
                for value in shown(&config) {
                    assert_eq!(piece_in(&secret, &value), None, "{text:?} {in_variable}: {value}");
                }
            }
        }
    }
    assert!(usable > STRINGS / 10 && refused > STRINGS / 10, "{usable} usable, {refused} refused");
}
