//! An upstream before a server by hand.

use postern_core::{Retry, registry::Address, velithon::write_request};
use tokio::net::TcpListener;

use super::*;
use crate::velithon::{VelithonAddress, VelithonUpstream, VelithonUpstreamConfig, dial};

/// Where the upstream connects to.
struct Instance(TcpListener);

impl Instance {
    async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.expect("a free port"))
    }

    fn upstream(&self, config: VelithonUpstreamConfig) -> VelithonUpstream {
        let address = format!("velithon://{}", self.0.local_addr().expect("bound"));
        let address = Address::parse(&address).expect("an address");
        VelithonUpstream::new(VelithonAddress::of(&address).expect("of velithon"), config)
    }

    async fn accept(&self) -> Peer {
        let accepted = timeout(PATIENCE, self.0.accept()).await.expect("in time");
        Peer(accepted.expect("a connection").0)
    }
}

fn call(
    upstream: &VelithonUpstream,
    method: &str,
    body: &str,
) -> tokio::task::JoinHandle<Answered> {
    let call = Call::unary("users", method.to_owned(), body.to_owned());
    let calling = upstream.call(call);
    tokio::spawn(async move {
        let reply = timeout(PATIENCE, calling).await.expect("in time")?;
        let body = reply.body.into_one(usize::MAX).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    })
}

type Answered = Result<String, Error>;

async fn ended(calling: tokio::task::JoinHandle<Answered>) -> Answered {
    calling.await.expect("no panic")
}

fn one() -> VelithonUpstreamConfig {
    VelithonUpstreamConfig {
        connections_max: 1,
        ..VelithonUpstreamConfig::default()
    }
}

#[tokio::test]
async fn responses_are_matched_by_their_ids_in_any_order_and_over_any_connection() {
    let instance = Instance::start().await;
    let upstream = instance.upstream(VelithonUpstreamConfig {
        connections_max: 2,
        ..VelithonUpstreamConfig::default()
    });
    let first = call(&upstream, "a", "{\"n\":1}");
    let mut one = instance.accept().await;
    let first_request = one.message().await;
    assert_eq!(first_request.body, "{\"n\":1}");
    let second = call(&upstream, "b", "{\"n\":2}");
    let mut two = instance.accept().await;
    let second_request = two.message().await;
    // Each is answered on the other's connection; service and endpoint are not looked at.
    let mut header = second_request.header;
    header.service = "7".into();
    one.send(&write(&header, true, b"{\"n\":2}")).await;
    assert_eq!(ended(second).await.expect("answered"), "{\"n\":2}");
    two.send(&write(&first_request.header, true, b"{\"n\":1}"))
        .await;
    assert_eq!(ended(first).await.expect("answered"), "{\"n\":1}");
}

#[tokio::test]
async fn late_repeated_and_unknown_responses_are_dropped() {
    let instance = Instance::start().await;
    let upstream = instance.upstream(one());
    let given_up = call(&upstream, "a", "{}");
    let mut peer = instance.accept().await;
    let late = peer.message().await;
    given_up.abort();
    // Its call is forgotten before the response comes.
    drop(given_up.await);
    let answer = write(&late.header, true, b"{\"late\":true}");
    peer.send(&[&answer[..], &answer].concat()).await;
    peer.send(&frame(
        "{\"header\":{\"request_id\":1,\"service\":2,\"endpoint\":3,\"is_response\":1},\"body\":4}",
    ))
    .await;
    let next = call(&upstream, "b", "{}");
    peer.answer("{\"next\":true}").await;
    assert_eq!(ended(next).await.expect("answered"), "{\"next\":true}");
}

