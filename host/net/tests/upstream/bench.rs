//! A gateway to call, a pool to call it through, and peers that misbehave.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use parking_lot::Mutex;
use postern_core::{
    Body, BodyStream, BoxFuture, Call, Error, Handler, Headers, Reply, Text,
    wire::{Decoder, Frame, FrameType},
};
use postern_net::{
    ClientConfig, Counters, HostSnapshot, Pool, PoolConfig, ServerConfig, Shutdown, Speak, Target,
    Upstream,
    link::Listener,
    memory::{Conditions, MemoryListener, MemoryStream, Network},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinHandle,
    time::Instant,
};

use crate::server::ANY;
pub(crate) use crate::server::Link;

/// A gateway that serves.
pub(crate) struct Gateway {
    pub(crate) target: Target,
    pub(crate) counters: Arc<Counters>,
    pub(crate) service: Arc<Service>,
    pub(crate) network: Network,
    pub(crate) shutdown: Shutdown,
    serving: JoinHandle<()>,
}

/// Service `test`: `echo`, `sleep` (milliseconds), `never`, `depth`, `time-left`, `stream-echo`,
/// `health`.
#[derive(Debug, Default)]
pub(crate) struct Service {
    /// What has arrived, in order: the bodies of unary calls.
    pub(crate) arrived: Mutex<Vec<Bytes>>,
}

impl Handler for Service {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        if let Body::One(body) = &call.body {
            self.arrived.lock().push(body.clone());
        }
        Box::pin(answer(call))
    }
}

