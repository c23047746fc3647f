//! Faults behind every front. What panics, what is late and what waits in front of the handler is the
//! same over TCP, UDP, HTTP/1.1 and HTTP/2, and costs its own call and no other of its connection.

use std::{collections::BTreeMap, net::SocketAddr};

use futures_util::{StreamExt, future::join_all};
use postern_core::{
    Headers,
    extension::{Asked, AuthFault, Authenticator, Authorizer, Credentials, Identity, Step},
};
use postern_net::{
    ByteBudget, Client, ClientConfig, Counters, ServerConfig, Shutdown, Target as NetTarget,
    TcpServer, UdpServer,
    http::{HttpClient, HttpClientConfig, HttpConfig, HttpServer},
};
use postern_system::clock;
use tokio::{net::TcpListener, task::JoinSet};

use super::*;
use crate::{
    config,
    directory::{SharedDirectory, service::ListenerCatalog},
    grpc::KnownMethods,
    guard,
    pipeline::chain::{ChainLink, Part},
    sources::files::FileWatch,
};

/// What a caller is told: no error, or its kind.
type Told = Option<Kind>;

/// How a call ends: for its caller, and whose fault the gateway says it is.
type Ended = (Kind, Blame);

#[tokio::test]
async fn what_panics_fails_its_own_call_on_every_front() {
    on_every_front(async |front| {
        let broken = (Kind::Internal, Blame::Gateway);
        let gateway = Gateway::open(front, PipelineRules::default(), Vec::new()).await;
        for method in ["at-call", "at-first-poll", "at-later-poll"] {
            gateway.check("users", method, &[], broken).await;
        }
        gateway.check_stream("in-stream", broken).await;
    })
    .await;
}

#[tokio::test]
async fn what_is_late_ends_at_its_deadline_and_is_blamed_on_its_target() {
    on_every_front(async |front| {
        let late = |blame| (Kind::DeadlineExceeded, blame);
        let gateway = Gateway::open(front, PipelineRules::default(), Vec::new()).await;
        gateway
            .check("users", "never", &[], late(Blame::Guest))
            .await;
        gateway
            .check("own", "never", &[], late(Blame::Gateway))
            .await;
        gateway.check_stream("stalls", late(Blame::Guest)).await;
    })
    .await;
}

#[tokio::test]
async fn a_guard_that_waits_is_nobody_elses_fault() {
    on_every_front(async |front| {
        let gateway = Gateway::open(front, PipelineRules::default(), vec![waiting_plugin()]).await;
        gateway
            .check("users", "echo", &[("x-vsp-api-key", "k")], LATE)
            .await;
        gateway.check("users", "judged", &[], LATE).await;
    })
    .await;
}

#[tokio::test]
async fn a_set_of_keys_that_is_waited_for_is_nobody_elses_fault() {
    let issuer = TcpListener::bind(ANY).await.expect("a free port");
    let address = issuer.local_addr().expect("bound");
    let text = format!(
        "[auth.jwt.id]\nissuer = \"https://id.example.org\"\naudiences = [\"postern\"]\n\
         jwks-url = \"http://{address}/keys\"\njwks-allow-http = true\n"
    );
    let (config, _) = config::parse("t", &text, &BTreeMap::new()).expect("a configuration");
    let failures = Arc::new(Failures::new(&config.auth, clock::now()));
    let opened = Guard::open(&config, None, failures, clock::now()).expect("a guard");
    let guard = Arc::new(opened);
    let refreshing = tokio::spawn({
        let guard = Arc::clone(&guard);
        async move {
            let step = Duration::from_millis(100);
            let mut files = FileWatch::new(step, guard.files_interval(), None);
            guard::maintain(Some(guard), None, &mut files).await;
        }
    });
    let bearer = format!("Bearer {TOKEN}");
    on_every_front(async |front| {
        let rules = PipelineRules {
            guard: Some(Arc::clone(&guard)),
            ..PipelineRules::default()
        };
        let gateway = Gateway::open(front, rules, Vec::new()).await;
        gateway
            .check("users", "echo", &[("authorization", &bearer)], LATE)
            .await;
    })
    .await;
    refreshing.abort();
    drop(issuer);
}

