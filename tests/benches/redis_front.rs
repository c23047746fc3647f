//! Clients of Redis, beside redis-server: PUBLISH to one and to a hundred subscribers, and requests a
//! second of PING, GET, SET and CALL.
//!
//! The clients write requests that were encoded beforehand and count octets of answers, all of which
//! have one length, so that they are not what is measured. What is set is on disk when it is answered,
//! here as there (`appendfsync always`).

use std::{
    io,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use postern_tests::{Gateway, Setup, ToolProcess, free_address, system_tool};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, tcp::OwnedReadHalf},
    sync::Semaphore,
    task::JoinSet,
};

use crate::{
    passes::Passes,
    serve::cpu_with_ended_threads,
    table::{Goal, Table},
};

const CHANNEL: &str = "bench.a";
const PAYLOAD: usize = 64;
/// Messages that were published and have not arrived everywhere.
const WINDOW: usize = 512;
/// Requests in one write, at most.
const BATCH: usize = 64;
const ROUND: Duration = Duration::from_millis(1_000);
const PASSES: usize = 7;

/// A server and its process.
#[derive(Clone, Copy)]
struct Served {
    address: SocketAddr,
    process: u32,
}

/// What is asked, and what is compared.
#[derive(Clone, Copy)]
struct Load {
    name: &'static str,
    request: &'static [&'static [u8]],
    /// What redis-server is asked, which may be another thing.
    beside: &'static [&'static [u8]],
    n_connections: usize,
    /// Requests of a connection that have no answer yet.
    depth: usize,
    goal: Goal,
}

/// One round.
struct Round {
    per_second: f64,
    /// Processor time of the server, in seconds.
    cpu_each: f64,
}

const VALUE: &[u8] = &[b'x'; PAYLOAD];
const LOADS: [Load; 8] = [
    Load {
        name: "PING, 1 connection, 1 in flight",
        request: &[b"PING"],
        beside: &[b"PING"],
        n_connections: 1,
        depth: 1,
        goal: Goal::None,
    },
    Load {
        name: "PING, 50 connections",
        request: &[b"PING"],
        beside: &[b"PING"],
        n_connections: 50,
        depth: 1,
        goal: Goal::None,
    },
    Load {
        name: "PING, 4 connections, 64 in flight",
        request: &[b"PING"],
        beside: &[b"PING"],
        n_connections: 4,
        depth: 64,
        goal: Goal::None,
    },
    Load {
        name: "PUBLISH to nobody, 50 connections",
        request: &[b"PUBLISH", b"bench.none", VALUE],
        beside: &[b"PUBLISH", b"bench.none", VALUE],
        n_connections: 50,
        depth: 1,
        goal: Goal::None,
    },
    Load {
        name: "GET, 50 connections",
        request: &[b"GET", b"bench"],
        beside: &[b"GET", b"bench"],
        n_connections: 50,
        depth: 1,
        goal: Goal::None,
    },
    Load {
        name: "SET, 50 connections, on disk",
        request: &[b"SET", b"bench", VALUE],
        beside: &[b"SET", b"bench", VALUE],
        n_connections: 50,
        depth: 1,
        goal: Goal::None,
    },
    Load {
        name: "SET, 1 connection, 64 in flight, on disk",
        request: &[b"SET", b"bench", VALUE],
        beside: &[b"SET", b"bench", VALUE],
        n_connections: 1,
        depth: 64,
        goal: Goal::None,
    },
    Load {
        name: "CALL of a plugin, 50 connections (ECHO of redis-server)",
        request: &[b"CALL", b"echo/echo", VALUE],
        beside: &[b"ECHO", VALUE],
        n_connections: 50,
        depth: 1,
        goal: Goal::None,
    },
];

