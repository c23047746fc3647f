//! WASI with nothing behind it but what the manifest grants: no environment, no files, no
//! network, no arguments. What a guest prints becomes log lines; the end of its standard error is
//! kept beside, because there a runtime says why it gave up.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime::component::Linker;
use wasmtime_wasi::{
    FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView, async_trait,
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamError, StreamResult},
    sockets::SocketAddrUse,
};

use crate::{
    denial::Denial,
    guest_output::OutputTail,
    handles::Handles,
    journal::Journal,
    socket_grant::{SocketGrant, SocketProtocol},
    spec::{Access, FileGrant, LogLevel},
    state::{Guest, StoreState},
    trap::Stop,
};

/// Longest line that a guest prints, in octets; longer ones are broken.
const LINE_BYTES_MAX: usize = 4 * 1024;

/// Interfaces whose functions neither wait nor have an effect outside the store: some look, others hand out
/// streams and folders, and what those are used for is decided where they are used.
const HARMLESS: [&str; 15] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
];
/// The clock for those who wait, and what of it only looks.
const MONOTONIC_CLOCK: &str = "wasi:clocks/monotonic-clock";
const CLOCK_GETTERS: [&str; 2] = ["now", "resolution"];

/// What WASI keeps in a store beside the handles, from its first use on.
struct Wasi(WasiCtx);

pub(crate) fn link_async(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)
}

/// For stores that cannot wait. What would is replaced afterwards: `wasi:io` by `io.rs`, whose streams are
/// let go of without waiting, and functions by bailouts on the inline path, by traps where a component is
/// entered directly.
pub(crate) fn link_sync(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_sync(linker)
}

/// Whether a function of WASI may be called on the inline path.
pub(crate) fn is_harmless(interface: &str, function: &str) -> bool {
    HARMLESS.contains(&interface)
        || interface == MONOTONIC_CLOCK && CLOCK_GETTERS.contains(&function)
}

impl WasiView for StoreState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        Handles::prepare(&mut self.kept);
        if self.kept.get::<Wasi>().is_none() {
            let stderr = Arc::clone(self.stderr.get_or_insert_default());
            let context = context(&self.guest, stderr, self.journal.as_ref());
            self.kept.put(Wasi(context));
        }
        let both = self.kept.pair_mut::<Wasi, Handles>();
        let (Wasi(ctx), Handles(table)) = both.expect("they were put in place above");
        WasiCtxView { ctx, table }
    }
}

