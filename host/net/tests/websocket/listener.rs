//! A listener and the service behind it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::Stream;
use postern_core::{
    Blame, Body, BodyStream, BoxFuture, Call, Error, Handler, Headers, Kind, Reply, Text,
    event::{Event, Hub, HubConfig, Publisher, TopicPattern},
};
use postern_net::{
    ByteBudget, Counters, Shutdown, WebSocketConfig,
    http::{Catalog, HttpConfig, HttpReconfigure, HttpServer},
};
use tokio::task::JoinHandle;

use crate::raw::RawSocket;

/// For what takes no time, on a loaded machine.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A running listener; `stop` it at the end of the test.
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    pub(crate) service: Arc<Service>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) bytes: Arc<ByteBudget>,
    pub(crate) shutdown: Shutdown,
    pub(crate) reconfigure: HttpReconfigure,
    server: JoinHandle<()>,
}

/// Service `test`, and `events`.
pub(crate) struct Service {
    pub(crate) hub: Hub,
    pub(crate) n_calls: AtomicUsize,
    /// Calls whose future was dropped before it was done.
    pub(crate) n_cancelled: Arc<AtomicUsize>,
}

struct NoCatalog;

impl Catalog for NoCatalog {
    fn services(&self, _: Option<Text>, _: Call) -> BoxFuture<Result<Bytes, Error>> {
        Box::pin(async { Ok("[]".into()) })
    }
}

struct CountCancelled(Option<Arc<AtomicUsize>>);

