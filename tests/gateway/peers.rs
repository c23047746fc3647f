//! The published `vstp` 0.2.1 crate at the other end: as client of the gateway, as server for us.

use std::time::{Duration, Instant};

use bytes::Bytes;
use postern_core::Handler;
use postern_net::{Client, ClientConfig, Speak, Target};
use postern_tests::{Gateway, Setup, call, free_address};
use serde_json::{Value, json};
use vstp::{
    Frame, FrameType, VstpClient, VstpServer, VstpTcpClient, VstpTcpServer, VstpUdpClient,
    VstpUdpServer,
};

use crate::{figure, share};

const SIZES: [usize; 4] = [100, 1_300, 10_000, 60_000];
const PATIENCE: Duration = Duration::from_secs(60);

async fn gateway() -> Gateway {
    Gateway::start(Setup::default().plugin("echo").default_service("echo")).await
}

fn payload(n_octets: usize) -> Vec<u8> {
    (0..=250).cycle().take(n_octets).collect()
}

/// A VSP request as a peer writes it that knows frames only.
fn request(n_octets: usize) -> Frame {
    let frame = Frame::new(FrameType::Data).with_payload(payload(n_octets));
    let headers = [
        ("service", "echo"),
        ("method", "Echo"),
        ("content-type", "application/octet-stream"),
    ];
    let frame = headers
        .iter()
        .fold(frame, |frame, (key, value)| frame.with_header(key, value));
    frame.with_header("correlation-id", &n_octets.to_string())
}

#[track_caller]
fn assert_reply(frame: &Frame, n_octets: usize) {
    assert_eq!(
        frame.get_header("correlation-id"),
        Some(&*n_octets.to_string()),
        "{frame:?}"
    );
    assert_eq!(frame.get_header("status"), Some("success"));
    assert!(
        frame.payload() == payload(n_octets),
        "{n_octets} octets came back changed"
    );
}

#[tokio::test]
async fn its_tcp_client_gets_every_size_back() {
    let _machine = share().await;
    let gateway = gateway().await;
    let mut client = VstpTcpClient::connect(&gateway.vstp.to_string())
        .await
        .expect("connects");
    for n_octets in SIZES {
        client.send(request(n_octets)).await.expect("sends");
        let reply = tokio::time::timeout(PATIENCE, client.recv())
            .await
            .expect("in time");
        assert_reply(&reply.expect("legal").expect("open"), n_octets);
    }
    client.close().await.expect("closes");
}

#[tokio::test]
async fn its_udp_client_gets_every_size_back() {
    let _machine = share().await;
    let gateway = gateway().await;
    for n_octets in SIZES {
        let mut client = VstpUdpClient::bind("127.0.0.1:0").await.expect("binds");
        client
            .send(request(n_octets), gateway.vstp)
            .await
            .expect("sends");
        let reply = tokio::time::timeout(PATIENCE, client.recv())
            .await
            .expect("in time");
        let (reply, from) = reply.expect("legal");
        assert_eq!(from, gateway.vstp);
        assert_reply(&reply, n_octets);
    }
}

#[tokio::test]
async fn its_acknowledged_sends_are_acknowledged_at_once_and_answered() {
    let _machine = share().await;
    let gateway = gateway().await;
    for n_octets in SIZES {
        let mut client = VstpUdpClient::bind("127.0.0.1:0").await.expect("binds");
        let begin = Instant::now();
        client
            .send_with_ack(request(n_octets), gateway.vstp)
            .await
            .expect("acknowledged");
        // Its first retry comes after 2.1 s; before that, no acknowledgement was lost.
        assert!(
            begin.elapsed() < Duration::from_secs(2),
            "{n_octets}: {:?}",
            begin.elapsed()
        );
        let reply = tokio::time::timeout(PATIENCE, client.recv())
            .await
            .expect("in time");
        assert_reply(&reply.expect("legal").0, n_octets);
        figure(&format!(
            "vstp 0.2.1 send_with_ack of {n_octets} octets: {:.1?}",
            begin.elapsed()
        ));
    }
}

