//! The whole gateway: HTTP calls through a component, and how soon a dropped file answers.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use postern_tests::{
    CallerTransport, Gateway, Percentiles, Setup, call, component, connect, patiently,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use crate::{
    passes::Passes,
    serve::{Role, Server, cpu},
    table::{Goal, Table, show},
};

const CONNECTIONS: usize = 32;
const ROUND: Duration = Duration::from_millis(800);
const PASSES: usize = 9;
const DROPS: usize = 9;

/// One round of calls over HTTP.
struct HttpRound {
    durations: Percentiles,
    calls_per_second: f64,
    /// Processor time of the server, in seconds.
    cpu_per_call: f64,
}

pub(crate) async fn run_http(table: &mut Table) {
    let gateway = Gateway::start(quiet().plugin("echo")).await;
    let hyper = Server::start(Role::Hyper);
    let mut passes = Vec::new();
    for _ in 0..PASSES {
        let ours = http_round(gateway.http, || cpu(gateway.id())).await;
        let theirs = http_round(hyper.address, || hyper.cpu()).await;
        passes.push([ours.expect("answers"), theirs.expect("answers")]);
    }
    let passes = Passes(passes);
    let what = format!("http hello through echo x {CONNECTIONS}");
    let rate = |[ours, theirs]: &[HttpRound; 2]| ours.calls_per_second / theirs.calls_per_second;
    table.compare(
        format!("{what}: calls/s (hyper)"),
        format!("{:.0}", passes.median(|[ours, _]| ours.calls_per_second)),
        format!("{:.0}", passes.median(|[_, hyper]| hyper.calls_per_second)),
        passes.median(rate),
        Goal::None,
    );
    table.compare(
        format!("{what}: processor time (hyper)"),
        passes.median_time(|[ours, _]| ours.cpu_per_call),
        passes.median_time(|[_, hyper]| hyper.cpu_per_call),
        passes.median(|[ours, hyper]| ours.cpu_per_call / hyper.cpu_per_call),
        Goal::AtMost(1.2),
    );
    for percent in [50, 99] {
        let time = |round: &HttpRound| round.durations.at(percent).as_secs_f64();
        table.compare(
            format!("{what}: p{percent} (hyper)"),
            passes.median_time(|[ours, _]| time(ours)),
            passes.median_time(|[_, hyper]| time(hyper)),
            passes.median(|[ours, hyper]| time(ours) / time(hyper)),
            Goal::None,
        );
    }
}

async fn http_round(address: SocketAddr, cpu: impl Fn() -> Duration) -> io::Result<HttpRound> {
    // Once before, so that instances and connections have been made.
    hello(address, Duration::from_millis(100)).await?;
    let (cpu_before, begin) = (cpu(), Instant::now());
    let durations = hello(address, ROUND).await?;
    let (cpu, time) = (cpu() - cpu_before, begin.elapsed());
    let calls = durations.len().max(1) as f64;
    Ok(HttpRound {
        durations: Percentiles::new(durations),
        calls_per_second: calls / time.as_secs_f64(),
        cpu_per_call: cpu.as_secs_f64() / calls,
    })
}

pub(crate) async fn run_drop(table: &mut Table) {
    let gateway = Gateway::start(quiet()).await;
    let (mut compiled, mut cached) = (Vec::new(), Vec::new());
    let file = component("echo");
    for n in 0..DROPS {
        // A custom section at the end: another digest, the same code.
        let name = u8::try_from(n).expect("few drops");
        let fresh = Bytes::from([&file[..], &[0, 2, 1, name]].concat());
        compiled.push(until_answered(&gateway, &fresh).await);
        cached.push(until_answered(&gateway, &fresh).await);
    }
    for (what, durations, goal) in [
        ("compiled", compiled, 250.0),
        ("from the cache", cached, 50.0),
    ] {
        let median = Percentiles::new(durations).at(50);
        let millis = median.as_secs_f64() * 1e3;
        let what = format!("file dropped to first answer, {what}, ms");
        table.figure(what, show(median), millis, Goal::AtMost(goal));
    }
}

/// Drops the file, asks until it answers, and takes it away again.
async fn until_answered(gateway: &Gateway, file: &[u8]) -> Duration {
    let handler = connect(gateway, CallerTransport::Tcp).await;
    let begin = Instant::now();
    gateway.deploy("echo.wasm", file);
    while call(&*handler, "echo/Echo", "1").await.is_err() {
        assert!(
            begin.elapsed() < Duration::from_secs(30),
            "the dropped file does not answer"
        );
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
    let time = begin.elapsed();
    gateway.remove("echo.wasm");
    patiently("the service is gone", async || {
        call(&*handler, "echo/Echo", "1").await.is_err()
    })
    .await;
    time
}

fn quiet() -> Setup {
    let config = "[log]\nlevel = \"warn\"\naccess = \"off\"\n".to_owned();
    Setup {
        config,
        ..Setup::default()
    }
}

/// `CONNECTIONS` clients, each asking again when it was answered; how long each call took.
async fn hello(address: SocketAddr, time: Duration) -> io::Result<Vec<Duration>> {
    let end = Instant::now() + time;
    let mut clients = JoinSet::new();
    for _ in 0..CONNECTIONS {
        clients.spawn(client(address, end));
    }
    let mut durations = Vec::new();
    while let Some(client) = clients.join_next().await {
        durations.extend(client.map_err(io::Error::other)??);
    }
    Ok(durations)
}

/// HTTP/1.1 as a load generator speaks it: the request is written as it is, the reply's length is
/// learnt from the first and expected of all.
async fn client(address: SocketAddr, end: Instant) -> io::Result<Vec<Duration>> {
    const REQUEST: &[u8] = b"POST /v1/services/echo/Echo HTTP/1.1\r\nhost: localhost\r\n\
        content-type: application/json\r\ncontent-length: 7\r\n\r\n\"hello\"";
    let mut socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let mut buffer = vec![0; 4096];
    let mut durations = Vec::new();
    while Instant::now() < end {
        let begin = Instant::now();
        socket.write_all(REQUEST).await?;
        let mut n_octets = 0;
        loop {
            let rest = buffer.get_mut(n_octets..).unwrap_or_default();
            let n_read = socket.read(rest).await?;
            n_octets += n_read;
            let reply = buffer.get(..n_octets).unwrap_or_default();
            if reply.starts_with(b"HTTP/1.1 200") && reply.ends_with(b"\"hello\"") {
                break;
            }
            if n_read == 0 || n_octets == buffer.len() {
                return Err(io::Error::other(
                    String::from_utf8_lossy(reply).into_owned(),
                ));
            }
        }
        durations.push(begin.elapsed());
    }
    Ok(durations)
}
