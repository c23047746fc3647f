//! A listener whose every request goes to one upstream, and clients of raw octets.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use postern_core::{
    BoxFuture, Call, Error, Handler, Headers, Text,
    route::{HttpRoute, PathRewrite, PathTemplate, RouteEnd, RouteRule, RouteTable, UpstreamEnd},
};
use postern_net::{
    ByteBudget, Counters, Shutdown,
    http::{Catalog, HttpConfig, HttpRoutes, HttpServer, RouteSchemas},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};

use crate::{forwarder, patient, upstreams::RawUpstream};

/// A listener. It ends with the test.
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: Shutdown,
    pub(crate) task: JoinHandle<()>,
}

/// A client's connection.
pub(crate) struct RawClient {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
}

struct Nothing;

impl Catalog for Nothing {
    fn services(&self, _: Option<Text>, _: Call) -> BoxFuture<Result<Bytes, Error>> {
        Box::pin(async { Ok(Bytes::new()) })
    }
}

impl Front {
    /// In front of `upstream`.
    pub(crate) async fn of(upstream: &RawUpstream) -> Self {
        let forwarder = Arc::new(forwarder(upstream.port));
        Self::with(forwarder, HttpConfig::default(), PathRewrite::Keep).await
    }

    pub(crate) async fn with(
        handler: Arc<dyn Handler>,
        config: HttpConfig,
        path: PathRewrite,
    ) -> Self {
        let end = UpstreamEnd {
            service: "shop".into(),
            path,
            host: None,
        };
        let everything = PathTemplate::parse("/{rest*}").expect("a template");
        let route = HttpRoute {
            name: "shop".into(),
            rule: RouteRule::new(everything),
            end: RouteEnd::Upstream(end),
            status: None,
            headers: Headers::new(),
            has_problems: false,
            timeout_ms: None,
        };
        let routes = HttpRoutes::default();
        routes.set(RouteTable::new([route]), RouteSchemas::default());
        let (any, counters) = (([127, 0, 0, 1], 0).into(), Arc::<Counters>::default());
        let bytes = Arc::new(ByteBudget::unlimited());
        let catalog = Arc::new(Nothing);
        let server = HttpServer::bind(any, config, handler, catalog, counters, bytes).await;
        let server = server.expect("a free port").with_routes(routes, "http");
        let (address, shutdown) = (
            server.local_addr().socket_addr().expect("a port"),
            Shutdown::new(),
        );
        let task = tokio::spawn(server.serve(shutdown.clone()));
        Self {
            address,
            shutdown,
            task,
        }
    }

    pub(crate) async fn client(&self) -> RawClient {
        RawClient {
            stream: TcpStream::connect(self.address).await.expect("it listens"),
            read: Vec::new(),
        }
    }

    /// All that comes of one request, whose connection is to be closed.
    pub(crate) async fn ask(&self, request: &str) -> String {
        let mut client = self.client().await;
        client.send(request).await;
        client.rest().await
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl RawClient {
    pub(crate) async fn send(&mut self, octets: &str) {
        let sent = self.stream.write_all(octets.as_bytes()).await;
        sent.expect("the listener reads");
    }

    /// What comes until `end` does, with it.
    pub(crate) async fn until(&mut self, end: &str) -> String {
        patient(async {
            loop {
                let found = self
                    .read
                    .windows(end.len())
                    .position(|part| part == end.as_bytes());
                if let Some(at) = found {
                    let rest = self.read.split_off(at + end.len());
                    let taken = std::mem::replace(&mut self.read, rest);
                    return String::from_utf8(taken).expect("text");
                }
                let n_octets = self.stream.read_buf(&mut self.read).await;
                let so_far = String::from_utf8_lossy(&self.read);
                assert_ne!(n_octets.expect("open"), 0, "{end:?} never came: {so_far}");
            }
        })
        .await
    }

    /// All that comes until the connection is closed.
    pub(crate) async fn rest(&mut self) -> String {
        // A reset is an end, too.
        let _ = patient(self.stream.read_to_end(&mut self.read)).await;
        String::from_utf8_lossy(&std::mem::take(&mut self.read)).into_owned()
    }
}
