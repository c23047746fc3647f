//! An upstream that says GOAWAY in the middle of a thousand calls, again and again: no call is lost that it has not
//! taken, and none is answered twice. `goaway.py` is the upstream.

use std::{collections::BTreeSet, process::Stdio, time::Duration};

use bytes::Bytes;
use postern_tests::{Gateway, Setup};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    task::JoinSet,
    time::timeout,
};

use super::{PATIENCE, script};
use crate::{
    figure,
    grpc::tonic_client::{connect, unary},
    share,
};

const N_CALLS: u32 = 1000;
/// Calls in flight at one time.
const N_CALLERS: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn no_call_is_lost_by_goaway_in_the_middle_of_a_thousand_and_none_is_made_twice() {
    let _machine = share().await;
    let mut upstream = script("goaway.py")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("python runs");
    let mut said = BufReader::new(upstream.stdout.take().expect("piped"));
    let mut port = String::new();
    said.read_line(&mut port).await.expect("a port");
    let config = format!(
        "[instances.leaving]\nservice = \"acme.Echo\"\naddresses = [\"grpc://127.0.0.1:{}\"]\n",
        port.trim()
    );
    let setup = Setup {
        config,
        ..Setup::default()
    };
    let gateway = Gateway::start(setup).await;
    let client = connect(gateway.http).await;
    let (mut calls, mut numbers) = (JoinSet::new(), 0..N_CALLS);
    let (mut answers, mut failures) = (BTreeSet::new(), Vec::new());
    let calling = async {
        loop {
            while calls.len() < N_CALLERS
                && let Some(number) = numbers.next()
            {
                let client = client.clone();
                calls.spawn(async move {
                    let message = Bytes::copy_from_slice(&number.to_be_bytes());
                    let reply = unary(client, "/acme.Echo/Echo", message.clone()).await;
                    reply.map(|reply| (number, reply == message))
                });
            }
            match calls.join_next().await {
                Some(Ok(Ok(answer))) => drop(answers.insert(answer)),
                Some(Ok(Err(status))) => failures.push(status.to_string()),
                Some(Err(error)) => failures.push(error.to_string()),
                None => break,
            }
        }
    };
    timeout(PATIENCE, calling).await.expect("all calls end");
    assert_eq!(failures, [""; 0], "{}", gateway.log());
    let expected: BTreeSet<_> = (0..N_CALLS).map(|number| (number, true)).collect();
    assert_eq!(answers, expected);
    drop(upstream.stdin.take());
    let mut counts = String::new();
    let read = said.read_to_string(&mut counts);
    timeout(Duration::from_secs(10), read)
        .await
        .expect("in time")
        .expect("text");
    let counts: Vec<u32> = counts
        .split_whitespace()
        .filter_map(|n| n.parse().ok())
        .collect();
    let [n_answered, n_twice, n_connections, n_ignored] = counts[..] else {
        panic!("{counts:?}");
    };
    assert_eq!((n_answered, n_twice), (N_CALLS, 0));
    assert!(n_connections >= 5, "{n_connections} connections");
    figure(&format!(
        "gRPC, GOAWAY from an upstream: {N_CALLS} calls over {n_connections} connections, {n_ignored} of them \
         above the last stream and made again, 0 lost"
    ));
}
