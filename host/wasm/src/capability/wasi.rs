//! WASI 0.2 with nothing behind it but what the manifest grants: no environment, no files, no
//! network, no arguments. Standard output goes nowhere; standard error becomes log lines, because
//! there a runtime says why it gave up.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    FsPerms, WasiCtx, async_trait,
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

use super::log;
use crate::{
    spec::{Access, FileGrant},
    state::Guest,
};

/// Longest line of standard error, in octets; longer ones are broken.
const LINE_BYTES_MAX: usize = 4 * 1024;

/// The context of a new store.
pub(crate) fn context(guest: &Arc<Guest>) -> WasiCtx {
    let mut builder = WasiCtx::builder();
    builder.stderr(Stderr::new(Arc::clone(guest)));
    let grants = &guest.spec.grants;
    for (name, value) in &grants.env {
        builder.env(name, value);
    }
    for FileGrant {
        host,
        guest: path,
        access,
    } in &grants.files
    {
        let perms = match access {
            Access::ReadOnly => FsPerms::ReadOnly,
            Access::ReadWrite => FsPerms::ReadWrite,
        };
        // A folder may go away after the deploy that found it; the guest then does not see it.
        if let Err(error) = builder.preopened_dir(host, path, perms) {
            tracing::warn!(plugin = %guest.plugin, folder = %host.display(), %error, "folder not granted");
        }
    }
    builder.build()
}

/// Standard error of one instance; all its streams share the line that is being written.
#[derive(Clone)]
struct Stderr {
    guest: Arc<Guest>,
    line: Arc<Mutex<Vec<u8>>>,
}

impl Stderr {
    fn new(guest: Arc<Guest>) -> Self {
        Self {
            guest,
            line: Arc::default(),
        }
    }

    fn push(&self, octets: &[u8]) {
        let mut line = self.line.lock();
        for octet in octets {
            if *octet != b'\n' {
                line.push(*octet);
            }
            if *octet == b'\n' || line.len() >= LINE_BYTES_MAX {
                self.tell(&mut line);
            }
        }
    }

    fn tell(&self, line: &mut Vec<u8>) {
        let text = String::from_utf8_lossy(line);
        if !text.trim().is_empty() {
            log::on_stderr(&self.guest, text.trim_end());
        }
        line.clear();
    }
}

impl Drop for Stderr {
    fn drop(&mut self) {
        // The last words of a guest often end without a line feed.
        if Arc::strong_count(&self.line) == 1 {
            self.tell(&mut self.line.lock());
        }
    }
}

impl IsTerminal for Stderr {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stderr {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Stderr {
    async fn ready(&mut self) {}
}

impl OutputStream for Stderr {
    fn write(&mut self, octets: Bytes) -> StreamResult<()> {
        self.push(&octets);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(LINE_BYTES_MAX)
    }
}

impl AsyncWrite for Stderr {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.push(octets);
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
