//! Connections: how many, how long, and how they end.

use std::time::Instant;

use super::*;

/// Reads until the listener closes; says how long that took.
async fn closed_after(mut socket: TcpStream) -> Duration {
    let begin = Instant::now();
    let mut rest = Vec::new();
    let closing = socket.read_to_end(&mut rest);
    let _ = timeout(PATIENCE, closing)
        .await
        .expect("the listener closes");
    begin.elapsed()
}

#[tokio::test]
async fn one_connection_over_the_limit_is_told_and_closed() {
    let fixture = Fixture::open(HttpConfig {
        connections_max: 1,
        ..HttpConfig::default()
    })
    .await;
    let mut first = TcpStream::connect(fixture.address).await.expect("connects");
    first
        .write_all(post("echo/Say", "", "1").as_bytes())
        .await
        .expect("writes");
    assert!(read_response(&mut first).await.ends_with("\r\n\r\n1"));
    let mut second = TcpStream::connect(fixture.address).await.expect("connects");
    let response = read_response(&mut second).await;
    assert!(response.starts_with("HTTP/1.1 503"), "{response}");
    assert!(
        response.contains("the limit of 1 connections is reached"),
        "{response}"
    );
    assert_eq!(fixture.counters.connections_refused.value(), 1);
    drop(first);
    let freed = async {
        while fixture.counters.connections_closed.value() == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, freed)
        .await
        .expect("the first one closes");
    assert!(
        fixture
            .raw(&post("echo/Say", "", "3"))
            .await
            .ends_with("\r\n\r\n3")
    );
}

#[tokio::test]
async fn a_connection_that_never_asks_is_closed_after_the_header_timeout() {
    let header_timeout = Duration::from_millis(80);
    let fixture = Fixture::open(HttpConfig {
        header_timeout,
        ..HttpConfig::default()
    })
    .await;
    for begun in ["", "POST /v1/serv", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut socket = TcpStream::connect(fixture.address).await.expect("connects");
        socket.write_all(begun.as_bytes()).await.expect("writes");
        let time = closed_after(socket).await;
        assert!(time >= header_timeout, "{begun}: {time:?}");
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let idle_timeout = Duration::from_millis(80);
    let fixture = Fixture::open(HttpConfig {
        idle_timeout,
        ..HttpConfig::default()
    })
    .await;
    let mut idle = TcpStream::connect(fixture.address).await.expect("connects");
    idle.write_all(post("echo/Say", "", "1").as_bytes())
        .await
        .expect("writes");
    let mut busy = TcpStream::connect(fixture.address).await.expect("connects");
    busy.write_all(post("hang/On", "", "").as_bytes())
        .await
        .expect("writes");
    closed_after(idle).await;
    fixture.handler.wait_for(1).await;
    drop(busy);
    fixture.handler.wait_for(0).await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_closed_and_counted() {
    let (write_timeout, header_timeout) = (Duration::from_millis(80), Duration::from_millis(40));
    let config = HttpConfig {
        write_timeout,
        header_timeout,
        ..HttpConfig::default()
    };
    let fixture = Fixture::open(config).await;
    let mut socket = TcpStream::connect(fixture.address).await.expect("connects");
    let request = post("echo/Say", "", &"x".repeat(4 << 20));
    // Asks for more than the socket's buffers hold and takes nothing; the listener stops reading.
    let asking = async { while socket.write_all(request.as_bytes()).await.is_ok() {} };
    timeout(PATIENCE, asking)
        .await
        .expect("the listener closes");
    assert_eq!(fixture.counters.slow_readers.value(), 1);
}

#[tokio::test]
async fn draining_finishes_what_is_in_flight_and_takes_nothing_new() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let mut idle = TcpStream::connect(fixture.address).await.expect("connects");
    idle.write_all(post("echo/Say", "", "1").as_bytes())
        .await
        .expect("writes");
    read_response(&mut idle).await;
    let mut busy = TcpStream::connect(fixture.address).await.expect("connects");
    // The body is missing its last octet, so the call is in flight.
    let request = post("echo/Say", "", "last");
    let (begin, end) = request.split_at(request.len() - 1);
    busy.write_all(begin.as_bytes()).await.expect("writes");
    tokio::time::sleep(Duration::from_millis(50)).await;
    fixture.shutdown.drain();
    closed_after(idle).await;
    assert!(TcpStream::connect(fixture.address).await.is_err());
    busy.write_all(end.as_bytes()).await.expect("writes");
    let response = read_response(&mut busy).await;
    assert!(
        response.contains("connection: close") && response.ends_with("last"),
        "{response}"
    );
    timeout(PATIENCE, fixture.serving)
        .await
        .expect("ends")
        .expect("well");
}

#[tokio::test]
async fn ending_drops_what_is_in_flight() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let mut socket = TcpStream::connect(fixture.address).await.expect("connects");
    socket
        .write_all(post("hang/On", "", "").as_bytes())
        .await
        .expect("writes");
    fixture.handler.wait_for(1).await;
    fixture.shutdown.drain();
    fixture.shutdown.end();
    timeout(PATIENCE, fixture.serving)
        .await
        .expect("ends")
        .expect("well");
    fixture.handler.wait_for(0).await;
    assert_eq!(fixture.counters.connections_open(), 0);
}

#[tokio::test]
async fn draining_cuts_off_what_takes_too_long() {
    let drain_timeout = Duration::from_millis(80);
    let fixture = Fixture::open(HttpConfig {
        drain_timeout,
        ..HttpConfig::default()
    })
    .await;
    let mut socket = TcpStream::connect(fixture.address).await.expect("connects");
    socket
        .write_all(post("hang/On", "", "").as_bytes())
        .await
        .expect("writes");
    fixture.handler.wait_for(1).await;
    let begin = Instant::now();
    fixture.shutdown.drain();
    timeout(PATIENCE, fixture.serving)
        .await
        .expect("ends")
        .expect("well");
    assert!(begin.elapsed() >= drain_timeout);
    fixture.handler.wait_for(0).await;
}

#[tokio::test]
async fn a_new_configuration_holds_for_the_next_request_of_an_open_connection() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let mut socket = TcpStream::connect(fixture.address).await.expect("connects");
    for (bytes_max, status) in [(8, 200), (7, 413)] {
        fixture.reconfigure.apply(HttpConfig {
            message_bytes_max: bytes_max,
            ..HttpConfig::default()
        });
        socket
            .write_all(post("echo/Say", "", "12345678").as_bytes())
            .await
            .expect("writes");
        let response = read_response(&mut socket).await;
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status} ")),
            "{response}"
        );
    }
}

#[tokio::test]
async fn a_request_that_came_before_draining_is_answered() {
    for is_kept in [false, true] {
        for _ in 0..20 {
            let fixture = Fixture::open(HttpConfig::default()).await;
            let mut socket = TcpStream::connect(fixture.address).await.expect("connects");
            let request = post("echo/Say", "", "hello");
            if is_kept {
                socket.write_all(request.as_bytes()).await.expect("writes");
                let response = read_response(&mut socket).await;
                assert!(response.ends_with("hello"), "{response}");
            } else {
                let counters = Arc::clone(&fixture.counters);
                let accepting = async {
                    while counters.connections_opened.value() == 0 {
                        tokio::task::yield_now().await;
                    }
                };
                timeout(PATIENCE, accepting).await.expect("accepts");
            }
            // Nothing of the listener runs between the two: it is one thread's.
            socket.try_write(request.as_bytes()).expect("writes");
            fixture.shutdown.drain();
            let response = read_response(&mut socket).await;
            assert!(response.ends_with("hello"), "{is_kept}: {response}");
        }
    }
}
