//! A server that writes frames itself (RFC 9113): it says GOAWAY in the middle of calls, goes silent, or
//! breaks off, as `h2` would not.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    super::{GrpcUpstream, GrpcUpstreamConfig},
    fixture::{framed, take_message, upstream_at},
};

/// What the server does on each connection.
#[derive(Debug, Clone, Copy)]
pub(super) enum Manner {
    /// Takes as many calls, says GOAWAY, ignores what comes after, and answers those that it took.
    GoAwayAfter(u32),
    /// Reads, and says nothing but its settings.
    Silent,
    /// Breaks off when the first call has come.
    BreakOff,
}

pub(super) struct RawServer {
    pub(super) upstream: GrpcUpstream,
    /// Messages of the calls that it answered, in order.
    pub(super) answered: Arc<Mutex<Vec<Bytes>>>,
    pub(super) n_connections: Arc<AtomicUsize>,
    _task: AbortOnDropHandle<()>,
}

/// One connection.
struct Connection {
    stream: TcpStream,
    answered: Arc<Mutex<Vec<Bytes>>>,
    /// What has come of the bodies of the calls that were taken.
    bodies: BTreeMap<u32, BytesMut>,
    n_taken: u32,
    last_id: Option<u32>,
}

impl RawServer {
    pub(super) async fn new(config: GrpcUpstreamConfig, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let (answered, n_connections) = (
            Arc::<Mutex<Vec<_>>>::default(),
            Arc::<AtomicUsize>::default(),
        );
        let (all, counter) = (Arc::clone(&answered), Arc::clone(&n_connections));
        let accepting = async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, SeqCst);
                let connection = Connection {
                    stream,
                    answered: Arc::clone(&all),
                    bodies: BTreeMap::new(),
                    n_taken: 0,
                    last_id: None,
                };
                connections.spawn(async move {
                    // A client that goes ends it.
                    drop(connection.run(manner).await);
                });
            }
        };
        Self {
            upstream: upstream_at(port, config),
            answered,
            n_connections,
            _task: AbortOnDropHandle::new(tokio::spawn(accepting)),
        }
    }
}

impl Connection {
    async fn run(mut self, manner: Manner) -> io::Result<()> {
        let mut preface = [0; 24];
        self.stream.read_exact(&mut preface).await?;
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        self.write(SETTINGS, 0, 0, b"").await?;
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await?;
            let [a, b, c, kind, flags, id @ ..] = head;
            let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).expect("small");
            let id = u32::from_be_bytes(id);
            let mut payload = vec![0; length];
            self.stream.read_exact(&mut payload).await?;
            match (kind, manner) {
                (SETTINGS, _) if flags & ACK == 0 => self.write(SETTINGS, ACK, 0, b"").await?,
                (_, Manner::Silent) => {}
                (PING, _) if flags & ACK == 0 => self.write(PING, ACK, 0, &payload).await?,
                (HEADERS, Manner::BreakOff) => return Ok(()),
                (HEADERS, Manner::GoAwayAfter(n_taken)) => self.take(id, n_taken).await?,
                (DATA, _) => self.on_data(id, flags, &payload).await?,
                _ => {}
            }
            if self.last_id.is_some() && self.bodies.is_empty() {
                return self.stream.shutdown().await;
            }
        }
    }

    async fn take(&mut self, id: u32, n_taken: u32) -> io::Result<()> {
        if self.last_id.is_some() {
            return Ok(());
        }
        self.n_taken += 1;
        self.bodies.insert(id, BytesMut::new());
        if self.n_taken == n_taken {
            self.last_id = Some(id);
            let payload = [id.to_be_bytes(), [0; 4]].concat();
            self.write(GOAWAY, 0, 0, &payload).await?;
        }
        Ok(())
    }

    async fn on_data(&mut self, id: u32, flags: u8, payload: &[u8]) -> io::Result<()> {
        let Some(body) = self.bodies.get_mut(&id) else {
            return Ok(());
        };
        body.extend_from_slice(payload);
        if flags & END_STREAM == 0 {
            return Ok(());
        }
        let mut body = self.bodies.remove(&id).expect("known");
        let message = take_message(&mut body).expect("a message");
        self.answered.lock().expect("whole").push(message.clone());
        // `:status 200`, and fields without an index: RFC 7541 appendix A and section 6.2.2.
        let head = [&b"\x88\x0f\x10\x10"[..], b"application/grpc"].concat();
        self.write(HEADERS, END_HEADERS, id, &head).await?;
        self.write(DATA, 0, id, &framed(0, &message)).await?;
        let trailers = b"\x00\x0bgrpc-status\x010";
        self.write(HEADERS, END_HEADERS | END_STREAM, id, trailers)
            .await
    }

    async fn write(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8]) -> io::Result<()> {
        let mut frame = BytesMut::new();
        frame.put_uint(payload.len().try_into().expect("short"), 3);
        frame.put_slice(&[kind, flags]);
        frame.put_u32(id);
        frame.put_slice(payload);
        self.stream.write_all(&frame).await
    }
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
