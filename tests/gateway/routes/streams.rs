//! What flows longer than a call may take: files for slow readers, events, and what ends it all the same.

use std::{fs::File, time::Duration};

use super::*;

/// Four times what a call may take here.
const LONGER: Duration = Duration::from_millis(800);
const SHORT: &str = "[calls]\ntimeout = \"200ms\"\ntimeout-max = \"2s\"\n";
const EVENTS: &str = "[routes.events]\npath = \"/events\"\nmethods = [\"POST\"]\nservice = \"events\"\n\
                      method = \"subscribe\"\n";

/// Sends `POST /PATH` with a body, and reads until the first event has been promised: the head.
async fn subscribe(address: SocketAddr, path: &str, head: &str) -> TcpStream {
    let body = "{\"topics\":[\"news\"]}";
    let mut stream = TcpStream::connect(address).await.expect("open");
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: x.localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n{head}\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut told = Vec::new();
    while !told.ends_with(b"\r\n\r\n") {
        let octet = timeout(PATIENCE, stream.read_u8()).await.expect("in time");
        told.push(octet.expect("open"));
    }
    let told = String::from_utf8(told).expect("text");
    assert!(told.starts_with("HTTP/1.1 200 "), "{told}");
    stream
}

async fn publish(address: SocketAddr) {
    let told = ask(
        address,
        "POST /v1/services/events/publish",
        "content-type: application/json\r\n",
        "{\"topic\":\"news\",\"payload\":{\"n\":1}}",
    );
    assert_eq!(told.await.status, 200);
}

/// What comes until `part` has, or the stream ends.
async fn until(stream: &mut TcpStream, part: &str) -> String {
    let mut told = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&told).contains(part) {
            if !matches!(stream.read_buf(&mut told).await, Ok(1..)) {
                break;
            }
        }
    };
    timeout(PATIENCE, reading).await.expect("in time");
    String::from_utf8(told).expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_read_whole_by_who_takes_longer_than_a_call_may() {
    /// More than the buffers of both sockets hold.
    const FILE_BYTES: u64 = 48 << 20;
    let _machine = share().await;
    let site = tempfile::tempdir().expect("a folder");
    let file = File::create(site.path().join("large.bin")).expect("created");
    file.set_len(FILE_BYTES).expect("sparse");
    let config = format!(
        "{SHORT}[routes.site]\npath = \"/{{path*}}\"\ntimeout = \"200ms\"\n[routes.site.files]\nfolder = \"{}\"\n",
        site.path().display()
    );
    let gateway = gateway(&config, &[]).await;
    let mut stream = TcpStream::connect(gateway.http).await.expect("open");
    let request = "GET /large.bin HTTP/1.1\r\nhost: x.localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut octets = vec![0; 1 << 20];
    let first = timeout(PATIENCE, stream.read(&mut octets)).await;
    let first = first.expect("in time").expect("open");
    let head = octets[..first]
        .windows(4)
        .position(|end| end == b"\r\n\r\n");
    let mut n_octets = (first - head.expect("a head") - 4) as u64;
    // Reads nothing for longer than the call has.
    tokio::time::sleep(LONGER).await;
    loop {
        let read = timeout(PATIENCE, stream.read(&mut octets)).await;
        match read.expect("in time").expect("no reset") {
            0 => break,
            n_read => n_octets += n_read as u64,
        }
    }
    assert_eq!(n_octets, FILE_BYTES);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_after_the_time_that_a_call_has() {
    let _machine = share().await;
    let gateway = gateway(&format!("{SHORT}{EVENTS}"), &[]).await;
    for (path, accept, event) in [
        ("/events", "text/event-stream", "data: {"),
        ("/events", "application/x-ndjson", "{\"topic\":\"news\""),
        (
            "/v1/services/events/subscribe",
            "text/event-stream",
            "data: {",
        ),
    ] {
        let head = format!("accept: {accept}\r\n");
        let mut stream = subscribe(gateway.http, path, &head).await;
        tokio::time::sleep(LONGER).await;
        publish(gateway.http).await;
        let told = until(&mut stream, "\"n\":1").await;
        assert!(told.contains(event) && told.contains("\"n\":1"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_names_a_deadline_has_all_of_the_stream_by_then() {
    let _machine = share().await;
    let gateway = gateway(&format!("{SHORT}{EVENTS}"), &[]).await;
    let head = "accept: text/event-stream\r\ntimeout-ms: 300\r\n";
    let mut stream = subscribe(gateway.http, "/events", head).await;
    // In order: the last chunk.
    let told = until(&mut stream, "0\r\n\r\n").await;
    assert_eq!(told, "0\r\n\r\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_which_nothing_comes_for_the_idle_timeout_ends() {
    let _machine = share().await;
    let setup = Setup {
        http: "idle-timeout = \"1s\"\n".to_owned(),
        config: EVENTS.to_owned(),
        ..Setup::default()
    };
    let gateway = Gateway::start(setup).await;
    let head = "accept: text/event-stream\r\n";
    let mut stream = subscribe(gateway.http, "/events", head).await;
    let reason = "nothing came of the reply for 1000 ms";
    let told = until(&mut stream, reason).await;
    assert!(
        told.contains("event: error\n") && told.contains(reason),
        "{told}"
    );
}

/// The call of the first gateway is one of the second: neither ends the stream that both carry, nor does the
/// plugin that answers it.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_a_plugin_flows_as_long_as_its_caller_sends_here_and_elsewhere() {
    let _machine = share().await;
    let far = gateway(SHORT, &["echo"]).await;
    let config = format!(
        "{SHORT}[instances.far]\nservice = \"echo\"\naddresses = [\"tcp://{}\"]\n\
         [routes.echo]\npath = \"/echo\"\nservice = \"echo\"\nmethod = \"EchoStream\"\n",
        far.vstp
    );
    let near = gateway(&config, &[]).await;
    for (address, path) in [
        (far.http, "/v1/services/echo/EchoStream"),
        (near.http, "/echo"),
    ] {
        let mut stream = TcpStream::connect(address).await.expect("open");
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x.localhost\r\nconnection: close\r\n\
             content-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("open");
        for line in ["{\"n\":1}\n", "{\"n\":2}\n", "{\"n\":3}\n"] {
            let chunk = format!("{:x}\r\n{line}\r\n", line.len());
            stream.write_all(chunk.as_bytes()).await.expect("open");
            let told = until(&mut stream, line).await;
            assert!(told.contains(line), "{path}: {told}");
            tokio::time::sleep(LONGER).await;
        }
        stream.write_all(b"0\r\n\r\n").await.expect("open");
        let told = until(&mut stream, "0\r\n").await;
        assert!(!told.contains("error"), "{path}: {told}");
    }
}
