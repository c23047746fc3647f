//! Components by the tools and SDKs of others, in JavaScript, Python and Go: the same vectors through each. How each
//! is built says its script in `tests/guests`.

use std::fmt::Write as _;

use tokio::{sync::mpsc, task::JoinSet};

use super::*;

/// A component, and what its SDK makes of what is asked.
struct Sample {
    name: &'static str,
    /// Whether it has the pieces of a request as they come, and its own are sent as they are written.
    streams: bool,
    /// Whether an instance answers more than one request, which the gateway finds out. StarlingMonkey's event does
    /// not: "respondWith can't be called twice on the same event".
    is_reused: bool,
}

const SAMPLES: [Sample; 6] = [
    // componentize-js 0.23: StarlingMonkey's event `fetch`.
    Sample {
        name: "web-js",
        streams: true,
        is_reused: false,
    },
    // componentize-js 0.23: `incomingHandler` itself, as wasmCloud's samples have it.
    Sample {
        name: "web-wasmcloud-js",
        streams: true,
        is_reused: true,
    },
    // Spin's packages and tool, over componentize-js 0.19.
    Sample {
        name: "web-spin-js",
        streams: true,
        is_reused: false,
    },
    // componentize-py 0.25, world `wasi:http/proxy`.
    Sample {
        name: "web-python",
        streams: true,
        is_reused: true,
    },
    // Spin's SDK for Python: `wasi:http/handler` 0.3, whose bodies it collects.
    Sample {
        name: "web-spin-python",
        streams: false,
        is_reused: true,
    },
    // Go's own compiler, functions of `wasi:http` by hand.
    Sample {
        name: "web-go",
        streams: true,
        is_reused: true,
    },
];

/// Python and JavaScript, and a host that is not optimised, on a machine that does something else as well.
const MANIFEST: &str = "[limits]\ntime = \"2m\"\nmemory = \"128MiB\"\n[instances]\nmax = 2\n";

/// What the log has of the exception. Some SDKs answer with 500 themselves.
const EXCEPTION: &str = "no page of that name";

/// A status that is no usual one, and a field that is there twice.
async fn check_status(gateway: &Gateway, name: &str) {
    let answer = get(gateway, &format!("/{name}/status")).await;
    answer.check(418, "short and stout");
    let values = |field: &str| {
        let all = answer.headers.get_all(field).iter();
        let all: Vec<_> = all.filter_map(|value| value.to_str().ok()).collect();
        all.join(", ")
    };
    assert_eq!(
        (values("x-a"), values("x-b")),
        ("2".to_owned(), "1, 3".to_owned())
    );
}

async fn check_facts(gateway: &Gateway, name: &str) {
    let request = Request::get(format!("/{name}/facts?a=b%20c")).header("x-mine", "1");
    let answer = send(gateway, request.body(nothing()).expect("a request")).await;
    assert_eq!(answer.status, 200, "{name}: {}", answer.text());
    assert_eq!(answer.headers["content-type"], "text/plain", "{name}");
    let mut lines = answer.text().lines();
    let expected = format!("GET /{name}/facts?a=b%20c");
    assert_eq!(lines.next(), Some(&*expected));
    assert!(lines.any(|line| line == "x-mine: 1"), "{}", answer.text());
    let answer = get(gateway, &format!("/{name}/other")).await;
    answer.check(404, "nothing here");
}

/// Octets that are not the same anywhere.
fn octets(length: usize) -> Bytes {
    let mut text = String::with_capacity(length + 8);
    for number in 0_u32.. {
        if text.len() >= length {
            break;
        }
        // Writing to a text cannot fail.
        let _ = write!(text, "{number:x} ");
    }
    text.truncate(length);
    Bytes::from(text)
}

async fn check_echo(gateway: &Gateway, name: &str, length: usize) {
    let sent = octets(length);
    let request = Request::post(format!("/{name}/echo")).body(Full::new(sent.clone()).boxed());
    let answer = send(gateway, request.expect("a request")).await;
    assert_eq!((answer.status, answer.is_cut), (200, false), "{name}");
    assert!(
        answer.body == sent,
        "{name}: {} of {length}",
        answer.body.len()
    );
}

