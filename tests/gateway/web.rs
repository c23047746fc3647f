//! Components that were made for any host of `wasi:http`, by the real gateway: built with the crates of
//! their own registries (`tests/guests/web-*`), served unchanged.

mod conformance;
mod ends;
mod imports;
mod samples;

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Empty, Full, StreamBody, combinators::BoxBody};
use hyper::body::Frame;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use postern_core::Kind;
use postern_tests::{
    CallerTransport, Gateway, Setup, call, component, connect, patiently, rss_bytes,
};
use serde_json::Value;
use tokio::time::timeout;

use crate::{figure, own, share};

/// Both versions of `wasi:http`.
const GUESTS: [&str; 2] = ["web-p2", "web-p3"];
/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
const MIB: usize = 1 << 20;

type RequestBody = BoxBody<Bytes, Infallible>;

/// What a client gets.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
    /// Whether the body broke off.
    is_cut: bool,
}

impl Answer {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    #[track_caller]
    fn check(&self, status: u16, text: &str) {
        assert_eq!((self.status, self.text()), (status, text));
        assert!(!self.is_cut);
    }
}

fn nothing() -> RequestBody {
    Empty::new().boxed()
}

/// Sends a request and reads all of its response.
async fn send(gateway: &Gateway, request: Request<RequestBody>) -> Answer {
    let client = Client::builder(TokioExecutor::new()).build_http::<RequestBody>();
    let (mut head, body) = request.into_parts();
    let target = format!("http://{}{}", gateway.http, head.uri);
    head.uri = target.parse().expect("an address");
    let exchange = async {
        let request = Request::from_parts(head, body);
        let response = client.request(request).await.expect("answered");
        let (head, mut body) = response.into_parts();
        let mut answer = Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: Vec::new(),
            trailers: None,
            is_cut: false,
        };
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                answer.is_cut = true;
                break;
            };
            match frame.into_data() {
                Ok(piece) => answer.body.extend_from_slice(&piece),
                Err(frame) => answer.trailers = frame.into_trailers().ok(),
            }
        }
        answer
    };
    timeout(PATIENCE, exchange).await.expect("answered in time")
}

async fn get(gateway: &Gateway, path: &str) -> Answer {
    let request = Request::get(path).body(nothing());
    send(gateway, request.expect("a request")).await
}

/// A body in so many pieces of 64 KiB, and what follows it.
fn pieces(n_pieces: usize) -> RequestBody {
    let piece = Bytes::from(vec![b'x'; 64 * 1024]);
    let data = (0..n_pieces).map(move |_| Ok(Frame::data(piece.clone())));
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", n_pieces.into());
    let frames = data.chain([Ok(Frame::trailers(trailers))]);
    StreamBody::new(stream::iter(frames)).boxed()
}

fn post(path: &str, body: RequestBody) -> Request<RequestBody> {
    let request = Request::post(path).header("te", "trailers");
    let request = request.header("trailer", "x-sum").body(body);
    request.expect("a request")
}

/// A gateway with these components, and the manifest of the first.
async fn gateway(names: &[&str], manifest: &str) -> Gateway {
    let setup = names
        .iter()
        .fold(Setup::default(), |setup, name| setup.plugin(name));
    let first = names.first().expect("a component");
    // A file that says nothing does not count, nor what lies beside it.
    let setup = match manifest {
        "" => setup,
        _ => setup.file(&format!("{first}.toml"), manifest),
    };
    Gateway::start(setup).await
}