async fn on_every_front(check: impl AsyncFn(Front)) {
    join_all(Front::ALL.map(|front| check(front))).await;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Front {
    Tcp,
    Udp,
    Http1,
    Http2,
}

/// A gateway with one front, and one session or connection to it.
struct Gateway {
    front: Front,
    caller: Arc<dyn Handler>,
    /// The errors that left the pipeline, by service and method.
    errors: Arc<Mutex<BTreeMap<String, Vec<Ended>>>>,
    shutdown: Shutdown,
    _serving: JoinSet<()>,
}

/// Nothing is known of any.
fn known_methods() -> KnownMethods {
    KnownMethods {
        routes: Arc::default(),
        directory: SharedDirectory::new(&Config::default()).expect("good settings"),
        schemas: Arc::default(),
    }
}

impl Front {
    const ALL: [Self; 4] = [Self::Tcp, Self::Udp, Self::Http1, Self::Http2];
}

impl Gateway {
    async fn open(front: Front, rules: PipelineRules, links: Vec<ChainLink>) -> Self {
        let (book, routes) = (CallBook::default(), Arc::new(Routes::default()));
        routes.set_complete();
        let route = |service: &str, plugin: &str| Route {
            service: service.into(),
            version: None,
            plugin: plugin.into(),
            generation: 1,
            methods: None,
            target: RouteTarget::Live(Arc::new(Moody)),
            metrics: book.service(&service.into()),
        };
        routes.publish([route("users", "users"), route("own", "")]);
        let extensions = Arc::new(Extensions::default());
        extensions.publish(Chain::from_iter(links));
        let rules = PipelineRules {
            settings: PipelineSettings {
                timeout_max: DEADLINE,
                ..PipelineSettings::default()
            },
            ..rules
        };
        let pipeline = Arc::new(Pipeline::new(routes, extensions, rules, &book));
        let errors = Arc::default();
        let handler = Arc::new(Witness {
            inner: pipeline.listener_handler("front"),
            errors: Arc::clone(&errors),
        });
        let (shutdown, mut serving) = (Shutdown::new(), JoinSet::new());
        let address = serve(front, handler, &shutdown, &mut serving).await;
        Self {
            front,
            caller: connect(front, address).await,
            errors,
            shutdown,
            _serving: serving,
        }
    }

    /// Makes the call among others, which it must not harm, and expects how it ends.
    async fn check(&self, service: &str, method: &str, headers: &[(&str, &str)], expected: Ended) {
        let front = self.front;
        let mut faulty = Call::unary(service, method, "x");
        for (name, value) in headers {
            faulty.headers.push(name, value).expect("it fits");
        }
        let others = (0..8).map(|_| self.tell(Call::unary("users", "echo", "x")));
        let (faulty, others) = tokio::join!(self.tell(faulty), join_all(others));
        assert_eq!(faulty, Some(expected.0), "{front:?} {service}/{method}");
        assert_eq!(
            others, [None; 8],
            "beside {service}/{method} over {front:?}"
        );
        self.check_after(service, method, expected).await;
    }

    /// As `check`, for a reply whose first message comes and whose second does not. Over UDP there
    /// are no streams.
    async fn check_stream(&self, method: &str, expected: Ended) {
        if self.front == Front::Udp {
            return;
        }
        let mut call = Call::unary("users", method, "");
        call.body = messages(vec![Ok("x".into())]);
        let reply = self.caller.call(call).await.expect("its head is there");
        let Body::Messages(mut replies) = reply.body else {
            unreachable!("{method} streams")
        };
        let first = replies.next().await.expect("a message").expect("no error");
        assert_eq!(first, "x");
        let error = replies.next().await.expect("an end").expect_err("a fault");
        assert_eq!(error.kind, expected.0, "{method} over {:?}", self.front);
        assert_eq!(error.blame, error.kind.peer_blame());
        self.check_after("users", method, expected).await;
    }

    async fn check_after(&self, service: &str, method: &str, expected: Ended) {
        let front = self.front;
        let after = self.tell(Call::unary("users", "echo", "x")).await;
        assert_eq!(after, None, "after {service}/{method} over {front:?}");
        let errors = std::mem::take(&mut *self.errors.lock());
        let expected = BTreeMap::from([(format!("{service}/{method}"), vec![expected])]);
        assert_eq!(errors, expected, "{front:?}");
    }

    async fn tell(&self, call: Call) -> Told {
        let error = self.caller.call(call).await.err()?;
        assert_eq!(error.blame, error.kind.peer_blame(), "{error}");
        Some(error.kind)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.shutdown.end();
    }
}

async fn serve(
    front: Front,
    handler: Arc<dyn Handler>,
    shutdown: &Shutdown,
    serving: &mut JoinSet<()>,
) -> SocketAddr {
    let (counters, shutdown) = (Arc::<Counters>::default(), shutdown.clone());
    let config = Arc::new(ServerConfig::default());
    match front {
        Front::Tcp => {
            let server = TcpServer::bind(ANY, config, handler, counters).await;
            let server = server.expect("a free port");
            let address = server.local_addr();
            serving.spawn(server.serve(shutdown));
            address
        }
        Front::Udp => {
            let server = UdpServer::bind(ANY, config, handler, counters).await;
            let server = server.expect("a free port");
            let address = server.local_addr();
            serving.spawn(server.serve(shutdown));
            address
        }
        Front::Http1 | Front::Http2 => {
            let catalog = Arc::new(ListenerCatalog::new(Arc::clone(&handler), known_methods()));
            let (config, bytes) = (HttpConfig::default(), Arc::new(ByteBudget::new(1 << 30)));
            let server = HttpServer::bind(ANY, config, handler, catalog, counters, bytes).await;
            let server = server.expect("a free port");
            let address = server.local_addr().socket_addr().expect("a port");
            serving.spawn(server.serve(shutdown));
            address
        }
    }
}

async fn connect(front: Front, address: SocketAddr) -> Arc<dyn Handler> {
    let session = |target| Client::connect(target, ClientConfig::default());
    let http = |http2| {
        let config = HttpClientConfig {
            http2,
            ..HttpClientConfig::default()
        };
        HttpClient::new(&address.to_string(), config).expect("an address")
    };
    match front {
        Front::Tcp => Arc::new(session(NetTarget::tcp(address)).await.expect("a session")),
        Front::Udp => Arc::new(session(NetTarget::udp(address)).await.expect("a session")),
        Front::Http1 => Arc::new(http(false)),
        Front::Http2 => Arc::new(http(true)),
    }
}

/// Answers as the method says.
struct Moody;

impl Handler for Moody {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        assert!(call.method != "at-call", "on purpose");
        Box::pin(async move {
            match &*call.method {
                "at-first-poll" => panic!("on purpose"),
                "at-later-poll" => {
                    tokio::task::yield_now().await;
                    panic!("on purpose")
                }
                "never" => std::future::pending().await,
                "in-stream" => Ok(streamed(|| panic!("on purpose"))),
                "stalls" => Ok(streamed(|| std::task::Poll::Pending)),
                _ => Ok(echo(call)),
            }
        })
    }
}