async fn answer(call: Call) -> Result<Reply, Error> {
    let method = call.method.clone();
    match &*method {
        "echo" | "stream-echo" => Ok(Reply::new(Headers::new(), call.body)),
        "sleep" => {
            let body = call.body.into_one(64).await?;
            let ms = std::str::from_utf8(&body).expect("digits").parse();
            tokio::time::sleep(Duration::from_millis(ms.expect("a number"))).await;
            Ok(Reply::one(body))
        }
        "never" => std::future::pending().await,
        "depth" => Ok(Reply::one(call.context.depth.to_string())),
        "time-left" => {
            let left = call.context.remaining(Instant::now().into_std());
            Ok(Reply::one(
                left.expect("a deadline").as_millis().to_string(),
            ))
        }
        "health" => Ok(Reply::one(r#"{"status":"healthy"}"#)),
        method => Err(Error::not_found(format!("no method {method}"))),
    }
}

impl Gateway {
    pub(crate) async fn serve(link: Link) -> Self {
        Self::serve_with(link, ServerConfig::default(), Conditions::default()).await
    }

    pub(crate) async fn serve_with(
        link: Link,
        config: ServerConfig,
        conditions: Conditions,
    ) -> Self {
        let network = Network::new(1, conditions);
        Self::serve_at(link, ANY, config, network).await
    }

    pub(crate) async fn serve_at(
        link: Link,
        at: SocketAddr,
        config: ServerConfig,
        network: Network,
    ) -> Self {
        let service = Arc::new(Service::default());
        let counters = Arc::new(Counters::default());
        let shutdown = Shutdown::new();
        let handler = Arc::clone(&service) as _;
        let (target, serving) = link
            .start(at, handler, config, &counters, &network, &shutdown)
            .await;
        Self {
            target,
            counters,
            service,
            network,
            shutdown,
            serving,
        }
    }

    pub(crate) fn upstream(&self, pool: &Pool) -> Upstream {
        Upstream::new(pool, vec![self.target.clone()]).expect("an address")
    }

    /// Stops as a process that is killed does: every connection is cut.
    pub(crate) async fn kill(self) {
        self.shutdown.end();
        self.serving.await.expect("no panic");
    }

    pub(crate) async fn stop(self) {
        self.shutdown.drain();
        within(Duration::from_secs(20), self.serving)
            .await
            .expect("no panic");
    }
}

pub(crate) fn pool(config: PoolConfig) -> Pool {
    let client = ClientConfig {
        speak: Speak::Vsp,
        ..ClientConfig::default()
    };
    Pool::new(config, client).expect("settings that fit")
}

/// Fails the test instead of hanging.
pub(crate) async fn within<F: IntoFuture>(limit: Duration, future: F) -> F::Output {
    tokio::time::timeout(limit, future)
        .await
        .expect("done in time")
}

pub(crate) async fn unary(
    upstream: &Upstream,
    method: &str,
    body: impl Into<Bytes>,
) -> Result<Bytes, Error> {
    body_of(upstream, Call::unary("test", Text::from(method), body)).await
}

pub(crate) async fn body_of(upstream: &Upstream, call: Call) -> Result<Bytes, Error> {
    upstream.call(call).await?.body.into_one(1024 * 1024).await
}

/// A call that goes on in the background.
pub(crate) fn begin(
    upstream: &Upstream,
    method: &'static str,
    body: impl Into<Bytes>,
) -> JoinHandle<Result<Bytes, Error>> {
    let (upstream, body) = (upstream.clone(), body.into());
    tokio::spawn(async move { unary(&upstream, method, body).await })
}

/// Lets every task do what it can without time passing.
pub(crate) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Waits until the pool's only address looks so.
pub(crate) async fn until(pool: &Pool, holds: impl Fn(&HostSnapshot) -> bool) {
    let waiting = async {
        while !holds(&only_host(pool)) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .is_err()
    {
        panic!("{:?}", only_host(pool));
    }
}

pub(crate) fn only_host(pool: &Pool) -> HostSnapshot {
    let mut hosts = pool.snapshot().hosts;
    assert_eq!(hosts.len(), 1, "{hosts:?}");
    hosts.remove(0)
}

pub(crate) fn stream_of(items: impl IntoIterator<Item = &'static str>) -> Body {
    let items: Vec<_> = items.into_iter().map(|item| Ok(item.into())).collect();
    Body::Messages(BodyStream::new(futures_util::stream::iter(items)))
}

pub(crate) async fn items_of(body: Body) -> Vec<Bytes> {
    let Body::Messages(stream) = body else {
        panic!("{body:?} instead of a stream");
    };
    stream.map(|item| item.expect("a message")).collect().await
}

/// Welcomes everybody and says nothing more.
pub(crate) fn hang(network: &Network) -> Target {
    let listener = network.listen();
    let target = network.target(listener.local_addr());
    tokio::spawn(accept(listener, welcome_only));
    target
}

/// Takes connections and never reads.
pub(crate) fn swallow(network: &Network) -> Target {
    let listener = network.listen();
    let target = network.target(listener.local_addr());
    tokio::spawn(accept(listener, async |stream: MemoryStream| {
        std::future::pending::<()>().await;
        drop(stream);
    }));
    target
}

/// Welcomes everybody and hangs up at the first call.
pub(crate) fn crash(network: &Network) -> Target {
    let listener = network.listen();
    let target = network.target(listener.local_addr());
    tokio::spawn(accept(listener, async |mut stream: MemoryStream| {
        greet(&mut stream).await;
        let _ = stream.read_u8().await;
    }));
    target
}

async fn accept<F: Future<Output = ()> + Send + 'static>(
    mut listener: MemoryListener,
    serve: impl Fn(MemoryStream) -> F,
) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream));
    }
}

async fn welcome_only(mut stream: MemoryStream) {
    greet(&mut stream).await;
    let mut ignored = Vec::new();
    let _ = stream.read_to_end(&mut ignored).await;
}

async fn greet(stream: &mut MemoryStream) {
    let mut buffer = BytesMut::new();
    let mut decoder = Decoder::new(64 * 1024);
    while decoder.decode(&mut buffer).expect("a frame").is_none() {
        if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let mut headers = Headers::new();
    headers
        .push("session-id", "000102030405060708090a0b0c0d0e0f")
        .expect("short");
    let welcome = Frame {
        headers,
        ..Frame::new(FrameType::Welcome)
    };
    let mut octets = BytesMut::new();
    welcome.encode(&mut octets).expect("short");
    // Whoever greeted may have gone.
    let _ = stream.write_all(&octets).await;
}
