//! What a caller reads over VSTP and over HTTP when the guard refuses it: the same kind on both.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use postern_core::{BoxFuture, Handler, Reply, Text};
use postern_net::{
    ByteBudget, Client, ClientConfig, Counters, ServerConfig, Shutdown, Target, TcpServer,
    http::{Catalog, HttpClient, HttpClientConfig, HttpConfig, HttpServer},
};
use postern_system::clock;
use tokio::task::JoinHandle;

use super::*;

#[tokio::test]
async fn a_call_with_a_token_ends_alike_on_both_doors() {
    let folder = tempfile::tempdir().expect("a folder");
    let forge = Forge::ed("a");
    let set = file(
        folder.path(),
        "set.json",
        &set_of(std::slice::from_ref(&forge)),
    );
    let listeners = Listeners::open(&format!(
        "[auth]\nauthentication = \"required\"\n{}\
         [authorization.rules.admins]\ncalls = [\"users/Delete*\"]\nroles = [\"root\"]\n",
        issuer(&format!("jwks-file = {set}"))
    ))
    .await;
    let now = Moment::now().unix;
    let claims = |name: &str, value: Value| {
        let mut claims = claims(now);
        claims[name] = value;
        claims
    };
    let good = forge.sign(&claims("sub", json!("ann")));
    let none = format!(
        "eyJhbGciOiJub25lIn0.{}.",
        good.split('.').nth(1).expect("claims")
    );
    let unauthenticated = Err(Kind::Unauthenticated);
    listeners.check("Get", Some(&good), Ok("ann")).await;
    listeners.check("Get", None, unauthenticated).await;
    let expired = forge.sign(&claims("exp", json!(now - 3600)));
    listeners
        .check("Get", Some(&expired), unauthenticated)
        .await;
    let forged = Forge::ed("a").sign(&claims("sub", json!("ann")));
    listeners.check("Get", Some(&forged), unauthenticated).await;
    let foreign = forge.sign(&claims("aud", json!("other")));
    listeners
        .check("Get", Some(&foreign), unauthenticated)
        .await;
    listeners.check("Get", Some(&none), unauthenticated).await;
    let root = forge.sign(&claims("roles", json!(["root"])));
    listeners.check("DeleteAll", Some(&root), Ok("ann")).await;
    listeners
        .check("DeleteAll", Some(&good), Err(Kind::PermissionDenied))
        .await;
}

#[tokio::test]
async fn a_call_over_the_limit_is_told_when_to_come_again_on_both_doors() {
    let listeners = Listeners::open("[limits.a]\nrate = 2\nper = \"1h\"\nby = \"global\"").await;
    listeners.check("Get", None, Ok("nobody")).await;
    for error in listeners
        .ask("Get", None)
        .await
        .map(|outcome| outcome.expect_err("over"))
    {
        assert_eq!(error.kind, Kind::ResourceExhausted);
        let Retry::After(wait) = error.retry else {
            panic!("{error:?} does not say when")
        };
        let half = Duration::from_secs(1800);
        assert!(
            wait <= half && wait > half - Duration::from_secs(120),
            "{wait:?}"
        );
    }
}

#[tokio::test]
async fn an_api_key_is_as_good_as_a_token() {
    let hash = "sha256:2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683";
    let listeners = Listeners::open(&format!("[auth.api-keys.keys.ann]\nhash = \"{hash}\"")).await;
    let by_key = |key: &str| {
        let mut call = with("X-VSP-API-Key", key);
        call.context.deadline = Some(clock::now() + Duration::from_secs(30));
        call
    };
    for outcome in listeners.send(|| by_key("key")).await {
        assert_eq!(outcome.expect("good").0, "ann");
    }
    for outcome in listeners.send(|| by_key("Key")).await {
        assert_eq!(outcome.expect_err("unknown").kind, Kind::Unauthenticated);
    }
}

/// One guard behind a listener of each kind.
struct Listeners {
    vstp: Client,
    http: HttpClient,
    shutdown: Shutdown,
    serving: Vec<JoinHandle<()>>,
}

/// The name of whoever calls.
#[derive(Debug)]
struct Told(String);

/// Answers with the name of the caller, as the pipeline would go about it.
struct Guarded(Guard);

struct Nothing;

impl Listeners {
    async fn open(text: &str) -> Self {
        let handler = Arc::new(Guarded(guard(text))) as Arc<dyn Handler>;
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let counters = Arc::new(Counters::default());
        let config = Arc::new(ServerConfig::default());
        let tcp = TcpServer::bind(address, config, Arc::clone(&handler), Arc::clone(&counters));
        let tcp = tcp.await.expect("a free port");
        let config = HttpConfig::default();
        let bytes = Arc::new(ByteBudget::unlimited());
        let http = HttpServer::bind(address, config, handler, Arc::new(Nothing), counters, bytes);
        let http = http.await.expect("a free port");
        let vstp = Target::tcp(tcp.local_addr());
        let base = http.local_addr().to_string();
        let shutdown = Shutdown::new();
        let serving = vec![
            tokio::spawn(tcp.serve(shutdown.clone())),
            tokio::spawn(http.serve(shutdown.clone())),
        ];
        let vstp = Client::connect(vstp, ClientConfig::default()).await;
        Self {
            vstp: vstp.expect("connects"),
            http: HttpClient::new(&base, HttpClientConfig::default()).expect("an address"),
            shutdown,
            serving,
        }
    }

    async fn send(&self, call: impl Fn() -> Call) -> [Result<Told, Error>; 2] {
        let told = async |outcome: Result<Reply, Error>| {
            let body = outcome?.body.into_one(1024).await?;
            Ok(Told(String::from_utf8_lossy(&body).into_owned()))
        };
        [
            told(self.vstp.call(call()).await).await,
            told(self.http.call(call()).await).await,
        ]
    }

    async fn ask(&self, method: &str, token: Option<&str>) -> [Result<Told, Error>; 2] {
        self.send(|| {
            let mut call = token.map_or_else(|| Call::unary("users", "Get", ""), bearer);
            call.method = method.into();
            call
        })
        .await
    }

    async fn check(&self, method: &str, token: Option<&str>, expected: Result<&str, Kind>) {
        for outcome in self.ask(method, token).await {
            let found = outcome
                .as_ref()
                .map(|told| &*told.0)
                .map_err(|error| error.kind);
            assert_eq!(found, expected, "{method} with {token:?}");
        }
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        self.shutdown.end();
        self.serving.iter().for_each(JoinHandle::abort);
    }
}

impl Handler for Guarded {
    fn call(&self, mut call: Call) -> BoxFuture<Result<Reply, Error>> {
        let now = Moment::now();
        let admitted = self
            .0
            .identify_now(&mut call, now)
            .and_then(|()| self.0.require(&call))
            .and_then(|()| self.0.authorize(&call))
            .and_then(|()| self.0.admit(&call, Sender::Caller, now.instant));
        let name = call
            .context
            .principal
            .map(|principal| principal.name.to_string());
        let name = name.unwrap_or_else(|| "nobody".to_owned());
        Box::pin(async move { admitted.map(|()| Reply::one(name)) })
    }
}

impl Catalog for Nothing {
    fn services(&self, _: Option<Text>, _: Call) -> BoxFuture<Result<Bytes, Error>> {
        Box::pin(async { Ok("{\"services\":[]}".into()) })
    }
}
