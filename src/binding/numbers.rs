//! Numbers across the boundary: JavaScript counts in floating point.

/// A request's number as JavaScript counts.
// JavaScript numbers acquires below 2⁴⁹ (`lib/request-numbers.js`), and everything else far below 2⁵³.
#[allow(clippy::cast_precision_loss)]
pub(super) fn exact(number: u64) -> f64 {
    number as f64
}

/// A number that JavaScript counted.
// `as` maps what is no such number to 0 or the largest, and neither names anything.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(super) fn number(number: f64) -> u64 {
    number as u64
}
