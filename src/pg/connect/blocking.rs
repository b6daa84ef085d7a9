//! Work that may block, off the I/O thread.

use crate::error::Error;
use std::thread;
use tokio::sync::oneshot;

/// Does the work on a thread of its own.
///
/// # Errors
/// The system's code (`EAGAIN`) where there is no thread for it; `ERR_INTERNAL`: the work has panicked.
///
/// # Cancel safety
/// The work goes on, and nobody is told of its end.
pub(in crate::pg) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let (tell, told) = oneshot::channel();
    let started = thread::Builder::new().name("advisory-lock-aside".to_owned()).spawn(move || {
        // Whoever wanted to know may have given up.
        let _ = tell.send(work());
    });
    started.map_err(|error| Error::system(&error, None).about("no thread for what a connection needs"))?;
    told.await.map_err(|_| Error::new("ERR_INTERNAL", "BUG: what prepares a connection has panicked"))
}
