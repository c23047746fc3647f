//! Handshakes that are slow, endless, broken or too many; descriptors that run out.

use std::{collections::VecDeque, io, net::SocketAddr};

use postern_system::clock;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinHandle,
};

use super::*;
use crate::memory::{Conditions, MemoryListener, MemoryStream, Network};

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
const HANDSHAKES_MAX: usize = 2;

/// `EMFILE` on Linux and the BSDs.
const TOO_MANY_OPEN_FILES: i32 = 24;

/// Reads a line that begins with `PROXY` and says where the connection comes from.
struct ProxyLine;

impl Handshake<MemoryStream> for ProxyLine {
    type Stream = MemoryStream;

    async fn shake(
        &self,
        mut accepted: MemoryStream,
        _: ConnectionFacts,
    ) -> io::Result<(MemoryStream, ConnectionFacts)> {
        let mut line = String::new();
        while !line.ends_with('\n') {
            line.push(char::from(accepted.read_u8().await?));
        }
        let peer = line.strip_prefix("PROXY ").map(str::trim);
        let peer = peer.and_then(|peer| peer.parse::<SocketAddr>().ok());
        let peer = peer.ok_or_else(|| io::Error::other("no PROXY line"))?;
        Ok((
            accepted,
            ConnectionFacts {
                origin: Origin::Ip(peer),
                tls: None,
            },
        ))
    }
}

/// Says who has come, then what it reads.
struct Greeter {
    connections_max: usize,
    counters: Arc<Counters>,
}

impl Serve<MemoryStream, MemoryStream> for Greeter {
    fn limits(&self) -> AcceptLimits {
        AcceptLimits {
            connections_max: self.connections_max,
            handshakes_max: HANDSHAKES_MAX,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            drain_timeout: Duration::from_secs(60),
        }
    }

    fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    async fn turn_away(&self, mut accepted: MemoryStream, limit: usize) {
        let _ = accepted
            .write_all(format!("{limit} at most").as_bytes())
            .await;
    }

    async fn serve(
        self: Arc<Self>,
        mut stream: MemoryStream,
        facts: ConnectionFacts,
        shutdown: Shutdown,
    ) {
        let _ = stream.write_all(facts.origin.to_string().as_bytes()).await;
        let (mut reader, mut writer) = tokio::io::split(stream);
        tokio::select! {
            _ = tokio::io::copy(&mut reader, &mut writer) => {}
            () = shutdown.draining() => {}
        }
    }
}

struct Fixture {
    network: Network,
    address: SocketAddr,
    counters: Arc<Counters>,
    shutdown: Shutdown,
    running: JoinHandle<()>,
}

impl Fixture {
    fn start(connections_max: usize) -> Self {
        let network = Network::new(1, Conditions::default());
        let listener = network.listen();
        let address = listener.local_addr();
        Self::start_with(network, address, listener, connections_max)
    }

    fn start_with(
        network: Network,
        address: SocketAddr,
        listener: impl Listener<Link = MemoryStream>,
        connections_max: usize,
    ) -> Self {
        let counters = Arc::new(Counters::default());
        let service = Arc::new(Greeter {
            connections_max,
            counters: Arc::clone(&counters),
        });
        let shutdown = Shutdown::new();
        let running = tokio::spawn(run(listener, ProxyLine, service, shutdown.clone()));
        Self {
            network,
            address,
            counters,
            shutdown,
            running,
        }
    }

    fn connect(&self) -> MemoryStream {
        self.network.connect(self.address).expect("it listens")
    }

    /// What a peer reads that sends `line`, up to `n_octets` or the end.
    async fn ask(&self, line: &str, n_octets: usize) -> String {
        let mut stream = self.connect();
        stream.write_all(line.as_bytes()).await.expect("sent");
        read(&mut stream, n_octets).await
    }

    async fn end(self) {
        self.shutdown.drain();
        self.running.await.expect("no panic");
    }
}

async fn read(stream: &mut MemoryStream, n_octets: usize) -> String {
    let mut octets = Vec::new();
    let mut taken = stream.take(n_octets as u64);
    // A peer that is cut reads what had come.
    let _ = taken.read_to_end(&mut octets).await;
    String::from_utf8(octets).expect("text")
}

const LINE: &str = "PROXY 192.0.2.7:4711\n";
const GREETING: &str = "192.0.2.7:4711";

