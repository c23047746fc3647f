//! Files below one folder, as `tower-http` asks for them.
//!
//! **Invariant:** unless links are followed, nothing outside of the folder is opened, whatever the path or
//! a link on the way says: `cap-std` resolves every name below the folder (by `openat2` on Linux), so
//! that nobody who changes a link meanwhile wins anything. What is no file, such as a pipe, is not
//! opened.

use std::{
    fs, io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::SystemTime,
};

use cap_std::{ambient_authority, fs::Dir};
use postern_core::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncSeek, ReadBuf},
    task::spawn_blocking,
};
use tower_http::services::fs::{Backend, File, Metadata};

/// A folder. It is opened anew for each file, so that one that was replaced is seen.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    path: Arc<Path>,
    follows_links: bool,
}

/// What is known of a file or folder without opening it.
#[derive(Debug, Clone)]
pub(super) struct FileFacts {
    is_dir: bool,
    is_file: bool,
    length: u64,
    modified: Option<SystemTime>,
}

/// A file that is open.
#[derive(Debug)]
pub(super) struct OpenFile {
    file: tokio::fs::File,
    facts: FileFacts,
}

impl Folder {
    pub(super) fn new(path: &Path, follows_links: bool) -> Self {
        Self {
            path: path.into(),
            follows_links,
        }
    }

    fn facts_of(&self, name: &Path) -> io::Result<FileFacts> {
        if self.follows_links {
            return Ok(FileFacts::of(&fs::metadata(self.path.join(name))?));
        }
        let dir = Dir::open_ambient_dir(&self.path, ambient_authority())?;
        let metadata = dir.metadata(name)?;
        Ok(FileFacts {
            is_dir: metadata.is_dir(),
            is_file: metadata.is_file(),
            length: metadata.len(),
            modified: metadata
                .modified()
                .ok()
                .map(cap_std::time::SystemTime::into_std),
        })
    }

    fn open_file(&self, name: &Path) -> io::Result<OpenFile> {
        // Opening a pipe would wait for whoever writes to it.
        if !self.facts_of(name)?.is_file {
            return Err(io::ErrorKind::NotFound.into());
        }
        let file = if self.follows_links {
            fs::File::open(self.path.join(name))?
        } else {
            let dir = Dir::open_ambient_dir(&self.path, ambient_authority())?;
            dir.open(name)?.into_std()
        };
        let facts = FileFacts::of(&file.metadata()?);
        Ok(OpenFile {
            file: tokio::fs::File::from_std(file),
            facts,
        })
    }
}

impl FileFacts {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            is_dir: metadata.is_dir(),
            is_file: metadata.is_file(),
            length: metadata.len(),
            modified: metadata.modified().ok(),
        }
    }
}

impl Backend for Folder {
    type File = OpenFile;
    type Metadata = FileFacts;
    type OpenFuture = BoxFuture<io::Result<OpenFile>>;
    type MetadataFuture = BoxFuture<io::Result<FileFacts>>;

    fn open(&self, path: PathBuf) -> Self::OpenFuture {
        let folder = self.clone();
        Box::pin(async move { joined(spawn_blocking(move || folder.open_file(&path)).await) })
    }

    fn metadata(&self, path: PathBuf) -> Self::MetadataFuture {
        let folder = self.clone();
        Box::pin(async move { joined(spawn_blocking(move || folder.facts_of(&path)).await) })
    }
}

/// A panic of the blocking part is an error of its call.
fn joined<T>(ended: Result<io::Result<T>, tokio::task::JoinError>) -> io::Result<T> {
    ended.unwrap_or_else(|error| Err(io::Error::other(error)))
}

impl Metadata for FileFacts {
    fn is_dir(&self) -> bool {
        self.is_dir
    }

    fn modified(&self) -> io::Result<SystemTime> {
        self.modified
            .ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    fn len(&self) -> u64 {
        self.length
    }
}

impl File for OpenFile {
    type Metadata = FileFacts;
    type MetadataFuture<'a> = std::future::Ready<io::Result<FileFacts>>;

    fn metadata(&self) -> Self::MetadataFuture<'_> {
        std::future::ready(Ok(self.facts.clone()))
    }
}

impl AsyncRead for OpenFile {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.file).poll_read(cx, buffer)
    }
}

impl AsyncSeek for OpenFile {
    fn start_seek(mut self: Pin<&mut Self>, position: io::SeekFrom) -> io::Result<()> {
        Pin::new(&mut self.file).start_seek(position)
    }

    fn poll_complete(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Pin::new(&mut self.file).poll_complete(cx)
    }
}
