//! The ends of a call: a client and a listener of each protocol in front, and whoever answers behind
//! the pipeline. All of them in this process.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use postern::testing::pipeline_of;
use postern_core::{
    Body, BodyStream, BoxFuture, Call, Error, Handler, HttpFacts, HttpStatus, Reply, Text,
    headers::HeadersBuilder,
};
use postern_net::{
    ByteBudget, Client, ClientConfig, Counters, Pool, PoolConfig, ServerConfig, Shutdown, Target,
    TcpServer, UdpServer, Upstream,
    http::{Catalog, HttpClient, HttpClientConfig, HttpConfig, HttpServer},
};
use postern_wasm::{Plugin, PluginSpec, Runtime, RuntimeConfig};

pub(super) const SERVICE: &str = "probe";
pub(super) const METHOD: &str = "Mirror";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Front {
    Tcp,
    Udp,
    Http1,
    Http2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Back {
    Component,
    /// Another server over TCP, through a pool.
    Tcp,
    Udp,
    BuiltIn,
}

/// A client of a front, the pipeline behind it, and its back.
pub(super) struct Stand {
    front: Front,
    back: Back,
    address: SocketAddr,
    client: Arc<dyn Handler>,
    shutdown: Shutdown,
    _folder: Option<tempfile::TempDir>,
}

impl Stand {
    pub(super) async fn start(front: Front, back: Back) -> Self {
        let shutdown = Shutdown::new();
        let mut folder = None;
        let handler: Arc<dyn Handler> = match back {
            Back::Component => {
                let data = tempfile::tempdir().expect("a temporary folder");
                let plugin = component(data.path()).await;
                folder = Some(data);
                Arc::new(plugin)
            }
            Back::BuiltIn => Arc::new(Mirror),
            Back::Tcp | Back::Udp => {
                let target = match back {
                    Back::Udp => Target::udp(udp(Arc::new(Mirror), &shutdown).await),
                    Back::Component | Back::Tcp | Back::BuiltIn => {
                        Target::tcp(tcp(Arc::new(Mirror), &shutdown).await)
                    }
                };
                let pool = Pool::new(PoolConfig::default(), ClientConfig::default());
                let pool = pool.expect("the default is sound");
                Arc::new(Upstream::new(&pool, vec![target]).expect("an address"))
            }
        };
        let handler = pipeline(handler);
        let (address, client) = match front {
            Front::Tcp => {
                let address = tcp(handler, &shutdown).await;
                (address, vstp(Target::tcp(address)).await)
            }
            Front::Udp => {
                let address = udp(handler, &shutdown).await;
                (address, vstp(Target::udp(address)).await)
            }
            Front::Http1 => http(handler, false, &shutdown).await,
            Front::Http2 => http(handler, true, &shutdown).await,
        };
        Self {
            front,
            back,
            address,
            client,
            shutdown,
            _folder: folder,
        }
    }

    pub(super) fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        self.client.call(call)
    }

    /// What the far end sees of a call whose client says `facts`. One over HTTP has facts of its own.
    pub(super) fn target(&self, facts: &HttpFacts) -> String {
        match self.front {
            Front::Tcp | Front::Udp => shown(facts),
            Front::Http1 | Front::Http2 => {
                format!(
                    "POST http://{}/v1/services/{SERVICE}/{METHOD}",
                    self.address
                )
            }
        }
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.shutdown.end();
    }
}

impl fmt::Display for Stand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} to {:?}", self.front, self.back)
    }
}

/// As the guest `probe` answers by its method of that name; with `x-flow`, its message so many times
/// as octets.
struct Mirror;

impl Handler for Mirror {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        Box::pin(async move { mirror(call).await })
    }
}