#[tokio::test(start_paused = true)]
async fn a_handshake_that_never_ends_is_cut_after_its_time_and_holds_up_nobody() {
    let fixture = Fixture::start(100);
    let begin = clock::now();
    let mut slow = fixture.connect();
    slow.write_all(b"PROX").await.expect("sent");
    assert_eq!(fixture.ask(LINE, GREETING.len()).await, GREETING);
    assert!(clock::since(begin) < HANDSHAKE_TIMEOUT);
    assert_eq!(read(&mut slow, 1).await, "", "it is closed");
    assert_eq!(clock::since(begin), HANDSHAKE_TIMEOUT);
    assert_eq!(fixture.counters.handshakes_failed.value(), 1);
    fixture.end().await;
}

#[tokio::test(start_paused = true)]
async fn handshakes_up_to_their_bound_go_on_and_one_more_is_closed() {
    let fixture = Fixture::start(100);
    let begin = clock::now();
    let mut slow: Vec<_> = (0..HANDSHAKES_MAX).map(|_| fixture.connect()).collect();
    tokio::time::sleep(Duration::from_millis(10)).await;
    let mut third = fixture.connect();
    assert_eq!(read(&mut third, 1).await, "", "it is closed");
    assert_eq!(fixture.counters.handshakes_failed.value(), 1);
    // One of those in progress ends, and makes room.
    let mut first = slow.remove(0);
    first.write_all(LINE.as_bytes()).await.expect("sent");
    assert_eq!(read(&mut first, GREETING.len()).await, GREETING);
    assert_eq!(fixture.ask(LINE, GREETING.len()).await, GREETING);
    assert!(clock::since(begin) < HANDSHAKE_TIMEOUT);
    drop((first, slow));
    fixture.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_broken_handshake_is_closed_without_a_word() {
    let fixture = Fixture::start(100);
    assert_eq!(fixture.ask("HELLO\n", 100).await, "");
    assert_eq!(fixture.counters.handshakes_failed.value(), 1);
    assert_eq!(fixture.counters.connections_open(), 0);
    fixture.end().await;
}

#[tokio::test(start_paused = true)]
async fn connections_in_their_handshake_count_as_open() {
    let fixture = Fixture::start(1);
    let slow = fixture.connect();
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(fixture.counters.connections_open(), 1);
    assert_eq!(fixture.ask("", 100).await, "1 at most");
    assert_eq!(fixture.counters.connections_refused.value(), 1);
    drop(slow);
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(fixture.ask(LINE, GREETING.len()).await, GREETING);
    fixture.end().await;
}

#[tokio::test(start_paused = true)]
async fn draining_ends_handshakes_at_once_and_is_no_failure() {
    let fixture = Fixture::start(100);
    let begin = clock::now();
    let mut slow = fixture.connect();
    tokio::time::sleep(Duration::from_millis(10)).await;
    let counters = Arc::clone(&fixture.counters);
    fixture.end().await;
    assert_eq!(read(&mut slow, 1).await, "");
    assert!(clock::since(begin) < Duration::from_secs(1));
    assert_eq!(counters.handshakes_failed.value(), 0);
}

/// Fails as scripted before it accepts.
struct Failing {
    errors: VecDeque<io::Error>,
    listener: MemoryListener,
}

impl Listener for Failing {
    type Link = MemoryStream;

    async fn accept(&mut self) -> io::Result<(MemoryStream, Origin)> {
        match self.errors.pop_front() {
            Some(error) => Err(error),
            None => self.listener.accept().await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn accepting_goes_on_after_descriptors_ran_out() {
    let network = Network::new(1, Conditions::default());
    let listener = network.listen();
    let address = listener.local_addr();
    let short = || io::Error::from_raw_os_error(TOO_MANY_OPEN_FILES);
    let early = || io::Error::from(io::ErrorKind::ConnectionAborted);
    let errors = [early(), short(), short(), early(), short()].into();
    let failing = Failing { errors, listener };
    let begin = clock::now();
    let fixture = Fixture::start_with(network, address, failing, 100);
    assert_eq!(fixture.ask(LINE, GREETING.len()).await, GREETING);
    // 5, 10 and 20 ms for the three that need a pause.
    assert!(clock::since(begin) >= Duration::from_millis(35));
    fixture.end().await;
}