impl CountCancelled {
    fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for CountCancelled {
    fn drop(&mut self) {
        if let Some(counter) = &self.0 {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Listener {
    pub(crate) async fn start() -> Self {
        Self::start_with(HttpConfig::default()).await
    }

    pub(crate) async fn start_websocket(websocket: WebSocketConfig) -> Self {
        let config = HttpConfig {
            websocket,
            ..HttpConfig::default()
        };
        Self::start_with(config).await
    }

    pub(crate) async fn start_with(config: HttpConfig) -> Self {
        let at = (Ipv4Addr::LOCALHOST, 0).into();
        let service = Arc::new(Service {
            hub: Hub::new(HubConfig::default()),
            n_calls: AtomicUsize::new(0),
            n_cancelled: Arc::default(),
        });
        let counters = Arc::<Counters>::default();
        let bytes = Arc::new(ByteBudget::new(64 * 1024 * 1024));
        let server = HttpServer::bind(
            at,
            config,
            Arc::clone(&service) as Arc<dyn Handler>,
            Arc::new(NoCatalog),
            Arc::clone(&counters),
            Arc::clone(&bytes),
        );
        let server = server.await.expect("a free port");
        let (address, reconfigure) = (
            server.local_addr().socket_addr().expect("a port"),
            server.reconfigure(),
        );
        let shutdown = Shutdown::new();
        let server = tokio::spawn(server.serve(shutdown.clone()));
        Self {
            address,
            service,
            counters,
            bytes,
            shutdown,
            reconfigure,
            server,
        }
    }

    /// A WebSocket at `path`, without compression.
    pub(crate) async fn open(&self, path: &str) -> RawSocket {
        RawSocket::open(self.address, path, &[]).await
    }

    /// One of calls whose service is `test`.
    pub(crate) async fn calls(&self) -> RawSocket {
        self.open("/ws/test/echo").await
    }

    pub(crate) fn publish(&self, topic: &str, payload: impl Into<Bytes>) -> u32 {
        let event = Event {
            topic: topic.into(),
            headers: Headers::new(),
            payload: payload.into(),
            publisher: Publisher::default(),
        };
        self.service.hub.publish(event).expect("within the bounds")
    }

    pub(crate) async fn stop(self) {
        self.shutdown.drain();
        within(self.server).await.expect("no panic");
        assert_eq!(self.counters.connections_open(), 0);
        assert_eq!(self.bytes.held(), 0, "octets are held for nobody");
    }
}

/// Fails the test instead of hanging.
pub(crate) async fn within<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(SOON, future)
        .await
        .expect("done in time")
}

/// Waits until `condition` holds.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    within(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

impl Handler for Service {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        self.n_calls.fetch_add(1, Ordering::SeqCst);
        let unfinished = CountCancelled(Some(Arc::clone(&self.n_cancelled)));
        let hub = self.hub.clone();
        Box::pin(async move {
            let outcome = answer(hub, call).await;
            unfinished.done();
            outcome
        })
    }
}

async fn answer(hub: Hub, call: Call) -> Result<Reply, Error> {
    match (&*call.service, &*call.method) {
        ("test", "echo") => Ok(Reply::new(reply_headers(&call), call.body)),
        ("test", "context") => {
            let context = &call.context;
            let header = |name: &str| call.headers.get_str(name).unwrap_or_default().into_owned();
            let session = context.peer.session.len();
            let told = format!(
                "{{\"transport\":\"{}\",\"session\":{session},\"correlation\":\"{}\",\
                 \"authorization\":\"{}\",\"x-one\":\"{}\",\"key\":\"{}\",\"priority\":{},\"deadline\":{}}}",
                context.peer.transport,
                context.correlation,
                header("authorization"),
                header("x-one"),
                header("sec-websocket-key"),
                context.priority,
                context.deadline.is_some(),
            );
            Ok(Reply::one(told))
        }
        ("test", "never") => std::future::pending().await,
        ("test", "fail") => {
            let details = r#"{"by":"test"}"#;
            let error = Error::new(Kind::AlreadyExists, Blame::Client, "asked \"for\" it");
            Err(error.with_details(details))
        }
        ("test", "bytes") => {
            let n_octets = call.body.into_one(100).await?;
            let n_octets: usize = std::str::from_utf8(&n_octets)
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| Error::invalid_argument("no number"))?;
            Ok(Reply::one(format!("\"{}\"", "x".repeat(n_octets))))
        }
        ("test", "sum") => sum(call.body).await,
        ("test", "endless") => {
            let body = Body::Messages(BodyStream::new(Endless));
            Ok(Reply::new(Headers::new(), body))
        }
        ("events", "subscribe") => {
            let wanted = TopicPattern::new("news.>").expect("a pattern");
            let queue = call.context.outbox.queue_max().map(|events_max| {
                let queue = hub.queue();
                postern_core::event::QueueBounds {
                    events_max,
                    ..queue
                }
            });
            let owner = call.context.peer.session.clone();
            let subscription = hub.subscribe(&owner, vec![wanted], queue)?;
            let reply = Reply::one(format!("{{\"subscription\":\"{}\"}}", subscription.id()));
            call.context.outbox.attach(subscription)?;
            Ok(reply)
        }
        (service, method) => Err(Error::not_found(format!("no {service}/{method}"))),
    }
}

fn reply_headers(call: &Call) -> Headers {
    let mut headers = Headers::new();
    if let Some(kind) = call.headers.get_str("content-type") {
        headers.push("content-type", &*kind).expect("short");
    }
    headers
}

async fn sum(body: Body) -> Result<Reply, Error> {
    let Body::Messages(mut numbers) = body else {
        return Err(Error::invalid_argument("no stream"));
    };
    let mut sum = 0_u64;
    while let Some(number) = numbers.next().await {
        let number = number?;
        let number = std::str::from_utf8(&number)
            .ok()
            .and_then(|text| text.parse::<u64>().ok());
        sum += number.ok_or_else(|| Error::invalid_argument("no number"))?;
    }
    Ok(Reply::one(sum.to_string()))
}

/// Messages of 1 KiB without end.
struct Endless;

impl Stream for Endless {
    type Item = Result<Bytes, Error>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(Some(Ok(format!("\"{}\"", "y".repeat(1024)).into())))
    }
}
