//! Connections: their certificates and protocol, proofs of addresses, handshakes, migration, their end.

use std::{
    net::{Ipv4Addr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use postern_core::{
    Kind, Transport,
    wire::{Frame, FrameType},
};
use postern_net::{
    Client, ClientConfig, Destination, QuicConfig, QuicConfigError, QuicDialer, QuicListener,
    QuicTls, ServerConfig, Target, dial,
};
use quinn::{ConnectionError, Endpoint, TransportConfig, VarInt};
use rustls::crypto::aws_lc_rs;
use tokio::io::AsyncWriteExt;

use super::{QuicBench, connect, raw_config, recv_frame, until};
use crate::{
    links::{unary, within},
    relay::Relay,
    server::{
        ANY, TLS,
        quic::{Certificate, certificate, dialer, fixed},
    },
    sessions::{SOON, send},
};

fn trusting(certificate: &Certificate) -> QuicDialer {
    QuicDialer::new(Arc::new(certificate.client()), QuicConfig::default()).expect("defaults")
}

#[tokio::test]
async fn certificates_are_replaced_between_two_connections() {
    let (old, new) = (Certificate::new(), Certificate::new());
    let tls = Arc::new(Mutex::new(Arc::new(old.server())));
    let source = Arc::clone(&tls);
    let source: QuicTls = Arc::new(move || Arc::clone(&source.lock()));
    let bench = QuicBench::serve_as(source, ServerConfig::default(), QuicConfig::listener());
    let first = bench.client_of(trusting(&old)).await;
    *tls.lock() = Arc::new(new.server());
    let second = bench.client_of(trusting(&new)).await;
    for client in [&first, &second] {
        assert_eq!(unary(client, "echo", "x").await.expect("an echo"), "x");
    }
    let target = Target::quic(trusting(&old), bench.address);
    let refused = Client::connect(target, ClientConfig::default()).await;
    let error = refused.expect_err("it trusts another");
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(
        error.message.contains("invalid peer certificate"),
        "{error}"
    );
    first.close().await;
    second.close().await;
    bench.end().await;
}

#[tokio::test]
async fn a_name_that_the_certificate_does_not_have_is_refused() {
    let bench = QuicBench::serve();
    let destination = Destination::Host {
        host: "other.example".into(),
        address: bench.address,
    };
    let target = Target::new(Arc::new(dialer()), destination);
    let refused = Client::connect(target, ClientConfig::default()).await;
    let error = refused.expect_err("another name");
    assert!(error.message.contains("not valid for name"), "{error}");
    bench.stop().await;
}

/// By the line of the dial table, with what a client's configuration trusts.
#[tokio::test]
async fn a_name_is_dialled_and_verified() {
    let (server, client) = (&TLS.vstp, &TLS.client);
    let server = Arc::clone(server);
    let tls: QuicTls = Arc::new(move || server.config());
    let bench = QuicBench::serve_as(tls, ServerConfig::default(), QuicConfig::listener());
    let config = ClientConfig {
        tls: Arc::clone(client),
        ..ClientConfig::default()
    };
    let authority = format!("localhost:{}", bench.address.port());
    let targets = dial::targets(Transport::Quic, &authority).await;
    let of_ipv4 = |target: &Target| target.destination().socket_addr() == Some(bench.address);
    let target = targets.expect("found").into_iter().find(of_ipv4);
    let client = Client::connect(target.expect("127.0.0.1"), config).await;
    let client = client.expect("up");
    assert_eq!(unary(&client, "echo", "x").await.expect("an echo"), "x");
    client.close().await;
    bench.stop().await;
}

#[tokio::test]
async fn who_speaks_another_protocol_is_refused() {
    let bench = QuicBench::serve();
    let mut tls = certificate().client();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).expect("TLS 1.3");
    let config = quinn::ClientConfig::new(Arc::new(crypto));
    let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
    let connecting = endpoint.connect_with(config, bench.address, "127.0.0.1");
    let refused = within(SOON, connecting.expect("settings")).await;
    let error = refused.expect_err("no protocol in common");
    // Alert 120, no_application_protocol (RFC 9001, section 4.8).
    assert!(
        matches!(&error, ConnectionError::ConnectionClosed(close) if u64::from(close.error_code) == 0x178),
        "{error:?}"
    );
    until(|| bench.counters.handshakes_failed.value() == 1).await;
    bench.stop().await;
}

#[tokio::test]
async fn there_is_no_early_data_even_where_tls_allows_it() {
    let mut tls = certificate().server();
    tls.max_early_data_size = u32::MAX;
    let bench = QuicBench::serve_as(fixed(tls), ServerConfig::default(), QuicConfig::listener());
    let mut tls = certificate().client();
    tls.enable_early_data = true;
    let config = raw_config(tls);
    let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
    for _ in 0..2 {
        let connecting = endpoint.connect_with(config.clone(), bench.address, "127.0.0.1");
        let Err(connecting) = connecting.expect("settings").into_0rtt() else {
            panic!("early data is taken");
        };
        let connection = within(SOON, connecting).await.expect("up");
        // A frame back and forth, with which the ticket for the next has come.
        let (send, recv) = connection.open_bi().await.expect("a stream");
        let mut session: crate::links::RawStream = Box::new(tokio::io::join(recv, send));
        super::send(&mut session, &Frame::new(FrameType::Ping)).await;
        assert_eq!(recv_frame(&mut session).await.kind, FrameType::Pong);
    }
    bench.end().await;
}

#[tokio::test]
async fn settings_that_cannot_be_are_named() {
    let seconds = Duration::from_secs;
    let keep_alive = QuicConfig {
        keep_alive: Some(seconds(90)),
        idle_timeout: seconds(90),
        ..QuicConfig::default()
    };
    let window = QuicConfig {
        window_bytes: 1199,
        ..QuicConfig::default()
    };
    for (config, expected) in [
        (
            keep_alive,
            "keep-alive of 90s is not shorter than idle-timeout of 90s",
        ),
        (window, "window of 1199 octets is below 1200"),
    ] {
        let refused = QuicDialer::new(Arc::new(certificate().client()), config);
        let message = refused.expect_err("it cannot be").to_string();
        assert!(message.contains(expected), "{message}");
    }
    let at_the_edge = QuicConfig {
        idle_timeout: Duration::from_millis(60_001),
        window_bytes: 1200,
        stream_window_bytes: 1200,
        datagram_bytes_max: Some(1200),
        ..QuicConfig::default()
    };
    assert!(QuicDialer::new(Arc::new(certificate().client()), at_the_edge).is_ok());
    let provider = Arc::new(aws_lc_rs::default_provider());
    let old = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .expect("versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let refused = QuicDialer::new(Arc::new(old), QuicConfig::default());
    assert_eq!(refused.err(), Some(QuicConfigError::Tls13));
}

#[tokio::test]
async fn nobody_listens_there() {
    let closed = UdpSocket::bind(ANY).and_then(|socket| socket.local_addr());
    let config = ClientConfig {
        connect_timeout: Duration::from_millis(300),
        ..ClientConfig::default()
    };
    let target = Target::quic(dialer(), closed.expect("an address"));
    let error = Client::connect(target, config).await.expect_err("nobody");
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(error.message.contains("within 300ms"), "{error}");
}

/// A listener that asks for a proof while `n_handshakes` wait.
fn validating(n_handshakes: usize) -> QuicConfig {
    QuicConfig {
        unvalidated_handshakes_max: n_handshakes,
        ..QuicConfig::listener()
    }
}

#[tokio::test]
async fn addresses_are_proved_by_retry_while_many_handshakes_wait() {
    let config = ServerConfig {
        handshake_timeout: Duration::from_secs(60),
        ..ServerConfig::default()
    };
    let bench = QuicBench::serve_with(config, validating(1));
    let calm = bench.client().await;
    assert_eq!(bench.counters.retries_sent.value(), 0);
    // One whose peer hears nothing of the server: its handshake waits.
    let relay = Relay::to(bench.address).await;
    relay.to_client.cut(true);
    let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
    let config = raw_config(certificate().client());
    let waiting = endpoint.connect_with(config, relay.address, "127.0.0.1");
    let waiting = tokio::spawn(waiting.expect("settings").into_future());
    until(|| bench.counters.connections_open() == 2).await;
    let n_retries = bench.counters.retries_sent.value();
    let loaded = bench.client().await;
    assert_eq!(bench.counters.retries_sent.value(), n_retries + 1);
    for client in [calm, loaded] {
        assert_eq!(unary(&client, "echo", "x").await.expect("an echo"), "x");
        client.close().await;
    }
    waiting.abort();
    bench.end().await;
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_given_up() {
    let config = ServerConfig {
        handshake_timeout: Duration::from_millis(300),
        ..ServerConfig::default()
    };
    let bench = QuicBench::serve_with(config, QuicConfig::listener());
    // Connected, and without the stream of a session.
    let silent = connect(bench.address, TransportConfig::default()).await;
    until(|| bench.counters.handshakes_failed.value() == 1).await;
    let closed = within(SOON, silent.closed()).await;
    assert!(
        matches!(closed, ConnectionError::ApplicationClosed(_)),
        "{closed:?}"
    );
    until(|| bench.counters.connections_open() == 0).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_client_that_moves_to_another_socket_keeps_its_session() {
    let bench = QuicBench::serve();
    let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
    let client = bench.client_of(dialer().on(endpoint.clone())).await;
    assert_eq!(unary(&client, "echo", "x").await.expect("an echo"), "x");
    let before = endpoint.local_addr().expect("bound");
    for n in 0..3 {
        let socket = UdpSocket::bind(ANY).expect("a free port");
        endpoint.rebind(socket).expect("bound");
        assert_ne!(endpoint.local_addr().expect("bound"), before);
        let n = n.to_string();
        let echoed = within(SOON, unary(&client, "echo", n.clone())).await;
        assert_eq!(echoed.expect("an echo"), n);
    }
    let counters = &bench.counters;
    let connections = (
        counters.connections_opened.value(),
        counters.connections_open(),
    );
    assert_eq!(connections, (1, 1));
    client.close().await;
    bench.stop().await;
}

/// How the server closes a connection after what `does` to it.
async fn closed_after(does: impl AsyncFnOnce(&QuicBench, &mut super::RawPeer)) -> (VarInt, String) {
    let bench = QuicBench::serve();
    let mut peer = bench.peer().await;
    does(&bench, &mut peer).await;
    let closed = within(SOON, peer.connection.closed()).await;
    bench.end().await;
    let ConnectionError::ApplicationClosed(close) = closed else {
        panic!("{closed:?}");
    };
    let reason = String::from_utf8_lossy(&close.reason).into_owned();
    (close.error_code, reason)
}

#[tokio::test]
async fn draining_says_bye_and_closes_with_its_code() {
    let closed = closed_after(async |bench, peer| {
        bench.shutdown.drain();
        assert_eq!(recv_frame(&mut peer.session).await.kind, FrameType::Bye);
        send(&mut peer.session, &Frame::new(FrameType::Bye)).await;
        peer.session.shutdown().await.expect("open");
    });
    assert_eq!(closed.await, (VarInt::from_u32(1), "shutdown".to_owned()));
}

#[tokio::test]
async fn a_violation_on_the_session_is_told_and_closes_with_its_code() {
    let closed = closed_after(async |_, peer| {
        peer.session.write_all(&[0; 64]).await.expect("written");
        assert_eq!(recv_frame(&mut peer.session).await.kind, FrameType::Err);
        peer.session.shutdown().await.expect("open");
    });
    assert_eq!(closed.await, (VarInt::from_u32(2), "magic".to_owned()));
}

#[tokio::test]
async fn a_bye_of_the_peer_closes_in_order() {
    let closed = closed_after(async |_, peer| {
        send(&mut peer.session, &Frame::new(FrameType::Bye)).await;
        assert_eq!(recv_frame(&mut peer.session).await.kind, FrameType::Bye);
        peer.session.shutdown().await.expect("open");
    });
    assert_eq!(closed.await, (VarInt::from_u32(0), "peer-bye".to_owned()));
}

#[tokio::test]
async fn an_address_in_use_is_refused() {
    let taken = UdpSocket::bind(ANY).expect("a free port");
    let address = taken.local_addr().expect("bound");
    let (tls, config) = (fixed(certificate().server()), QuicConfig::listener());
    let refused = QuicListener::bind(address, tls, &config, Arc::default());
    assert_eq!(
        refused.expect_err("in use").kind(),
        std::io::ErrorKind::AddrInUse
    );
}
