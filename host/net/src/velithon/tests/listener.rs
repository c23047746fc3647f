//! What a listener does with what its peers send.

use super::*;

fn default_of(service: &'static str) -> VelithonConfig {
    VelithonConfig {
        default_service: Some(service.into()),
        ..VelithonConfig::default()
    }
}

async fn ask(peer: &mut Peer, service: &str, endpoint: &str, body: &str) -> String {
    peer.request("r", service, endpoint, body).await;
    let (id, body) = peer.response().await;
    assert_eq!(id, "r");
    body
}

#[tokio::test]
async fn requests_are_calls_and_replies_are_objects() {
    let served = serve(VelithonConfig::default());
    let mut peer = Peer::connect(&served).await;
    let peer = &mut peer;
    assert_eq!(ask(peer, "users", "echo", "{\"a\":1}").await, "{\"a\":1}");
    assert_eq!(
        ask(peer, "orders", "who", "{}").await,
        "{\"result\":\"orders\"}"
    );
    assert_eq!(ask(peer, "users", "list", "{}").await, "{\"result\":[1,2]}");
    let told = "{\"error\":\"not-found: no such user\"}";
    assert_eq!(ask(peer, "users", "gone", "{}").await, told);
    let told = "{\"error\":\"unimplemented: not yet\"}";
    assert_eq!(ask(peer, "users", "broken", "{}").await, told);
    let told = "{\"error\":\"Endpoint nothing not found\"}";
    assert_eq!(ask(peer, "users", "nothing", "{}").await, told);
    for (body, is) in [("[1]", "a list"), ("null", "null"), ("7", "a number")] {
        let told = format!(
            "{{\"error\":\"invalid-argument: the body has to be an object of named arguments, and is {is}\"}}"
        );
        assert_eq!(ask(peer, "users", "echo", body).await, told);
    }
    assert!(
        ask(peer, "users", "health", "{}")
            .await
            .starts_with("{\"status\":\"healthy\"")
    );
}

#[tokio::test]
async fn a_service_that_is_not_known_is_the_default_one_or_none() {
    let served = serve(VelithonConfig::default());
    let mut peer = Peer::connect(&served).await;
    let told = "{\"error\":\"Endpoint who not found\"}";
    assert_eq!(ask(&mut peer, "others", "who", "{}").await, told);
    served.control.apply(default_of("users"));
    let found = "{\"result\":\"users\"}";
    assert_eq!(ask(&mut peer, "others", "who", "{}").await, found);
    assert_eq!(
        ask(&mut peer, "orders", "who", "{}").await,
        "{\"result\":\"orders\"}"
    );
}

#[tokio::test]
async fn pipelined_requests_are_answered_as_they_are_done() {
    let served = serve(VelithonConfig::default());
    let mut peer = Peer::connect(&served).await;
    let mut burst = request("slow", "users", "late", "{}");
    for n in 0..100 {
        burst.extend(request(
            &n.to_string(),
            "users",
            "echo",
            &format!("{{\"n\":{n}}}"),
        ));
    }
    peer.send(&burst).await;
    let mut order = Vec::new();
    for _ in 0..101 {
        let (id, body) = peer.response().await;
        if id != "slow" {
            assert_eq!(body, format!("{{\"n\":{id}}}"));
        }
        order.push(id);
    }
    assert_eq!(order.last().map(String::as_str), Some("slow"));
}

#[tokio::test]
async fn ten_connections_of_a_peer_live_as_long_as_one_of_them_is_heard() {
    let idle_timeout = Duration::from_millis(600);
    let served = serve(VelithonConfig {
        idle_timeout,
        ..VelithonConfig::default()
    });
    let mut peers = Vec::new();
    for _ in 0..10 {
        peers.push(Peer::connect(&served).await);
    }
    for _ in 0..8 {
        assert_eq!(ask(&mut peers[0], "users", "echo", "{}").await, "{}");
        tokio::time::sleep(idle_timeout / 4).await;
    }
    for peer in &mut peers {
        assert_eq!(ask(peer, "users", "echo", "{}").await, "{}");
    }
    for peer in &mut peers {
        peer.closed().await;
    }
    patiently("all are closed", || served.counters.connections_open() == 0).await;
}

#[tokio::test]
async fn what_is_dropped_is_counted_and_the_connection_goes_on() {
    let served = serve(VelithonConfig::default());
    let mut peer = Peer::connect(&served).await;
    peer.send(&frame("")).await;
    peer.send(b"\0\0\0\x03\x82\xa6h").await;
    peer.send(&frame("{\"header\":{},\"body\":1}")).await;
    // A response to nothing that was asked.
    let response = frame(
        "{\"header\":{\"request_id\":\"x\",\"service\":\"s\",\"endpoint\":\"e\",\"is_response\":true},\"body\":{}}",
    );
    peer.send(&response).await;
    assert_eq!(ask(&mut peer, "users", "echo", "{}").await, "{}");
    let counters = &served.counters;
    assert_eq!(counters.messages_dropped.value(), 3);
    assert_eq!(counters.messagepack_refused.value(), 1);
    assert_eq!(counters.responses_unmatched.value(), 1);
}