pub(crate) async fn run(table: &mut Table) {
    let folder = tempfile::tempdir().expect("a folder");
    let (gateway, ours) = start_gateway().await;
    let (server, theirs) = start_redis(folder.path()).await;
    for n_subscribers in [1, 100] {
        let mut passes = Vec::new();
        for _ in 0..PASSES {
            let own = publishing(ours, n_subscribers).await;
            let other = publishing(theirs, n_subscribers).await;
            passes.push([own.expect("serves"), other.expect("serves")]);
        }
        let what = format!("PUBLISH to {n_subscribers}, {PAYLOAD} B");
        compare(table, &what, passes, Goal::AtLeast(1.0));
    }
    for server in [ours, theirs] {
        let set = encoded(&[b"SET", b"bench", VALUE]);
        let mut stream = TcpStream::connect(server.address)
            .await
            .expect("it listens");
        answer_bytes(&mut stream, &set).await.expect("set");
    }
    for load in LOADS {
        let mut passes = Vec::new();
        for _ in 0..PASSES {
            let own = asking(ours, load, load.request).await;
            let other = asking(theirs, load, load.beside).await;
            passes.push([own.expect("serves"), other.expect("serves")]);
        }
        compare(table, load.name, passes, load.goal);
    }
    drop((gateway, server));
}

fn compare(table: &mut Table, what: &str, passes: Vec<[Round; 2]>, goal: Goal) {
    let passes = Passes(passes);
    table.compare(
        format!("redis {what}: requests/s (redis-server)"),
        format!("{:.0}", passes.median(|[ours, _]| ours.per_second)),
        format!("{:.0}", passes.median(|[_, theirs]| theirs.per_second)),
        passes.median(|[ours, theirs]| ours.per_second / theirs.per_second),
        goal,
    );
    table.compare(
        format!("redis {what}: processor time (redis-server)"),
        passes.median_time(|[ours, _]| ours.cpu_each),
        passes.median_time(|[_, theirs]| theirs.cpu_each),
        passes.median(|[ours, theirs]| ours.cpu_each / theirs.cpu_each),
        Goal::None,
    );
}

/// One publisher whose messages every subscriber is to have before too many others are published.
async fn publishing(server: Served, n_subscribers: usize) -> io::Result<Round> {
    let room = Arc::new(Semaphore::new(WINDOW));
    let delivered = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for _ in 0..n_subscribers {
        let mut socket = connect(server.address).await?;
        answer_bytes(&mut socket, &encoded(&[b"SUBSCRIBE", CHANNEL.as_bytes()])).await?;
        clients.spawn(count(
            socket,
            n_subscribers,
            Arc::clone(&room),
            Arc::clone(&delivered),
        ));
    }
    let (reader, mut writer) = connect(server.address).await?.into_split();
    clients.spawn(discard(reader));
    let (cpu_before, begin) = (cpu_with_ended_threads(server.process), Instant::now());
    let batch = encoded(&[b"PUBLISH", CHANNEL.as_bytes(), VALUE]).repeat(BATCH);
    let permits = u32::try_from(BATCH).unwrap_or(1);
    clients.spawn(async move {
        loop {
            let room = room.acquire_many(permits).await;
            room.map_err(io::Error::other)?.forget();
            writer.write_all(&batch).await?;
        }
    });
    tokio::time::sleep_until((begin + ROUND).into()).await;
    let n_messages = delivered.load(Relaxed) as f64 / n_subscribers as f64;
    let round = Round {
        per_second: n_messages / begin.elapsed().as_secs_f64(),
        cpu_each: (cpu_with_ended_threads(server.process) - cpu_before).as_secs_f64()
            / n_messages.max(1.0),
    };
    // Whoever is in the middle of something is of no interest any more.
    clients.shutdown().await;
    Ok(round)
}

/// Counts messages by their length.
async fn count(
    mut socket: TcpStream,
    n_subscribers: usize,
    room: Arc<Semaphore>,
    delivered: Arc<AtomicU64>,
) -> io::Result<()> {
    let length = encoded(&[b"message", CHANNEL.as_bytes(), VALUE]).len();
    let mut buffer = vec![0; 256 << 10];
    let mut n_octets = 0;
    loop {
        match socket.read(&mut buffer).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n_read => n_octets += n_read,
        }
        let n_messages = (n_octets / length) as u64;
        n_octets %= length;
        let before = delivered.fetch_add(n_messages, Relaxed);
        // A message has arrived when all have it, as near as counting gets.
        let n_subscribers = n_subscribers as u64;
        let freed = (before + n_messages) / n_subscribers - before / n_subscribers;
        room.add_permits(usize::try_from(freed).unwrap_or(0));
    }
}