/// One message, and then what `second` does.
fn streamed(
    second: impl Fn() -> std::task::Poll<Option<Result<Bytes, Error>>> + Send + 'static,
) -> Reply {
    let mut first = Some(Bytes::from_static(b"x"));
    let messages = stream::poll_fn(move |_| match first.take() {
        Some(first) => std::task::Poll::Ready(Some(Ok(first))),
        None => second(),
    });
    Reply::new(Headers::new(), Body::Messages(BodyStream::new(messages)))
}

/// Writes down every error that leaves the pipeline.
struct Witness {
    inner: ListenerHandler,
    errors: Arc<Mutex<BTreeMap<String, Vec<Ended>>>>,
}

impl Witness {
    fn watch(
        &self,
        name: String,
        future: BoxFuture<Result<Reply, Error>>,
    ) -> BoxFuture<Result<Reply, Error>> {
        let errors = Arc::clone(&self.errors);
        let note = move |error: &Error| {
            let ended = (error.kind, error.blame);
            errors.lock().entry(name.clone()).or_default().push(ended);
        };
        Box::pin(async move {
            let reply = future.await.inspect_err(&note)?;
            let body = reply.body.map_stream(|messages| {
                BodyStream::new(messages.inspect(move |message| {
                    if let Err(error) = message {
                        note(error);
                    }
                }))
            });
            Ok(Reply { body, ..reply })
        })
    }
}

impl Handler for Witness {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        let name = format!("{}/{}", call.service, call.method);
        self.watch(name, self.inner.call(call))
    }

    fn call_batch(&self, calls: Vec<Call>) -> Vec<BoxFuture<Result<Reply, Error>>> {
        let names = calls
            .iter()
            .map(|call| format!("{}/{}", call.service, call.method));
        let names: Vec<_> = names.collect();
        let futures = self.inner.call_batch(calls).into_iter();
        futures
            .zip(names)
            .map(|(future, name)| self.watch(name, future))
            .collect()
    }
}

/// Never says who shows credentials, nor whether `judged` may be called.
struct Waits;

impl Authenticator for Waits {
    fn generation(&self) -> u64 {
        1
    }

    fn authenticate(
        &self,
        _: &Arc<Asked>,
        _: &Credentials,
    ) -> Step<Result<Option<Identity>, AuthFault>> {
        Step::Later(Box::pin(std::future::pending()))
    }
}

impl Authorizer for Waits {
    fn authorize(&self, asked: &Arc<Asked>) -> Step<Result<(), AuthFault>> {
        match &*asked.method {
            "judged" => Step::Later(Box::pin(std::future::pending())),
            _ => Step::Done(Ok(())),
        }
    }
}

fn waiting_plugin() -> ChainLink {
    ChainLink {
        plugin: "waits".into(),
        settings: config::Extension::default(),
        part: Part::Live {
            authenticator: Some(Arc::new(Waits)),
            requests: None,
            responses: None,
            authorizer: Some(Arc::new(Waits)),
            frames: None,
        },
        counts: Arc::default(),
    }
}

/// Of an issuer whose keys never come; nobody has verified it.
const TOKEN: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6ImEiLCJ0eXAiOiJKV1QifQ.\
    eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUub3JnIiwiYXVkIjoicG9zdGVybiIsInN1YiI6ImFubiIsImV4cCI6NDEwMjQ0NDgwMH0.\
    eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eA";
const ANY: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(
    std::net::Ipv4Addr::LOCALHOST,
    0,
));
/// Of every call here; much longer than a call needs that is not late.
const DEADLINE: Duration = Duration::from_secs(2);
/// How a call ends whose time is over before its handler is asked.
const LATE: Ended = (Kind::DeadlineExceeded, Blame::Gateway);
