//! Whatever a database has in its schemas, a statement means what it says here: each name that is looked up says where.

/// What a statement is written in, besides names, which are in small letters. Those are left out by which an operator is looked
/// up that nobody sees: `IN`, `USING`, `LIKE`, `BETWEEN`, `NULLIF`.
const WORDS: &str = "\
    SELECT WITH BEGIN COMMIT SET ALL AND ANY AS BY CASE COALESCE COMMITTED CROSS DEFERRABLE DESC DISTINCT ELSE END EXISTS FILTER \
    FROM GROUP HAVING IS ISOLATION JOIN LATERAL LEAST LEFT LEVEL LOCAL NOT NULL OFFSET ON ONLY OPERATOR OR ORDER ORDINALITY OVER PARTITION READ RECURSIVE ROWS \
    THEN TO UNION VALUES WHEN WHERE true false";
/// What a statement may begin with.
const FIRST_WORDS: [&str; 5] = ["SELECT", "WITH", "BEGIN", "COMMIT", "SET"];
/// Behind these a parenthesis calls nothing that has a name.
const BEFORE_PARENTHESIS: &str =
    "AND ANY AS COALESCE ELSE EXISTS FILTER FROM JOIN LATERAL LEAST NOT OR OVER SELECT THEN VALUES WHEN OPERATOR";

fn is_among(words: &str, word: &str) -> bool {
    words.split_ascii_whitespace().any(|known| known == word)
}

fn tokens(statement: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = statement.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_word = |character: char| character.is_ascii_alphanumeric() || character == '_';
        let length = match first {
            '\'' => rest[1..].find('\'').expect("a string ends") + 2,
            '$' => 1 + rest[1..].find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len() - 1),
            _ if is_word(first) => rest.find(|character| !is_word(character)).unwrap_or(rest.len()),
            _ if rest.starts_with("::") => 2,
            '(' | ')' | ',' | '.' | '[' | ']' | ';' => 1,
            _ => rest
                .find(|character: char| !"+-*/<>=~!@#%^&|`?".contains(character))
                .expect("an operator has a right side"),
        };
        assert!(length > 0, "{first:?} in {statement}");
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}

/// What is wrong with the names in a statement.
fn faults(statement: &str) -> Vec<String> {
    let tokens = tokens(statement);
    let is_name = |token: &str| {
        token.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') && !is_among(WORDS, token)
    };
    let at = |index: usize| tokens.get(index).copied().unwrap_or("");
    let before = |index: usize, back: usize| index.checked_sub(back).map_or("", at);
    let is_qualified = |index: usize| before(index, 1) == "." && before(index, 2) == "pg_catalog";
    // `name AS (` and `name(columns) AS (` of a WITH; `AS name(columns)`.
    let is_alias = |index: usize| before(index, 1) == "AS";
    let common: Vec<&str> = (0..tokens.len())
        .filter(|&index| is_name(at(index)) && matches!(before(index, 1), "WITH" | "RECURSIVE" | ","))
        .filter(|&index| {
            let behind = if at(index + 1) == "(" {
                index + 2 + tokens[index + 1..].iter().position(|token| *token == ")").unwrap_or(0)
            } else {
                index + 1
            };
            at(behind) == "AS" && at(behind + 1) == "("
        })
        .map(at)
        .collect();
    let mut faults = Vec::new();
    for (index, &token) in tokens.iter().enumerate() {
        let mut check = |holds: bool, what: &str| {
            if !holds {
                faults.push(format!("{what}: {} {token} {}", before(index, 1), at(index + 1)));
            }
        };
        if is_name(token) && at(index + 1) == "(" {
            check(is_qualified(index) || is_alias(index) || common.contains(&token), "a function");
        }
        if token == "(" && before(index, 1).chars().all(|character| character.is_ascii_uppercase()) {
            let keyword = before(index, 1);
            check(keyword.is_empty() || is_among(BEFORE_PARENTHESIS, keyword), "a keyword that calls");
        }
        if token == "::" {
            check(at(index + 1) == "pg_catalog" && at(index + 2) == ".", "a type");
        }
        if matches!(token, "FROM" | "JOIN")
            && at(index + 1) != "("
            && at(index + 1) != "LATERAL"
            && at(index + 1) != "ROWS"
        {
            let is_common = common.contains(&at(index + 1));
            check(is_common || (at(index + 1) == "pg_catalog" && at(index + 2) == "."), "a relation");
        }
        if token.starts_with(|first: char| "+-*/<>=~!@#%^&|`?".contains(first)) {
            let counts_rows = token == "*" && before(index, 1) == "(" && at(index + 1) == ")";
            let is_named = is_qualified(index) && before(index, 3) == "(" && before(index, 4) == "OPERATOR";
            check(is_named || counts_rows, "an operator");
        }
        // These look up an operator that nobody sees as well: `CASE x WHEN`, `IS DISTINCT FROM`.
        if token == "CASE" {
            check(at(index + 1) == "WHEN", "a comparison");
        }
        if token == "DISTINCT" {
            check(before(index, 1) != "IS" && before(index, 1) != "NOT", "a comparison");
        }
        let is_word = token.chars().all(|character| character.is_ascii_uppercase());
        check(!is_word || is_among(WORDS, token), "a word that is not known to be harmless");
    }
    faults
}