#[tokio::test]
async fn its_easy_layer_is_served_by_the_default_service() {
    let _machine = share().await;
    let gateway = gateway().await;
    let address = gateway.vstp.to_string();
    let message = json!({"content": "Hello VSTP!"});
    let tcp = VstpClient::connect_tcp(address.clone())
        .await
        .expect("connects");
    let udp = VstpClient::connect_udp(address).await.expect("binds");
    for client in [tcp, udp] {
        client.send(&message).await.expect("sends");
        let reply: Value = client.receive().await.expect("answers");
        assert_eq!(reply, message);
        client.send_with_ack(&message).await.expect("acknowledged");
        let reply: Value = client
            .receive()
            .await
            .expect("answers the acknowledged one too");
        assert_eq!(reply, message);
    }
}

#[tokio::test]
async fn the_easy_layer_reads_the_published_text_for_what_is_not_json() {
    let _machine = share().await;
    let gateway = gateway().await;
    let mut client = VstpTcpClient::connect(&gateway.vstp.to_string())
        .await
        .expect("connects");
    client
        .send_data(b"invalid json".to_vec())
        .await
        .expect("sends");
    let reply = client.recv().await.expect("legal").expect("open");
    let text = String::from_utf8_lossy(reply.payload()).into_owned();
    assert_eq!(text, "Invalid data: expected value at line 1 column 1");
    assert!(reply.headers.is_empty(), "{reply:?}");
}

#[tokio::test]
async fn our_client_reaches_its_easy_servers() {
    let _machine = share().await;
    for is_udp in [false, true] {
        let address = free_address().expect("a free port");
        let server = if is_udp {
            VstpServer::bind_udp(address.to_string()).await
        } else {
            VstpServer::bind_tcp(address.to_string()).await
        };
        let serving = server
            .expect("binds")
            .serve(|message: Value| async { Ok(message) });
        let serving = tokio::spawn(serving);
        let target = if is_udp {
            Target::udp(address)
        } else {
            Target::tcp(address)
        };
        let config = ClientConfig {
            speak: Speak::Base,
            ..ClientConfig::default()
        };
        let client = Client::connect(target, config).await.expect("connects");
        for n in 0..3 {
            let message = Bytes::from(json!({ "n": n }).to_string());
            let reply = call(&client, "any/thing", message.clone())
                .await
                .expect("answers");
            assert_eq!(reply, message, "udp {is_udp}");
        }
        serving.abort();
    }
}

#[tokio::test]
async fn our_client_sends_every_size_to_its_raw_servers() {
    let _machine = share().await;
    let tcp = VstpTcpServer::bind("127.0.0.1:0").await.expect("binds");
    let address = tcp.local_addr().expect("bound");
    let serving = tokio::spawn(async move {
        let mut connection = tcp.accept().await.expect("accepts");
        while let Ok(Some(frame)) = connection.recv().await {
            connection.send(answer(&frame)).await.expect("sends");
        }
    });
    exchange_sizes(Target::tcp(address), &SIZES).await;
    serving.abort();

    // Its server answers in one datagram, which our side takes at any size that UDP carries.
    let udp = VstpUdpServer::bind("127.0.0.1:0").await.expect("binds");
    let address = udp.local_addr().expect("bound");
    let serving = tokio::spawn(async move {
        while let Ok((frame, from)) = udp.recv().await {
            udp.send(answer(&frame), from).await.expect("sends");
        }
    });
    exchange_sizes(Target::udp(address), &SIZES).await;
    serving.abort();
}

async fn exchange_sizes(target: Target, sizes: &[usize]) {
    let config = ClientConfig {
        speak: Speak::Base,
        ..ClientConfig::default()
    };
    let client = Client::connect(target, config).await.expect("connects");
    for &n_octets in sizes {
        let reply = call(&client as &dyn Handler, "echo/Echo", payload(n_octets)).await;
        assert!(
            reply.expect("answers") == payload(n_octets),
            "{n_octets} octets came back changed"
        );
    }
}

/// What a server written on the raw crate answers: the payload, and the headers that it knows.
fn answer(frame: &Frame) -> Frame {
    let reply = Frame::new(FrameType::Data).with_payload(frame.payload().to_vec());
    match frame.get_header("correlation-id") {
        Some(id) => reply.with_header("correlation-id", id),
        None => reply,
    }
}
