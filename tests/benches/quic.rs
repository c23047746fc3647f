//! VSTP over QUIC beside VSTP over TLS, by one client of one gateway with one certificate: calls,
//! streams, and what a stream that nobody reads costs the others of its connection.

use std::{
    fs,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::stream;
use postern_core::{Body, BodyStream, Call, Error, Handler as _, Transport};
use postern_net::{
    Client, ClientConfig, Destination, Target, dial,
    tls::{ClientTls, ClientTlsSettings, Pem, TlsVersion},
};
use postern_tests::{Gateway, Setup, call, free_address, patiently};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::{
    passes::Passes,
    serve::cpu,
    table::{Goal, Table},
};

/// Calls in flight on one connection.
const DEPTH: usize = 64;
/// Streams that are read beside one that is not.
const READ: usize = 99;
const ROUND: Duration = Duration::from_millis(800);
const PASSES: usize = 9;
const TRANSPORTS: [Transport; 2] = [Transport::Quic, Transport::Tls];

pub(crate) async fn run(table: &mut Table) {
    let edge = Edge::start().await;
    calls(table, &edge).await;
    for n_streams in [1, 8] {
        streams(table, &edge, n_streams).await;
    }
    for transport in TRANSPORTS {
        beside_unread(table, &edge, transport).await;
    }
}

async fn calls(table: &mut Table, edge: &Edge) {
    const N_OCTETS: usize = 64;
    let round = async |transport| {
        let client = edge.connect(transport).await;
        let round = Traffic::calls(&client, N_OCTETS).round(edge).await;
        client.close().await;
        round
    };
    let mut passes = Vec::new();
    for _ in 0..PASSES {
        passes.push([round(Transport::Quic).await, round(Transport::Tls).await]);
    }
    let passes = Passes(passes);
    let what = format!("quic echo {N_OCTETS} B x {DEPTH} in flight");
    table.compare(
        format!("{what}: calls/s (tls)"),
        format!("{:.0}", passes.median(|[quic, _]| quic.per_second)),
        format!("{:.0}", passes.median(|[_, tls]| tls.per_second)),
        passes.median(|[quic, tls]| quic.per_second / tls.per_second),
        Goal::None,
    );
    compare_cpu(table, &what, &passes);
}

async fn streams(table: &mut Table, edge: &Edge, n_streams: usize) {
    const N_OCTETS: usize = 64 << 10;
    let mut passes = Vec::new();
    for _ in 0..PASSES {
        passes.push([
            stream_round(edge, Transport::Quic, n_streams, N_OCTETS).await,
            stream_round(edge, Transport::Tls, n_streams, N_OCTETS).await,
        ]);
    }
    let passes = Passes(passes);
    let mib = |round: &Round| round.per_second * N_OCTETS as f64 / f64::from(1 << 20);
    let what = format!("quic echo 64 KiB x {n_streams} streams");
    table.compare(
        format!("{what}: MiB/s (tls)"),
        format!("{:.0}", passes.median(|[quic, _]| mib(quic))),
        format!("{:.0}", passes.median(|[_, tls]| mib(tls))),
        passes.median(|[quic, tls]| mib(quic) / mib(tls)),
        Goal::None,
    );
    compare_cpu(table, &what, &passes);
}

/// `READ` streams with one more that is not read, and without it.
async fn beside_unread(table: &mut Table, edge: &Edge, transport: Transport) {
    const N_OCTETS: usize = 1 << 10;
    let mut passes = Vec::new();
    for _ in 0..PASSES {
        passes.push([
            unread_round(edge, transport, N_OCTETS).await,
            stream_round(edge, transport, READ, N_OCTETS).await,
        ]);
    }
    let passes = Passes(passes);
    type Rate = fn(&Round) -> f64;
    let rates: [(&str, Rate); 2] = [
        ("all", |round| round.per_second),
        ("the slowest", |round| round.slowest_per_second),
    ];
    let what = format!("{transport} 1 KiB x {READ} streams beside an unread one");
    for (which, rate) in rates {
        table.compare(
            format!("{what}, {which}: messages/s (without it)"),
            format!("{:.0}", passes.median(|[beside, _]| rate(beside))),
            format!("{:.0}", passes.median(|[_, baseline]| rate(baseline))),
            passes.median(|[beside, baseline]| rate(beside) / rate(baseline)),
            Goal::None,
        );
    }
}

/// `n_streams` on a connection of their own.
async fn stream_round(
    edge: &Edge,
    transport: Transport,
    n_streams: usize,
    n_octets: usize,
) -> Round {
    let client = edge.connect(transport).await;
    let round = Traffic::streams(&client, n_streams, n_octets)
        .round(edge)
        .await;
    client.close().await;
    round
}

/// `READ` streams on one connection with one that is not read.
async fn unread_round(edge: &Edge, transport: Transport, n_octets: usize) -> Round {
    let client = edge.connect(transport).await;
    let unread = Unread::open(&client, n_octets).await;
    let round = Traffic::streams(&client, READ, n_octets).round(edge).await;
    unread.go_on().await;
    client.close().await;
    round
}

fn compare_cpu(table: &mut Table, what: &str, passes: &Passes<[Round; 2]>) {
    table.compare(
        format!("{what}: processor time (tls)"),
        passes.median_time(|[quic, _]| quic.cpu_each),
        passes.median_time(|[_, tls]| tls.cpu_each),
        passes.median(|[quic, tls]| quic.cpu_each / tls.cpu_each),
        Goal::None,
    );
}

/// A gateway with the plugin `echo` and a listener for each transport, and who believes its
/// certificate.
struct Edge {
    gateway: Gateway,
    addresses: [(Transport, SocketAddr); 2],
    tls: Arc<ClientTls>,
    /// Holds the certificate and its key.
    _folder: TempDir,
}

impl Edge {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let names = vec!["localhost".to_owned()];
        let pair = rcgen::generate_simple_self_signed(names).expect("a pair");
        let certificate = pair.cert.pem();
        let key = pair.signing_key.serialize_pem();
        fs::write(folder.path().join("edge.pem"), &certificate).expect("written");
        fs::write(folder.path().join("edge.key"), key).expect("written");
        let addresses = TRANSPORTS.map(|transport| {
            let address = free_address().expect("a free port");
            (transport, address)
        });
        let mut config = String::from(CONFIG);
        let root = folder.path().display();
        for (transport, address) in addresses {
            // TLS is TCP with a certificate.
            let carrier = if transport == Transport::Tls {
                Transport::Tcp
            } else {
                transport
            };
            config += &format!(
                "[listeners.{transport}]\nprotocol = \"vstp\"\naddress = \"{address}\"\n\
                 transports = [\"{carrier}\"]\nheld-bytes-per-connection-max = \"64MiB\"\n\
                 [listeners.{transport}.tls]\ncertificate-file = \"{root}/edge.pem\"\n\
                 key-file = \"{root}/edge.key\"\n"
            );
        }
        let setup = Setup {
            config,
            ..Setup::default()
        };
        let settings = ClientTlsSettings {
            authorities: Some(vec![Pem::new("edge.pem", certificate)]),
            pair: None,
            version_min: TlsVersion::V1_3,
        };
        Self {
            gateway: Gateway::start(setup.plugin("echo")).await,
            addresses,
            tls: Arc::new(ClientTls::new(settings).expect("an authority")),
            _folder: folder,
        }
    }

    /// A session on a connection of its own.
    async fn connect(&self, transport: Transport) -> Client {
        let mut listeners = self.addresses.iter();
        let listener = listeners.find(|(of, _)| *of == transport);
        let destination = Destination::Host {
            host: "localhost".into(),
            address: listener.expect("each has a listener").1,
        };
        let dialer = dial::dialer(transport).expect("both are dialled");
        let config = ClientConfig {
            tls: Arc::clone(&self.tls),
            ..ClientConfig::default()
        };
        let client = Client::connect(Target::new(Arc::clone(dialer), destination), config).await;
        client.expect("the gateway takes connections")
    }

    /// Processor time that the gateway has used.
    fn cpu(&self) -> Duration {
        cpu(self.gateway.id())
    }
}

