//! What real addresses of datagrams do: replies leave from the one that was called, gateways do not
//! answer each other, answers that nothing names reach nobody else, servers restart.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::BytesMut;
use postern_core::{
    Body, BoxFuture, Call, Error, Handler, Headers, Kind, Reply, Retry,
    wire::{Dialect, Flags, Frame, FrameType},
};
use postern_net::{
    Client, ClientConfig, Counters, ServerConfig, Shutdown, Speak, Target,
    memory::{Conditions, Network},
};
use tokio::{net::UdpSocket, task::JoinHandle};

use crate::{
    links::{unary, within},
    server::{ANY, Link},
};

const SOON: Duration = Duration::from_secs(20);

/// Answers with what it was asked, after a pause.
#[derive(Default)]
struct Echo {
    pause: Duration,
    n_calls: AtomicUsize,
}

impl Handler for Echo {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        self.n_calls.fetch_add(1, Ordering::SeqCst);
        let pause = self.pause;
        Box::pin(async move {
            tokio::time::sleep(pause).await;
            match call.body {
                Body::One(payload) => Ok(Reply::one(payload)),
                Body::Empty | Body::Messages(_) | Body::Octets(_) => {
                    Err(Error::internal("no message"))
                }
            }
        })
    }
}

struct Gateway {
    target: Target,
    echo: Arc<Echo>,
    counters: Arc<Counters>,
    shutdown: Shutdown,
    server: JoinHandle<()>,
}

impl Gateway {
    async fn start(at: SocketAddr, pause: Duration) -> Self {
        let echo = Arc::new(Echo {
            pause,
            ..Echo::default()
        });
        let config = ServerConfig {
            default_service: Some("test".into()),
            ..ServerConfig::default()
        };
        let (counters, shutdown) = (Arc::new(Counters::default()), Shutdown::new());
        let network = Network::new(1, Conditions::default());
        let handler = Arc::clone(&echo) as Arc<dyn Handler>;
        let started = Link::Udp.start(at, handler, config, &counters, &network, &shutdown);
        let (target, server) = started.await;
        Self {
            target,
            echo,
            counters,
            shutdown,
            server,
        }
    }

    /// Where it is called on the loopback address that ends with `last`.
    fn at(&self, last: u8) -> SocketAddr {
        (
            Ipv4Addr::new(127, 0, 0, last),
            self.target
                .destination()
                .socket_addr()
                .expect("bound")
                .port(),
        )
            .into()
    }

    fn n_calls(&self) -> usize {
        self.echo.n_calls.load(Ordering::SeqCst)
    }

    async fn end(self) {
        self.shutdown.end();
        within(SOON, self.server).await.expect("no panic");
    }
}

fn octets(frame: &Frame) -> BytesMut {
    let mut octets = BytesMut::new();
    frame.encode(&mut octets).expect("short");
    octets
}

async fn receive(socket: &UdpSocket) -> (Frame, SocketAddr) {
    let mut buffer = vec![0; 65_535];
    let (length, from) = within(SOON, socket.recv_from(&mut buffer))
        .await
        .expect("received");
    buffer.truncate(length);
    let frame = Frame::decode_datagram(buffer.into(), usize::MAX).expect("a frame");
    (frame, from)
}

#[tokio::test]
async fn a_reply_leaves_from_the_address_that_was_called() {
    let gateway = Gateway::start((Ipv4Addr::UNSPECIFIED, 0).into(), Duration::ZERO).await;
    let socket = UdpSocket::bind(ANY).await.expect("a free port");
    for last in [2, 1, 3] {
        let called = gateway.at(last);
        let request = octets(&Frame::data(Headers::new(), "[1]"));
        socket.send_to(&request, called).await.expect("sent");
        let (reply, from) = receive(&socket).await;
        assert_eq!((&reply.payload[..], from), (&b"[1]"[..], called));
    }
    let client = Client::connect(Target::udp(gateway.at(2)), ClientConfig::default())
        .await
        .expect("a connected socket hears the address that it called");
    assert!(matches!(client.dialect(), Dialect::Full(_)));
    let large = vec![b'7'; 100_000];
    assert_eq!(
        unary(&client, "echo", large.clone()).await.expect("whole"),
        large
    );
    client.close().await;
    gateway.end().await;
}