async fn plugin(gateway: &Gateway, name: &str) -> Value {
    gateway.admin_json(&format!("/plugins/{name}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_answers_below_its_name_and_sees_the_request_as_it_is() {
    let _machine = share().await;
    let gateway = gateway(&GUESTS, "").await;
    for name in GUESTS {
        let request = Request::get(format!("/{name}/facts?a=b%20c")).header("x-mine", "1");
        let answer = send(&gateway, request.body(nothing()).expect("a request")).await;
        assert_eq!(answer.headers["content-type"], "text/plain");
        let mut lines = answer.text().lines();
        let expected = format!("GET http {} /{name}/facts?a=b%20c", gateway.http);
        assert_eq!(lines.next(), Some(&*expected));
        assert!(lines.any(|line| line == "x-mine: 1"), "{}", answer.text());
        get(&gateway, &format!("/{name}/other"))
            .await
            .check(404, "other");
        // The name itself is there, and nothing beside it.
        assert_eq!(get(&gateway, &format!("/{name}")).await.text(), name);
        assert_eq!(get(&gateway, &format!("/{name}x/facts")).await.status, 404);
    }
    let answer = get(&gateway, "/web-p2/headers").await;
    assert_eq!((answer.status, answer.body.len()), (201, 0));
    let values: Vec<_> = answer.headers.get_all("x-b").iter().collect();
    assert_eq!(values, ["1", "3"]);
    assert_eq!(answer.headers["x-c"].as_bytes(), "\u{e9}".as_bytes());
    assert_eq!(get(&gateway, "/web-p2/status?299").await.status, 299);
    let told = plugin(&gateway, "web-p2").await;
    assert_eq!(told["roles"], serde_json::json!(["incoming-handler"]));
    let told = plugin(&gateway, "web-p3").await;
    assert_eq!(told["roles"], serde_json::json!(["http-handler"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_says_which_paths_come_to_a_component() {
    let _machine = share().await;
    let gateway = gateway(&["web-p2"], "routes = [\"/shop/*\", \"/cart/{id}\"]\n").await;
    for path in ["/shop/count", "/shop/a/b/count", "/cart/count"] {
        assert_eq!(get(&gateway, path).await.status, 200, "{path}");
    }
    get(&gateway, "/shop").await.check(404, "shop");
    for path in ["/web-p2/count", "/cart/a/count"] {
        assert_ne!(get(&gateway, path).await.text(), "count", "{path}");
        assert_eq!(get(&gateway, path).await.status, 404, "{path}");
    }
    let manifest = "[routes.api]\npath = \"/api/{rest*}\"\nstrip-prefix = \"/api\"\n";
    gateway.deploy("web-p2.toml", manifest.as_bytes());
    patiently("the new route is there", async || {
        let answer = get(&gateway, "/api/v1/facts").await;
        answer.status == 200 && answer.text().contains(" /v1/facts\n")
    })
    .await;
    // A call that is no request has no handler there.
    let caller = connect(&gateway, CallerTransport::Tcp).await;
    let error = call(&*caller, "web-p2/Get", "").await.expect_err("refused");
    assert_eq!(error.kind, Kind::Unimplemented);
    assert!(
        error.message.contains("answers requests of http"),
        "{}",
        error.message
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_and_what_follows_them_pass_in_both_directions() {
    let _machine = share().await;
    let gateway = gateway(&GUESTS, "").await;
    for path in ["/web-p2/echo", "/web-p3/echo", "/web-p3/passed"] {
        for n_pieces in [0, 1, 48] {
            let answer = send(&gateway, post(path, pieces(n_pieces))).await;
            assert_eq!(answer.status, 200, "{path}");
            assert!(!answer.is_cut, "{path} {n_pieces}");
            assert_eq!(answer.body.len(), n_pieces * 64 * 1024, "{path}");
            let trailers = answer.trailers.unwrap_or_default();
            let sum = trailers.get("x-sum").expect("what follows it");
            assert_eq!(sum.as_bytes(), n_pieces.to_string().as_bytes(), "{path}");
        }
        let whole = Full::new(Bytes::from_static(b"whole")).boxed();
        send(&gateway, post(path, whole)).await.check(200, "whole");
    }
    let answer = get(&gateway, "/web-p2/big?300").await;
    assert_eq!(answer.headers["content-length"], "307200");
    assert_eq!((answer.body.len(), answer.is_cut), (300 * 1024, false));
    let head = Request::head("/web-p2/big?300").body(nothing());
    let answer = send(&gateway, head.expect("a request")).await;
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_eq!(answer.headers["content-length"], "307200");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_flows_through_a_component_is_not_held() {
    let _machine = own().await;
    let gateway = gateway(&GUESTS, "").await;
    for name in GUESTS {
        let path = format!("/{name}/echo");
        send(&gateway, post(&path, pieces(64))).await;
        let before = rss_bytes(gateway.id());
        let answer = send(&gateway, post(&path, pieces(1024))).await;
        assert_eq!(answer.body.len(), 64 * MIB);
        let growth = rss_bytes(gateway.id()).saturating_sub(before);
        figure(&format!("64 MiB through {name}: {} MiB more", growth >> 20));
        assert!(growth < 24 * MIB as u64, "{growth} octets more");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_answers_many_requests_within_its_bounds() {
    let _machine = share().await;
    let manifest = "instances = { max = 1, max-calls = 3 }\n";
    let gateway = gateway(&GUESTS, manifest).await;
    gateway.deploy("web-p3.toml", manifest.as_bytes());
    for name in GUESTS {
        patiently("the bounds hold", async || {
            let mut counts = Vec::new();
            for _ in 0..6 {
                let answer = get(&gateway, &format!("/{name}/count")).await;
                counts.push(answer.text().to_owned());
            }
            // It begins wherever the last one ended.
            let begin = counts.iter().position(|count| count == "1");
            let mut one = counts.iter().skip(begin.unwrap_or(6));
            begin.is_some_and(|begin| begin <= 3)
                && ["1", "2", "3"]
                    .iter()
                    .all(|count| one.next().is_some_and(|it| it == count))
        })
        .await;
    }
    // One that forgets its handles is not used again.
    let manifest = "instances = { max = 1 }\n";
    gateway.deploy("web-p2.toml", manifest.as_bytes());
    patiently("a new generation", async || {
        get(&gateway, "/web-p2/count").await.text();
        let answer = get(&gateway, "/web-p2/leak?10").await;
        answer.text().parse::<u32>().is_ok_and(|count| count > 3)
    })
    .await;
    get(&gateway, "/web-p2/leak?300").await;
    get(&gateway, "/web-p2/count").await.check(200, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_is_replaced_under_load_without_a_failed_request() {
    let _machine = share().await;
    let gateway = std::sync::Arc::new(gateway(&GUESTS, "").await);
    let is_over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut clients = tokio::task::JoinSet::new();
    for name in GUESTS {
        for _ in 0..4 {
            let (gateway, is_over) = (gateway.clone(), is_over.clone());
            clients.spawn(async move {
                let mut n_answered = 0_usize;
                while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    let answer = get(&gateway, &format!("/{name}/count")).await;
                    assert_eq!(
                        (answer.status, answer.is_cut),
                        (200, false),
                        "{}",
                        answer.text()
                    );
                    n_answered += 1;
                }
                n_answered
            });
        }
    }
    for number in 0..10 {
        for name in GUESTS {
            let before = plugin(&gateway, name).await["generation"].clone();
            let manifest = format!("config = {{ number = {number} }}\n");
            gateway.deploy(&format!("{name}.toml"), manifest.as_bytes());
            patiently("the next generation serves", async || {
                plugin(&gateway, name).await["generation"] != before
            })
            .await;
        }
    }
    is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    let answered = clients.join_all().await;
    assert!(
        answered.iter().all(|n_answered| *n_answered > 0),
        "{answered:?}"
    );
    let sum: usize = answered.iter().sum();
    figure(&format!(
        "20 replacements of components under load: {sum} requests, 0 failed"
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_of_the_sdk_of_spin_answers() {
    let _machine = share().await;
    let gateway = gateway(&["web-spin"], "routes = [\"/spin/*\"]\n").await;
    let answer = get(&gateway, "/spin/hello").await;
    answer.check(200, "Hello from Spin at /spin/hello");
    assert_eq!(answer.headers["content-type"], "text/plain");
}

#[test]
fn a_report_on_a_component_knows_its_role_and_its_imports() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, role) in [("web-p2", "incoming-handler"), ("web-p3", "http-handler")] {
        let file = folder.path().join("it.wasm");
        std::fs::write(&file, component(name)).expect("written");
        let arguments = ["component", "inspect", "it.wasm"];
        let told = postern_tests::postern(folder.path(), &arguments);
        assert_eq!(told.code, Some(0), "{}", told.err);
        assert!(
            told.out.contains(&format!("roles         {role}\n")),
            "{}",
            told.out
        );
        assert!(told.out.contains("missing       nothing"), "{}", told.out);
        assert!(told.out.contains("wasi:http/types@0."), "{}", told.out);
    }
}