/// What was answered in one round: replies of calls, or messages of streams.
struct Round {
    per_second: f64,
    /// Of the caller or stream that got least.
    slowest_per_second: f64,
    /// Processor time of the gateway for each, in seconds.
    cpu_each: f64,
}

/// Callers, or streams, that go on until they are dropped.
#[derive(Default)]
struct Traffic {
    /// Each ends with the error that ended its calls.
    tasks: JoinSet<Error>,
    /// What each has been answered.
    answered: Vec<Arc<AtomicU64>>,
}

impl Traffic {
    /// `DEPTH` callers, each calling again when it was answered.
    fn calls(client: &Client, n_octets: usize) -> Self {
        let mut traffic = Self::default();
        let body = Bytes::from(vec![b'1'; n_octets]);
        for _ in 0..DEPTH {
            let (client, body, answered) = (client.clone(), body.clone(), traffic.counter());
            traffic.tasks.spawn(async move {
                loop {
                    match call(&client, "echo/Echo", body.clone()).await {
                        Ok(_) => answered.fetch_add(1, Ordering::Relaxed),
                        Err(error) => return error,
                    };
                }
            });
        }
        traffic
    }

    /// Streams that are sent messages of `n_octets` as fast as they take them, and read.
    fn streams(client: &Client, n_streams: usize, n_octets: usize) -> Self {
        let mut traffic = Self::default();
        for _ in 0..n_streams {
            let (client, answered) = (client.clone(), traffic.counter());
            traffic.tasks.spawn(async move {
                let mut reply = match open(&client, n_octets, Arc::default()).await {
                    Ok(reply) => reply,
                    Err(error) => return error,
                };
                loop {
                    match reply.next().await {
                        Some(Ok(_)) => answered.fetch_add(1, Ordering::Relaxed),
                        Some(Err(error)) => return error,
                        None => return Error::internal("the echo of a stream without end ended"),
                    };
                }
            });
        }
        traffic
    }

