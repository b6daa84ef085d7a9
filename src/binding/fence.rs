//! Fences, as far as they need no server: what holders wait for, and what transactions send.

use super::calls::{key, mode};
use crate::core::Key;
use crate::pg::fence::{fence, gate_key, FencePart};
use napi::{Error, Result};
use napi_derive::napi;

/// One key of a fenced hold.
#[napi(object)]
pub struct FencePartData {
    /// The halves of the key, and the flags of the acquire.
    pub high: i32,
    /// The lower half.
    pub low: i32,
    /// Of which the mode and the key space count.
    pub flags: u32,
    /// The number of the key that only this hold has.
    pub own_number: String,
}

/// The halves of the key that transactions under fences of such holds keep from later holders.
#[napi(catch_unwind)]
#[must_use]
pub fn gate_of(high: i32, low: i32, flags: u32) -> Vec<i32> {
    let (high, low) = gate_key(key(high, low, flags), mode(flags)).halves();
    vec![high, low]
}

/// The statement that makes sure of a hold of all these keys, in a transaction of anybody's.
#[napi(catch_unwind)]
pub fn fence_statement(parts: Vec<FencePartData>, name: String) -> Result<String> {
    let part = |part: &FencePartData| {
        let own_number =
            part.own_number.parse().map_err(|_| Error::from_reason("BUG: the own key of a hold has no number"))?;
        Ok(FencePart {
            key: key(part.high, part.low, part.flags),
            mode: mode(part.flags),
            own_key: Key::Single(own_number),
        })
    };
    Ok(fence(&parts.iter().map(part).collect::<Result<Vec<_>>>()?, &name))
}
