//! The broker beside mosquitto: messages a second from one to one, from one to a hundred and from a
//! hundred to one, and what 10,000 devices take that say nothing.
//!
//! The clients write packets that were encoded beforehand and count octets of those that come, all of
//! which have one length, so that they are not what is measured. A publisher waits while more than
//! [`WINDOW`] messages have not arrived: neither server may drop any.

use std::{
    fs,
    io::{self, Write as _},
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use postern_tests::{Gateway, Setup, ToolProcess, free_address, patiently, rss_bytes, system_tool};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Semaphore,
    task::JoinSet,
    time::timeout_at,
};

use crate::{
    passes::Passes,
    serve::cpu,
    table::{Goal, Table, progress},
};

const PAYLOAD: usize = 64;
const TOPIC: &str = "bench/a";
/// Messages that were published and have not arrived everywhere.
const WINDOW: usize = 512;
/// Messages in one write, at most.
const BATCH: usize = 64;
const ROUND: Duration = Duration::from_millis(1_000);
const PASSES: usize = 7;
const DEVICES: usize = 10_000;

/// How many publish to how many.
#[derive(Debug, Clone, Copy)]
struct Fan {
    n_publishers: usize,
    n_subscribers: usize,
    qos: u8,
}

/// One round of one fan.
struct Round {
    messages_per_second: f64,
    /// Processor time of the server, in seconds.
    cpu_per_message: f64,
}

/// What publishers and subscribers of a round know of each other.
struct Shared {
    /// Messages that may be published.
    room: Semaphore,
    delivered: AtomicU64,
    fan: Fan,
}

impl Fan {
    /// Messages in one write.
    fn batch(self) -> usize {
        (WINDOW / self.n_publishers / 4).clamp(1, BATCH)
    }
}

pub(crate) async fn run(table: &mut Table) {
    let folder = tempfile::tempdir().expect("a folder");
    let address = free_address().expect("a free port");
    let gateway = Gateway::start(setup(address)).await;
    let mosquitto = Mosquitto::start(folder.path()).await;
    for qos in [0, 1] {
        for (n_publishers, n_subscribers) in [(1, 1), (1, 100), (100, 1)] {
            let fan = Fan {
                n_publishers,
                n_subscribers,
                qos,
            };
            compare(table, fan, (address, gateway.id()), &mosquitto).await;
        }
    }
    drop((gateway, mosquitto));
    idle(table, folder.path()).await;
}

async fn compare(table: &mut Table, fan: Fan, ours: (SocketAddr, u32), theirs: &Mosquitto) {
    let mut passes = Vec::new();
    for _ in 0..PASSES {
        let own = round(ours.0, fan, || cpu(ours.1)).await;
        let other = round(theirs.address, fan, || cpu(theirs.process.id())).await;
        passes.push([own.expect("serves"), other.expect("serves")]);
    }
    let passes = Passes(passes);
    let Fan {
        n_publishers,
        n_subscribers,
        qos,
    } = fan;
    let what = format!("mqtt QoS {qos}, {n_publishers} to {n_subscribers}, {PAYLOAD} B");
    table.compare(
        format!("{what}: messages/s (mosquitto)"),
        format!("{:.0}", passes.median(|[ours, _]| ours.messages_per_second)),
        format!(
            "{:.0}",
            passes.median(|[_, theirs]| theirs.messages_per_second)
        ),
        passes.median(|[ours, theirs]| ours.messages_per_second / theirs.messages_per_second),
        Goal::AtLeast(2.0),
    );
    table.compare(
        format!("{what}: processor time (mosquitto)"),
        passes.median_time(|[ours, _]| ours.cpu_per_message),
        passes.median_time(|[_, theirs]| theirs.cpu_per_message),
        passes.median(|[ours, theirs]| ours.cpu_per_message / theirs.cpu_per_message),
        Goal::None,
    );
}

async fn round(address: SocketAddr, fan: Fan, cpu: impl Fn() -> Duration) -> io::Result<Round> {
    let shared = Arc::new(Shared {
        room: Semaphore::new(WINDOW),
        delivered: AtomicU64::new(0),
        fan,
    });
    let mut clients = JoinSet::new();
    for id in 0..fan.n_subscribers {
        let reader = subscribe(address, id, fan.qos).await?;
        clients.spawn(count(reader, Arc::clone(&shared)));
    }
    let mut publishers = Vec::new();
    for id in 0..fan.n_publishers {
        publishers.push(connect(address, &format!("p{id}")).await?);
    }
    let end = Instant::now() + ROUND;
    let (cpu_before, begin) = (cpu(), Instant::now());
    for publisher in publishers {
        let (reader, writer) = publisher.into_split();
        let own = Arc::new(Semaphore::new(fan.batch() * 2));
        clients.spawn(acknowledged(reader, Arc::clone(&own)));
        clients.spawn(publish(writer, Arc::clone(&shared), own));
    }
    let delivered = || shared.delivered.load(Relaxed) as f64;
    tokio::time::sleep_until(end.into()).await;
    let (cpu, time, messages) = (cpu() - cpu_before, begin.elapsed(), delivered());
    // Whoever is in the middle of something is of no interest any more.
    clients.shutdown().await;
    Ok(Round {
        messages_per_second: messages / time.as_secs_f64(),
        cpu_per_message: cpu.as_secs_f64() / messages.max(1.0),
    })
}

