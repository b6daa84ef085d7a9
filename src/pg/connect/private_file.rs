//! Files that hold a secret. One that others can get at is not read, lest it be relied on.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::Path;

/// Why a file was not read.
#[derive(Debug)]
pub(in crate::pg) enum Unreadable {
    NotPlain,
    Exposed,
    System(io::Error),
}

/// Reads the file. `group_may_read`: a file of root's may be readable by a group.
pub(in crate::pg) fn read(path: &Path, group_may_read: bool) -> Result<Vec<u8>, Unreadable> {
    // Asked first: to open what is no file may wait for ever.
    let metadata = fs::metadata(path).map_err(Unreadable::System)?;
    if !metadata.is_file() {
        return Err(Unreadable::NotPlain);
    }
    if is_exposed(&metadata, group_may_read) {
        return Err(Unreadable::Exposed);
    }
    let mut content = Vec::new();
    File::open(path).and_then(|mut file| file.read_to_end(&mut content)).map_err(Unreadable::System)?;
    Ok(content)
}

#[cfg(unix)]
fn is_exposed(metadata: &Metadata, group_may_read: bool) -> bool {
    use std::os::unix::fs::MetadataExt;
    let private = if group_may_read && metadata.uid() == 0 { 0o037 } else { 0o077 };
    metadata.mode() & private != 0
}

#[cfg(not(unix))]
fn is_exposed(_: &Metadata, _: bool) -> bool {
    false
}
