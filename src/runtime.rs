//! The I/O thread: one per process, started by the first connection, running every session of every owner.

use std::sync::OnceLock;
use tokio::runtime::{Builder, Handle};

/// The way to spawn onto the I/O thread.
///
/// # Panics
/// Where the system gives the process no thread or no event queue: nothing could work then.
#[must_use]
pub fn handle() -> &'static Handle {
    static HANDLE: OnceLock<Handle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .thread_keep_alive(std::time::Duration::from_millis(500))
            .build()
            .expect("BUG: the system gives no event queue");
        let handle = runtime.handle().clone();
        std::thread::Builder::new()
            .name("advisory-lock-io".to_owned())
            .spawn(move || runtime.block_on(std::future::pending::<()>()))
            .expect("BUG: the system gives no thread");
        handle
    })
}