#[tokio::test]
async fn a_message_over_a_bound_is_refused_by_the_bound_s_name() {
    let served = serve(VelithonConfig {
        frame_bytes_max: 1024,
        body_bytes_max: 100,
        ..VelithonConfig::default()
    });
    let mut peer = Peer::connect(&served).await;
    let of = |n: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(n));
    let told = ask(&mut peer, "users", "echo", &of(2000)).await;
    assert!(
        told.contains("exceeds the limit of 1024 (velithon.frame-bytes-max)"),
        "{told}"
    );
    let told = ask(&mut peer, "users", "echo", &of(100)).await;
    assert!(
        told.contains("exceeds the limit of 100 (calls.body-bytes-max)"),
        "{told}"
    );
    assert_eq!(ask(&mut peer, "users", "echo", &of(92)).await, of(92));
}

#[tokio::test]
async fn a_message_has_its_time_and_a_lie_of_its_length_no_room() {
    let served = serve(VelithonConfig {
        body_timeout: Duration::from_millis(200),
        ..VelithonConfig::default()
    });
    let mut peer = Peer::connect(&served).await;
    peer.send(&u32::MAX.to_be_bytes()).await;
    peer.closed().await;
    let mut peer = Peer::connect(&served).await;
    peer.send(&request("r", "users", "echo", "{}")[..20]).await;
    peer.closed().await;
    assert_eq!(served.counters.protocol_errors.value(), 2);
}

#[tokio::test]
async fn what_a_connection_may_hold_is_bounded_and_told() {
    let served = serve(VelithonConfig {
        held_bytes_max: 64 * 1024,
        ..VelithonConfig::default()
    });
    let mut peer = Peer::connect(&served).await;
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(200 * 1024));
    let told = ask(&mut peer, "users", "echo", &long).await;
    assert!(
        told.contains("resource-exhausted: the connection holds"),
        "{told}"
    );
    assert_eq!(ask(&mut peer, "users", "echo", "{}").await, "{}");
}

#[tokio::test]
async fn a_peer_that_reads_nothing_is_closed() {
    let served = serve(VelithonConfig {
        write_timeout: Duration::from_millis(200),
        ..VelithonConfig::default()
    });
    let mut peer = Peer::connect(&served).await;
    let body = format!("{{\"a\":\"{}\"}}", "x".repeat(1024 * 1024));
    let one = request("r", "users", "echo", &body);
    // The other end stops reading when enough waits for this one.
    let flooding = async {
        for _ in 0..64 {
            if peer.0.write_all(&one).await.is_err() {
                return;
            }
        }
    };
    drop(timeout(PATIENCE, flooding).await);
    patiently("it is closed", || served.counters.slow_readers.value() == 1).await;
}

#[tokio::test]
async fn calls_of_a_peer_that_resets_are_cancelled() {
    let served = serve(VelithonConfig::default());
    let mut peer = Peer::connect(&served).await;
    peer.request("r", "users", "never", "{}").await;
    assert!(
        ask(&mut peer, "users", "health", "{}")
            .await
            .contains("healthy")
    );
    // A reset in the place of an end.
    let linger = socket2::SockRef::from(&peer.0).set_linger(Some(Duration::ZERO));
    linger.expect("a socket");
    drop(peer);
    patiently("it is gone", || served.counters.connections_open() == 0).await;
}

#[tokio::test]
async fn a_peer_that_has_said_all_is_still_answered() {
    let served = serve(VelithonConfig::default());
    let mut peer = Peer::connect(&served).await;
    peer.request("r", "users", "late", "{\"a\":1}").await;
    peer.0.shutdown().await.expect("half of it");
    assert_eq!(
        peer.response().await,
        ("r".to_owned(), "{\"a\":1}".to_owned())
    );
    peer.closed().await;
}

#[tokio::test]
async fn a_drain_finishes_what_is_in_flight_and_takes_nothing_new() {
    let served = serve(VelithonConfig::default());
    let (mut busy, mut idle) = (Peer::connect(&served).await, Peer::connect(&served).await);
    busy.request("r", "users", "later", "{\"a\":1}").await;
    assert_eq!(ask(&mut idle, "users", "echo", "{}").await, "{}");
    served.shutdown.drain();
    // What was sent before the drain was seen is answered.
    assert_eq!(ask(&mut idle, "users", "echo", "{}").await, "{}");
    idle.closed().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    busy.request("s", "users", "echo", "{}").await;
    let closing = "{\"error\":\"unavailable: the gateway is closing\"}";
    assert_eq!(busy.response().await, ("s".to_owned(), closing.to_owned()));
    assert_eq!(
        busy.response().await,
        ("r".to_owned(), "{\"a\":1}".to_owned())
    );
    busy.closed().await;
    timeout(PATIENCE, served.task)
        .await
        .expect("in time")
        .expect("no panic");
}

#[tokio::test]
async fn calls_beyond_the_limit_wait_in_the_connection() {
    let served = serve(VelithonConfig {
        calls_in_flight_max: 1,
        ..VelithonConfig::default()
    });
    let mut peer = Peer::connect(&served).await;
    let both = [
        request("a", "users", "late", "{}"),
        request("b", "users", "echo", "{}"),
    ];
    peer.send(&both.concat()).await;
    assert_eq!(peer.response().await.0, "a");
    assert_eq!(peer.response().await.0, "b");
}