/// Publishes while there is room.
async fn publish(
    mut writer: OwnedWriteHalf,
    shared: Arc<Shared>,
    own: Arc<Semaphore>,
) -> io::Result<()> {
    let (batch, qos) = (shared.fan.batch(), shared.fan.qos);
    // Acknowledgements come in order, so that two batches need identifiers of their own and no third.
    let halves = [1, 1 + batch].map(|first| {
        let packets = (first..first + batch).map(|id| packet(qos, id));
        packets.collect::<Vec<_>>().concat()
    });
    let permits = u32::try_from(batch).unwrap_or(1);
    for packets in halves.iter().cycle() {
        let room = shared.room.acquire_many(permits).await;
        room.map_err(io::Error::other)?.forget();
        if qos > 0 {
            let own = own.acquire_many(permits).await;
            own.map_err(io::Error::other)?.forget();
        }
        writer.write_all(packets).await?;
    }
    Ok(())
}

/// Reads acknowledgements, of four octets each.
async fn acknowledged(mut reader: OwnedReadHalf, own: Arc<Semaphore>) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    let mut n_octets = 0;
    loop {
        match reader.read(&mut buffer).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n_read => n_octets += n_read,
        }
        own.add_permits(n_octets / ACK_BYTES);
        n_octets %= ACK_BYTES;
    }
}

/// Counts messages by their length, and acknowledges those of QoS 1.
async fn count(mut socket: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    let Fan {
        n_subscribers, qos, ..
    } = shared.fan;
    let length = packet(qos, 1).len();
    let mut buffer = vec![0; 256 << 10];
    let (mut held, mut acks) = (0, Vec::with_capacity(4 << 10));
    loop {
        let n_read = socket
            .read(buffer.get_mut(held..).unwrap_or_default())
            .await?;
        if n_read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        held += n_read;
        let n_messages = held / length;
        if qos > 0 {
            acks.clear();
            for message in buffer.chunks_exact(length).take(n_messages) {
                acks.extend_from_slice(&[0x40, 2]);
                acks.extend_from_slice(message.get(ID_AT..ID_AT + 2).unwrap_or_default());
            }
            socket.write_all(&acks).await?;
        }
        buffer.copy_within(n_messages * length..held, 0);
        held -= n_messages * length;
        let before = shared.delivered.fetch_add(n_messages as u64, Relaxed);
        let after = before + n_messages as u64;
        // A message has arrived when all have it, as near as counting gets.
        let n_subscribers = n_subscribers as u64;
        let freed = after / n_subscribers - before / n_subscribers;
        shared.room.add_permits(usize::try_from(freed).unwrap_or(0));
    }
}

async fn connect(address: SocketAddr, id: &str) -> io::Result<TcpStream> {
    let mut socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let length = u8::try_from(12 + id.len()).unwrap_or(u8::MAX);
    let mut connect = vec![0x10, length];
    // Version 3.1.1, clean, no keep-alive.
    connect.extend_from_slice(b"\0\x04MQTT\x04\x02\0\0\0");
    connect.push(u8::try_from(id.len()).unwrap_or(u8::MAX));
    connect.extend_from_slice(id.as_bytes());
    socket.write_all(&connect).await?;
    let mut connack = [0; 4];
    socket.read_exact(&mut connack).await?;
    match connack {
        [0x20, 2, _, 0] => Ok(socket),
        other => Err(io::Error::other(format!("CONNACK {other:02x?}"))),
    }
}

async fn subscribe(address: SocketAddr, id: usize, qos: u8) -> io::Result<TcpStream> {
    let mut socket = connect(address, &format!("s{id}")).await?;
    let length = u8::try_from(5 + TOPIC.len()).unwrap_or(u8::MAX);
    let mut subscribe = vec![0x82, length, 0, 1, 0];
    subscribe.push(u8::try_from(TOPIC.len()).unwrap_or(u8::MAX));
    subscribe.extend_from_slice(TOPIC.as_bytes());
    subscribe.push(qos);
    socket.write_all(&subscribe).await?;
    let mut suback = [0; 5];
    socket.read_exact(&mut suback).await?;
    match suback.last() == Some(&qos) {
        true => Ok(socket),
        false => Err(io::Error::other(format!("SUBACK {suback:02x?}"))),
    }
}