#[tokio::test]
async fn two_gateways_do_not_answer_each_other() {
    let text = "no JSON, and long enough for what is said about it";
    for (payload, n_calls_min) in [("[1]", 1), (text, 0)] {
        let first = Gateway::start(ANY, Duration::from_millis(500)).await;
        let forger = UdpSocket::bind(ANY).await.expect("a free port");
        let forged = forger.local_addr().expect("bound");
        // What a published client sends: its answer has no headers.
        let mut headers = Headers::new();
        headers
            .push("content-type", "application/json")
            .expect("short");
        let request = octets(&Frame::data(headers, payload));
        forger
            .send_to(
                &request,
                first.target.destination().socket_addr().expect("bound"),
            )
            .await
            .expect("sent");
        // The second gateway takes the address while the first is at work.
        drop(forger);
        let second = Gateway::start(forged, Duration::ZERO).await;
        let bare = octets(&Frame::data(Headers::new(), payload));
        let third = UdpSocket::bind(ANY).await.expect("a free port");
        third.send_to(&bare, forged).await.expect("sent");
        receive(&third).await;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let n_calls = first.n_calls() + second.n_calls();
        assert!((n_calls_min..=4).contains(&n_calls), "{payload}: {n_calls}");
        assert!(second.counters.frames_out.value() <= 4);
        first.end().await;
        second.end().await;
    }
}

/// A server as the published crate makes them: every frame is answered by what `answer` gives, in
/// frames without headers, in order.
async fn published(
    answer: impl Fn(usize, &str) -> Vec<(Duration, String)> + Send + 'static,
) -> (Target, JoinHandle<()>) {
    let socket = Arc::new(UdpSocket::bind(ANY).await.expect("a free port"));
    let target = Target::udp(socket.local_addr().expect("bound"));
    let server = tokio::spawn(async move {
        let mut n_requests = 0;
        loop {
            let (frame, from) = receive(&socket).await;
            if let Some(id) = frame.headers.get(b"msg-id") {
                let mut ack = Frame::new(FrameType::Ack);
                ack.headers.push("msg-id", &id).expect("short");
                assert!(frame.flags.contains(Flags::REQ_ACK));
                socket.send_to(&octets(&ack), from).await.expect("sent");
            }
            let text = String::from_utf8(frame.payload.to_vec()).expect("text");
            let answers = if frame.kind == FrameType::Data {
                n_requests += 1;
                answer(n_requests, &text)
            } else {
                vec![(
                    Duration::from_millis(30),
                    "Invalid data: EOF while parsing".to_owned(),
                )]
            };
            for (after, text) in answers {
                let socket = Arc::clone(&socket);
                tokio::spawn(async move {
                    tokio::time::sleep(after).await;
                    let reply = octets(&Frame::data(Headers::new(), text));
                    let _ = socket.send_to(&reply, from).await;
                });
            }
        }
    });
    (target, server)
}

#[tokio::test]
async fn a_repeated_answer_of_a_published_server_reaches_no_other_caller() {
    for speak in [Speak::Base, Speak::Auto] {
        let (target, server) = published(|_, text| {
            let now = (Duration::ZERO, text.to_owned());
            vec![
                now.clone(),
                now.clone(),
                now,
                (Duration::from_millis(20), text.to_owned()),
            ]
        })
        .await;
        let config = ClientConfig {
            speak,
            ..ClientConfig::default()
        };
        let client = Client::connect(target, config).await.expect("up");
        assert_eq!(client.dialect(), Dialect::Base);
        for call_idx in 0..20 {
            let text = format!("[{call_idx}]");
            assert_eq!(
                unary(&client, "echo", text.clone())
                    .await
                    .expect("answered"),
                text
            );
            tokio::time::sleep(Duration::from_millis(call_idx % 3 * 10)).await;
        }
        server.abort();
    }
}

#[tokio::test]
async fn a_late_answer_of_a_published_server_reaches_no_other_caller() {
    let (target, server) = published(|n_requests, text| {
        let late = n_requests % 2 == 1;
        let after = Duration::from_millis(if late { 600 } else { 400 });
        vec![(after, text.to_owned())]
    })
    .await;
    let config = ClientConfig {
        speak: Speak::Base,
        ..ClientConfig::default()
    };
    let client = Client::connect(target, config).await.expect("up");
    for call_idx in 0..3 {
        let mut given_up = Call::unary("test", "echo", format!("[\"late {call_idx}\"]"));
        given_up.context.deadline = Some(Instant::now() + Duration::from_millis(300));
        let error = client.call(given_up).await.expect_err("it takes longer");
        assert_eq!(error.kind, Kind::DeadlineExceeded);
        let text = format!("[{call_idx}]");
        assert_eq!(
            unary(&client, "echo", text.clone())
                .await
                .expect("answered"),
            text
        );
    }
    server.abort();
}

