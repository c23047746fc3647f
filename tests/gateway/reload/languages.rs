//! Guests in four languages replaced under constant load over TCP, UDP and HTTP.
//!
//! Two contents of one component take turns, so that each is compiled once. With `POSTERN_SOAK` it is
//! 10,000 replacements (of Python 500), and memory after the last is held against that after the first
//! 100. The short form is told by [`Form::short`].

use std::{fs, path::Path, time::Duration};

use bytes::Bytes;
use postern_tests::{CallerTransport, Gateway, Load, Setup, component, connect};

use super::{growth_percent, rss_at_rest, variant};
use crate::{figure, own};

/// How often a plugin is replaced, and what is asked of memory.
struct Form {
    n_swaps: usize,
    /// Swaps after which memory is read first.
    n_to_settle: usize,
    growth_percent_max: f64,
}

impl Form {
    /// A whole generation that stayed behind with each swap would double what is resident: the code of a
    /// guest in Go has 6 MiB, of one in Python 34. Less than a quarter is what allocators keep.
    const fn short(n_swaps: usize) -> Self {
        Self {
            n_swaps,
            n_to_settle: 4,
            growth_percent_max: 25.0,
        }
    }

    const fn long(n_swaps: usize) -> Self {
        Self {
            n_swaps,
            n_to_settle: 100,
            growth_percent_max: 2.0,
        }
    }

    fn asked(short: usize, long: usize) -> Self {
        match std::env::var_os("POSTERN_SOAK") {
            None => Self::short(short),
            Some(_) => Self::long(long),
        }
    }
}

/// Native code of a component in Python takes most of a minute, and more on a busy machine.
const COMPILED_WITHIN: Duration = Duration::from_secs(240);

/// Puts a file in place and waits until its generation serves.
async fn swap(gateway: &Gateway, name: &str, file: &Bytes) {
    let path = format!("/plugins/{name}");
    let before = gateway.admin_json(&path).await["generation"].clone();
    gateway.deploy(&format!("{name}.wasm"), file);
    let replaced = async {
        while gateway.admin_json(&path).await["generation"] == before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let replaced = tokio::time::timeout(COMPILED_WITHIN, replaced).await;
    assert!(replaced.is_ok(), "{name} is replaced\n{}", gateway.log());
}

/// Waits until the first generation answers.
async fn first_answer(gateway: &Gateway, target: &str) {
    let answered = async {
        while gateway.postern(&["call", target, "\"1\""]).code != Some(0) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let answered = tokio::time::timeout(COMPILED_WITHIN, answered).await;
    assert!(answered.is_ok(), "{target} answers\n{}", gateway.log());
}

async fn check(name: &str, form: Form) {
    let _machine = own().await;
    let good = component(name);
    let files = [variant(&good, 1), variant(&good, 2)];
    let manifest = format!("{name}.toml");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests");
    // It may give calls more time than the default: a busy machine is not what this is about.
    let written = fs::read(folder.join(name).join(&manifest)).expect("it has a manifest");
    let gateway = Gateway::start(Setup::default()).await;
    gateway.deploy(&manifest, &written);
    gateway.deploy(&format!("{name}.wasm"), &files[0]);
    let target = format!("{name}/Echo");
    first_answer(&gateway, &target).await;
    // Both are compiled before the load: what follows is about replacements.
    swap(&gateway, name, &files[1]).await;

    let mut loads = Vec::new();
    for transport in CallerTransport::ALL {
        let handler = connect(&gateway, transport).await;
        let pause = Duration::from_millis(1);
        let load = Load::start(&handler, &target, &Bytes::from_static(b"\"1\""), 2, pause);
        loads.push((transport, load));
    }
    let mut rss_settled = 0;
    for n in 1..=form.n_swaps {
        swap(&gateway, name, &files[(n + 1) % 2]).await;
        if n == form.n_to_settle {
            rss_settled = rss_at_rest(&gateway, name).await;
        }
    }
    let rss_last = rss_at_rest(&gateway, name).await;
    for (transport, load) in loads {
        let outcome = load.stop().await;
        figure(&format!(
            "{name}, {} swaps, {transport}: {}",
            form.n_swaps, outcome.answered
        ));
        assert!(
            outcome.failures.is_empty(),
            "{name}, {transport}: {:?}",
            outcome.failures
        );
        assert!(
            outcome.answered.len() > form.n_swaps,
            "{name}, {transport}: {}",
            outcome.answered
        );
    }
    let growth = growth_percent(rss_settled, rss_last);
    figure(&format!(
        "{name}: resident after {} swaps {} KiB, after {} {} KiB: {growth:+.1} %",
        form.n_to_settle,
        rss_settled / 1024,
        form.n_swaps,
        rss_last / 1024
    ));
    assert!(
        growth <= form.growth_percent_max,
        "{name} grew by {growth:.1} %"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_while_a_plugin_in_rust_is_replaced() {
    check("table-rust", Form::asked(30, 10_000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_while_a_plugin_in_javascript_is_replaced() {
    check("table-js", Form::asked(20, 10_000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_while_a_plugin_in_go_is_replaced() {
    check("table-go", Form::asked(20, 10_000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_while_a_plugin_in_python_is_replaced() {
    check("table-python", Form::asked(8, 500)).await;
}
