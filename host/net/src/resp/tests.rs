//! Connections over streams in memory, with a client whose answers are known.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::BytesMut;
use parking_lot::Mutex;
use postern_core::{
    Origin, Peer, Transport,
    resp::{RespCommand, RespRequest, RespValue, RespVersion, Unknown, encode_event},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::{
    EventsEnded, RespAnswer, RespClient, RespConfig, RespService, connection, server::Shared,
};
use crate::{ByteBudget, Counters, Shutdown};

/// Events that nobody has taken, and who waits for them.
type WaitingEvents = (Vec<Vec<u8>>, Option<Waker>);

/// Answers `ECHO` at once, `GET` of a number after as many milliseconds, and `PUBLISH` with an event.
#[derive(Default)]
struct TestService {
    events: Arc<Mutex<WaitingEvents>>,
    running: Arc<AtomicUsize>,
    most_running: Arc<AtomicUsize>,
}

struct TestClient {
    service: Arc<TestService>,
    is_subscribed: bool,
}

impl RespService for Arc<TestService> {
    fn open(&self, _: Arc<Peer>) -> Box<dyn RespClient> {
        Box::new(TestClient {
            service: Self::clone(self),
            is_subscribed: false,
        })
    }
}

impl RespClient for TestClient {
    fn begin(
        &mut self,
        request: RespRequest,
        command: Result<&'static RespCommand, Unknown>,
    ) -> RespAnswer {
        let command = match command {
            Ok(command) => command,
            Err(unknown) => return RespAnswer::Now(RespValue::error(unknown.text(&request))),
        };
        match command.name {
            "get" | "set" | "incr" => {
                let text = String::from_utf8_lossy(request.octets(1)).into_owned();
                let wait = Duration::from_millis(text.parse().unwrap_or(0));
                let service = Arc::clone(&self.service);
                RespAnswer::Later(Box::pin(async move {
                    let n_running = service.running.fetch_add(1, Ordering::SeqCst) + 1;
                    service.most_running.fetch_max(n_running, Ordering::SeqCst);
                    tokio::time::sleep(wait).await;
                    service.running.fetch_sub(1, Ordering::SeqCst);
                    RespValue::bulk(text)
                }))
            }
            "subscribe" => {
                self.is_subscribed = true;
                RespAnswer::Now(RespValue::OK)
            }
            "quit" => RespAnswer::Last(RespValue::OK),
            _ => RespAnswer::Now(RespValue::Bulk(request.bytes(1))),
        }
    }

    fn resume(&mut self, _: RespRequest, _: &'static RespCommand) -> RespValue {
        RespValue::OK
    }

    fn version(&self) -> RespVersion {
        RespVersion::V2
    }

    fn is_trusted(&self) -> bool {
        true
    }

    fn is_subscribed(&self) -> bool {
        self.is_subscribed
    }

    fn poll_events(
        &mut self,
        cx: &mut Context<'_>,
        output: &mut BytesMut,
        _: usize,
    ) -> Poll<Result<(), EventsEnded>> {
        let mut events = self.service.events.lock();
        for event in events.0.drain(..) {
            encode_event(RespVersion::V2, None, b"a", &event, output);
        }
        events.1 = Some(cx.waker().clone());
        Poll::Pending
    }
}

struct Fixture {
    stream: DuplexStream,
    service: Arc<TestService>,
    counters: Arc<Counters>,
    shutdown: Shutdown,
    serving: tokio::task::JoinHandle<()>,
}

impl Fixture {
    fn new(config: RespConfig, buffer: usize) -> Self {
        let (stream, served) = tokio::io::duplex(buffer);
        let (service, counters) = (
            Arc::new(TestService::default()),
            Arc::new(Counters::default()),
        );
        let (shared, shutdown) = (
            Shared::of_tests(
                config,
                Arc::clone(&counters),
                Arc::new(Arc::clone(&service)),
            ),
            Shutdown::new(),
        );
        let ending = shutdown.clone();
        let serving = tokio::spawn({
            let service = Arc::clone(&service);
            async move {
                let peer = Arc::new(Peer::new(Transport::Memory, Origin::Local));
                let client = RespService::open(&service, Arc::clone(&peer));
                let bytes = Arc::new(ByteBudget::unlimited()).connection(usize::MAX);
                connection::serve(&shared, served, client, &peer, bytes, ending).await;
            }
        });
        Self {
            stream,
            service,
            counters,
            shutdown,
            serving,
        }
    }

    async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.expect("open");
    }

    #[track_caller]
    fn expect(&mut self, text: &str) -> impl Future<Output = ()> {
        let text = text.to_owned();
        async move {
            let mut read = vec![0; text.len()];
            let reading = self.stream.read_exact(&mut read);
            let read_all = tokio::time::timeout(Duration::from_secs(60), reading).await;
            read_all.expect("in time").expect("open");
            assert_eq!(String::from_utf8_lossy(&read), text);
        }
    }

    async fn expect_end(&mut self) {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).await.expect("closed");
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_come_together_are_answered_in_their_order() {
    let mut fixture = Fixture::new(RespConfig::default(), 1 << 16);
    fixture
        .send("GET 30\r\nGET 10\r\nECHO x\r\nGET 20\r\nfoo\r\n")
        .await;
    fixture
        .expect(
            "$2\r\n30\r\n$2\r\n10\r\n$1\r\nx\r\n$2\r\n20\r\n\
             -ERR unknown command 'foo', with args beginning with: \r\n",
        )
        .await;
    assert_eq!(fixture.service.most_running.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn what_changes_keys_by_what_they_were_goes_on_alone() {
    let mut fixture = Fixture::new(RespConfig::default(), 1 << 16);
    fixture
        .send("INCR 10\r\nINCR 20\r\nGET 30\r\nSET 40 x\r\nGET 50\r\n")
        .await;
    fixture
        .expect("$2\r\n10\r\n$2\r\n20\r\n$2\r\n30\r\n$2\r\n40\r\n$2\r\n50\r\n")
        .await;
    assert_eq!(fixture.service.most_running.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_is_not_read_beyond_its_requests_in_flight() {
    let config = RespConfig {
        in_flight_max: 4,
        ..RespConfig::default()
    };
    let mut fixture = Fixture::new(config, 1 << 16);
    fixture.send(&"GET 5\r\n".repeat(20)).await;
    fixture.expect(&"$1\r\n5\r\n".repeat(20)).await;
    assert_eq!(fixture.service.most_running.load(Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_requests_may_come_before_the_first_answer_is_read() {
    let mut fixture = Fixture::new(RespConfig::default(), 4096);
    fixture.send(&"PING x\r\n".repeat(10_000)).await;
    fixture.expect(&"$1\r\nx\r\n".repeat(10_000)).await;
}

#[tokio::test(start_paused = true)]
async fn octets_that_are_no_request_end_the_connection_behind_the_answers_before() {
    let mut fixture = Fixture::new(RespConfig::default(), 1 << 16);
    fixture.send("GET 10\r\n*x\r\nPING\r\n").await;
    fixture
        .expect("$2\r\n10\r\n-ERR Protocol error: invalid multibulk length\r\n")
        .await;
    fixture.expect_end().await;
    assert_eq!(fixture.counters.protocol_errors.value(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_said_quit_is_answered_and_closed() {
    let mut fixture = Fixture::new(RespConfig::default(), 1 << 16);
    fixture.send("ECHO a\r\nQUIT\r\nECHO b\r\n").await;
    fixture.expect("$1\r\na\r\n+OK\r\n").await;
    fixture.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_only_ends_its_sending_is_answered() {
    let mut fixture = Fixture::new(RespConfig::default(), 1 << 16);
    fixture.send("GET 10\r\nECHO a\r\nPI").await;
    fixture.stream.shutdown().await.expect("open");
    fixture.expect("$2\r\n10\r\n$1\r\na\r\n").await;
    fixture.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_closed_unless_it_waits_for_events() {
    let mut silent = Fixture::new(RespConfig::default(), 1 << 16);
    let mut subscribed = Fixture::new(RespConfig::default(), 1 << 16);
    subscribed.send("SUBSCRIBE a\r\n").await;
    subscribed.expect("+OK\r\n").await;
    silent.expect_end().await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    subscribed.send("ECHO a\r\n").await;
    subscribed.expect("$1\r\na\r\n").await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_no_events_is_closed_as_a_slow_reader() {
    let config = RespConfig {
        output_bytes_max: 10_000,
        ..RespConfig::default()
    };
    let mut fixture = Fixture::new(config, 100);
    fixture.send("SUBSCRIBE a\r\n").await;
    fixture.expect("+OK\r\n").await;
    for _ in 0..200 {
        let waker = {
            let mut events = fixture.service.events.lock();
            events.0.push(vec![b'x'; 100]);
            events.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        tokio::task::yield_now().await;
    }
    fixture.serving.await.expect("it has ended");
    assert_eq!(fixture.counters.slow_readers.value(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_no_answer_is_closed_after_a_while() {
    let mut fixture = Fixture::new(RespConfig::default(), 100);
    fixture
        .send("ECHO aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n")
        .await;
    fixture
        .send("ECHO aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n")
        .await;
    fixture
        .send("ECHO aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n")
        .await;
    fixture.serving.await.expect("it has ended");
    assert_eq!(fixture.counters.slow_readers.value(), 1);
}

#[tokio::test(start_paused = true)]
async fn draining_answers_what_was_begun() {
    let mut fixture = Fixture::new(RespConfig::default(), 1 << 16);
    fixture.send("GET 100\r\n").await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    fixture.shutdown.drain();
    fixture.expect("$3\r\n100\r\n").await;
    fixture.expect_end().await;
}