/// Every statement of these files.
fn statements() -> Vec<String> {
    [include_str!("../sql.rs"), include_str!("deadlock.rs"), include_str!("pooled.rs")]
        .into_iter()
        .flat_map(statements_of)
        // Of those that are put together from pieces each piece has been read by itself.
        .chain([super::HOLDERS, super::OVERVIEW, super::FREE_PLACE].map(str::to_owned))
        .chain(super::SINGLE.as_flattened().iter().copied().map(str::to_owned))
        .collect()
}

fn statements_of(code: &str) -> Vec<String> {
    let code = code.split("#[cfg(test)]").next().expect("the code comes before its tests");
    let code: String =
        code.lines().filter(|line| !line.trim_start().starts_with("//")).flat_map(|line| [line, "\n"]).collect();
    let texts = code.split('"').skip(1).step_by(2);
    // A backslash at the end of a line takes the blanks of the next with it.
    let joined = texts.map(|text| text.split("\\\n").map(str::trim_start).collect::<String>());
    joined.filter(|text| text.split([' ', ';']).next().is_some_and(|word| FIRST_WORDS.contains(&word))).collect()
}

#[test]
fn every_name_says_where_it_is() {
    let statements = statements();
    assert!(statements.iter().any(|text| text.contains("pg_try_advisory_lock")) && statements.len() >= 16);
    for statement in statements {
        assert_eq!(faults(&statement), Vec::<String>::new(), "in {statement}");
    }
}

#[test]
fn what_pins_says_where_its_names_are() {
    use crate::core::Mode;
    for space in [1, 2] {
        for mode in [Mode::Exclusive, Mode::Shared] {
            let settings = [("lock_timeout", "0".to_owned()), ("exit_on_error", "off".to_owned())];
            for asked_for in [false, true] {
                let text = super::pooled::pin(space, mode, &settings, asked_for);
                assert!(text.ends_with("'exit_on_error', 'off', true)"));
                assert_eq!(text.contains("pg_is_in_recovery"), asked_for);
                assert_eq!(faults(&text), Vec::<String>::new(), "in {text}");
            }
        }
    }
}

#[test]
fn the_block_of_a_pooled_turn_says_where_its_names_are() {
    use crate::core::{Key, Mode};
    for key in [Key::Pair(-1, 2), Key::Single(i64::MIN)] {
        for mode in [Mode::Exclusive, Mode::Shared] {
            let text = super::pooled::turn(key, mode, 200, "0123456789abcdef");
            let body = text.strip_prefix("DO $turn$ ").and_then(|rest| rest.strip_suffix(" END $turn$"));
            let body = body.expect("it is a block").replace("PERFORM", "SELECT");
            let words = ["EXCEPTION ", "BEGIN ", "END; ", "END IF; ", "IF "];
            let body = words.iter().fold(body, |body, word| body.replace(word, ""));
            assert_eq!(faults(&body), Vec::<String>::new(), "in {body}");
            assert_ne!(faults(&body.replace("pg_catalog.pg_advisory", "pg_advisory")), Vec::<String>::new());
        }
    }
}

