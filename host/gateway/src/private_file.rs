//! Files and folders that nobody but their owner reads, written whole: whoever follows one sees what was
//! there before or all of what is new.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    path::Path,
};

/// Makes `path` and what is missing above it.
///
/// # Errors
/// What the operating system says.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Writes beside `path` and renames.
///
/// # Errors
/// What the operating system says; then `path` is as it was.
pub(crate) fn put(path: &Path, octets: &[u8]) -> io::Result<()> {
    let beside = path.with_extension(format!("{}~", std::process::id()));
    // Left by a process of the same number that was killed.
    drop(fs::remove_file(&beside));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options
        .open(&beside)
        .and_then(|mut file| file.write_all(octets).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // What was not written is of no use to anybody.
        drop(fs::remove_file(&beside));
    }
    written
}
