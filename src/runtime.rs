//! The I/O thread: one per process, started by the first connection, running every session of every owner.

use crate::error::Error;
use std::sync::{Mutex, OnceLock, PoisonError};
use tokio::runtime::{Builder, Handle};

/// The way to spawn onto the I/O thread.
///
/// # Errors
/// The system gives the process no thread (`EAGAIN`) or no event queue (`EMFILE`). A later call tries again.
pub fn handle() -> Result<&'static Handle, Error> {
    static HANDLE: OnceLock<Handle> = OnceLock::new();
    static STARTING: Mutex<()> = Mutex::new(());
    if let Some(handle) = HANDLE.get() {
        return Ok(handle);
    }
    let _alone = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = HANDLE.get() {
        return Ok(handle);
    }
    let started = start().map_err(|error| Error::system(&error, None).about("no thread for connections"))?;
    Ok(HANDLE.get_or_init(|| started))
}

fn start() -> std::io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new()
        .name("advisory-lock-io".to_owned())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    Ok(handle)
}
