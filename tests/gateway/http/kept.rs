//! Connections of HTTP/1.1 whose requests are refused before their bodies are read.

use super::*;

/// One answer, by its own length; what is behind it stays unread.
async fn answered(stream: &mut TcpStream) -> String {
    let mut told = Vec::new();
    while !told.ends_with(b"\r\n\r\n") {
        let octet = timeout(SOON, stream.read_u8()).await.expect("in time");
        told.push(octet.expect("open"));
    }
    let head = String::from_utf8(told).expect("text").to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a number"))];
    let reading = stream.read_exact(&mut body);
    timeout(SOON, reading)
        .await
        .expect("in time")
        .expect("open");
    head
}

/// A request with a body of `length` octets, and further lines of its head.
fn request(line: &str, head: &str, length: usize) -> Vec<u8> {
    let mut octets =
        format!("{line} HTTP/1.1\r\nhost: localhost\r\n{head}content-length: {length}\r\n\r\n")
            .into_bytes();
    octets.extend(std::iter::repeat_n(b'x', length));
    octets
}

const ROUTE: &str = "[routes.fixed]\npath = \"/fixed\"\nmethods = [\"GET\"]\nfixed = { status = 204 }\n\
                     [routes.echo]\npath = \"/echo\"\nservice = \"misbehave\"\nmethod = \"Echo\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_keeps_the_connection_where_little_of_the_body_is_unread() {
    let _machine = share().await;
    let gateway = gateway("", ROUTE).await;
    let text = "content-type: text/plain\r\n";
    let refusals = [
        ("POST /nowhere", "", 404),
        ("PUT /fixed", "", 405),
        ("POST /echo", text, 415),
        ("POST /v1/services/misbehave/Echo", text, 415),
        ("PUT /v1/services/misbehave/Echo", "", 405),
    ];
    for length in [1, 64 * 1024] {
        // All over one connection.
        let mut stream = TcpStream::connect(gateway.http).await.expect("open");
        for (line, head, status) in refusals {
            let octets = request(line, head, length);
            stream.write_all(&octets).await.expect("written");
            let told = answered(&mut stream).await;
            let expected = format!("http/1.1 {status} ");
            assert!(told.starts_with(&expected), "{line} {length}: {told}");
            assert!(!told.contains("connection: close"), "{line}: {told}");
        }
        stream
            .write_all(&request("GET /fixed", "", 0))
            .await
            .expect("written");
        let told = answered(&mut stream).await;
        assert!(told.starts_with("http/1.1 204 "), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_ends_the_connection_where_its_body_is_long_or_of_no_known_length() {
    let _machine = share().await;
    let gateway = gateway("", ROUTE).await;
    let chunked = "POST /nowhere HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n\
                   1\r\nx\r\n0\r\n\r\n";
    // Whoever waits to be asked for its body is not asked for what nobody reads.
    let waiting = "POST /nowhere HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n\
                   content-length: 1\r\n\r\n";
    for octets in [
        request("POST /nowhere", "", 64 * 1024 + 1),
        chunked.as_bytes().to_vec(),
        waiting.as_bytes().to_vec(),
    ] {
        let mut stream = TcpStream::connect(gateway.http).await.expect("open");
        stream.write_all(&octets).await.expect("written");
        let told = answered(&mut stream).await;
        assert!(told.starts_with("http/1.1 404 "), "{told}");
        assert!(told.contains("\r\nconnection: close\r\n"), "{told}");
        let mut rest = Vec::new();
        let n_octets = timeout(SOON, stream.read_to_end(&mut rest)).await;
        assert_eq!(n_octets.expect("closed").unwrap_or(0), 0);
    }
    // One that is never sent is not waited for.
    let mut stream = TcpStream::connect(gateway.http).await.expect("open");
    let octets = request("POST /nowhere", "", 9);
    stream
        .write_all(&octets[..octets.len() - 1])
        .await
        .expect("written");
    let told = answered(&mut stream).await;
    assert!(told.contains("\r\nconnection: close\r\n"), "{told}");
}
