//! What a look at a file finds, and how a file is read: whole, the same before and after, never empty.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

/// A file's outward signs, of the target where the path is a link. They tell when to read again; the
/// content decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    identity: FileIdentity,
    length: u64,
    modified: Option<SystemTime>,
    /// Seconds and nanoseconds; nobody can set it back.
    changed: (i64, i64),
}

/// Which file or folder it is, whatever its name. The time of birth tells an inode that was given
/// away again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileIdentity {
    device: u64,
    inode: u64,
    born: Option<SystemTime>,
}

/// What a look at a path finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathState {
    Absent,
    /// A link whose target is not there.
    Dangling,
    There(Stamp),
    /// A folder, a pipe, a device.
    Special,
    Unreadable(io::ErrorKind),
}

/// Why a file says nothing at present.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("{} changed while it was read", .0.display())]
    Changing(PathBuf),
    #[error("{} is empty", .0.display())]
    Empty(PathBuf),
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} has {length} bytes, the limit is {limit}", path.display())]
    TooLong {
        path: PathBuf,
        length: u64,
        limit: u64,
    },
}

impl PathState {
    pub(crate) fn of(path: &Path) -> Self {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => Self::There(Stamp::of(&metadata)),
            Ok(_) => Self::Special,
            Err(error) if is_absent(&error) => match fs::symlink_metadata(path) {
                Ok(_) => Self::Dangling,
                Err(error) if is_absent(&error) => Self::Absent,
                Err(error) => Self::Unreadable(error.kind()),
            },
            Err(error) => Self::Unreadable(error.kind()),
        }
    }
}

impl Stamp {
    pub(crate) fn of(metadata: &fs::Metadata) -> Self {
        #[cfg(unix)]
        let changed = {
            use std::os::unix::fs::MetadataExt;
            (metadata.ctime(), metadata.ctime_nsec())
        };
        #[cfg(not(unix))]
        let changed = (0, 0);
        Self {
            identity: FileIdentity::of(metadata),
            length: metadata.len(),
            modified: metadata.modified().ok(),
            changed,
        }
    }

    /// Whether reading it at every look costs nothing worth a thought.
    pub(crate) const fn is_short(&self) -> bool {
        self.length <= SHORT_BYTES_MAX
    }
}

impl FileIdentity {
    pub(crate) fn of(metadata: &fs::Metadata) -> Self {
        #[cfg(unix)]
        let (device, inode) = {
            use std::os::unix::fs::MetadataExt;
            (metadata.dev(), metadata.ino())
        };
        #[cfg(not(unix))]
        let (device, inode) = (0, 0);
        Self {
            device,
            inode,
            born: metadata.created().ok(),
        }
    }
}

/// Reads a file whole. `None` when it is not there. Blocks.
///
/// # Errors
/// `Changing` when it is not the same before and after; `Empty` for a file of no bytes.
pub(crate) fn read(path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, ReadError> {
    let unreadable = |source| ReadError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if is_absent(&error) && PathState::of(path) == PathState::Absent => {
            return Ok(None);
        }
        Err(error) => return Err(unreadable(error)),
    };
    let before = file.metadata().map_err(unreadable)?;
    let too_long = |length| ReadError::TooLong {
        path: path.to_owned(),
        length,
        limit: bytes_max,
    };
    if before.len() > bytes_max {
        return Err(too_long(before.len()));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(before.len()).unwrap_or_default());
    let reading = (&mut file).take(bytes_max + 1).read_to_end(&mut bytes);
    let n_bytes = reading.map_err(unreadable)? as u64;
    if n_bytes > bytes_max {
        return Err(too_long(n_bytes));
    }
    let before = Stamp::of(&before);
    let is_whole = n_bytes == before.length && PathState::of(path) == PathState::There(before);
    match is_whole {
        false => Err(ReadError::Changing(path.to_owned())),
        true if bytes.is_empty() => Err(ReadError::Empty(path.to_owned())),
        true => Ok(Some(bytes)),
    }
}

/// A read of it takes some ten microseconds out of the page cache.
const SHORT_BYTES_MAX: u64 = 64 * 1024;

/// A path that leads nowhere, also where one of its folders is none.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