    fn counter(&mut self) -> Arc<AtomicU64> {
        let counter = Arc::<AtomicU64>::default();
        self.answered.push(Arc::clone(&counter));
        counter
    }

    fn counts(&self) -> Vec<u64> {
        let counters = self.answered.iter();
        counters
            .map(|counter| counter.load(Ordering::Relaxed))
            .collect()
    }

    /// Measures from the moment at which everyone has been answered.
    async fn round(mut self, edge: &Edge) -> Round {
        patiently("each caller and stream is answered", async || {
            self.expect_all();
            self.counts().iter().all(|n_answered| *n_answered > 0)
        })
        .await;
        let (before, cpu_before, begin) = (self.counts(), edge.cpu(), Instant::now());
        tokio::time::sleep(ROUND).await;
        let (after, cpu, time) = (self.counts(), edge.cpu() - cpu_before, begin.elapsed());
        self.expect_all();
        // What is left of one round is not to be found in the next.
        self.tasks.shutdown().await;
        let counts = after.iter().zip(&before);
        let counts: Vec<u64> = counts.map(|(after, before)| after - before).collect();
        let n_answered = counts.iter().sum::<u64>() as f64;
        let n_slowest = counts.iter().min().copied().unwrap_or_default() as f64;
        Round {
            per_second: n_answered / time.as_secs_f64(),
            slowest_per_second: n_slowest / time.as_secs_f64(),
            cpu_each: cpu.as_secs_f64() / n_answered.max(1.0),
        }
    }

    /// Nobody has been refused.
    fn expect_all(&mut self) {
        let ended = self.tasks.try_join_next();
        let error = ended.map(|error| error.expect("neither callers nor readers panic"));
        assert!(error.is_none(), "a call ended: {error:?}");
    }
}

/// A stream that is sent as much as it takes and not read.
struct Unread {
    reply: BodyStream,
    n_sent: Arc<AtomicU64>,
}

impl Unread {
    /// Opens it and waits until it takes no more.
    async fn open(client: &Client, n_octets: usize) -> Self {
        /// As many looks, 10 ms apart, find nothing more sent.
        const LOOKS: usize = 20;
        let n_sent = Arc::<AtomicU64>::default();
        let reply = open(client, n_octets, Arc::clone(&n_sent)).await;
        let reply = reply.expect("a stream is taken");
        let (mut n_before, mut n_looks) = (0, 0);
        patiently("a stream that is not read takes no more", async || {
            let n_sent = n_sent.load(Ordering::Relaxed);
            n_looks = if n_sent == n_before { n_looks + 1 } else { 0 };
            n_before = n_sent;
            n_sent > 0 && n_looks >= LOOKS
        })
        .await;
        Self { reply, n_sent }
    }

    /// Reads until more is sent: the stream was there all the while.
    async fn go_on(mut self) {
        let n_before = self.n_sent.load(Ordering::Relaxed);
        while self.n_sent.load(Ordering::Relaxed) == n_before {
            let message = self.reply.next().await;
            let message = message.expect("the echo of a stream without end goes on");
            message.expect("a stream is not ended for its reader");
        }
    }
}

/// Opens a stream that echoes, and sends it messages without end, counted in `n_sent`; its reply.
async fn open(
    client: &Client,
    n_octets: usize,
    n_sent: Arc<AtomicU64>,
) -> Result<BodyStream, Error> {
    let message = Bytes::from(vec![b'1'; n_octets]);
    let messages = stream::repeat_with(move || {
        n_sent.fetch_add(1, Ordering::Relaxed);
        Ok(message.clone())
    });
    let call = Call {
        body: Body::Messages(BodyStream::new(messages)),
        ..Call::unary("echo", "EchoStream", Bytes::new())
    };
    let reply = client.call(call).await?;
    let reply = reply.body.try_into_stream();
    reply.map_err(|body| Error::internal(format!("a stream is answered by {:?}", body.kind())))
}

/// A stream holds its instance for as long as it is open, which is a round here. What `READ` streams
/// may have on their way, 256 KiB each, is close to what a connection may hold by default.
const CONFIG: &str = "[log]\nlevel = \"warn\"\naccess = \"off\"\n\
    [plugins.limits]\ntime = \"30s\"\nhost-calls = 1_000_000_000\n\
    [plugins.instances]\nmax = 256\nstream-share = 100\n";
