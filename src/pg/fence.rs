//! Fences: statements by which a transaction of anybody's makes sure that a hold stands, and keeps the next holder out until it
//! has ended.

use crate::core::{Key, Mode};
use crate::pg::sql::fence::{statement, Part};

/// One key of a fenced hold.
#[derive(Clone, Copy, Debug)]
pub struct FencePart {
    /// What is held.
    pub key: Key,
    /// How it is held.
    pub mode: Mode,
    /// The key that only this hold has, locked by the same session.
    pub own_key: Key,
}

/// The key that transactions under a fence of such holds lock shared, and that later holders take exclusively before they are
/// told of their hold: the first two words of the SHA-256 of `advisory-lock-native fence exclusively 2 <high> <low>`, with
/// `shared` for shared holds and 1 for a single key, as of a name.
#[must_use]
pub fn gate_key(key: Key, mode: Mode) -> Key {
    let (high, low) = key.halves();
    Key::of_name(&format!("advisory-lock-native fence {mode} {} {high} {low}", key.space()))
}

/// How a lock is called in the message of a fence: by its name, as far as that cannot harm, and its keys.
fn describe(name: &str, parts: &[FencePart]) -> String {
    const LONGEST: usize = 60;
    let is_harmless = |character: char| {
        character == ' ' || (character.is_ascii_graphic() && !['\'', '"', '\\', '$', '`'].contains(&character))
    };
    let mut described: String =
        name.chars().take(LONGEST).map(|character| if is_harmless(character) { character } else { '?' }).collect();
    if name.chars().nth(LONGEST).is_some() {
        described.push_str("...");
    }
    match parts {
        [part] if described.is_empty() => part.key.to_string(),
        [part] => format!("\"{described}\" {}", part.key),
        _ => format!("\"{described}\""),
    }
}

/// The statement that makes sure of a hold of all these keys. `name` is for whoever reads its message.
#[must_use]
pub fn fence(parts: &[FencePart], name: &str) -> String {
    let lock = describe(name, parts);
    let mut parts: Vec<Part> = parts
        .iter()
        .map(|part| Part { key: part.key, own_key: part.own_key, gate: gate_key(part.key, part.mode) })
        .collect();
    // Everybody takes them in the same order.
    parts.sort_by_key(|part| part.gate);
    statement(&parts, &lock)
}

#[cfg(test)]
mod tests {
    use super::{fence, gate_key, FencePart};
    use crate::core::{Key, Mode};

    const PART: FencePart = FencePart { key: Key::Pair(-1, 2), mode: Mode::Exclusive, own_key: Key::Single(-3) };

    #[test]
    fn gates_differ_by_key_space_and_mode() {
        let keys = [Key::Pair(0, 1), Key::Single(1), Key::Pair(1, 0)];
        let gates: Vec<Key> =
            keys.into_iter().flat_map(|key| [Mode::Exclusive, Mode::Shared].map(|mode| gate_key(key, mode))).collect();
        for (place, gate) in gates.iter().enumerate() {
            assert!(!gates[..place].contains(gate) && !keys.contains(gate));
        }
        assert_eq!(gates[0], Key::of_name("advisory-lock-native fence exclusively 2 0 1"));
    }

    #[test]
    fn a_hostile_name_stays_within_its_message() {
        for name in ["it's $fence$ ", "\\'; DROP TABLE x; --", "a\n\0\u{202e}\u{1f512}", &"x".repeat(1000)] {
            let text = fence(&[PART], name);
            assert_eq!(text.matches("$fence$").count(), 2, "{text}");
            assert_eq!(text.matches('\'').count(), fence(&[PART], "name").matches('\'').count(), "{text}");
            assert!(text.is_ascii() && !text.contains('\\') && !text.contains(['\n', '\0']), "{text}");
            assert!(text.len() < fence(&[PART], "").len() + 100);
        }
        assert!(fence(&[PART], "stats").contains("the lock \"stats\" [-1, 2] is not held"));
        assert!(fence(&[PART], "").contains("the lock [-1, 2] is not held"));
    }

    #[test]
    fn several_keys_are_looked_for_in_one_order() {
        let other = FencePart { key: Key::Single(7), mode: Mode::Shared, own_key: Key::Single(8) };
        assert_eq!(fence(&[PART, other], "a, b"), fence(&[other, PART], "a, b"));
    }
}
