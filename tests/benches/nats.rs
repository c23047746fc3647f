//! nats-server as a peer: request and reply between two thin clients. As many connections ask as ask a
//! server of ours, and one answers.
//!
//! Both clients write what was encoded beforehand and look at what comes no closer than they must, so
//! that the server's share is the server's.

use std::{
    io::{self, BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use bytes::{Buf as _, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
};

use crate::{serve::cpu, table::progress};

/// Of the module `github.com/nats-io/nats-server/v2`.
const VERSION: &str = "v2.15.3";
const MODULE: &str = "github.com/nats-io/nats-server/v2";
const SUBJECT: &str = "echo";

/// A server process and the client that answers. Dropping it ends both.
pub(crate) struct Nats {
    pub(crate) address: SocketAddr,
    child: Child,
    responder: JoinHandle<io::Result<()>>,
}

impl Nats {
    /// Starts the server, which go installs the first time, and the client that answers.
    pub(crate) async fn start() -> Self {
        let mut command = Command::new(program());
        command
            .args(["--addr", "127.0.0.1", "--port", "-1"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("nats-server starts");
        let mut log = BufReader::new(child.stderr.take().expect("piped")).lines();
        let address = log
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                let (_, address) = line.split_once("Listening for client connections on ")?;
                address.trim().parse().ok()
            })
            .expect("nats-server says where it listens");
        // What it says later is nobody's interest; it must not wait for a reader.
        std::thread::spawn(move || log.count());
        let responder = Client::connect(address, SUBJECT)
            .await
            .expect("nats-server takes a subscription");
        Self {
            address,
            child,
            responder: tokio::spawn(responder.answer()),
        }
    }

    /// Processor time that the server has used.
    pub(crate) fn cpu(&self) -> Duration {
        cpu(self.child.id())
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.responder.abort();
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Keeps `depth` requests of `n_octets` in flight until `end`; the number of replies.
pub(crate) async fn pump(
    address: SocketAddr,
    n_octets: usize,
    depth: usize,
    id: usize,
    end: Instant,
) -> io::Result<usize> {
    let inbox = format!("_INBOX.{id}");
    let mut client = Client::connect(address, &inbox).await?;
    let payload = "1".repeat(n_octets);
    let request = format!("PUB {SUBJECT} {inbox} {n_octets}\r\n{payload}\r\n");
    let batch = request.repeat(depth);
    client.socket.write_all(batch.as_bytes()).await?;
    let (mut n_calls, mut n_in_flight) = (0, depth);
    while n_in_flight > 0 {
        let mut n_replies = 0;
        client.receive(|_, _| n_replies += 1).await?;
        n_calls += n_replies;
        n_in_flight -= n_replies;
        if Instant::now() < end {
            let next = batch.get(..n_replies * request.len()).unwrap_or_default();
            client.socket.write_all(next.as_bytes()).await?;
            n_in_flight += n_replies;
        }
    }
    Ok(n_calls)
}

/// A connection with one subscription.
struct Client {
    socket: TcpStream,
    buffer: BytesMut,
}

impl Client {
    async fn connect(address: SocketAddr, subject: &str) -> io::Result<Self> {
        let mut socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let hello = format!("CONNECT {{\"verbose\":false}}\r\nSUB {subject} 1\r\nPING\r\n");
        socket.write_all(hello.as_bytes()).await?;
        let mut client = Self {
            socket,
            buffer: BytesMut::with_capacity(256 << 10),
        };
        // INFO comes first. PONG says that the subscription is in force.
        while line(&mut client.buffer).as_deref() != Some(b"PONG") {
            if end_of_line(&client.buffer).is_none() {
                client.read().await?;
            }
        }
        Ok(client)
    }

    /// Sends every message back to the subject that it names for its reply.
    async fn answer(mut self) -> io::Result<()> {
        let mut replies = Vec::with_capacity(64 << 10);
        loop {
            replies.clear();
            self.receive(|head, payload| {
                // MSG <subject> <sid> <reply-to> <length>
                let reply_to = head.split(|octet| *octet == b' ').nth(3);
                replies.extend_from_slice(b"PUB ");
                replies.extend_from_slice(reply_to.unwrap_or_default());
                replies.extend_from_slice(format!(" {}\r\n", payload.len()).as_bytes());
                replies.extend_from_slice(payload);
                replies.extend_from_slice(b"\r\n");
            })
            .await?;
            self.socket.write_all(&replies).await?;
        }
    }

    /// Reads once, and gives each whole message's head and payload to `take`. PING is answered.
    async fn receive(&mut self, mut take: impl FnMut(&[u8], &[u8])) -> io::Result<()> {
        self.read().await?;
        while let Some(end) = end_of_line(&self.buffer) {
            let head = self.buffer.get(..end).unwrap_or_default();
            if !head.starts_with(b"MSG ") {
                let is_ping = head == b"PING";
                self.buffer.advance(end + 2);
                if is_ping {
                    self.socket.write_all(b"PONG\r\n").await?;
                }
                continue;
            }
            let length = head.rsplit(|octet| *octet == b' ').next();
            let length = length.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
            let length: usize = length.ok_or_else(|| io::Error::other("MSG without a length"))?;
            let begin = end + 2;
            let Some(payload) = self.buffer.get(begin..begin + length) else {
                break;
            };
            if self.buffer.len() < begin + length + 2 {
                break;
            }
            take(head, payload);
            self.buffer.advance(begin + length + 2);
        }
        Ok(())
    }

    async fn read(&mut self) -> io::Result<()> {
        self.buffer.reserve(64 << 10);
        match self.socket.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// Takes a line off the front of `buffer`, where there is a whole one.
fn line(buffer: &mut BytesMut) -> Option<BytesMut> {
    let end = end_of_line(buffer)?;
    let line = buffer.split_to(end);
    buffer.advance(2);
    Some(line)
}

/// Where the first line ends.
fn end_of_line(buffer: &[u8]) -> Option<usize> {
    buffer.windows(2).position(|octets| octets == b"\r\n")
}

/// The program, installed when it is not there.
fn program() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(VERSION);
    let program = folder.join("nats-server");
    if !program.exists() {
        progress(&format!("installing nats-server {VERSION}"));
        let mut go = Command::new("go");
        go.args(["install", &format!("{MODULE}@{VERSION}")])
            .env("GOBIN", &folder);
        let status = go
            .status()
            .expect("the section echo needs go: https://go.dev");
        assert!(
            status.success(),
            "go install of nats-server {VERSION}: {status}"
        );
    }
    program
}
