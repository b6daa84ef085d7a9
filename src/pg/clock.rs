//! The time since the machine was started, that of its sleep included.
//!
//! A lock is given to others after a time that passes at the server, whether or not this machine is awake. [`Instant`]
//! stands still while a Linux machine is suspended (`CLOCK_MONOTONIC`), and on macOS too: a laptop that has slept for an hour
//! would take its last sign of life for one of a moment ago.
//!
//! [`Instant`]: std::time::Instant

use std::time::Duration;

/// The time since some moment of the past, never going back.
#[cfg(unix)]
#[must_use]
pub fn now() -> Duration {
    use rustix::time::{clock_gettime, ClockId};
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK: ClockId = ClockId::Boottime;
    // Counts the time of sleep on macOS, unlike what the standard library uses there.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const CLOCK: ClockId = ClockId::Monotonic;
    let time = clock_gettime(CLOCK);
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or(0), nanoseconds.unwrap_or(0))
}

/// The time since some moment of the past, never going back.
#[cfg(not(unix))]
#[must_use]
pub fn now() -> Duration {
    use std::sync::OnceLock;
    use std::time::Instant;
    // Windows counts the time of sleep there.
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    BEGIN.get_or_init(Instant::now).elapsed()
}
