//! VSTP over QUIC beside VSTP over TLS, by one client of one gateway with one certificate: calls,
//! streams, and what a stream that nobody reads costs the others of its connection.

use std::{
    fs,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use postern_core::{BodyStream, Transport};
use postern_net::{
    Client, ClientConfig, Destination, Target, dial,
    tls::{ClientTls, ClientTlsSettings, Pem, TlsVersion},
};
use postern_tests::{Gateway, Setup, free_address, patiently};
use tempfile::TempDir;

use crate::{
    passes::Passes,
    serve::cpu,
    table::{Goal, Table},
    traffic::{DEPTH, Round, Traffic, open},
};

/// Streams that are read beside one that is not.
const READ: usize = 99;
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
        let round = Traffic::calls(&client, N_OCTETS).round(|| edge.cpu()).await;
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
        .round(|| edge.cpu())
        .await;
    client.close().await;
    round
}

/// `READ` streams on one connection with one that is not read.
async fn unread_round(edge: &Edge, transport: Transport, n_octets: usize) -> Round {
    let client = edge.connect(transport).await;
    let unread = Unread::open(&client, n_octets).await;
    let round = Traffic::streams(&client, READ, n_octets)
        .round(|| edge.cpu())
        .await;
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

/// A stream holds its instance for as long as it is open, which is a round here. What `READ` streams
/// may have on their way, 256 KiB each, is close to what a connection may hold by default.
const CONFIG: &str = "[log]\nlevel = \"warn\"\naccess = \"off\"\n\
    [plugins.limits]\ntime = \"30s\"\nhost-calls = 1_000_000_000\n\
    [plugins.instances]\nmax = 256\nstream-share = 100\n";
