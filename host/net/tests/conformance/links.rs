//! A server and what reaches it, per link.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use postern_core::{Blame, Body, Call, Error, Handler, Headers, bounded::BoundedHandler};
use postern_net::{
    Alarm, Client, ClientConfig, Counters, Destination, ServerConfig, Shutdown, Target,
    link::DatagramLink,
    memory::{Conditions, Network},
    tls::alpn,
    udp::UdpLink,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    task::JoinHandle,
};
use tokio_rustls::TlsConnector;

pub(crate) use crate::server::Link;
use crate::{
    quic,
    server::{ANY, TLS},
    service::Service,
    websocket,
};

/// A stream without a session of ours on this side.
pub(crate) type RawStream = Box<dyn Octets>;

pub(crate) trait Octets: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Octets for S {}

/// A running server; `stop` it at the end of the test.
pub(crate) struct Bench {
    pub(crate) target: Target,
    pub(crate) service: Arc<Service>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) shutdown: Shutdown,
    pub(crate) network: Network,
    server: JoinHandle<()>,
}

impl Link {
    pub(crate) async fn serve(self) -> Bench {
        self.serve_with(ServerConfig::default(), Conditions::default())
            .await
    }

    pub(crate) async fn serve_with(self, config: ServerConfig, conditions: Conditions) -> Bench {
        let service = Arc::new(Service::default());
        let counters = Arc::new(Counters::default());
        let shutdown = Shutdown::new();
        let network = Network::new(1, conditions);
        let (target, server) = self
            .start(
                ANY,
                Arc::new(BoundedHandler::<_, Alarm>::new(
                    Arc::clone(&service),
                    Blame::Guest,
                )),
                config,
                &counters,
                &network,
                &shutdown,
            )
            .await;
        Bench {
            target,
            service,
            counters,
            shutdown,
            network,
            server,
        }
    }
}

impl Bench {
    pub(crate) async fn client(&self) -> Client {
        self.client_with(ClientConfig::default()).await
    }

    pub(crate) async fn client_with(&self, config: ClientConfig) -> Client {
        Client::connect(self.target.clone(), config)
            .await
            .expect("the server is up")
    }

    pub(crate) async fn raw(&self) -> RawStream {
        if let Destination::Path(name) = self.target.destination() {
            let name = name.replacen('@', "\0", 1);
            return Box::new(UnixStream::connect(name).await.expect("up"));
        }
        let address = self.address();
        match self.target.transport_name() {
            "tcp" => Box::new(TcpStream::connect(address).await.expect("up")),
            "quic" => Box::new(quic::raw(address).await),
            "tls" => {
                let tls = TLS.client.config(&[alpn::VSTP]).expect("made");
                let name = "localhost".try_into().expect("a name");
                let stream = TcpStream::connect(address).await.expect("up");
                let stream = TlsConnector::from(tls).connect(name, stream).await;
                Box::new(stream.expect("the certificate is good"))
            }
            "ws" => Box::new(websocket::raw(TcpStream::connect(address).await.expect("up")).await),
            "wss" => {
                let tls = TLS.client.config(&[alpn::HTTP_1_1]).expect("made");
                let name = "localhost".try_into().expect("a name");
                let stream = TcpStream::connect(address).await.expect("up");
                let stream = TlsConnector::from(tls).connect(name, stream).await;
                Box::new(websocket::raw(stream.expect("the certificate is good")).await)
            }
            "memory" => Box::new(self.network.connect(address).expect("up")),
            other => panic!("{other} is not a stream"),
        }
    }

    pub(crate) fn raw_socket(&self) -> Box<dyn DatagramLink> {
        let any = (Ipv4Addr::LOCALHOST, 0).into();
        match self.target.transport_name() {
            "udp" => Box::new(UdpLink::bind(any).expect("a free port")),
            "memory-datagram" => Box::new(self.network.socket()),
            other => panic!("{other} is not a datagram link"),
        }
    }

    fn address(&self) -> SocketAddr {
        self.target.destination().socket_addr().expect("bound")
    }

    /// Drains and waits for the server's end.
    pub(crate) async fn stop(self) {
        self.shutdown.drain();
        within(Duration::from_secs(20), self.server)
            .await
            .expect("no panic");
    }
}

/// Fails the test instead of hanging.
pub(crate) async fn within<F: IntoFuture>(limit: Duration, future: F) -> F::Output {
    tokio::time::timeout(limit, future)
        .await
        .expect("done in time")
}

pub(crate) async fn unary(
    client: &Client,
    method: &str,
    body: impl Into<bytes::Bytes>,
) -> Result<bytes::Bytes, Error> {
    body_of(client, Call::unary("test", method, body)).await
}

pub(crate) async fn body_of(client: &Client, call: Call) -> Result<bytes::Bytes, Error> {
    match client.call(call).await?.body {
        Body::Empty => Ok(bytes::Bytes::new()),
        Body::One(bytes) => Ok(bytes),
        Body::Messages(_) | Body::Octets(_) => panic!("a stream instead of one message"),
    }
}

pub(crate) fn with_header(mut call: Call, key: &str, value: &str) -> Call {
    let mut headers = Headers::new();
    headers.push(key, value).expect("short");
    call.headers = headers;
    call
}
