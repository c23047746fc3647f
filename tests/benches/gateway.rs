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
    serve::cpu,
    table::{Goal, Table, show},
};

const CONNECTIONS: usize = 32;
const ROUND: Duration = Duration::from_secs(3);
const DROPS: usize = 9;

pub(crate) async fn run_http(table: &mut Table) {
    let gateway = Gateway::start(quiet().plugin("echo")).await;
    // Once before, so that instances exist.
    hello(gateway.http, Duration::from_millis(500))
        .await
        .expect("the gateway answers");
    let (before, begin) = (cpu(gateway.id()), Instant::now());
    let durations = hello(gateway.http, ROUND)
        .await
        .expect("the gateway answers");
    let (cpu, time) = (cpu(gateway.id()) - before, begin.elapsed());
    let calls = durations.len().max(1) as f64;
    let rate = calls / time.as_secs_f64();
    let what = format!("http hello through echo x {CONNECTIONS}");
    table.figure(
        format!("{what}: calls/s"),
        format!("{rate:.0}"),
        rate,
        Goal::None,
    );
    let per_call = Duration::from_secs_f64(cpu.as_secs_f64() / calls);
    let micros = per_call.as_secs_f64() * 1e6;
    table.figure(
        format!("{what}: processor time, us"),
        show(per_call),
        micros,
        Goal::None,
    );
    let durations = Percentiles::new(durations);
    for percent in [50, 99] {
        let value = durations.at(percent);
        let micros = value.as_secs_f64() * 1e6;
        table.figure(
            format!("{what}: p{percent}, us"),
            show(value),
            micros,
            Goal::None,
        );
    }
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