/// PUBLISH.
fn packet(qos: u8, id: usize) -> Vec<u8> {
    let id = u16::try_from(id).unwrap_or(u16::MAX).to_be_bytes();
    let id: &[u8] = if qos > 0 { &id } else { &[] };
    let length = u8::try_from(2 + TOPIC.len() + id.len() + PAYLOAD).unwrap_or(u8::MAX);
    let mut packet = vec![0x30 | qos << 1, length, 0];
    packet.push(u8::try_from(TOPIC.len()).unwrap_or(u8::MAX));
    packet.extend_from_slice(TOPIC.as_bytes());
    packet.extend_from_slice(id);
    packet.extend_from_slice(&[b'x'; PAYLOAD]);
    packet
}

/// Octets of memory for each of many devices that have subscribed and say nothing.
async fn idle(table: &mut Table, folder: &Path) {
    let address = free_address().expect("a free port");
    let gateway = Gateway::start(setup(address)).await;
    let ours = per_device(address, gateway.id()).await;
    drop(gateway);
    let mosquitto = Mosquitto::start(folder).await;
    let theirs = per_device(mosquitto.address, mosquitto.process.id()).await;
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => table.compare(
            format!("mqtt {DEVICES} idle devices: octets each (mosquitto)"),
            format!("{ours:.0}"),
            format!("{theirs:.0}"),
            ours / theirs,
            Goal::None,
        ),
        (Err(error), _) | (_, Err(error)) => {
            progress(&format!("idle devices need `ulimit -n 20000`: {error}"));
        }
    }
}

async fn per_device(address: SocketAddr, process: u32) -> io::Result<f64> {
    // What is made once is there before.
    drop(device(address, DEVICES).await?);
    let before = rss_bytes(process);
    let mut devices = Vec::with_capacity(DEVICES);
    for id in 0..DEVICES {
        devices.push(device(address, id).await?);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = rss_bytes(process);
    Ok(after.saturating_sub(before) as f64 / devices.len() as f64)
}

async fn device(address: SocketAddr, id: usize) -> io::Result<TcpStream> {
    let until = Instant::now() + Duration::from_secs(20);
    let connecting = timeout_at(until.into(), subscribe_own(address, id)).await;
    connecting.map_err(io::Error::other)?
}

/// Each has a topic of its own.
async fn subscribe_own(address: SocketAddr, id: usize) -> io::Result<TcpStream> {
    let mut socket = connect(address, &format!("device-{id:05}")).await?;
    let topic = format!("devices/device-{id:05}/down");
    let length = u8::try_from(5 + topic.len()).unwrap_or(u8::MAX);
    let mut subscribe = vec![0x82, length, 0, 1, 0];
    subscribe.push(u8::try_from(topic.len()).unwrap_or(u8::MAX));
    subscribe.extend_from_slice(topic.as_bytes());
    subscribe.push(1);
    socket.write_all(&subscribe).await?;
    let mut suback = [0; 5];
    socket.read_exact(&mut suback).await?;
    Ok(socket)
}

fn setup(address: SocketAddr) -> Setup {
    let config = format!(
        "[log]\nlevel = \"warn\"\naccess = \"off\"\n\
         [listeners.mqtt]\nprotocol = \"mqtt\"\naddress = \"{address}\"\nconnections-max = 20000\n\
         [mqtt]\nsys-interval = \"0s\"\n"
    );
    Setup {
        config,
        ..Setup::default()
    }
}

/// mosquitto. Dropping it ends it.
struct Mosquitto {
    address: SocketAddr,
    process: ToolProcess,
}

impl Mosquitto {
    async fn start(folder: &Path) -> Self {
        let address = free_address().expect("a free port");
        let path = folder.join("mosquitto.conf");
        let config = format!(
            "listener {} {}\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\n\
             max_inflight_messages 0\nmax_queued_messages 0\nsys_interval 0\nlog_type none\n",
            address.port(),
            address.ip()
        );
        let mut file = fs::File::create(&path).expect("writable");
        file.write_all(config.as_bytes()).expect("writable");
        let mut command = std::process::Command::new(system_tool("mosquitto"));
        let mut process = ToolProcess::start(command.arg("-c").arg(&path));
        process.listening(address).await;
        patiently("it serves", async || {
            connect(address, "first").await.is_ok()
        })
        .await;
        Self { address, process }
    }
}

const ACK_BYTES: usize = 4;
/// Where the identifier stands in PUBLISH.
const ID_AT: usize = 4 + TOPIC.len();
