//! A client by hand: frames that are right and wrong, over TCP, TLS and a Unix socket.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    time::Duration,
};

use postern_core::{Call, Handler};
use postern_net::{http::HttpClientConfig, velithon};
use postern_tests::{Gateway, Setup, patiently};
use serde_json::{Value, json};

use super::{listening, number, with_table};
use crate::share;

fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("short");
    [&length.to_be_bytes()[..], message].concat()
}

fn request(id: &str, body: &str) -> Vec<u8> {
    let header = json!({
        "request_id": id, "service": "table-rust", "endpoint": "Echo", "is_response": false,
    });
    frame(format!("{{\"header\":{header},\"body\":{body}}}").as_bytes())
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    let patience = Some(Duration::from_secs(30));
    stream.set_read_timeout(patience).expect("a socket");
    stream
}

fn response(stream: &mut impl std::io::Read) -> Value {
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("a length");
    let length = u32::from_be_bytes(length);
    let mut message = vec![0; usize::try_from(length).expect("short")];
    stream.read_exact(&mut message).expect("whole");
    serde_json::from_slice(&message).expect("json")
}

/// Sends a request and checks that it is answered.
#[track_caller]
fn check_alive(stream: &mut TcpStream) {
    stream
        .write_all(&request("alive", "{\"a\":1}"))
        .expect("sent");
    let told = response(stream);
    assert_eq!(told["header"]["request_id"], "alive");
    assert_eq!(told["body"], json!({ "a": 1 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_frames_of_each_kind_are_dropped_and_the_connection_goes_on() {
    let _machine = share().await;
    let velithon = listening("", "").await;
    let mut stream = connect(velithon.address);
    let header = "{\"request_id\":\"r\",\"service\":\"table-rust\",\"endpoint\":\"Echo\"}";
    let no_body = format!("{{\"header\":{header}}}");
    let nan = format!("{{\"header\":{header},\"body\":{{\"a\":NaN}}}}");
    let lone = format!("{{\"header\":{header},\"body\":{{\"a\":\"\\ud800\"}}}}");
    let deep = format!("{{\"header\":{header},\"body\":{}}}", "[".repeat(500));
    let no_id = no_body.replace("request_id", "other");
    let msgpack = [&[0x82, 0xa6][..], b"header\x80\xa4body\x80"].concat();
    let mark = [&b"\xef\xbb\xbf"[..], nan.as_bytes()].concat();
    let cases: [&[u8]; 13] = [
        b"",
        b"nonsense",
        b"[]",
        b"{}",
        b"7",
        no_body.as_bytes(),
        no_id.as_bytes(),
        nan.as_bytes(),
        lone.as_bytes(),
        deep.as_bytes(),
        &mark,
        &msgpack,
        b"\xff\xfe{\x00",
    ];
    for case in cases {
        stream.write_all(&frame(case)).expect("sent");
        check_alive(&mut stream);
    }
    let n_dropped = number(&velithon.gateway, "postern_messages_dropped_total").await;
    assert_eq!(n_dropped, 13);
    assert_eq!(
        number(&velithon.gateway, "postern_messagepack_refused_total").await,
        1
    );
    assert!(
        velithon
            .gateway
            .log()
            .contains("the message is MessagePack")
    );
    // All at once, and octet by octet.
    let burst: Vec<u8> = (0..50)
        .flat_map(|n| request(&n.to_string(), "{}"))
        .collect();
    stream.write_all(&burst).expect("sent");
    for octet in request("slow", "{}") {
        stream.write_all(&[octet]).expect("sent");
        stream.flush().expect("sent");
    }
    for _ in 0..51 {
        response(&mut stream);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_over_frame_bytes_max_is_told_of_by_the_key_s_name() {
    let _machine = share().await;
    let velithon = listening("", "velithon.frame-bytes-max = \"64KiB\"").await;
    let mut stream = connect(velithon.address);
    let body = |n: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(n));
    stream
        .write_all(&request("long", &body(100_000)))
        .expect("sent");
    let told = response(&mut stream);
    assert_eq!(told["header"]["request_id"], "long");
    let error = told["body"]["error"].as_str().expect("an error");
    assert!(error.starts_with("resource-exhausted: "), "{error}");
    assert!(
        error.contains("exceeds the limit of 65536 (velithon.frame-bytes-max)"),
        "{error}"
    );
    check_alive(&mut stream);
    stream
        .write_all(&request("fits", &body(60_000)))
        .expect("sent");
    let fits = response(&mut stream)["body"]["a"].as_str().map(str::len);
    assert_eq!(fits, Some(60_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn times_and_bounds_of_a_listener_hold_for_velithon() {
    let _machine = share().await;
    let keys = "body-timeout = \"300ms\"\nidle-timeout = \"5s\"\nconnections-max = 2\n\
        calls-in-flight-max = 4\nhandshakes-max = 3\nhandshake-timeout = \"1s\"\nwrite-timeout = \"1s\"\n\
        held-bytes-per-connection-max = \"64KiB\"\ndrain-timeout = \"2s\"";
    let velithon = listening("", keys).await;
    // A message that does not arrive, and a length that is a lie.
    for begin in [&request("r", "{}")[..30], &[0xff; 4]] {
        let mut stream = connect(velithon.address);
        stream.write_all(begin).expect("sent");
        let mut rest = Vec::new();
        assert!(stream.read_to_end(&mut rest).is_ok() && rest.is_empty());
    }
    let is_empty = async || number(&velithon.gateway, "postern_connections_open{").await == 0;
    patiently("both are closed", is_empty).await;
    assert_eq!(
        number(&velithon.gateway, "postern_protocol_errors_total").await,
        2
    );
    let mut first = connect(velithon.address);
    check_alive(&mut first);
    let mut second = connect(velithon.address);
    check_alive(&mut second);
    // One connection more is closed without a word.
    let mut third = connect(velithon.address);
    let mut rest = Vec::new();
    drop(third.read_to_end(&mut rest));
    assert!(rest.is_empty());
    assert_eq!(
        number(&velithon.gateway, "postern_connections_refused_total").await,
        1
    );
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(200_000));
    first.write_all(&request("long", &long)).expect("sent");
    let told = response(&mut first)["body"]["error"].to_string();
    assert!(told.contains("the connection holds"), "{told}");
    patiently("silent peers are closed", is_empty).await;
    let check = velithon.gateway.postern(&["check"]);
    assert_eq!(check.code, Some(0), "{check:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_other_protocols_are_refused_by_name() {
    let _machine = share().await;
    let gateway = Gateway::start(Setup::default()).await;
    for (keys, told) in [
        (
            "protocol = \"velithon\"\ntransports = [\"tcp\"]",
            "transports",
        ),
        ("protocol = \"velithon\"\nkeep-alive = \"1s\"", "keep-alive"),
        ("protocol = \"velithon\"\nstreams-max = 7", "streams-max"),
        (
            "protocol = \"velithon\"\nlimits.frame-bytes-max = \"1MiB\"",
            "limits.frame-bytes-max",
        ),
        (
            "protocol = \"vstp\"\nvelithon.frame-bytes-max = \"1MiB\"",
            "velithon.frame-bytes-max",
        ),
        (
            "protocol = \"http\"\ndefault-service = \"a\"",
            "default-service",
        ),
        (
            "protocol = \"velithon\"\naddress = \"0.0.0.0:7\"",
            "velithon is plain",
        ),
    ] {
        let address = if keys.contains("address") {
            ""
        } else {
            "address = \"127.0.0.1:7\"\n"
        };
        let text = format!("[listeners.a]\n{address}{keys}\n");
        std::fs::write(gateway.folder().join("refused.toml"), text).expect("written");
        let checked = gateway.postern(&["check", "--config", "refused.toml"]);
        assert_eq!(checked.code, Some(1), "{keys}");
        assert!(checked.err.contains(told), "{keys}: {}", checked.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn velithon_is_spoken_over_tls_and_unix_sockets_and_behind_the_proxy_protocol() {
    let _machine = share().await;
    let folder = tempfile::tempdir().expect("a folder");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
    let made = made.expect("a certificate");
    let [certificate, key] = ["c.pem", "k.pem"].map(|name| folder.path().join(name));
    std::fs::write(&certificate, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    let socket = folder.path().join("velithon.sock");
    let [secure, proxied] = [(), ()].map(|()| postern_tests::free_address().expect("a free port"));
    let config = format!(
        "[listeners.secure]\nprotocol = \"velithon\"\naddress = \"{secure}\"\n\
         [listeners.secure.tls]\ncertificate-file = {certificate:?}\nkey-file = {key:?}\n\
         [listeners.local]\nprotocol = \"velithon\"\naddress = \"unix:{}\"\nunix.mode = \"0600\"\n\
         [listeners.proxied]\nprotocol = \"velithon\"\naddress = \"{proxied}\"\nproxy-protocol = true\n\
         forwarded.trusted = [\"127.0.0.1\"]\n\
         [upstream-tls]\nca-files = [{certificate:?}]\n",
        socket.display(),
    );
    let setup = Setup {
        config,
        ..Setup::default()
    };
    let gateway = Gateway::start(with_table(setup)).await;
    let local = velithon::dial(
        &format!("unix:{}", socket.display()),
        HttpClientConfig::default(),
    );
    let local = local.expect("an address");
    let reply = local
        .call(Call::unary("table-rust", "Echo", "{\"a\":1}"))
        .await;
    let body = reply.expect("answered").body.into_one(99).await;
    assert_eq!(body.expect("one"), "{\"a\":1}");
    let url = format!("velithons://localhost:{}", secure.port());
    let called = gateway.postern(&["call", "--transport", &url, "table-rust/Echo", "{\"a\":2}"]);
    assert!(called.out.contains("\"a\""), "{called:?}");
    let mut stream = connect(proxied);
    stream
        .write_all(b"PROXY TCP4 203.0.113.7 127.0.0.1 5555 7\r\n")
        .expect("sent");
    check_alive(&mut stream);
    // The same by hand.
    let mut raw = UnixStream::connect(&socket).expect("ours");
    raw.write_all(&request("r", "{}")).expect("sent");
    assert_eq!(response(&mut raw)["body"], json!({}));
}
