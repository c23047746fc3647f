//! 50 KB calls over UDP through a relay that loses 10 % of all datagrams and repeats 10 %.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::join_all;
use postern_core::{BoxFuture, Call, Error, Handler, Reply, wire::RetryConfig};
use postern_net::{Client, ClientConfig, Counters, ServerConfig, Shutdown, Target, UdpServer};
use postern_tests::{Faults, Relay, call};

use crate::{figure, share};

const MESSAGE_BYTES: usize = 50_000;
const N_CALLS: u64 = 40;

/// Echoes, and counts how often each message came.
#[derive(Default)]
struct Counting(Mutex<HashMap<Bytes, usize>>);

impl Handler for Counting {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        let counts = self.0.lock().map(|mut counts| {
            let postern_core::Body::One(message) = &call.body else {
                return;
            };
            *counts.entry(message.slice(..8)).or_default() += 1;
        });
        counts.expect("nobody panics with the lock");
        Box::pin(async move { Ok(Reply::new(postern_core::Headers::new(), call.body)) })
    }
}

/// A message that says its number first.
fn message(n: u64) -> Bytes {
    let rest = (8..MESSAGE_BYTES).map(|index| ((index as u64 * 31 + n) % 251) as u8);
    n.to_be_bytes().into_iter().chain(rest).collect()
}

/// The default waits are those of the published crate, 2 s each; here the relay is on this machine.
fn retries() -> RetryConfig {
    RetryConfig {
        max_retries: 20,
        retry_delay: Duration::from_millis(10),
        max_retry_delay: Duration::from_millis(100),
        ack_timeout: Duration::from_millis(100),
    }
}

async fn check(seed: u64) {
    let handler = Arc::new(Counting::default());
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = ServerConfig {
        retry: retries(),
        ..ServerConfig::default()
    };
    let joint = Arc::clone(&handler) as Arc<dyn Handler>;
    let server = UdpServer::bind(
        address,
        Arc::new(config),
        joint,
        Arc::new(Counters::default()),
    );
    let server = server.await.expect("binds");
    let (address, shutdown) = (server.local_addr(), Shutdown::new());
    let serving = tokio::spawn(server.serve(shutdown.clone()));

    let faults = Faults {
        lost: 10,
        repeated: 10,
        seed,
    };
    let relay = Relay::start(address, faults).await.expect("a free port");
    let config = ClientConfig {
        retry: retries(),
        ..ClientConfig::default()
    };
    let client = Client::connect(Target::udp(relay.address()), config)
        .await
        .expect("connects");
    let begin = Instant::now();
    let calls = (0..N_CALLS).map(|n| call(&client, "count/It", message(n)));
    for (n, reply) in (0..).zip(join_all(calls).await) {
        let reply = reply.unwrap_or_else(|error| panic!("seed {seed}, call {n}: {error}"));
        assert!(
            reply == message(n),
            "seed {seed}, call {n} came back changed"
        );
    }
    let (passed, lost, repeated) = relay.counts();
    figure(&format!(
        "seed {seed}: {N_CALLS} calls of {MESSAGE_BYTES} octets in {:.1?}; {passed} datagrams passed, {lost} lost, {repeated} repeated",
        begin.elapsed()
    ));
    assert!(lost > 0 && repeated > 0, "the relay did nothing");
    shutdown.end();
    serving.await.expect("the server ends well");
    let counts = handler.0.lock().expect("nobody panics with the lock");
    for n in 0..N_CALLS {
        let count = counts.get(&n.to_be_bytes()[..]).copied();
        assert_eq!(
            count,
            Some(1),
            "seed {seed}: message {n} reached the handler"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_is_answered_and_handled_once() {
    let _machine = share().await;
    for seed in [1, 2, 3] {
        check(seed).await;
    }
}
