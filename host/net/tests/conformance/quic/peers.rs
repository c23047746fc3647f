//! Our client and a server that is quinn's.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use postern_core::{
    Body, BodyStream, Call, Handler, Kind,
    wire::{Frame, FrameType},
};
use postern_net::{Client, ClientConfig, Target};
use quinn::{Connection, Endpoint, TransportConfig, VarInt};

use super::{RawCall, recv_frame, send, text};
use crate::{
    links::{RawStream, within},
    server::{
        ANY,
        quic::{certificate, dialer},
    },
    sessions::{SOON, headers},
};

/// A server that grants `n_streams`, and our client of it after the greeting.
struct Greeted {
    client: Client,
    connection: Connection,
    session: RawStream,
    _endpoint: Endpoint,
}

async fn greeted(n_streams: u32) -> Greeted {
    let mut tls = certificate().server();
    tls.alpn_protocols = vec![b"vstp".to_vec()];
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls).expect("TLS 1.3");
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    let mut transport = TransportConfig::default();
    transport.max_concurrent_bidi_streams(VarInt::from_u32(n_streams));
    config.transport_config(Arc::new(transport));
    let endpoint = Endpoint::server(config, ANY).expect("a free port");
    let target = Target::quic(dialer(), endpoint.local_addr().expect("bound"));
    let connecting = Client::connect(target, ClientConfig::default());
    let serving = async {
        let incoming = endpoint.accept().await.expect("a client");
        let connection = incoming.await.expect("up");
        let (send_side, recv_side) = connection.accept_bi().await.expect("a stream");
        let mut session: RawStream = Box::new(tokio::io::join(recv_side, send_side));
        let hello = recv_frame(&mut session).await;
        assert_eq!(hello.kind, FrameType::Hello);
        let id = "0".repeat(32);
        let welcome = Frame {
            headers: headers(&[("session-id", &id), ("features", "mux")]),
            ..Frame::new(FrameType::Welcome)
        };
        send(&mut session, &welcome).await;
        (connection, session)
    };
    let (client, (connection, session)) =
        within(SOON, async { tokio::join!(connecting, serving) }).await;
    Greeted {
        client: client.expect("greeted"),
        connection,
        session,
        _endpoint: endpoint,
    }
}

fn streaming() -> Call {
    let items = [Ok(Bytes::from_static(b"one"))];
    Call {
        body: Body::Messages(BodyStream::new(stream::iter(items))),
        ..Call::unary("test", "anything", "")
    }
}

#[tokio::test]
async fn a_streaming_call_has_a_stream_of_its_own() {
    let Greeted {
        client,
        connection,
        session: _session,
        _endpoint,
    } = greeted(100).await;
    for id in ["1", "2"] {
        let calling = tokio::spawn(client.call(streaming()));
        let accepted = within(SOON, connection.accept_bi()).await;
        let (send, recv) = accepted.expect("a stream");
        let mut call = RawCall { send, recv };
        let pairs = [
            ("type", "response"),
            ("status", "success"),
            ("correlation-id", id),
            ("stream", "end"),
        ];
        call.send(&Frame::data(headers(&pairs), "")).await;
        call.send.finish().expect("open");
        let reply = within(SOON, calling).await.expect("no panic");
        assert!(matches!(reply.expect("a reply").body, Body::Empty));
        let frames = call.all().await;
        assert!(
            frames
                .iter()
                .all(|frame| text(frame, "correlation-id") == id)
        );
        assert_eq!(text(&frames[0], "stream"), "open");
    }
}

#[tokio::test]
async fn without_a_stream_a_call_goes_over_the_sessions() {
    let Greeted {
        client,
        mut session,
        connection: _connection,
        _endpoint,
    } = greeted(1).await;
    let _calling = tokio::spawn(client.call(streaming()));
    let open = recv_frame(&mut session).await;
    assert_eq!(
        (&*text(&open, "stream"), &*text(&open, "method")),
        ("open", "anything")
    );
    let item = recv_frame(&mut session).await;
    assert_eq!(item.payload, "one");
}

/// The error of a call whose stream the server ends as `does` says.
async fn error_after(does: impl AsyncFnOnce(&mut RawCall)) -> (Kind, String) {
    let Greeted {
        client,
        connection,
        session: _session,
        _endpoint,
    } = greeted(100).await;
    let calling = tokio::spawn(client.call(streaming()));
    let accepted = within(SOON, connection.accept_bi()).await;
    let (send, recv) = accepted.expect("a stream");
    let mut call = RawCall { send, recv };
    does(&mut call).await;
    let error = within(SOON, calling)
        .await
        .expect("no panic")
        .expect_err("ended");
    (error.kind, error.message.to_string())
}

#[tokio::test]
async fn a_call_whose_stream_ends_without_an_answer_fails_by_its_kind() {
    let (kind, message) = error_after(async |call| call.send.finish().expect("open")).await;
    assert_eq!(kind, Kind::Unavailable);
    assert_eq!(
        message,
        "the peer ended the call's stream before the end of the call"
    );
    let reset = async |call: &mut RawCall| {
        call.send.reset(VarInt::from_u32(0x107)).expect("open");
    };
    assert_eq!(error_after(reset).await.0, Kind::PermissionDenied);
    let garbage = async |call: &mut RawCall| {
        call.send.write_all(&[0; 64]).await.expect("written");
    };
    assert_eq!(error_after(garbage).await.0, Kind::InvalidArgument);
}

#[tokio::test]
async fn streams_that_the_server_opens_for_no_call_are_ended() {
    let Greeted {
        client,
        connection,
        session: _session,
        _endpoint,
    } = greeted(100).await;
    for id in ["1", "2", "3"] {
        let (send, recv) = connection.open_bi().await.expect("a stream");
        let mut call = RawCall { send, recv };
        let pairs = [
            ("type", "response"),
            ("correlation-id", id),
            ("stream", "open"),
        ];
        call.send(&Frame::data(headers(&pairs), "")).await;
        assert_eq!(call.all().await, []);
    }
    drop(client);
}