async fn mirror(call: Call) -> Result<Reply, Error> {
    const RESERVED: [&[u8]; 5] = [b"version", b"status", b"code", b"stream", b"trailer"];
    let mut headers = HeadersBuilder::fields(0, 0);
    let mut status = None;
    if let Some(http) = &call.http {
        headers.push("seen-target", shown(http)).expect("a field");
        let wanted = call.headers.get_str("X-STATUS");
        status = wanted.and_then(|text| HttpStatus::new(text.parse().ok()?).ok());
    }
    for (name, value) in call.headers.iter() {
        let is_reserved = call.http.is_some() && RESERVED.contains(&name);
        if name.starts_with(b"x-") || name.starts_with(b"X-") || is_reserved {
            headers.push(name, value).expect("a field");
        }
    }
    let flow = call.headers.get_str("x-flow").and_then(|n| n.parse().ok());
    let body = match flow {
        Some(n_pieces) => {
            let message = call.body.into_one(1 << 20).await?;
            let pieces = stream::repeat(message).take(n_pieces);
            // Not at hand when the reply is: it takes a turn each.
            let pieces = pieces.then(|piece| async {
                tokio::task::yield_now().await;
                Ok(piece)
            });
            Body::Octets(BodyStream::new(pieces))
        }
        None => call.body,
    };
    Ok(Reply {
        headers: headers.build(),
        body,
        status,
    })
}

fn shown(http: &HttpFacts) -> String {
    let HttpFacts {
        method,
        scheme,
        authority,
        ..
    } = http;
    format!("{method} {scheme}://{authority}{}", http.target())
}

fn pipeline(handler: Arc<dyn Handler>) -> Arc<dyn Handler> {
    Arc::new(pipeline_of((SERVICE, Some("1.0.0")), handler, &[]))
}

async fn component(folder: &std::path::Path) -> Plugin {
    let config = RuntimeConfig {
        data_dir: folder.to_path_buf(),
        ..RuntimeConfig::default()
    };
    let runtime = Runtime::new(config).expect("a runtime");
    let plugin = Plugin::new(&runtime, SERVICE);
    let mut spec = PluginSpec::default();
    // 64 MiB take an unoptimised gateway some seconds.
    spec.limits.time_max = Duration::from_secs(60);
    let component = postern_tests::component(SERVICE);
    let deployed = plugin.deploy(component, spec).await;
    deployed.expect("it serves");
    plugin
}

async fn tcp(handler: Arc<dyn Handler>, shutdown: &Shutdown) -> SocketAddr {
    let config = Arc::new(ServerConfig::default());
    let server = TcpServer::bind(ANY, config, handler, Arc::default()).await;
    let server = server.expect("a free port");
    let address = server.local_addr();
    tokio::spawn(server.serve(shutdown.clone()));
    address
}

async fn udp(handler: Arc<dyn Handler>, shutdown: &Shutdown) -> SocketAddr {
    let config = Arc::new(ServerConfig::default());
    let server = UdpServer::bind(ANY, config, handler, Arc::default()).await;
    let server = server.expect("a free port");
    let address = server.local_addr();
    tokio::spawn(server.serve(shutdown.clone()));
    address
}

async fn vstp(target: Target) -> Arc<dyn Handler> {
    let client = Client::connect(target, ClientConfig::default()).await;
    Arc::new(client.expect("a session"))
}

async fn http(
    handler: Arc<dyn Handler>,
    http2: bool,
    shutdown: &Shutdown,
) -> (SocketAddr, Arc<dyn Handler>) {
    let server = HttpServer::bind(
        ANY,
        HttpConfig::default(),
        handler,
        Arc::new(Nothing),
        Arc::<Counters>::default(),
        Arc::new(ByteBudget::unlimited()),
    );
    let server = server.await.expect("a free port");
    let address = server.local_addr().socket_addr().expect("a port");
    tokio::spawn(server.serve(shutdown.clone()));
    let config = HttpClientConfig {
        http2,
        ..HttpClientConfig::default()
    };
    let client = HttpClient::new(&address.to_string(), config).expect("an address");
    (address, Arc::new(client))
}

/// A catalogue of no services.
struct Nothing;

impl Catalog for Nothing {
    fn services(&self, _: Option<Text>, _: Call) -> BoxFuture<Result<bytes::Bytes, Error>> {
        Box::pin(std::future::ready(Ok(bytes::Bytes::from_static(b"[]"))))
    }
}

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