#[tokio::test]
async fn calls_of_many_datagrams_survive_a_restart_of_their_server() {
    let before = Gateway::start(ANY, Duration::ZERO).await;
    let address = before.target.destination().socket_addr().expect("bound");
    let config = ClientConfig {
        speak: Speak::Vsp,
        ..ClientConfig::default()
    };
    let client = Client::connect(before.target.clone(), config)
        .await
        .expect("up");
    assert_eq!(
        unary(&client, "echo", "[0]").await.expect("answered"),
        "[0]"
    );
    // Cut, so that no BYE tells the client.
    before.server.abort();
    let _ = before.server.await;
    let after = Gateway::start(address, Duration::ZERO).await;
    let calls = (1..=5_u8).map(|octet| {
        let (client, payload) = (client.clone(), vec![octet; 30_000]);
        async move {
            let reply = unary(&client, "echo", payload.clone()).await;
            assert_eq!(reply.expect("answered"), payload);
        }
    });
    within(SOON, futures_util::future::join_all(calls)).await;
    assert_eq!(after.n_calls(), 5);
    client.close().await;
    after.end().await;
}

#[tokio::test]
async fn a_call_that_a_server_took_before_its_restart_fails_as_unknown() {
    let before = Gateway::start(ANY, Duration::from_secs(60)).await;
    let client = Client::connect(before.target.clone(), ClientConfig::default())
        .await
        .expect("up");
    let taken = tokio::spawn({
        let client = client.clone();
        async move { unary(&client, "echo", "[1]").await }
    });
    within(SOON, async {
        while before.n_calls() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    // Its acknowledgement is sent in the same round.
    tokio::time::sleep(Duration::from_millis(300)).await;
    before.server.abort();
    let _ = before.server.await;
    let after = Gateway::start(
        before.target.destination().socket_addr().expect("bound"),
        Duration::ZERO,
    )
    .await;
    let large = vec![b'7'; 30_000];
    let begin = Instant::now();
    let answered = unary(&client, "echo", large.clone()).await;
    println!("answered {:?} after the restart", begin.elapsed());
    assert_eq!(answered.expect("answered"), large);
    let error = within(SOON, taken)
        .await
        .expect("no panic")
        .expect_err("nobody knows");
    assert_eq!(
        (error.kind, error.retry),
        (Kind::Unavailable, Retry::IfIdempotent)
    );
    assert_eq!(after.n_calls(), 1);
    client.close().await;
    after.end().await;
}

#[tokio::test]
async fn what_is_lost_is_repeated_although_nothing_else_happens() {
    let bench = Link::MemoryDatagram.serve().await;
    let client = bench.client().await;
    assert_eq!(unary(&client, "echo", "x").await.expect("an echo"), "x");
    // At first the request is lost, then the reply.
    for (lost_at_ms, method) in [(0, "echo"), (100, "sleep")] {
        let begin = Instant::now();
        let call = unary(&client, method, "200");
        let loss = async {
            tokio::time::sleep(Duration::from_millis(lost_at_ms)).await;
            bench.network.cut();
            tokio::time::sleep(Duration::from_millis(250 - lost_at_ms)).await;
            bench.network.heal();
        };
        let (_, answered) = within(SOON, async { tokio::join!(loss, call) }).await;
        assert_eq!(answered.expect("answered"), "200");
        assert!(begin.elapsed() < Duration::from_secs(10), "{method}");
    }
    client.close().await;
    bench.stop().await;
}

#[tokio::test]
async fn a_reply_that_its_address_may_not_get_is_an_error_within_the_bound() {
    let gateway = Gateway::start(ANY, Duration::ZERO).await;
    let socket = UdpSocket::bind(ANY).await.expect("a free port");
    let request = |extra: &str, length: usize| {
        let mut headers = Headers::new();
        for (key, value) in [("service", "test"), ("correlation-id", "7")] {
            headers.push(key, value).expect("short");
        }
        if !extra.is_empty() {
            headers.push("session-id", extra).expect("short");
        }
        Frame::data(headers, vec![b'7'; length])
    };
    socket
        .send_to(
            &octets(&request("", 100)),
            gateway.target.destination().socket_addr().expect("bound"),
        )
        .await
        .expect("sent");
    let (reply, _) = receive(&socket).await;
    assert_eq!(reply.payload.len(), 100, "a reply of as many octets fits");
    let mut greeting = Frame::new(FrameType::Hello);
    greeting.headers = Headers::new();
    for _ in 0..3 {
        socket
            .send_to(
                &octets(&greeting),
                gateway.target.destination().socket_addr().expect("bound"),
            )
            .await
            .expect("sent");
    }
    let (welcome, _) = receive(&socket).await;
    assert_eq!(welcome.kind, FrameType::Welcome);
    let id = welcome
        .headers
        .get_str("session-id")
        .expect("named")
        .into_owned();
    socket
        .send_to(
            &octets(&request(&id, 900)),
            gateway.target.destination().socket_addr().expect("bound"),
        )
        .await
        .expect("sent");
    loop {
        let (reply, _) = receive(&socket).await;
        if reply.kind == FrameType::Data {
            assert_eq!(reply.payload.len(), 900);
            break;
        }
    }
    assert_eq!(gateway.counters.peers_unvalidated.value(), 0);
    gateway.end().await;
}
