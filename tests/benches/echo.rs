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
    nats::{self, Nats},
    passes::Passes,
    serve::{Role, Server},
    table::{Goal, Table},
};

/// Calls in flight on one connection.
const DEPTH: usize = 64;
const ROUND: Duration = Duration::from_millis(800);
/// Passes of pipelined rounds.
const PASSES: usize = 9;
/// Round trips of one round, and passes over all servers.
const TRIPS: usize = 1000;
const TRIP_TURNS: usize = 41;
const FRAME_BYTES_MAX: usize = 8 << 20;

/// One round of pipelined calls.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    calls_per_second: f64,
    /// Processor time of the server, in seconds.
    pub(crate) cpu_per_call: f64,
}

pub(crate) async fn run(table: &mut Table) {
    let servers = [Role::Bare, Role::Direct, Role::Native, Role::Component].map(Server::start);
    let [bare, direct, native, component] = &servers;
    round_trips(table, bare, direct, component).await;
    let passes = side_by_side(64, 1, native, direct).await;
    let what = "pipelined 64 B x 1, pipeline: processor time (server alone)";
    compare_cpu(table, what, &passes, Goal::None);
    for n_connections in [1, 16] {
        for n_octets in [64, 1024] {
            pipelined(table, n_octets, n_connections, native, component).await;
        }
    }
    let nats = Nats::start().await;
    for (n_connections, goal) in [(1, 0.5), (16, 0.7)] {
        beside_nats(table, n_connections, component, &nats, goal).await;
    }
}

async fn round_trips(table: &mut Table, bare: &Server, direct: &Server, component: &Server) {
    let request = request(64, 1);
    let mut passes = Vec::new();
    for _ in 0..TRIP_TURNS {
        let mut pass = <[Percentiles; 3]>::default();
        for (server, round) in [bare, direct, component].into_iter().zip(&mut pass) {
            let durations = trip(server.address, &request, TRIPS).await;
            *round = Percentiles::new(durations.expect("echoes"));
        }
        passes.push(pass);
    }
    let passes = Passes(passes);
    type Pick = fn(&[Percentiles; 3]) -> &Percentiles;
    let (bare, direct, component): (Pick, Pick, Pick) = (
        |[bare, ..]| bare,
        |[_, direct, _]| direct,
        |[.., component]| component,
    );
    for percent in [50, 99] {
        let goal = if percent == 50 {
            Goal::AtMost(1.25)
        } else {
            Goal::None
        };
        let servers = [
            ("server alone", direct, goal),
            ("component", component, Goal::None),
        ];
        for (name, ours, goal) in servers {
            let time = |pick: Pick, pass: &_| pick(pass).at(percent).as_secs_f64();
            table.compare(
                format!("tcp echo 64 B {name}, p{percent} (bare tokio)"),
                passes.median_time(|pass| time(ours, pass)),
                passes.median_time(|pass| time(bare, pass)),
                passes.median(|pass| time(ours, pass) / time(bare, pass)),
                goal,
            );
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
    let passes = side_by_side(n_octets, n_connections, component, native).await;
    let is_goal = (n_octets, n_connections) == (64, 1);
    let goal = |goal| if is_goal { goal } else { Goal::None };
    let what = format!("pipelined {n_octets} B x {n_connections}, component");
    table.compare(
        format!("{what}: calls/s (native)"),
        format!("{:.0}", passes.median(|[ours, _]| ours.calls_per_second)),
        format!(
            "{:.0}",
            passes.median(|[_, theirs]| theirs.calls_per_second)
        ),
        passes.median(|[ours, theirs]| ours.calls_per_second / theirs.calls_per_second),
        goal(Goal::AtLeast(0.7)),
    );
    let cpu = format!("{what}: processor time (native)");
    compare_cpu(table, cpu, &passes, Goal::None);
    let added = |[ours, theirs]: &[Round; 2]| ours.cpu_per_call - theirs.cpu_per_call;
    table.figure(
        format!("{what}: adds, us"),
        passes.median_time(added),
        passes.median(added) * 1e6,
        goal(Goal::AtMost(1.0)),
    );
}

/// Processor time of a call through the component, and of a request and its reply through NATS.
async fn beside_nats(
    table: &mut Table,
    n_connections: usize,
    component: &Server,
    nats: &Nats,
    goal: f64,
) {
    const N_OCTETS: usize = 64;
    let mut passes = Vec::new();
    for _ in 0..PASSES {
        let ours = round(component, N_OCTETS, n_connections).await;
        let pump = |id, end| nats::pump(nats.address, N_OCTETS, DEPTH, id, end);
        let theirs = round_of(n_connections, || nats.cpu(), pump).await;
        passes.push([ours.expect("echoes"), theirs.expect("echoes")]);
    }
    let what =
        format!("pipelined {N_OCTETS} B x {n_connections}, component: processor time (nats)");
    compare_cpu(table, what, &Passes(passes), Goal::AtMost(goal));
}

pub(crate) fn compare_cpu(
    table: &mut Table,
    what: impl Into<String>,
    passes: &Passes<[Round; 2]>,
    goal: Goal,
) {
    table.compare(
        what,
        passes.median_time(|[ours, _]| ours.cpu_per_call),
        passes.median_time(|[_, theirs]| theirs.cpu_per_call),
        passes.median(|[ours, theirs]| ours.cpu_per_call / theirs.cpu_per_call),
        goal,
    );
}

pub(crate) async fn side_by_side(
    n_octets: usize,
    n_connections: usize,
    one: &Server,
    other: &Server,
) -> Passes<[Round; 2]> {
    let mut passes = Vec::new();
    for _ in 0..PASSES {
        let one = round(one, n_octets, n_connections).await.expect("echoes");
        let other = round(other, n_octets, n_connections).await.expect("echoes");
        passes.push([one, other]);
    }
    Passes(passes)
}

async fn round(server: &Server, n_octets: usize, n_connections: usize) -> io::Result<Round> {
    let request = request(n_octets, n_connections);
    let pump = |_, end| pump(server.address, request.clone(), end);
    round_of(n_connections, || server.cpu(), pump).await
}

/// One round of `n_connections` clients, which `pump` makes of their number and the round's end.
async fn round_of<C>(
    n_connections: usize,
    cpu: impl Fn() -> Duration,
    pump: impl Fn(usize, Instant) -> C,
) -> io::Result<Round>
where
    C: Future<Output = io::Result<usize>> + Send + 'static,
{
    let (cpu_before, begin) = (cpu(), Instant::now());
    let mut connections = JoinSet::new();
    for id in 0..n_connections {
        connections.spawn(pump(id, begin + ROUND));
    }
    let mut n_calls = 0;
    while let Some(connection) = connections.join_next().await {
        n_calls += connection.map_err(io::Error::other)??;
    }
    let (cpu, time) = (cpu() - cpu_before, begin.elapsed());
    let calls = n_calls.max(1) as f64;
    Ok(Round {
        calls_per_second: calls / time.as_secs_f64(),
        cpu_per_call: cpu.as_secs_f64() / calls,
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