fn context(guest: &Arc<Guest>, tail: Arc<OutputTail>, journal: Option<&Journal>) -> WasiCtx {
    let mut builder = WasiCtx::builder();
    builder.stdout(Printed::new(
        guest,
        Stream::Stdout,
        Arc::clone(&tail),
        journal,
    ));
    builder.stderr(Printed::new(guest, Stream::Stderr, tail, journal));
    grant_sockets(&mut builder, guest);
    let grants = &guest.spec.grants;
    if let Some(journal) = journal {
        builder.wall_clock(journal.clone());
        builder.monotonic_clock(journal.clone());
        builder.secure_random(journal.random(0));
        builder.insecure_random(journal.random(1));
        builder.insecure_random_seed(journal.random(2).next_u128());
    }
    for (name, value) in journal.map_or(&grants.env, Journal::env) {
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

/// Lets a store of `guest` reach what its manifest names, and nothing else.
fn grant_sockets(builder: &mut WasiCtxBuilder, guest: &Arc<Guest>) {
    let grants = &guest.spec.grants.sockets;
    builder.allow_ip_name_lookup(grants.contains(&SocketGrant::Names));
    builder.allow_tcp(allows_any(grants, SocketProtocol::Tcp));
    builder.allow_udp(allows_any(grants, SocketProtocol::Udp));
    let guest = Arc::clone(guest);
    builder.socket_addr_check(move |address, what| {
        let is_granted = is_granted(&guest, address, what);
        Box::pin(async move { is_granted })
    });
}

fn is_granted(guest: &Guest, address: SocketAddr, what: SocketAddrUse) -> bool {
    let grants = &guest.spec.grants.sockets;
    let protocol = match what {
        SocketAddrUse::TcpConnect => SocketProtocol::Tcp,
        SocketAddrUse::UdpSend | SocketAddrUse::UdpReceive => SocketProtocol::Udp,
        // What precedes a connection or a datagram: any port of the machine, nothing that others count on.
        SocketAddrUse::TcpBind => {
            return is_any(address) && allows_any(grants, SocketProtocol::Tcp);
        }
        SocketAddrUse::UdpBind => {
            return is_any(address) && allows_any(grants, SocketProtocol::Udp);
        }
        SocketAddrUse::TcpListen | SocketAddrUse::TcpAccept => return false,
    };
    if grants.iter().any(|grant| grant.allows(protocol, address)) {
        return true;
    }
    // Whoever sends a guest datagrams is not asked for by it.
    if !matches!(what, SocketAddrUse::UdpReceive) {
        let value = format!("{}:{address}", protocol.name());
        // A socket has a code for it, and no text.
        drop(guest.deny(&Denial {
            grant: "sockets",
            what: "sockets to",
            name: &value,
            value: &value,
        }));
    }
    false
}

fn is_any(address: SocketAddr) -> bool {
    address.ip().is_unspecified() && address.port() == 0
}

fn allows_any(grants: &[SocketGrant], protocol: SocketProtocol) -> bool {
    grants.iter().any(|grant| grant.is_of(protocol))
}

/// Where a guest prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Stdout,
    Stderr,
}

/// Standard output or error of one instance; all its streams share the line that is being written.
#[derive(Clone)]
struct Printed {
    guest: Arc<Guest>,
    stream: Stream,
    line: Arc<Mutex<Vec<u8>>>,
    /// Counts what is printed, and keeps the end of standard error.
    tail: Arc<OutputTail>,
    journal: Option<Journal>,
}

impl Printed {
    fn new(
        guest: &Arc<Guest>,
        stream: Stream,
        tail: Arc<OutputTail>,
        journal: Option<&Journal>,
    ) -> Self {
        Self {
            guest: Arc::clone(guest),
            stream,
            line: Arc::default(),
            tail,
            journal: journal.cloned(),
        }
    }

    /// Takes what is printed, or stops a guest that has printed too much.
    fn push(&self, octets: &[u8]) -> Result<(), Stop> {
        let limit = self.guest.spec.limits.log_call_bytes_max;
        if self.tail.count_printed(octets.len()) > limit {
            return Err(Stop::Logged { limit });
        }
        if self.stream == Stream::Stderr {
            self.tail.push(octets);
        }
        let mut line = self.line.lock();
        for octet in octets {
            if *octet != b'\n' {
                line.push(*octet);
            }
            if *octet == b'\n' || line.len() >= LINE_BYTES_MAX {
                self.tell(&mut line);
            }
        }
        Ok(())
    }

    fn tell(&self, line: &mut Vec<u8>) {
        let text = String::from_utf8_lossy(line);
        if !text.trim().is_empty() {
            let text = text.trim_end();
            if let Some(journal) = &self.journal {
                journal.on_line(text);
            }
            // Nobody is to take those of a replay for those of a call.
            if !self.journal.as_ref().is_some_and(Journal::is_replay) {
                on_line(&self.guest, self.stream, text);
            }
        }
        line.clear();
    }
}

impl Drop for Printed {
    fn drop(&mut self) {
        // The last words of a guest often end without a line feed.
        if Arc::strong_count(&self.line) == 1 {
            self.tell(&mut self.line.lock());
        }
    }
}

/// A line that the guest printed: to its standard error, as runtimes do when they give up, or to its standard
/// output.
fn on_line(guest: &Guest, stream: Stream, line: &str) {
    let (level, plugin) = (guest.spec.log_level, &*guest.plugin);
    match stream {
        Stream::Stdout if level <= LogLevel::Info && guest.admit_line() => {
            guest.log_rate.charge(line.len());
            tracing::info!(target: "plugin", plugin, stream = "stdout", "{line}");
        }
        Stream::Stderr if level <= LogLevel::Warn && guest.admit_line() => {
            guest.log_rate.charge(line.len());
            tracing::warn!(target: "plugin", plugin, stream = "stderr", "{line}");
        }
        Stream::Stdout | Stream::Stderr => {}
    }
}

impl IsTerminal for Printed {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printed {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Printed {
    async fn ready(&mut self) {}
}

impl OutputStream for Printed {
    fn write(&mut self, octets: Bytes) -> StreamResult<()> {
        let stopped = |stop: Stop| StreamError::Trap(stop.into());
        self.push(&octets).map_err(stopped)
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(LINE_BYTES_MAX)
    }
}

impl AsyncWrite for Printed {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let pushed = self.push(octets).map_err(io::Error::other);
        Poll::Ready(pushed.map(|()| octets.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
