//! The octets of answers, beside those of a redis-server that is started for it.

use std::net::SocketAddr;

use postern_tests::{ToolProcess, free_address, system_tool};

use super::{Front, Wire};
use crate::{figure, share};

/// A redis-server of its own, which keeps nothing.
async fn redis_server() -> (ToolProcess, SocketAddr) {
    let address = free_address().expect("a free port");
    let mut command = std::process::Command::new(system_tool("redis-server"));
    command
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .args(["--port", &address.port().to_string()])
        .stdout(std::process::Stdio::null());
    let mut server = ToolProcess::start(&mut command);
    server.listening(address).await;
    (server, address)
}

/// How many answers a request has.
fn n_answers(line: &str) -> usize {
    let words: Vec<_> = line.split_whitespace().collect();
    match words[0] {
        "SUBSCRIBE" | "PSUBSCRIBE" | "UNSUBSCRIBE" | "PUNSUBSCRIBE" => (words.len() - 1).max(1),
        _ => 1,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_those_of_redis_octet_by_octet() {
    let _machine = share().await;
    let front = Front::start("").await;
    let (_server, beside) = redis_server().await;
    let (mut ours, mut theirs) = (front.wire().await, Wire::open(beside).await);
    let (mut faults, mut n_compared) = (Vec::new(), 0);
    for line in include_str!("octets.txt").lines() {
        if line.starts_with('#') || line.starts_with('!') {
            continue;
        }
        if line.is_empty() {
            theirs.ask("FLUSHALL").await;
            for key in ["a", "b", "c", "d", "e", "n", "new", "only"] {
                ours.ask(&format!("DEL {key}")).await;
            }
            continue;
        }
        let (line, is_compared) = match line.strip_prefix('-') {
            Some(line) => (line, false),
            None => (line, true),
        };
        ours.send(format!("{line}\r\n")).await;
        theirs.send(format!("{line}\r\n")).await;
        for _ in 0..n_answers(line) {
            let (our, their) = (ours.text().await, theirs.text().await);
            n_compared += usize::from(is_compared);
            if is_compared && our != their {
                faults.push(format!("{line}\n  postern {our}\n  redis   {their}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}\n{}", faults.join("\n"), front.log());
    figure(&format!(
        "octets of answers beside redis-server: {n_compared} equal"
    ));
}