async fn discard(mut reader: OwnedReadHalf) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    while reader.read(&mut buffer).await? > 0 {}
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// Connections that each keep a number of requests in flight.
async fn asking(server: Served, load: Load, request: &[&[u8]]) -> io::Result<Round> {
    let request = encoded(request);
    let answered = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    let mut sockets = Vec::new();
    for _ in 0..load.n_connections {
        let mut socket = connect(server.address).await?;
        let length = answer_bytes(&mut socket, &request).await?;
        sockets.push((socket, length));
    }
    let (cpu_before, begin) = (cpu_with_ended_threads(server.process), Instant::now());
    for (socket, length) in sockets {
        let requests = request.repeat(load.depth);
        clients.spawn(ask(
            socket,
            requests,
            length,
            load.depth,
            Arc::clone(&answered),
        ));
    }
    tokio::time::sleep_until((begin + ROUND).into()).await;
    let n_answered = answered.load(Relaxed) as f64;
    let round = Round {
        per_second: n_answered / begin.elapsed().as_secs_f64(),
        cpu_each: (cpu_with_ended_threads(server.process) - cpu_before).as_secs_f64()
            / n_answered.max(1.0),
    };
    clients.shutdown().await;
    Ok(round)
}

async fn ask(
    mut socket: TcpStream,
    requests: Vec<u8>,
    length: usize,
    depth: usize,
    answered: Arc<AtomicU64>,
) -> io::Result<()> {
    let mut buffer = vec![0; length * depth];
    loop {
        socket.write_all(&requests).await?;
        socket.read_exact(&mut buffer).await?;
        answered.fetch_add(depth as u64, Relaxed);
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// The length of the answer to one request.
async fn answer_bytes(socket: &mut TcpStream, request: &[u8]) -> io::Result<usize> {
    socket.write_all(request).await?;
    let mut buffer = vec![0; 4096];
    let n_read = socket.read(&mut buffer).await?;
    match buffer.first() {
        Some(b'-') | None => {
            let said = String::from_utf8_lossy(buffer.get(..n_read).unwrap_or_default());
            Err(io::Error::other(said.into_owned()))
        }
        Some(_) => Ok(n_read),
    }
}

/// An array of bulk strings.
fn encoded(strings: &[&[u8]]) -> Vec<u8> {
    let mut octets = format!("*{}\r\n", strings.len()).into_bytes();
    for string in strings {
        octets.extend_from_slice(format!("${}\r\n", string.len()).as_bytes());
        octets.extend_from_slice(string);
        octets.extend_from_slice(b"\r\n");
    }
    octets
}

async fn start_gateway() -> (Gateway, Served) {
    let address = free_address().expect("a free port");
    let config = format!(
        "[log]\nlevel = \"warn\"\naccess = \"off\"\n\
         [listeners.redis]\nprotocol = \"redis\"\naddress = \"{address}\"\n\
         redis.stores = [\"bench\"]\n"
    );
    let setup = Setup {
        config,
        ..Setup::default().plugin("echo")
    };
    let gateway = Gateway::start(setup).await;
    let process = gateway.id();
    (gateway, Served { address, process })
}

async fn start_redis(folder: &Path) -> (ToolProcess, Served) {
    let address = free_address().expect("a free port");
    let mut command = std::process::Command::new(system_tool("redis-server"));
    command
        .current_dir(folder)
        .args(["--bind", "127.0.0.1", "--port", &address.port().to_string()])
        .args([
            "--save",
            "",
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
        ])
        .stdout(std::process::Stdio::null());
    let mut server = ToolProcess::start(&mut command);
    server.listening(address).await;
    let process = server.id();
    (server, Served { address, process })
}
