//! What the keys of `compression` do, to a client of the real binary.

use std::io::{Read as _, Write as _};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, body::Bytes};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use postern_tests::{Gateway, Setup};

use crate::share;

/// What a client was told.
struct Told {
    status: u16,
    coding: Option<String>,
    varies: bool,
    body: Bytes,
}

async fn start(http: &str) -> Gateway {
    let setup = Setup {
        http: http.to_owned(),
        ..Setup::default()
    };
    Gateway::start(setup.plugin("echo")).await
}

/// Has `body`, which is coded as `coding` says, sent back by the plugin `echo`.
async fn echo(gateway: &Gateway, accept: &str, coding: Option<&str>, body: Vec<u8>) -> Told {
    let uri = format!("http://{}/v1/services/echo/Echo", gateway.http);
    let mut request = Request::post(uri)
        .header("content-type", "application/json")
        .header("accept-encoding", accept);
    if let Some(coding) = coding {
        request = request.header("content-encoding", coding);
    }
    let request = request.body(Full::new(Bytes::from(body)));
    let client = Client::builder(TokioExecutor::new()).build_http();
    let response = client.request(request.expect("a request")).await;
    let (head, body) = response.expect("answered").into_parts();
    let text = |name| {
        let value = head.headers.get(name)?.to_str();
        Some(value.expect("text").to_owned())
    };
    Told {
        status: head.status.as_u16(),
        coding: text("content-encoding"),
        varies: text("vary").is_some_and(|names| names == "accept-encoding"),
        body: body.collect().await.expect("whole").to_bytes(),
    }
}

/// JSON of about so many octets, which become between a half and a twentieth of them.
fn json(n_octets: usize) -> Vec<u8> {
    let numbers = (0_u32..).map(|n| (n.wrapping_mul(2_654_435_761) >> 16) % 100);
    let text = numbers.map(|number| format!("{number:02}aaaaaa"));
    let text: String = text.take(n_octets / 8).collect();
    format!("\"{text}\"").into_bytes()
}

fn gzip(octets: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(octets).expect("memory");
    encoder.finish().expect("memory")
}

fn gunzip(octets: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut decoder = GzDecoder::new(octets);
    decoder.read_to_end(&mut plain).expect("gzip");
    plain
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_are_compressed_as_encodings_and_bytes_min_say() {
    let _machine = share().await;
    let keys = "compression.encodings = [\"br\", \"gzip\"]\ncompression.bytes-min = \"2KiB\"\n";
    let gateway = start(keys).await;
    let long = json(8000);
    let told = echo(&gateway, "gzip, zstd", None, long.clone()).await;
    assert_eq!(told.status, 200);
    assert_eq!(told.coding.as_deref(), Some("gzip"));
    assert!(told.varies && told.body.len() < long.len() / 2);
    assert_eq!(gunzip(&told.body), long);
    // The listener prefers brotli, where the client wants both alike.
    let told = echo(&gateway, "gzip, br", None, long.clone()).await;
    assert_eq!(told.coding.as_deref(), Some("br"));
    for accept in ["zstd", "identity", "gzip;q=0"] {
        let told = echo(&gateway, accept, None, long.clone()).await;
        assert_eq!((told.coding, told.varies), (None, true), "{accept}");
        assert_eq!(told.body, long);
    }
    let short = json(2000);
    let told = echo(&gateway, "gzip", None, short.clone()).await;
    assert_eq!((told.coding, told.varies), (None, false));
    assert_eq!(told.body, short);
    // By default nothing is compressed.
    let gateway = start("").await;
    let told = echo(&gateway, "gzip, br, zstd", None, long.clone()).await;
    assert_eq!((told.coding, told.varies), (None, false));
    assert_eq!(told.body, long);
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_requests_are_taken_up_to_ratio_max() {
    let _machine = share().await;
    let gateway = start("compression.ratio-max = 20\n").await;
    let long = json(200_000);
    let told = echo(&gateway, "identity", Some("gzip"), gzip(&long)).await;
    assert_eq!(told.status, 200);
    assert_eq!(told.body, long);
    let zeros = format!("\"{}\"", "0".repeat(1_000_000)).into_bytes();
    let told = echo(&gateway, "identity", Some("gzip"), gzip(&zeros)).await;
    let text = String::from_utf8_lossy(&told.body).into_owned();
    assert_eq!(told.status, 413, "{text}");
    assert!(text.contains("become more than 20 times as many"), "{text}");
    let told = echo(&gateway, "identity", Some("gzip"), b"\"plain\"".to_vec()).await;
    let text = String::from_utf8_lossy(&told.body).into_owned();
    assert_eq!(told.status, 400, "{text}");
    assert!(text.contains("the content is not gzip"), "{text}");
    // A window of Brotli has room in no connection of that bound; one of gzip has.
    let narrow = start("held-bytes-per-connection-max = \"4MiB\"\n").await;
    let told = echo(&narrow, "identity", Some("br"), b"any".to_vec()).await;
    assert_eq!(told.status, 429);
    let told = echo(&narrow, "identity", Some("gzip"), gzip(&long)).await;
    assert_eq!(told.status, 200);
    let told = echo(&gateway, "identity", Some("compress"), long).await;
    let text = String::from_utf8_lossy(&told.body).into_owned();
    assert_eq!(told.status, 415, "{text}");
    assert!(text.contains("gzip, deflate, br, zstd"), "{text}");
}
