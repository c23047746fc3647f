//! `cargo bench -p postern-tests --bench bench`: everything that must be fast, against named peers
//! in the same run, as one table. host/docs/performance.md says how to read it.
//!
//! Names after `--` choose sections: `cargo bench -p postern-tests --bench bench -- codec echo`.
//! Ends with 1 when a goal was missed.

mod chain;
mod codec;
mod counts;
mod datagrams;
mod dist;
mod echo;
mod edge;
mod gateway;
mod grpc;
mod hostile;
mod languages;
mod mqtt;
mod nats;
mod passes;
mod quic;
mod redis;
mod redis_front;
mod serve;
mod table;
mod tonic_echo;
mod traffic;
mod web;
mod wrk;

use std::io;

use table::Table;

fn main() -> io::Result<()> {
    let mut words = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .peekable();
    if words.next_if(|word| word == "serve").is_some() {
        return serve::run(&words.next().unwrap_or_default());
    }
    let table = run(&words.collect::<Vec<_>>())?;
    table.print(&mut io::stdout().lock())?;
    if table.n_missed() > 0 {
        std::process::exit(1);
    }
    Ok(())
}

/// Measures the sections named in `chosen`; all of them when none is.
fn run(chosen: &[String]) -> io::Result<Table> {
    let is_chosen = |name: &str| chosen.is_empty() || chosen.iter().any(|word| word == name);
    let mut table = Table::default();
    if is_chosen("codec") {
        codec::run(&mut table);
    }
    // One thread: the other processor is for the server.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        if is_chosen("echo") {
            echo::run(&mut table).await;
        }
        if is_chosen("chain") {
            chain::run(&mut table).await;
        }
        if is_chosen("udp") {
            datagrams::run(&mut table).await;
        }
        if is_chosen("quic") {
            quic::run(&mut table).await;
        }
        if is_chosen("http") {
            gateway::run_http(&mut table).await;
        }
        // By its name only: it needs nginx and wrk.
        if chosen.iter().any(|word| word == "edge") {
            edge::run(&mut table).await;
        }
        // By its name only: it needs nginx and wrk, and builds wasmtime's command.
        if chosen.iter().any(|word| word == "web") {
            web::run(&mut table).await;
        }
        // By its name only: it needs nginx, and installs Envoy.
        if chosen.iter().any(|word| word == "grpc") {
            grpc::run(&mut table).await;
        }
        // By its name only: it needs what five languages need.
        if chosen.iter().any(|word| word == "languages") {
            languages::run(&mut table).await;
        }
        // By its name only: it needs mosquitto.
        if chosen.iter().any(|word| word == "mqtt") {
            mqtt::run(&mut table).await;
        }
        // By its name only: it needs redis-server and redis-benchmark.
        if chosen.iter().any(|word| word == "redis") {
            redis::run(&mut table).await;
        }
        // By its name only: it needs redis-server.
        if chosen.iter().any(|word| word == "redis_front") {
            redis_front::run(&mut table).await;
        }
        if is_chosen("hostile") {
            hostile::run(&mut table).await;
        }
        if is_chosen("drop") {
            gateway::run_drop(&mut table).await;
        }
        // By its name only: it builds everything once more.
        if chosen.iter().any(|word| word == "dist") {
            dist::run(&mut table).await;
        }
    });
    if is_chosen("instructions") {
        counts::run(&mut table);
    }
    Ok(table)
}
