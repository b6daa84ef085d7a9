//! The face towards JavaScript: arguments in, completions out, no lock logic. The only user of napi.
//!
//! Only data crosses it. Calls are answered at once where that is possible; later answers lie in the client's mailbox,
//! for which JavaScript is called once per batch, or which a call's reply announces. See `lib/mailbox.js` for the other
//! side.

// A test program exports nothing, so nothing uses them there.
#[cfg_attr(test, allow(dead_code))]
#[cfg(unix)]
mod attend;
#[cfg_attr(test, allow(dead_code))]
mod calls;
mod client;
#[cfg(unix)]
#[cfg_attr(test, allow(dead_code))]
mod command;
mod config;
mod data;
#[cfg_attr(test, allow(dead_code))]
mod fence;
#[cfg_attr(test, allow(dead_code))]
mod name;
mod news;
mod numbers;
#[cfg_attr(test, allow(dead_code))]
mod overview;
mod owner;
mod panics;
mod passwords;
#[cfg_attr(test, allow(dead_code))]
mod stats;
mod unsent;
