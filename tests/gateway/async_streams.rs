//! Role `async-stream-handler` in each of its languages: one table of calls, and tens of MiB in both
//! directions through an instance whose memory does not grow.

use std::{path::Path, process::Command, sync::Arc, time::Duration};

use bytes::Bytes;
use postern_core::{Body, BodyStream, Call, Handler};
use postern_tests::{
    CallerTransport, Finished, Gateway, Setup, component, connect, patiently, python,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{figure, share};

const MIB: usize = 1 << 20;
const PIECE_BYTES: usize = 64 * 1024;
/// Pieces of 64 KiB: 40 MiB.
const PIECES: usize = 640;
/// How much an instance may have grown by what went through it: buffers of its runtime.
const GROWTH_BYTES_MAX: u64 = 8 << 20;

/// Deploys the guest `name` and waits until it serves.
async fn serve(name: &str) -> Gateway {
    let file = component(name);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests");
    let manifest = std::fs::read(root.join(format!("{name}/{name}.toml")));
    let gateway = Gateway::start(Setup::default()).await;
    gateway.deploy(&format!("{name}.toml"), &manifest.expect("its manifest"));
    gateway.deploy(&format!("{name}.wasm"), &file);
    let target = format!("/plugins/{name}");
    let is_served = async {
        let is_active = |(_, told): (u16, String)| told.contains("\"state\":\"active\"");
        while !gateway.admin(&target).await.is_ok_and(is_active) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    // Native code of a component in Python takes most of a minute.
    let served = tokio::time::timeout(Duration::from_secs(240), is_served).await;
    assert!(served.is_ok(), "{name} serves\n{}", gateway.log());
    gateway
}

/// Has all asked that is in the table.
fn check_table(gateway: &Gateway, name: &str) {
    let lang = name.trim_start_matches("async-");
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let mut table = Command::new(python());
    table
        .arg(vectors.join("guests.py"))
        .args([&format!("ws://{}", gateway.http), lang])
        .arg(vectors.join("async-streams.json"));
    let asked: Finished = table.output().expect("it runs").into();
    assert_eq!(asked.code, Some(0), "{name}: {asked:?}\n{}", gateway.log());
    figure(&format!(
        "{name}: {}",
        asked.out.lines().last().unwrap_or_default()
    ));
}

fn pieces(n_pieces: usize) -> Body {
    messages(vec![Bytes::from(vec![7; PIECE_BYTES]); n_pieces])
}

fn messages(messages: Vec<Bytes>) -> Body {
    let messages = messages.into_iter().map(Ok);
    Body::Messages(BodyStream::new(futures_util::stream::iter(messages)))
}

/// Calls a streaming method.
async fn open(client: &Arc<dyn Handler>, name: &str, method: &str, body: Body) -> BodyStream {
    let mut call = Call::unary(name.to_owned(), method.to_owned(), Bytes::new());
    call.body = body;
    let reply = client.call(call).await.expect("a reply");
    reply.body.into_octets()
}

/// Octets and messages of the reply of a streaming method.
async fn read(client: &Arc<dyn Handler>, name: &str, method: &str, body: Body) -> (usize, usize) {
    let mut stream = open(client, name, method, body).await;
    let (mut n_octets, mut n_messages) = (0, 0);
    while let Some(message) = stream.next().await {
        n_octets += message.expect("whole").len();
        n_messages += 1;
    }
    (n_octets, n_messages)
}

/// The most memory that any one instance has had.
async fn memory_bytes(gateway: &Gateway, name: &str) -> u64 {
    let (_, text) = gateway.admin("/metrics").await.expect("metrics");
    let gauge = format!("postern_plugin_memory_bytes{{plugin=\"{name}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&*gauge));
    let bytes = line.unwrap_or_else(|| panic!("no {gauge}\n{text}"));
    bytes.parse::<f64>().expect("a number") as u64
}

/// 40 MiB in each direction and in both, after 8 MiB have shown what an instance needs.
async fn check_memory(gateway: &Gateway, name: &str) {
    let client = connect(gateway, CallerTransport::Tcp).await;
    let filling = |n: usize| messages(vec![format!("{{\"pieces\":{n}}}").into()]);
    let warm = 8 * MIB / PIECE_BYTES;
    for method in ["Echo", "Measure"] {
        read(&client, name, method, pieces(warm)).await;
    }
    read(&client, name, "Fill", filling(warm)).await;
    let before = memory_bytes(gateway, name).await;
    let filled = read(&client, name, "Fill", filling(PIECES)).await;
    assert_eq!(filled, (PIECES * PIECE_BYTES, PIECES));
    let (_, n_messages) = read(&client, name, "Measure", pieces(PIECES)).await;
    assert_eq!(n_messages, 1);
    let echoed = read(&client, name, "Echo", pieces(PIECES)).await;
    assert_eq!(echoed, (PIECES * PIECE_BYTES, PIECES));
    let after = memory_bytes(gateway, name).await;
    figure(&format!(
        "{name}: an instance had {} KiB at 8 MiB and {} KiB at 40 MiB each way",
        before / 1024,
        after / 1024
    ));
    assert!(
        after <= before + GROWTH_BYTES_MAX,
        "{before} octets grew to {after}"
    );
}

/// Callers that go away in the middle: the guest finds out where it sends, says so, and calls go on.
async fn check_leaving(gateway: &Gateway, name: &str) {
    const CALLERS: usize = 20;
    let client = connect(gateway, CallerTransport::Tcp).await;
    for _ in 0..CALLERS {
        let mut stream = open(&client, name, "Leave", messages(Vec::new())).await;
        stream.next().await.expect("a piece").expect("whole");
    }
    patiently("a guest was told that its caller has left", async || {
        let mut stream = open(&client, name, "Left", messages(Vec::new())).await;
        let told = stream.next().await;
        let told = told.expect("a message").expect("whole");
        String::from_utf8_lossy(&told).contains("told")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_in_rust_answers_every_call_of_the_table_at_flat_memory() {
    let _machine = share().await;
    let gateway = serve("async-rust").await;
    check_table(&gateway, "async-rust");
    check_memory(&gateway, "async-rust").await;
    check_leaving(&gateway, "async-rust").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_in_javascript_answers_every_call_of_the_table_at_flat_memory() {
    let _machine = share().await;
    let gateway = serve("async-js").await;
    check_table(&gateway, "async-js");
    check_memory(&gateway, "async-js").await;
    check_leaving(&gateway, "async-js").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_in_python_answers_every_call_of_the_table_at_flat_memory() {
    let _machine = share().await;
    let gateway = serve("async-python").await;
    check_table(&gateway, "async-python");
    check_memory(&gateway, "async-python").await;
    check_leaving(&gateway, "async-python").await;
}

/// A body of HTTP is octets for the guest, and so is what it gives back; its status and headers come first.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_http_flows_through_as_octets() {
    const BODY_BYTES: usize = 4 * MIB;
    let _machine = share().await;
    let gateway = serve("async-rust").await;
    let mut stream = TcpStream::connect(gateway.http).await.expect("open");
    let head = format!(
        "POST /v1/services/async-rust/Copy HTTP/1.1\r\nhost: x.localhost\r\nconnection: close\r\n\
         content-type: application/octet-stream\r\ncontent-length: {BODY_BYTES}\r\n\r\n"
    );
    let (mut reader, mut writer) = stream.split();
    let sent = async {
        writer.write_all(head.as_bytes()).await.expect("written");
        for _ in 0..BODY_BYTES / PIECE_BYTES {
            let piece = [7; PIECE_BYTES];
            writer.write_all(&piece).await.expect("written");
        }
    };
    let mut told = Vec::new();
    let (_, read) = tokio::join!(sent, reader.read_to_end(&mut told));
    read.expect("whole");
    let head_bytes = told.windows(4).position(|end| end == b"\r\n\r\n");
    let (head, body) = told.split_at(head_bytes.expect("a head"));
    let head = String::from_utf8_lossy(head);
    assert!(head.starts_with("HTTP/1.1 201 "), "{head}");
    let n_octets = body.iter().filter(|octet| **octet == 7).count();
    assert_eq!(n_octets, BODY_BYTES, "{head}");
}
