//! Names to keys.

use crate::core::Key;
use crate::manager::remember_name;
use napi_derive::napi;

/// The two halves of a name's key. `remembered`: what the key is called may be said in the database.
#[napi(catch_unwind)]
#[must_use]
pub fn key_of_name(name: String, remembered: bool) -> Vec<i32> {
    let key = Key::of_name(&name);
    if remembered {
        remember_name(key, &name, None);
    }
    let (high, low) = key.halves();
    vec![high, low]
}

/// The same of a name that stands for a part of the semaphore of a name: what it is called is that.
#[napi(catch_unwind)]
#[must_use]
pub fn key_of_part(name: String, semaphore: String, part: String) -> Vec<i32> {
    let key = Key::of_name(&name);
    remember_name(key, &semaphore, Some(&part));
    let (high, low) = key.halves();
    vec![high, low]
}
