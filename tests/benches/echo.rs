//! Echo over TCP: one call at a time, and many in flight, from a client that costs little.
//!
//! The client writes requests that were encoded beforehand and only counts what comes back, so that
//! what differs between two servers is the servers.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use postern_core::{
    Headers,
    wire::{Decoder, Frame},
};
use postern_tests::Percentiles;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use crate::{
    serve::{Role, Server},
    table::{Goal, Table, ratio, show},
};

/// Calls in flight on one connection.
const DEPTH: usize = 64;
const ROUND: Duration = Duration::from_millis(1500);
/// Rounds that each server gets, in turns; the median counts.
const ROUNDS: usize = 5;
/// Round trips of one round, and rounds of each server.
const TRIPS: usize = 2000;
const TRIP_ROUNDS: usize = 20;
const FRAME_BYTES_MAX: usize = 8 << 20;

/// One round of pipelined calls.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    calls_per_second: f64,
    /// Processor time of the server.
    cpu_per_call: Duration,
}

pub(crate) async fn run(table: &mut Table) {
    let servers = [Role::Bare, Role::Direct, Role::Native, Role::Component].map(Server::start);
    let [bare, direct, native, component] = &servers;
    round_trips(table, bare, direct, component).await;
    let (piped, plain) = side_by_side(64, 1, native, direct).await;
    compare_cpu(
        table,
        "pipelined 64 B x 1, pipeline: processor time (server alone)",
        piped,
        plain,
    );
    for n_connections in [1, 16] {
        for n_octets in [64, 1024] {
            pipelined(table, n_octets, n_connections, native, component).await;
        }
    }
}

async fn round_trips(table: &mut Table, bare: &Server, direct: &Server, component: &Server) {
    let request = request(64, 1);
    let mut rounds = [bare, direct, component].map(|server| (server.address, Vec::new()));
    // In turns, so that what else the machine does meets all alike.
    for _ in 0..TRIP_ROUNDS {
        for (address, rounds) in &mut rounds {
            let durations = trip(*address, &request, TRIPS).await.expect("echoes");
            rounds.push(Percentiles::new(durations));
        }
    }
    // The fastest round of each: where the scheduler puts the two ends only ever adds.
    let fastest = |rounds: Vec<Percentiles>| rounds.into_iter().min_by_key(|round| round.at(50));
    let [bare, direct, component] = rounds.map(|(_, rounds)| fastest(rounds).unwrap_or_default());
    for percent in [50, 99] {
        let goal = if percent == 50 {
            Goal::AtMost(1.25)
        } else {
            Goal::None
        };
        let servers = [
            ("server alone", &direct, goal),
            ("component", &component, Goal::None),
        ];
        for (name, ours, goal) in servers {
            let (ours, theirs) = (ours.at(percent), bare.at(percent));
            let what = format!("tcp echo 64 B {name}, p{percent} (bare tokio)");
            table.compare(what, show(ours), show(theirs), ratio(ours, theirs), goal);
        }
    }
}

async fn pipelined(
    table: &mut Table,
    n_octets: usize,
    n_connections: usize,
    native: &Server,
    component: &Server,
) {
    let (component, native) = side_by_side(n_octets, n_connections, component, native).await;
    let is_goal = (n_octets, n_connections) == (64, 1);
    let goal = |goal| if is_goal { goal } else { Goal::None };
    let what = format!("pipelined {n_octets} B x {n_connections}, component");
    table.compare(
        format!("{what}: calls/s (native)"),
        format!("{:.0}", component.calls_per_second),
        format!("{:.0}", native.calls_per_second),
        component.calls_per_second / native.calls_per_second,
        goal(Goal::AtLeast(0.7)),
    );
    compare_cpu(
        table,
        &format!("{what}: processor time (native)"),
        component,
        native,
    );
    let added = component.cpu_per_call.saturating_sub(native.cpu_per_call);
    let micros = added.as_secs_f64() * 1e6;
    table.figure(
        format!("{what}: adds, us"),
        show(added),
        micros,
        goal(Goal::AtMost(1.0)),
    );
}

fn compare_cpu(table: &mut Table, what: &str, ours: Round, theirs: Round) {
    let (ours, theirs) = (ours.cpu_per_call, theirs.cpu_per_call);
    table.compare(
        what,
        show(ours),
        show(theirs),
        ratio(ours, theirs),
        Goal::None,
    );
}

