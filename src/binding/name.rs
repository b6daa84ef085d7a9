//! Names to keys.

use crate::core::Key;
use napi_derive::napi;

/// The two halves of a name's key.
#[napi(catch_unwind)]
#[must_use]
pub fn key_of_name(name: String) -> Vec<i32> {
    let (high, low) = Key::of_name(&name).halves();
    vec![high, low]
}
