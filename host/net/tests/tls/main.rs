//! TLS between real ends: which certificate is shown, who is believed, what is known of a client, and
//! what a replacement touches.

#![expect(
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect must fail"
)]

#[path = "../certificates/mod.rs"]
mod certificates;
mod challenges;
mod clients;
mod http;
mod servers;
mod slow;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use postern_core::{BoxFuture, Call, Error, Handler, Peer, Reply};
use postern_net::{
    Client, ClientConfig, Counters, Destination, ServerConfig, Shutdown, Target, TcpServer,
    tls::{ClientTls, ClientTlsSettings, KeyPair, ServerTls, ServerTlsSettings, TlsDialer, alpn},
};
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_rustls::{TlsConnector, client::TlsStream};

use self::certificates::Authority;

/// Answers with what it is sent, and keeps who has called last.
#[derive(Default)]
struct Echo {
    peer: Mutex<Option<Arc<Peer>>>,
}

impl Handler for Echo {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        *self.peer.lock() = Some(Arc::clone(&call.context.peer));
        Box::pin(async { Ok(Reply::one(call.body.into_one(usize::MAX).await?)) })
    }
}

/// A server with TLS; `stop` it at the end of the test.
struct Served {
    address: SocketAddr,
    tls: Arc<ServerTls>,
    echo: Arc<Echo>,
    counters: Arc<Counters>,
    shutdown: Shutdown,
    server: JoinHandle<()>,
}

impl Served {
    async fn start(settings: ServerTlsSettings) -> Self {
        Self::start_with(settings, ServerConfig::default()).await
    }

    async fn start_with(settings: ServerTlsSettings, config: ServerConfig) -> Self {
        let tls = ServerTls::new(settings, &[alpn::VSTP]).expect("good settings");
        Self::start_tls(tls, config).await
    }

    async fn start_tls(tls: ServerTls, config: ServerConfig) -> Self {
        let tls = Arc::new(tls);
        let (echo, counters) = (Arc::<Echo>::default(), Arc::<Counters>::default());
        let any = ([127, 0, 0, 1], 0).into();
        let handler = Arc::clone(&echo) as Arc<dyn Handler>;
        let server = TcpServer::bind(any, Arc::new(config), handler, Arc::clone(&counters)).await;
        let server = server
            .expect("a free port")
            .with_tls(Some(Arc::clone(&tls)));
        let (address, shutdown) = (server.local_addr(), Shutdown::new());
        let server = tokio::spawn(server.serve(shutdown.clone()));
        Self {
            address,
            tls,
            echo,
            counters,
            shutdown,
            server,
        }
    }

    /// A session with the server under the name `host`.
    async fn connect(&self, host: &str, tls: ClientTls) -> Result<Client, Error> {
        let destination = Destination::Host {
            host: host.into(),
            address: self.address,
        };
        let config = ClientConfig {
            tls: Arc::new(tls),
            connect_timeout: PATIENCE,
            ..ClientConfig::default()
        };
        Client::connect(Target::new(Arc::new(TlsDialer), destination), config).await
    }

    /// A stream of TLS as `config` has it.
    async fn raw(
        &self,
        host: &str,
        config: Arc<rustls::ClientConfig>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        let name = host.to_owned().try_into().expect("a name");
        TlsConnector::from(config).connect(name, stream).await
    }

    /// The certificate that a client sees who asks for `host`.
    async fn shown(&self, host: &str, authority: &Authority) -> Vec<u8> {
        let config = trusting(authority).config(&[alpn::VSTP]).expect("made");
        let stream = self.raw(host, config).await.expect("a good certificate");
        stream.get_ref().1.peer_certificates().expect("shown")[0].to_vec()
    }

    /// What the handler knows of who called last.
    fn peer(&self) -> Arc<Peer> {
        self.echo.peer.lock().clone().expect("somebody has called")
    }

    async fn stop(self) {
        self.shutdown.drain();
        let ended = tokio::time::timeout(PATIENCE, self.server).await;
        ended.expect("it drains").expect("no panic");
    }
}

/// A client that believes `authority`.
fn trusting(authority: &Authority) -> ClientTls {
    ClientTls::new(believing(authority, None)).expect("an authority")
}

fn believing(authority: &Authority, pair: Option<KeyPair>) -> ClientTlsSettings {
    ClientTlsSettings {
        authorities: Some(vec![authority.pem()]),
        pair,
        ..ClientTlsSettings::default()
    }
}

async fn echo(client: &Client, text: &'static str) -> String {
    let reply = client.call(Call::unary("echo", "Say", text)).await;
    let body = reply.expect("answered").body.into_one(100).await;
    String::from_utf8(body.expect("one message").to_vec()).expect("text")
}

/// What a machine that is busy may need.
const PATIENCE: Duration = Duration::from_secs(20);
