//! Instructions of the hot paths, counted by callgrind through gungraun: the same on a noisy
//! machine. The command of `main.rs` runs this and compares it with `instructions.toml`.
//!
//! Each count is of what happens once per call or per frame; everything before is in a `setup`.

#![expect(unused_qualifications, reason = "gungraun's macros write them")]

use std::{
    hint::black_box,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use gungraun::{LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use postern_core::{
    Body, BoxFuture, Call, Error, Handler, Headers, Reply, Text,
    wire::{Connection, Decoder, Frame, Role, SessionConfig, SessionId},
};
use postern_net::{
    ByteBudget, Shutdown,
    http::{Catalog, HttpConfig, HttpServer},
};
use postern_wasm::{Plugin, PluginSpec, Pooling, Runtime, RuntimeConfig};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

const FRAME_BYTES_MAX: usize = 8 << 20;

fn frame(n_octets: usize) -> Frame {
    let mut headers = Headers::new();
    for (key, value) in [
        ("service", "echo"),
        ("method", "Echo"),
        ("correlation-id", "4711"),
    ] {
        headers.push(key, value).expect("short headers fit");
    }
    Frame::data(headers, vec![b'1'; n_octets])
}

fn encoded(n_octets: usize) -> BytesMut {
    let mut out = BytesMut::new();
    frame(n_octets).encode(&mut out).expect("within the limit");
    out
}

fn with_buffer(n_octets: usize) -> (Frame, BytesMut) {
    (frame(n_octets), BytesMut::with_capacity(n_octets + 256))
}

#[library_benchmark]
#[bench::b64(args = (64), setup = with_buffer)]
#[bench::b1024(args = (1024), setup = with_buffer)]
fn codec_encode((frame, mut out): (Frame, BytesMut)) -> BytesMut {
    black_box(&frame)
        .encode(&mut out)
        .expect("within the limit");
    out
}

#[library_benchmark]
#[bench::b64(args = (64), setup = encoded)]
#[bench::b1024(args = (1024), setup = encoded)]
fn codec_decode(mut buffer: BytesMut) -> Option<Frame> {
    Decoder::new(FRAME_BYTES_MAX)
        .decode(black_box(&mut buffer))
        .expect("legal")
}

/// A frame that is there but for its last octet, the buffer that it is in, and that octet.
fn cut(n_octets: usize) -> (Decoder, BytesMut, BytesMut) {
    let mut buffer = encoded(n_octets);
    let last = buffer.split_off(buffer.len() - 1);
    let mut decoder = Decoder::new(FRAME_BYTES_MAX);
    assert!(decoder.decode(&mut buffer).expect("legal so far").is_none());
    (decoder, buffer, last)
}

#[library_benchmark]
#[bench::b1024(args = (1024), setup = cut)]
fn decoder_last_octet(
    (mut decoder, mut buffer, last): (Decoder, BytesMut, BytesMut),
) -> Option<Frame> {
    buffer.unsplit(last);
    decoder.decode(black_box(&mut buffer)).expect("legal")
}

/// A session that has answered one call, and the next request and reply.
fn session(n_octets: usize) -> (Connection, BytesMut, Frame, Instant) {
    let now = Instant::now();
    let config = Arc::new(SessionConfig::default());
    let mut connection = Connection::new(config, Role::Server, SessionId(7), now);
    exchange(
        &mut connection,
        &mut encoded(n_octets),
        frame(n_octets),
        now,
    );
    (connection, encoded(n_octets), frame(n_octets), now)
}

fn exchange(
    connection: &mut Connection,
    octets: &mut BytesMut,
    reply: Frame,
    now: Instant,
) -> Option<Bytes> {
    connection.handle_bytes(now, octets).expect("legal");
    while let Some(event) = connection.poll_event() {
        black_box(event);
    }
    assert!(connection.begin(), "the session is open");
    connection.send(now, reply).expect("the queue is empty");
    connection.finish();
    connection.poll_transmit()
}

#[library_benchmark]
#[bench::b64(args = (64), setup = session)]
fn session_call(
    (mut connection, mut octets, reply, now): (Connection, BytesMut, Frame, Instant),
) -> (Connection, Option<Bytes>) {
    let transmitted = exchange(&mut connection, &mut octets, reply, now);
    (connection, transmitted)
}

struct Echo;

impl Handler for Echo {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        Box::pin(std::future::ready(Ok(Reply::new(
            Headers::new(),
            call.body,
        ))))
    }
}

/// Calls before the one that is counted. They are of another method: callgrind is so slow that a method
/// which has been called is suspected to compute (`placement.rs` of the host), and its calls are measured.
const N_FIRST_CALLS: usize = 300;

/// A handler that has answered, and the next call.
type Ready = (Box<dyn Handler>, Call, tokio::runtime::Runtime);

fn ready(handler: Box<dyn Handler>, tokio: tokio::runtime::Runtime) -> Ready {
    {
        let _context = tokio.enter();
        for _ in 0..N_FIRST_CALLS {
            let reply = tokio.block_on(handler.call(Call::unary("echo", "First", "1")));
            assert!(matches!(reply.expect("answers").body, Body::One(_)));
        }
    }
    (handler, Call::unary("echo", "Echo", vec![b'1'; 64]), tokio)
}

fn tokio_runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}

