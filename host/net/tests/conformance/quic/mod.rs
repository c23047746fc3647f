//! What only QUIC has: streams of calls, datagrams, migration, certificates, Retry; and peers that
//! misuse them. Peers that are not ours are quinn's.

mod calls;
mod connections;
mod datagrams;
mod hostile;
mod peers;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use postern_core::{
    bounded::BoundedHandler,
    wire::{Frame, FrameType},
};
use postern_net::{
    Alarm, Client, ClientConfig, Counters, QuicConfig, QuicDialer, QuicListener, QuicServer,
    QuicTls, ServerConfig, Shutdown, Target,
};
use quinn::{Connection, Endpoint, RecvStream, SendStream, TransportConfig};
use tokio::{io::Join, task::JoinHandle};

use crate::{
    links::{RawStream, within},
    server::{
        ANY,
        quic::{certificate, dialer, fixed},
    },
    service::Service,
    sessions::{SOON, encode, headers, recv, send},
};

/// A server with settings of QUIC; `stop` it at the end of the test.
struct QuicBench {
    address: SocketAddr,
    service: Arc<Service>,
    counters: Arc<Counters>,
    shutdown: Shutdown,
    server: JoinHandle<()>,
}

/// A peer that is not ours, with a session of the full dialect.
struct RawPeer {
    connection: Connection,
    session: RawStream,
}

/// The stream of a call, as such a peer has it.
struct RawCall {
    send: SendStream,
    recv: RecvStream,
}

impl QuicBench {
    fn serve() -> Self {
        Self::serve_with(ServerConfig::default(), QuicConfig::listener())
    }

    fn serve_with(config: ServerConfig, quic: QuicConfig) -> Self {
        Self::serve_as(fixed(certificate().server()), config, quic)
    }

    fn serve_as(tls: QuicTls, config: ServerConfig, quic: QuicConfig) -> Self {
        let (service, counters) = (Arc::<Service>::default(), Arc::<Counters>::default());
        let listener = QuicListener::bind(ANY, tls, &quic, Arc::clone(&counters));
        let listener = listener.expect("a free port");
        let blame = postern_core::Blame::Guest;
        let handler = BoundedHandler::<_, Alarm>::new(Arc::clone(&service), blame);
        let config = Arc::new(config);
        let server = QuicServer::new(listener, config, Arc::new(handler), Arc::clone(&counters));
        let server = server.expect("it has an address");
        let shutdown = Shutdown::new();
        Self {
            address: server.local_addr(),
            service,
            counters,
            shutdown: shutdown.clone(),
            server: tokio::spawn(server.serve(shutdown)),
        }
    }

    async fn client(&self) -> Client {
        self.client_of(dialer()).await
    }

    async fn client_of(&self, dialer: QuicDialer) -> Client {
        let target = Target::quic(dialer, self.address);
        let client = Client::connect(target, ClientConfig::default()).await;
        client.expect("the server is up")
    }

    async fn peer(&self) -> RawPeer {
        self.peer_with(TransportConfig::default()).await
    }

    async fn peer_with(&self, transport: TransportConfig) -> RawPeer {
        let connection = connect(self.address, transport).await;
        let (send, recv) = connection.open_bi().await.expect("a stream");
        let mut session: RawStream = Box::new(tokio::io::join(recv, send));
        let hello = Frame {
            headers: headers(&[("agent", "test"), ("features", "mux")]),
            ..Frame::new(FrameType::Hello)
        };
        super::sessions::send(&mut session, &hello).await;
        let welcome = recv_frame(&mut session).await;
        assert_eq!(welcome.kind, FrameType::Welcome);
        RawPeer {
            connection,
            session,
        }
    }

    fn n_calls(&self) -> usize {
        self.service.n_calls.load(Ordering::SeqCst)
    }

    fn n_cancelled(&self) -> usize {
        self.service.n_cancelled.load(Ordering::SeqCst)
    }