#[tokio::test]
async fn errors_of_an_instance_have_kinds() {
    let instance = Instance::start().await;
    let upstream = instance.upstream(one());
    let mut peer = None;
    for (body, kind) in [
        (
            "{\"error\":\"Endpoint get not found\"}",
            Kind::Unimplemented,
        ),
        (
            "{\"error\":\"get() missing 1 required positional argument: 'x'\"}",
            Kind::InvalidArgument,
        ),
        ("{\"error\":\"not-found: no such user\"}", Kind::NotFound),
        ("{\"error\":\"kaputt\"}", Kind::Unknown),
    ] {
        let calling = call(&upstream, "get", "{}");
        if peer.is_none() {
            peer = Some(instance.accept().await);
        }
        peer.as_mut().expect("connected").answer(body).await;
        assert_eq!(
            ended(calling).await.expect_err("an error").kind,
            kind,
            "{body}"
        );
    }
    // Nothing is sent of what a handler could not be given.
    let refused = ended(call(&upstream, "get", "[1]")).await;
    assert_eq!(refused.expect_err("no object").kind, Kind::InvalidArgument);
}

#[tokio::test]
async fn calls_wait_in_their_connections_and_another_is_opened_while_there_are_fewer() {
    let instance = Instance::start().await;
    let upstream = instance.upstream(VelithonUpstreamConfig {
        connections_max: 3,
        ..VelithonUpstreamConfig::default()
    });
    let calls: Vec<_> = (0..9).map(|_| call(&upstream, "get", "{}")).collect();
    let mut peers = Vec::new();
    for _ in 0..3 {
        peers.push(instance.accept().await);
    }
    for peer in &mut peers {
        for _ in 0..3 {
            peer.answer("{}").await;
        }
    }
    for calling in calls {
        assert_eq!(ended(calling).await.expect("answered"), "{}");
    }
    let more = timeout(Duration::from_millis(50), instance.0.accept()).await;
    assert!(more.is_err(), "a fourth connection");
}

#[tokio::test]
async fn a_connection_that_breaks_off_leaves_open_what_became_of_its_calls() {
    let instance = Instance::start().await;
    let upstream = instance.upstream(one());
    let calling = call(&upstream, "get", "{}");
    let mut peer = instance.accept().await;
    drop(peer.message().await);
    drop(peer);
    let error = ended(calling).await.expect_err("broken off");
    assert_eq!(
        (error.kind, error.retry),
        (Kind::Unavailable, Retry::IfIdempotent)
    );
    let again = call(&upstream, "get", "{}");
    let mut peer = instance.accept().await;
    peer.answer("{\"again\":1}").await;
    assert_eq!(ended(again).await.expect("answered"), "{\"again\":1}");
}

#[tokio::test]
async fn nobody_there_is_told_with_the_address() {
    let instance = Instance::start().await;
    let upstream = instance.upstream(one());
    let address = instance.0.local_addr().expect("bound");
    drop(instance);
    let error = ended(call(&upstream, "get", "{}"))
        .await
        .expect_err("nobody");
    assert_eq!(
        (error.kind, error.retry),
        (Kind::Unavailable, Retry::Elsewhere)
    );
    let expected = format!("cannot connect to velithon://{address}: ");
    assert!(error.message.starts_with(&expected), "{error}");
}

#[tokio::test]
async fn an_instance_is_asked_for_its_health_and_may_ask_for_ours() {
    let instance = Instance::start().await;
    let upstream = instance.upstream(one());
    let asked = upstream.clone();
    let probing = tokio::spawn(async move { asked.check_health("users").await });
    let mut peer = instance.accept().await;
    let request = peer.message().await;
    assert_eq!(request.header.endpoint_name().as_deref(), Some("health"));
    assert_eq!(
        (request.body.as_ref(), request.is_response),
        (&b"{}"[..], false)
    );
    // Either end may send requests.
    peer.request("ours", "any", "health", "{}").await;
    let (id, body) = peer.response().await;
    assert!(
        id == "ours" && body.starts_with("{\"status\":\"healthy\""),
        "{body}"
    );
    peer.request("other", "any", "get_user", "{}").await;
    let expected = "{\"error\":\"Endpoint get_user not found\"}";
    assert_eq!(peer.response().await.1, expected);
    peer.send(&write(
        &request.header,
        true,
        b"{\"status\":\"healthy\",\"timestamp\":1.5}",
    ))
    .await;
    probing.await.expect("no panic").expect("well");
}