#[test]
fn each_kind_of_name_is_looked_at() {
    for statement in [
        "SELECT count(x) FROM pg_catalog.pg_locks",
        "SELECT evil.count(x) FROM pg_catalog.pg_locks",
        "SELECT x::int4 FROM pg_catalog.pg_locks",
        "SELECT x FROM pg_locks",
        "SELECT x FROM pg_catalog.pg_locks JOIN pg_database ON true",
        "SELECT x = 1 FROM pg_catalog.pg_locks",
        "SELECT x OPERATOR(evil.=) 1 FROM pg_catalog.pg_locks",
        "SELECT x FROM pg_catalog.pg_locks WHERE x IN (1)",
        "SELECT x FROM pg_catalog.pg_locks JOIN pg_catalog.pg_database USING (x)",
        "SELECT CASE x WHEN 1 THEN true END FROM pg_catalog.pg_locks",
        "SELECT x IS DISTINCT FROM 1 FROM pg_catalog.pg_locks",
        "SELECT x FROM pg_catalog.pg_locks WHERE x BETWEEN 1 AND 2",
        "SELECT NULLIF(x, 1) FROM pg_catalog.pg_locks",
        "WITH known AS (SELECT 1) SELECT x FROM unknown",
    ] {
        assert_ne!(faults(statement), Vec::<String>::new(), "{statement}");
    }
    assert_eq!(
        faults("WITH known(x) AS (SELECT 1) SELECT pg_catalog.max(x) OPERATOR(pg_catalog.=) 1 FROM known"),
        Vec::<String>::new()
    );
}

#[test]
fn the_block_of_a_turn_says_where_its_names_are() {
    use crate::core::{Key, Mode};
    for key in [Key::Pair(-1, 2), Key::Single(i64::MIN)] {
        for mode in [Mode::Exclusive, Mode::Shared] {
            let text = super::turn(key, mode, 900, Some((64, 2..=9)), "0123456789abcdef");
            let body = text.strip_prefix("DO $turn$ DECLARE ").and_then(|rest| rest.strip_suffix(" END $turn$"));
            let body = body.expect("it is a block");
            // What is left are expressions and queries, in words that statements have as well.
            let body = body.replace(":=", "AS").replace("PERFORM", "SELECT");
            let body = [
                "EXCEPTION ",
                "BEGIN ",
                "END IF; ",
                "END LOOP; ",
                "END; ",
                "IF ",
                "FOR place IN REVERSE 9 .. 2 LOOP ",
                "EXIT ",
            ]
            .iter()
            .fold(body, |body, word| body.replace(word, ""));
            assert_eq!(faults(&body), Vec::<String>::new(), "in {body}");
            assert_ne!(faults(&body.replace("pg_catalog.pg_advisory_lock", "pg_advisory_lock")), Vec::<String>::new());
        }
    }
}

#[test]
fn the_block_of_a_fence_says_where_its_names_are() {
    use super::fence::{statement, Part};
    use crate::core::Key;
    let part = |key| Part { key, own_key: Key::Single(i64::MIN), gate: Key::Pair(1, -2) };
    let text = statement(&[part(Key::Pair(-1, 2)), part(Key::Single(3))], "name");
    let body = text.strip_prefix("DO $fence$ DECLARE ").and_then(|rest| rest.strip_suffix(" END $fence$"));
    let body = body.expect("it is a block").replace(":=", "AS").replace("PERFORM", "SELECT").replace("''", "");
    let body = [
        "EXCEPTION WHEN invalid_transaction_termination THEN ",
        "RAISE EXCEPTION ",
        "USING ERRCODE = '25P01', MESSAGE = ",
        "USING ERRCODE = '55000', MESSAGE = ",
        "HINT = ",
        "BEGIN COMMIT; ",
        "BEGIN ",
        "EXECUTE ",
        "END IF;",
        "END; ",
        "IF ",
    ]
    .iter()
    .fold(body, |body, word| body.replace(word, ""))
    .replace("SQLERRM", "NULL");
    assert_eq!(faults(&body), Vec::<String>::new(), "in {body}");
    assert_ne!(faults(&body.replace("pg_catalog.pg_locks", "pg_locks")), Vec::<String>::new());
    assert_ne!(faults(&body.replace("pg_catalog.set_config", "set_config")), Vec::<String>::new());
}
