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
use wasmtime::{
    StoreContextMut,
    component::{Linker, LinkerInstance, ResourceTable},
};
use wasmtime_wasi::{
    FsPerms, WasiCtx, WasiCtxView, WasiView, async_trait,
    cli::{IsTerminal, StdoutStream, WasiCli, WasiCliView as _},
    clocks::{WasiClocks, WasiClocksView as _},
    p2::{
        OutputStream, Pollable, StreamResult,
        bindings::{
            cli,
            clocks::{self, monotonic_clock::Host as _},
            random,
        },
    },
    random::{WasiRandom, WasiRandomView as _},
};

use crate::{
    spec::{Access, FileGrant, LogLevel},
    state::{Guest, StoreState},
};

/// Longest line of standard error, in octets; longer ones are broken.
const LINE_BYTES_MAX: usize = 4 * 1024;

/// Interfaces of which `link_inline` links every function: they neither wait nor have an effect outside
/// the store.
pub(crate) const INLINE: [&str; 6] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:clocks/wall-clock",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
];

/// What WASI keeps in a store, from its first use on.
struct Wasi {
    context: WasiCtx,
    table: ResourceTable,
}

pub(crate) fn link_async(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)
}

pub(crate) fn link_inline(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    cli::environment::add_to_linker::<StoreState, WasiCli>(linker, StoreState::cli)?;
    cli::exit::add_to_linker::<StoreState, WasiCli>(linker, StoreState::cli)?;
    clocks::wall_clock::add_to_linker::<StoreState, WasiClocks>(linker, StoreState::clocks)?;
    random::insecure::add_to_linker::<StoreState, WasiRandom>(linker, StoreState::random)?;
    random::insecure_seed::add_to_linker::<StoreState, WasiRandom>(linker, StoreState::random)?;
    random::random::add_to_linker::<StoreState, WasiRandom>(linker, StoreState::random)
}

/// What waits there is replaced afterwards (`io.rs`, and traps by name).
pub(crate) fn link_direct(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_sync(linker)
}

/// Links the function `name` of `interface` if it only looks at the clock; whether it does. What else
/// that clock offers is for those who wait.
pub(crate) fn link_clock(
    instance: &mut LinkerInstance<'_, StoreState>,
    interface: &str,
    name: &str,
) -> wasmtime::Result<bool> {
    type Store<'a> = StoreContextMut<'a, StoreState>;
    match (interface, name) {
        ("wasi:clocks/monotonic-clock", "now") => {
            instance.func_wrap(name, |mut store: Store<'_>, (): ()| {
                Ok((store.data_mut().clocks().now()?,))
            })?;
        }
        ("wasi:clocks/monotonic-clock", "resolution") => {
            instance.func_wrap(name, |mut store: Store<'_>, (): ()| {
                Ok((store.data_mut().clocks().resolution()?,))
            })?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

impl WasiView for StoreState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        if self.kept.get::<Wasi>().is_none() {
            self.kept.put(Wasi {
                context: context(&self.guest),
                table: ResourceTable::new(),
            });
        }
        let wasi = self.kept.get_mut::<Wasi>();
        let Wasi { context, table } = wasi.expect("it was put in place above");
        WasiCtxView {
            ctx: context,
            table,
        }
    }
}

fn context(guest: &Arc<Guest>) -> WasiCtx {
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
            on_line(&self.guest, text.trim_end());
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

/// A line that the guest printed to its standard error, as runtimes do when they give up.
fn on_line(guest: &Guest, line: &str) {
    if guest.spec.log_level <= LogLevel::Warn && guest.admit_line() {
        tracing::warn!(target: "plugin", plugin = %guest.plugin, stream = "stderr", "{line}");
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