fn pipeline() -> Ready {
    let pipeline = postern::testing::pipeline(Arc::new(Echo), &[]);
    ready(Box::new(pipeline), tokio_runtime())
}

/// The component `echo`, as `POSTERN_ECHO` names its file.
fn component() -> Ready {
    let (plugin, tokio) = deployed("POSTERN_ECHO", "echo");
    ready(Box::new(plugin), tokio)
}

/// The component `probe`, and a call that changes a metric of the plugin's own so many times: what one
/// change costs is the difference between two of them. All are counted in calls whose processor time is taken.
fn measuring(n_changes: u32) -> Ready {
    let (plugin, tokio) = deployed("POSTERN_PROBE", "probe");
    let body = format!(
        r#"{{"change":"increase","name":"jobs","labels":[["queue","mail"]],"value":1.0,"times":{n_changes}}}"#
    );
    let call = || Call::unary("probe", "Measure", body.clone());
    for _ in 0..N_FIRST_CALLS {
        let _context = tokio.enter();
        let reply = tokio.block_on(plugin.call(call()));
        assert!(reply.is_ok(), "it counts");
    }
    (Box::new(plugin), call(), tokio)
}

/// A plugin in service, of the component in the file that a variable names.
fn deployed(variable: &str, name: &str) -> (Plugin, tokio::runtime::Runtime) {
    let tokio = tokio_runtime();
    let path = std::env::var(variable).expect("the command of main.rs names the component");
    let file = Bytes::from(std::fs::read(path).expect("the component is built"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plugin = tokio.block_on(async {
        let config = RuntimeConfig {
            data_dir: folder.path().to_path_buf(),
            // No tick falls into the call that is counted.
            tick: Duration::from_secs(3600),
            pooling: Pooling {
                instances_max: 4,
                ..Pooling::default()
            },
            ..RuntimeConfig::default()
        };
        let runtime = Runtime::new(config).expect("a runtime");
        let plugin = Plugin::new(&runtime, name);
        plugin
            .deploy(file, PluginSpec::default())
            .await
            .expect("it serves");
        plugin
    });
    (plugin, tokio)
}

fn call_once((handler, call, tokio): Ready) -> Ready {
    {
        let _context = tokio.enter();
        let reply = handler
            .call(black_box(call))
            .now_or_never()
            .expect("answers at once");
        assert!(reply.is_ok(), "echo answers");
    }
    (handler, Call::unary("", "", ""), tokio)
}

#[library_benchmark]
#[bench::b64(setup = pipeline)]
fn pipeline_call(ready: Ready) -> Ready {
    call_once(ready)
}

#[library_benchmark]
#[bench::b64(setup = component)]
fn component_call(ready: Ready) -> Ready {
    call_once(ready)
}

#[library_benchmark]
#[bench::none(args = (0), setup = measuring)]
#[bench::one(args = (1), setup = measuring)]
#[bench::eleven(args = (11), setup = measuring)]
fn metric_call(ready: Ready) -> Ready {
    call_once(ready)
}

/// Tells of no service: nobody asks.
struct NoCatalog;

impl Catalog for NoCatalog {
    fn services(&self, _: Option<Text>, _: Call) -> BoxFuture<Result<Bytes, Error>> {
        Box::pin(std::future::ready(Ok(Bytes::from_static(b"[]"))))
    }
}

/// A connection to an HTTP server of the same thread, which has answered before.
type Connected = (TcpStream, tokio::runtime::Runtime);

const HTTP_REQUEST: &[u8] = b"POST /v1/services/echo/Echo HTTP/1.1\r\nhost: localhost\r\n\
    content-type: application/json\r\ncontent-length: 7\r\n\r\n\"hello\"";

fn connected(tokio: tokio::runtime::Runtime, start: impl AsyncFnOnce() -> SocketAddr) -> Connected {
    let socket = tokio.block_on(async {
        let mut socket = TcpStream::connect(start().await).await.expect("it listens");
        for _ in 0..N_FIRST_CALLS {
            exchange_http(&mut socket).await;
        }
        socket
    });
    (socket, tokio)
}

/// Asks once. The client's part is the same for every server.
async fn exchange_http(socket: &mut TcpStream) {
    socket.write_all(HTTP_REQUEST).await.expect("it reads");
    let (mut buffer, mut n_octets) = ([0; 1024], 0);
    while !buffer
        .get(..n_octets)
        .is_some_and(|reply| reply.ends_with(b"\"hello\""))
    {
        let rest = buffer.get_mut(n_octets..).unwrap_or_default();
        let n_read = socket.read(rest).await.expect("it answers");
        assert!(n_read > 0, "the reply is short, and the server stays");
        n_octets += n_read;
    }
}

fn http() -> Connected {
    let (any, tokio) = (SocketAddr::from(([127, 0, 0, 1], 0)), tokio_runtime());
    connected(tokio, async || {
        let (config, bytes) = (HttpConfig::default(), Arc::new(ByteBudget::unlimited()));
        let catalog = Arc::new(NoCatalog);
        let server = HttpServer::bind(any, config, Arc::new(Echo), catalog, Arc::default(), bytes);
        let server = server.await.expect("a free port");
        let address = server.local_addr().socket_addr().expect("of TCP");
        tokio::spawn(server.serve(Shutdown::new()));
        address
    })
}

/// hyper alone, as a peer.
fn hyper() -> Connected {
    let (any, tokio) = (SocketAddr::from(([127, 0, 0, 1], 0)), tokio_runtime());
    connected(tokio, async || {
        let listener = TcpListener::bind(any).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            let (socket, _) = listener.accept().await.expect("a client");
            let service = service_fn(async |request: http::Request<Incoming>| {
                let body = request.into_body().collect().await?;
                hyper::Result::Ok(http::Response::new(Full::new(body.to_bytes())))
            });
            let served = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
            served.await.expect("served");
        });
        address
    })
}

#[library_benchmark]
#[bench::hello(setup = http)]
fn http_call((mut socket, tokio): Connected) -> Connected {
    tokio.block_on(exchange_http(&mut socket));
    (socket, tokio)
}

#[library_benchmark]
#[bench::hello(setup = hyper)]
fn hyper_call((mut socket, tokio): Connected) -> Connected {
    tokio.block_on(exchange_http(&mut socket));
    (socket, tokio)
}

library_benchmark_group!(
    name = hot_paths,
    benchmarks = [
        codec_encode,
        codec_decode,
        decoder_last_octet,
        session_call,
        pipeline_call,
        component_call,
        metric_call,
        http_call,
        hyper_call
    ]
);

main!(
    config = LibraryBenchmarkConfig::default().pass_through_envs([
        "POSTERN_ECHO",
        "POSTERN_PROBE",
        "TMPDIR"
    ]),
    library_benchmark_groups = hot_paths
);
