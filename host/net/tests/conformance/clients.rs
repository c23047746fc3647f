//! A client and peers that are not ours: nobody, a mute one, a published easy server; and peers that
//! stop reading, in virtual time.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use bytes::BytesMut;
use postern_core::{
    Headers, Kind,
    limits::Limits,
    wire::{Decoder, Dialect, Frame, FrameType},
};
use postern_net::{
    Client, ClientConfig, ServerConfig, Speak, Target,
    link::Listener,
    memory::{Conditions, MemoryStream, Network},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::links::{Link, unary};

/// What the published easy server does with a frame: JSON is sent back, all else is complained of.
fn easy_answer(frame: &Frame) -> Frame {
    if frame.payload.starts_with(b"{") {
        return Frame::data(Headers::new(), frame.payload.clone());
    }
    Frame::data(Headers::new(), "Invalid data: EOF while parsing a value")
}

async fn serve_easy(mut stream: MemoryStream) {
    let (mut buffer, mut answers) = (BytesMut::new(), BytesMut::new());
    let mut decoder = Decoder::new(Limits::default().frame_bytes_max);
    while stream
        .read_buf(&mut buffer)
        .await
        .is_ok_and(|n_octets| n_octets > 0)
    {
        while let Some(frame) = decoder.decode(&mut buffer).expect("frames") {
            if frame.kind != FrameType::Bye {
                easy_answer(&frame).encode(&mut answers).expect("short");
            }
        }
        if stream.write_all(&answers.split()).await.is_err() {
            return;
        }
    }
}

fn speaking(speak: Speak) -> ClientConfig {
    ClientConfig {
        speak,
        ..ClientConfig::default()
    }
}

/// A network with an easy server, and its address.
fn easy_server() -> Target {
    let network = Network::new(1, Conditions::default());
    let mut listener = network.listen();
    let target = network.target(listener.local_addr());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve_easy(stream));
        }
    });
    target
}

#[tokio::test(start_paused = true)]
async fn a_published_easy_server_is_called_with_and_without_hello() {
    let target = easy_server();
    for speak in [Speak::Auto, Speak::Base] {
        let client = Client::connect(target.clone(), speaking(speak))
            .await
            .expect("up");
        assert_eq!(client.dialect(), Dialect::Base);
        for n in 0..3 {
            let json = format!(r#"{{"n":{n}}}"#);
            assert_eq!(
                unary(&client, "any", json.clone()).await.expect("an echo"),
                json
            );
        }
        let error = unary(&client, "any", "no json").await.expect_err("refused");
        assert_eq!(error.kind, Kind::InvalidArgument);
        assert!(
            error.message.contains("EOF while parsing a value"),
            "{}",
            error.message
        );
        client.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_without_welcome_is_refused_when_vsp_is_demanded() {
    let refused = Client::connect(easy_server(), speaking(Speak::Vsp)).await;
    assert_eq!(
        refused.expect_err("base only").kind,
        Kind::FailedPrecondition
    );
}

#[tokio::test]
async fn nobody_at_the_address_is_unavailable_and_named() {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address: SocketAddr = listener.local_addr().expect("bound");
    drop(listener);
    let refused = Client::connect(Target::tcp(address), ClientConfig::default()).await;
    let error = refused.expect_err("nobody listens");
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(
        error
            .message
            .starts_with(&format!("cannot connect to {address}: ")),
        "{error}"
    );
}

/// Linux tells a connected UDP socket that nobody listens.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn nobody_at_a_udp_port_is_unavailable_at_once() {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = socket.local_addr().expect("bound");
    drop(socket);
    let begin = std::time::Instant::now();
    let refused = Client::connect(Target::udp(address), ClientConfig::default()).await;
    let error = refused.expect_err("nobody listens");
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(error.message.contains("refused"), "{error}");
    assert!(
        begin.elapsed() < ClientConfig::default().session.hello_timeout,
        "waited in vain"
    );
}

#[tokio::test(start_paused = true)]
async fn connecting_is_bounded() {
    let network = Network::new(
        1,
        Conditions {
            delay: Duration::from_secs(9),
            ..Conditions::default()
        },
    );
    let listener = network.listen();
    let target = network.target(listener.local_addr());
    let mut config = speaking(Speak::Vsp);
    config.session.hello_timeout = Duration::from_secs(60);
    let begin = tokio::time::Instant::now();
    let error = Client::connect(target, config)
        .await
        .expect_err("a mute peer");
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(error.message.ends_with("within 5s"), "{}", error.message);
    assert_eq!(begin.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_for_the_write_timeout_is_closed() {
    let config = ServerConfig {
        default_service: Some("test".into()),
        ..ServerConfig::default()
    };
    let write_timeout = config.write_timeout;
    let conditions = Conditions {
        window_bytes: 1024,
        ..Conditions::default()
    };
    let bench = Link::MemoryStream.serve_with(config, conditions).await;
    let mut raw = bench.raw().await;
    let mut octets = BytesMut::new();
    Frame::data(Headers::new(), format!("\"{}\"", "x".repeat(4096)))
        .encode(&mut octets)
        .expect("short");
    raw.write_all(&octets).await.expect("written");
    let begin = tokio::time::Instant::now();
    while bench.counters.slow_readers.value() == 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let waited = begin.elapsed();
    assert!(
        waited >= write_timeout && waited < write_timeout + Duration::from_secs(1),
        "{waited:?}"
    );
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_of_both_ends_is_kept_alive_by_pings() {
    let bench = Link::MemoryStream.serve().await;
    let client = bench.client().await;
    tokio::time::sleep(Duration::from_secs(1000)).await;
    assert_eq!(unary(&client, "echo", "x").await.expect("an echo"), "x");
    assert!(
        bench.counters.frames_in.value() > 10,
        "{}",
        bench.counters.frames_in.value()
    );
    client.close().await;
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_base_session_is_closed() {
    let bench = Link::MemoryStream.serve().await;
    let mut raw = bench.raw().await;
    let mut octets = BytesMut::new();
    Frame::new(FrameType::Ping)
        .encode(&mut octets)
        .expect("short");
    raw.write_all(&octets).await.expect("written");
    let begin = tokio::time::Instant::now();
    let mut read = Vec::new();
    raw.read_to_end(&mut read).await.expect("closed in order");
    assert_eq!(begin.elapsed(), Duration::from_secs(300));
    drop(raw);
    bench.stop().await;
}