    /// Cuts what is left, and waits for the server's end.
    async fn end(self) {
        self.shutdown.end();
        self.stop().await;
    }

    /// Drains and waits for the server's end.
    async fn stop(self) {
        self.shutdown.drain();
        within(Duration::from_secs(20), self.server)
            .await
            .expect("no panic");
    }
}

impl RawPeer {
    /// Opens call `id` of `method` on a stream of its own, with so much credit for the server beside
    /// what it has at first.
    async fn call(&self, id: &str, method: &str, credit: u32) -> RawCall {
        let mut call = self.stream().await;
        let pairs = [
            ("service", "test"),
            ("method", method),
            ("correlation-id", id),
            ("stream", "open"),
            ("credit", &credit.to_string()),
        ];
        call.send(&Frame::data(headers(&pairs), "")).await;
        call
    }

    async fn stream(&self) -> RawCall {
        let opened = within(SOON, self.connection.open_bi()).await;
        let (send, recv) = opened.expect("a stream");
        RawCall { send, recv }
    }

    /// The answer to a call on the session's stream, which goes on whatever became of others.
    async fn echo(&mut self, text: &str) -> String {
        let request = crate::sessions::request("echo", text, text.to_owned());
        send(&mut self.session, &request).await;
        let answer = recv_frame(&mut self.session).await;
        String::from_utf8(answer.payload.to_vec()).expect("text")
    }
}

impl RawCall {
    async fn send(&mut self, frame: &Frame) {
        self.send.write_all(&encode(frame)).await.expect("written");
    }

    async fn item(&mut self, id: &str, payload: impl Into<bytes::Bytes>) {
        let pairs = [("correlation-id", id), ("stream", "item")];
        self.send(&Frame::data(headers(&pairs), payload)).await;
    }

    async fn end(&mut self, id: &str) {
        let pairs = [("correlation-id", id), ("stream", "end")];
        self.send(&Frame::data(headers(&pairs), "")).await;
    }

    /// All frames up to the end of the stream.
    async fn all(&mut self) -> Vec<Frame> {
        let octets = within(SOON, self.recv.read_to_end(64 * 1024 * 1024)).await;
        let mut octets = bytes::BytesMut::from(&octets.expect("whole")[..]);
        let mut decoder = postern_core::wire::Decoder::new(usize::MAX);
        let mut frames = Vec::new();
        while let Some(frame) = decoder.decode(&mut octets).expect("frames") {
            frames.push(frame);
        }
        assert!(octets.is_empty(), "{} octets of a frame", octets.len());
        frames
    }
}

/// The session's stream of a connection without a client of ours.
pub(crate) async fn raw(address: SocketAddr) -> Join<RecvStream, SendStream> {
    let connection = connect(address, TransportConfig::default()).await;
    let (send, recv) = connection.open_bi().await.expect("a stream");
    tokio::io::join(recv, send)
}

async fn connect(address: SocketAddr, transport: TransportConfig) -> Connection {
    let mut config = raw_config(certificate().client());
    config.transport_config(Arc::new(transport));
    let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
    let connecting = endpoint.connect_with(config, address, "127.0.0.1");
    let connected = within(SOON, connecting.expect("settings")).await;
    connected.expect("up")
}

fn raw_config(mut tls: rustls::ClientConfig) -> quinn::ClientConfig {
    tls.alpn_protocols = vec![b"vstp".to_vec()];
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).expect("TLS 1.3");
    quinn::ClientConfig::new(Arc::new(crypto))
}

async fn recv_frame(session: &mut RawStream) -> Frame {
    recv(session).await.expect("an answer")
}

async fn until(mut is_so: impl FnMut() -> bool) {
    within(SOON, async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

fn text(frame: &Frame, key: &str) -> String {
    let value = frame.headers.get_str(key);
    value.unwrap_or_default().into_owned()
}
