//! HTTP through a component of `wasi:http` 0.2 beside `wasmtime serve` with the same component, which makes an
//! instance for each request or uses one again, and beside a fixed answer of nginx.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use postern_tests::{Gateway, Setup, ToolProcess, component, free_address};

use crate::{
    edge::{Nginx, write_certificate},
    serve::cpu,
    table::{Goal, Table, progress},
    wrk,
};

const PASSES: usize = 7;
/// The version of wasmtime that the gateway has.
const VERSION: &str = "48.0.8";
/// What `wasmtime serve` has by default and needs here. The rest is other commands, and what a component of
/// this kind does not ask for.
const FEATURES: &str = "serve,cranelift,parallel-compilation,pooling-allocator,component-model-async,logging,backtrace";
/// Requests that an instance answers where instances are used again: as many as ours do by default.
const REUSE: &str = "10000";

pub(crate) async fn run(table: &mut Table) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let gateway = Gateway::start(setup()).await;
    // It proxies nothing here, and its other server wants one.
    write_certificate(folder.path()).expect("writable");
    let nginx = Nginx::start(folder.path(), free_address().expect("a free port")).await;
    let file = folder.path().join("web-p2.wasm");
    std::fs::write(&file, component("web-p2")).expect("writable");
    let fresh = Serve::start(&file, &[]).await;
    let again = Serve::start(&file, &["--max-instance-reuse-count", REUSE]).await;
    progress("hello through a wasi:http component beside wasmtime serve");
    let (mut to_fresh, mut to_again, mut to_nginx) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..PASSES {
        let url = format!("http://{}/web-p2/hello", gateway.http);
        let ours = wrk::hello(&url, false, || cpu(gateway.id())).await;
        let ours = ours.expect("wrk counts");
        for (serve, turns) in [(&fresh, &mut to_fresh), (&again, &mut to_again)] {
            let url = format!("http://{}/web-p2/hello", serve.address);
            let theirs = wrk::hello(&url, false, || cpu(serve.process.id())).await;
            turns.push([ours, theirs.expect("wrk counts")]);
        }
        let url = format!("http://{}/hello", nginx.plain);
        let theirs = wrk::hello(&url, false, || nginx.cpu()).await;
        to_nginx.push([ours, theirs.expect("wrk counts")]);
    }
    let what = format!("hello through wasi:http 0.2 x {}", wrk::CONNECTIONS);
    for (peer, turns, goal) in [
        ("wasmtime serve", to_fresh, Goal::AtLeast(1.3)),
        ("wasmtime serve, reuse", to_again, Goal::AtLeast(1.3)),
        ("nginx", to_nginx, Goal::AtLeast(0.8)),
    ] {
        wrk::tell(table, &what, peer, turns, goal);
    }
}

fn setup() -> Setup {
    let setup = Setup {
        config: "[log]\nlevel = \"warn\"\naccess = \"off\"\n".to_owned(),
        ..Setup::default()
    };
    setup.plugin("web-p2")
}

/// `wasmtime serve` before the component. Dropping it ends it.
struct Serve {
    process: ToolProcess,
    address: SocketAddr,
}

impl Serve {
    async fn start(component: &Path, options: &[&str]) -> Self {
        let address = free_address().expect("a free port");
        let mut command = Command::new(program());
        command
            .args(["serve", "-Scli", "--addr", &address.to_string()])
            .args(options)
            .arg(component);
        let mut process = ToolProcess::start(&mut command);
        process.listening(address).await;
        Self { process, address }
    }
}

/// wasmtime's own command, which cargo builds the first time.
fn program() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("wasmtime-{VERSION}"));
    let program = folder.join("bin/wasmtime");
    if !program.exists() {
        progress(&format!(
            "building wasmtime {VERSION}, for a quarter of an hour"
        ));
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .args([
                "install",
                "-q",
                "--locked",
                "wasmtime-cli",
                "--version",
                VERSION,
            ])
            .args(["--no-default-features", "--features", FEATURES, "--root"])
            .arg(&folder);
        let status = cargo.status().expect("cargo runs");
        assert!(
            status.success(),
            "cargo install of wasmtime-cli {VERSION}: {status}"
        );
    }
    program
}
