//! Plugins in each language: what a pipelined call takes of the server, and streams through a component beside
//! the same streams through a handler in Rust.

use std::sync::Arc;

use postern_core::Transport;
use postern_net::{Client, ClientConfig, Destination, Target, dial};

use crate::{
    echo::side_by_side,
    passes::Passes,
    serve::{Role, Server},
    table::{Goal, Table, progress},
    traffic::{Round, Traffic},
};

/// Guests that answer `Echo`, with the goal of a call in microseconds.
const GUESTS: [(&str, &str, f64); 5] = [
    ("Rust", "echo", 1.2),
    ("C", "table-c", 1.2),
    ("Go", "table-go", 2.2),
    ("JavaScript", "table-js", 2.2),
    ("Python", "table-python", 2.2),
];
const PASSES: usize = 9;

pub(crate) async fn run(table: &mut Table) {
    let native = Server::start(Role::Native);
    for (language, guest, goal) in GUESTS {
        progress(&format!("calls through {guest}"));
        let server = Server::of_guest(guest);
        let passes = side_by_side(64, 1, &server, &native).await;
        let seconds = passes.median(|[ours, _]| ours.cpu_per_call);
        table.figure(
            format!("pipelined 64 B x 1, {language}: processor time of a call, us"),
            passes.median_time(|[ours, _]| ours.cpu_per_call),
            seconds * 1e6,
            Goal::AtMost(goal),
        );
    }
    streams(table, &native).await;
}

async fn streams(table: &mut Table, native: &Server) {
    const N_OCTETS: usize = 64 << 10;
    progress("streams of 64 KiB through the component echo");
    let component = Server::start(Role::Component);
    for n_streams in [1, 8] {
        let mut passes = Vec::new();
        for _ in 0..PASSES {
            let ours = stream_round(&component, n_streams, N_OCTETS).await;
            passes.push([ours, stream_round(native, n_streams, N_OCTETS).await]);
        }
        let passes = Passes(passes);
        let mib = |round: &Round| round.per_second * N_OCTETS as f64 / f64::from(1 << 20);
        table.compare(
            format!("echo 64 KiB x {n_streams} streams, component: MiB/s (native)"),
            format!("{:.0}", passes.median(|[ours, _]| mib(ours))),
            format!("{:.0}", passes.median(|[_, native]| mib(native))),
            passes.median(|[ours, native]| mib(ours) / mib(native)),
            Goal::AtLeast(0.8),
        );
    }
}

/// `n_streams` on a connection of their own.
async fn stream_round(server: &Server, n_streams: usize, n_octets: usize) -> Round {
    let dialer = dial::dialer(Transport::Tcp).expect("TCP is dialled");
    let target = Target::new(Arc::clone(dialer), Destination::Ip(server.address));
    let client = Client::connect(target, ClientConfig::default()).await;
    let client = client.expect("the server takes connections");
    let round = Traffic::streams(&client, n_streams, n_octets)
        .round(|| server.cpu())
        .await;
    client.close().await;
    round
}