/// Each piece is sent when the one before has come back.
async fn check_stream(gateway: &Gateway, name: &str) {
    const N_PIECES: u8 = 8;
    let (to, pieces) = mpsc::channel::<Bytes>(1);
    let pieces = stream::unfold(pieces, |mut pieces| async {
        let piece = pieces.recv().await?;
        Some((Ok(Frame::data(piece)), pieces))
    });
    let request = Request::post(format!("http://{}/{name}/echo", gateway.http));
    let request = request.body(StreamBody::new(pieces).boxed());
    let client = Client::builder(TokioExecutor::new()).build_http::<RequestBody>();
    let exchange = async {
        let piece = |n_piece: u8| Bytes::from(vec![b'a' + n_piece; 3000]);
        to.send(piece(0)).await.expect("it is read");
        let response = client.request(request.expect("a request")).await;
        let mut body = response.expect("answered").into_body();
        for n_piece in 0..N_PIECES {
            let mut come = Vec::new();
            while come.len() < 3000 {
                let frame = body.frame().await.expect("not the end");
                let piece = frame.expect("not cut").into_data().expect("data");
                come.extend_from_slice(&piece);
            }
            assert_eq!(come, piece(n_piece), "{name}, piece {n_piece}");
            if n_piece + 1 < N_PIECES {
                to.send(piece(n_piece + 1)).await.expect("it is read");
            }
        }
        drop(to);
        while let Some(frame) = body.frame().await {
            let rest = frame.expect("not cut").into_data().unwrap_or_default();
            assert!(rest.is_empty(), "{name}: {rest:?}");
        }
    };
    let flows = timeout(PATIENCE, exchange).await;
    assert!(flows.is_ok(), "{name} streams\n{}", gateway.log());
}

async fn check_exception(gateway: &Gateway, name: &str) {
    let answer = get(gateway, &format!("/{name}/trap")).await;
    assert_eq!(answer.status, 500, "{name}: {}", answer.text());
    patiently("its author is told", async || {
        let log = gateway.log();
        let mut lines = log.lines();
        lines.any(|line| line.contains(name) && line.contains(EXCEPTION))
    })
    .await;
    check_facts(gateway, name).await;
}

/// More at a time than there are instances: each has its own answer.
async fn check_concurrent(gateway: &std::sync::Arc<Gateway>, name: &'static str) {
    let mut asking = JoinSet::new();
    for number in 0..6 {
        let gateway = gateway.clone();
        asking.spawn(async move { check_echo(&gateway, name, 20_000 + number).await });
    }
    asking.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn components_of_other_sdks_answer_the_same_vectors() {
    let _machine = own().await;
    let gateway = std::sync::Arc::new(Gateway::start(Setup::default()).await);
    // One after the other, as each is built by all processors.
    for sample in &SAMPLES {
        let name = sample.name;
        let file = component(name);
        gateway.deploy(&format!("{name}.toml"), MANIFEST.as_bytes());
        gateway.deploy(&format!("{name}.wasm"), &file);
        let is_served = async {
            while get(&gateway, &format!("/{name}/status")).await.status != 418 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        // Native code of a component in Python takes most of a minute.
        let served = timeout(2 * PATIENCE, is_served).await;
        assert!(served.is_ok(), "{name} serves\n{}", gateway.log());
    }
    for sample in &SAMPLES {
        let begin = std::time::Instant::now();
        let name = sample.name;
        let shown = gateway.admin_json(&format!("/plugins/{name}")).await;
        let mode = if sample.is_reused {
            "pooled"
        } else {
            "isolated"
        };
        assert_eq!(shown["instance_mode"]["mode"], mode, "{name}: {shown}");
        check_status(&gateway, name).await;
        check_facts(&gateway, name).await;
        for length in [0, 1024, MIB] {
            check_echo(&gateway, name, length).await;
        }
        if sample.streams {
            check_stream(&gateway, name).await;
        }
        check_concurrent(&gateway, name).await;
        check_exception(&gateway, name).await;
        figure(&format!(
            "{name}: all vectors, in {} ms",
            begin.elapsed().as_millis()
        ));
    }
}