#[tokio::test]
async fn responses_and_requests_are_bounded_by_name() {
    let instance = Instance::start().await;
    let upstream = instance.upstream(VelithonUpstreamConfig {
        frame_bytes_max: 1024,
        calls_in_flight_max: 1,
        ..one()
    });
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(2000));
    let error = ended(call(&upstream, "get", &long[..1000])).await;
    assert!(error.is_err(), "no JSON");
    let calling = call(&upstream, "get", "{}");
    let mut peer = instance.accept().await;
    let request = peer.message().await;
    let full = ended(call(&upstream, "get", "{}")).await.expect_err("full");
    assert!(
        full.message.contains("(velithon.calls-in-flight-max)"),
        "{full}"
    );
    peer.send(&write(&request.header, true, long.as_bytes()))
        .await;
    let error = ended(calling).await.expect_err("too long");
    assert_eq!(error.kind, Kind::ResourceExhausted);
    assert!(
        error.message.contains("(velithon.frame-bytes-max)"),
        "{error}"
    );
    let nearly = format!("{{\"a\":\"{}\"}}", "x".repeat(1000));
    let error = ended(call(&upstream, "get", &nearly))
        .await
        .expect_err("too long");
    assert!(
        error.is_too_large && error.message.contains("(velithon.frame-bytes-max)"),
        "{error}"
    );
}

#[tokio::test]
async fn an_idle_connection_of_velithon_is_closed_and_another_opened() {
    let instance = Instance::start().await;
    let upstream = instance.upstream(VelithonUpstreamConfig {
        keep_timeout: Duration::from_millis(50),
        ..one()
    });
    for _ in 0..3 {
        let calling = call(&upstream, "get", "{}");
        let mut peer = instance.accept().await;
        peer.answer("{}").await;
        ended(calling).await.expect("answered");
        peer.closed().await;
    }
}

#[tokio::test]
async fn an_instance_that_stalls_is_given_up() {
    let instance = Instance::start().await;
    let upstream = instance.upstream(VelithonUpstreamConfig {
        frame_timeout: Duration::from_millis(100),
        ..one()
    });
    let calling = call(&upstream, "get", "{}");
    let mut peer = instance.accept().await;
    drop(peer.message().await);
    peer.send(&[0, 0, 0, 9, b'{']).await;
    let error = ended(calling).await.expect_err("stalled");
    assert!(
        error.message.contains("a message did not arrive within"),
        "{error}"
    );
}

#[tokio::test]
async fn an_instance_that_takes_nothing_is_given_up() {
    let instance = Instance::start().await;
    let upstream = instance.upstream(VelithonUpstreamConfig {
        write_timeout: Duration::from_millis(200),
        frame_bytes_max: 64 << 20,
        ..one()
    });
    // More than the buffers of both ends.
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(32 << 20));
    let calling = call(&upstream, "get", &long);
    let peer = instance.accept().await;
    let error = ended(calling).await.expect_err("it reads nothing");
    assert!(error.message.contains("slow reader"), "{error}");
    drop(peer);
}

#[tokio::test]
async fn the_command_line_calls_a_listener() {
    let served = serve(VelithonConfig::default());
    let client = dial(
        &served.address.to_string(),
        crate::http::HttpClientConfig::default(),
    );
    let client = client.expect("an address");
    let reply = client.call(Call::unary("users", "echo", "{\"a\":1}")).await;
    let body = reply.expect("answered").body.into_one(99).await;
    assert_eq!(body.expect("one"), "{\"a\":1}");
    assert!(dial("nowhere", crate::http::HttpClientConfig::default()).is_err());
    // As the published client writes it.
    let id = postern_core::velithon::CallId::new(1);
    let mut peer = Peer::connect(&served).await;
    peer.send(&write_request(id, "users", "echo", b"{}")).await;
    assert_eq!(peer.response().await, (id.to_string(), "{}".to_owned()));
}