/// Rounds of both servers in turns; the median of each.
async fn side_by_side(
    n_octets: usize,
    n_connections: usize,
    one: &Server,
    other: &Server,
) -> (Round, Round) {
    let mut rounds = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (server, rounds) in [one, other].into_iter().zip(&mut rounds) {
            rounds.push(
                round(server, n_octets, n_connections)
                    .await
                    .expect("echoes"),
            );
        }
    }
    let [one, other] = rounds.map(median);
    (one, other)
}

/// The median of each column.
fn median(rounds: Vec<Round>) -> Round {
    let middle = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    let cpu = rounds
        .iter()
        .map(|round| round.cpu_per_call.as_secs_f64())
        .collect();
    Round {
        calls_per_second: middle(rounds.iter().map(|round| round.calls_per_second).collect()),
        cpu_per_call: Duration::from_secs_f64(middle(cpu)),
    }
}

async fn round(server: &Server, n_octets: usize, n_connections: usize) -> io::Result<Round> {
    let request = request(n_octets, n_connections);
    let (cpu, begin) = (server.cpu(), Instant::now());
    let mut connections = JoinSet::new();
    for _ in 0..n_connections {
        connections.spawn(pump(server.address, request.clone(), begin + ROUND));
    }
    let mut n_calls = 0;
    while let Some(connection) = connections.join_next().await {
        n_calls += connection.map_err(io::Error::other)??;
    }
    let (cpu, time) = (server.cpu() - cpu, begin.elapsed());
    let calls = n_calls.max(1) as f64;
    Ok(Round {
        calls_per_second: calls / time.as_secs_f64(),
        cpu_per_call: Duration::from_secs_f64(cpu.as_secs_f64() / calls),
    })
}

/// A call of `echo/Echo`, encoded; the header is that of a typical caller.
fn request(n_octets: usize, id: usize) -> Bytes {
    let mut headers = Headers::new();
    let id = id.to_string();
    for (key, value) in [
        ("service", "echo"),
        ("method", "Echo"),
        ("correlation-id", &*id),
    ] {
        headers.push(key, value).expect("short headers fit");
    }
    let mut out = BytesMut::new();
    Frame::data(headers, vec![b'1'; n_octets])
        .encode(&mut out)
        .expect("within the limit");
    out.freeze()
}

/// Keeps `DEPTH` calls in flight until `end`; the number of replies.
async fn pump(address: SocketAddr, request: Bytes, end: Instant) -> io::Result<usize> {
    let mut socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let batch = request.repeat(DEPTH);
    let (mut decoder, mut buffer) = (
        Decoder::new(FRAME_BYTES_MAX),
        BytesMut::with_capacity(256 << 10),
    );
    socket.write_all(&batch).await?;
    let (mut n_calls, mut n_in_flight) = (0, DEPTH);
    while n_in_flight > 0 {
        buffer.reserve(64 << 10);
        if socket.read_buf(&mut buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut n_replies = 0;
        while let Some(frame) = decoder.decode(&mut buffer).map_err(io::Error::other)? {
            expect_success(&frame)?;
            n_replies += 1;
        }
        n_calls += n_replies;
        n_in_flight -= n_replies;
        if Instant::now() < end {
            socket
                .write_all(batch.get(..n_replies * request.len()).unwrap_or_default())
                .await?;
            n_in_flight += n_replies;
        }
    }
    Ok(n_calls)
}

/// A bare echo sends the request back, which has no status; an error has another.
fn expect_success(frame: &Frame) -> io::Result<()> {
    match frame.headers.get_str("status").as_deref() {
        None | Some("success") => Ok(()),
        Some(status) => Err(io::Error::other(format!("{status}: {:?}", frame.payload))),
    }
}

/// One call after the other; how long each took.
async fn trip(address: SocketAddr, request: &[u8], n_trips: usize) -> io::Result<Vec<Duration>> {
    let mut socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let (mut decoder, mut buffer) = (
        Decoder::new(FRAME_BYTES_MAX),
        BytesMut::with_capacity(64 << 10),
    );
    let mut durations = Vec::with_capacity(n_trips);
    for _ in 0..n_trips {
        let begin = Instant::now();
        socket.write_all(request).await?;
        let frame = loop {
            if let Some(frame) = decoder.decode(&mut buffer).map_err(io::Error::other)? {
                break frame;
            }
            buffer.reserve(4 << 10);
            if socket.read_buf(&mut buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        durations.push(begin.elapsed());
        expect_success(&frame)?;
    }
    Ok(durations)
}
