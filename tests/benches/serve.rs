//! The servers that are measured, each in a process of its own, so that its processor time is its
//! own. The bench starts itself again with `serve ROLE`; the process ends with its standard input.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::{Body, Incoming},
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    client::{
        self,
        legacy::{Client, connect::HttpConnector},
    },
    rt::{TokioExecutor, TokioIo},
};
use postern::testing::pipeline;
use postern_core::{BoxFuture, Call, Error, Handler, Headers, Reply};
use postern_net::{Counters, ServerConfig, Shutdown, TcpServer, UdpServer};
use postern_wasm::{Plugin, PluginSpec, Runtime, RuntimeConfig};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::tonic_echo;

/// What a server process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Octets back as they come: tokio and nothing else.
    Bare,
    /// Our server before a handler in Rust, over TCP; no pipeline.
    Direct,
    /// Our server and pipeline before a handler in Rust, over TCP.
    Native,
    /// Our server and pipeline before a component, over TCP: `echo` unless [`GUEST`] names another.
    Component,
    /// Our server before a handler in Rust, over UDP.
    NativeUdp,
    /// The published crate's UDP server, echoing.
    PeerUdp,
    /// hyper over HTTP/1.1, which sends the body back and does nothing else.
    Hyper,
    /// hyper's server and its pooled client, which forward to the server of [`UPSTREAM`] and do nothing
    /// else.
    HyperProxy,
    /// tonic, which sends the message back and does nothing else.
    Tonic,
}

const ROLES: [(Role, &str); 9] = [
    (Role::Bare, "bare"),
    (Role::Direct, "direct"),
    (Role::Native, "native"),
    (Role::Component, "component"),
    (Role::NativeUdp, "native-udp"),
    (Role::PeerUdp, "peer-udp"),
    (Role::Hyper, "hyper"),
    (Role::HyperProxy, "hyper-proxy"),
    (Role::Tonic, "tonic"),
];

/// The guest that [`Role::Component`] serves, in the environment of its process.
const GUEST: &str = "POSTERN_BENCH_GUEST";

/// The address that a proxy forwards to, in the environment of its process.
const UPSTREAM: &str = "POSTERN_BENCH_UPSTREAM";

/// A server process. Dropping it ends it.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    child: Child,
    _input: ChildStdin,
}

impl Server {
    /// Starts the bench again as a server.
    pub(crate) fn start(role: Role) -> Self {
        let program = std::env::current_exe().expect("a program has a path");
        Self::start_of(&program, role)
    }

    /// Starts `program`, which is this bench or another build of it, as a server.
    pub(crate) fn start_of(program: &Path, role: Role) -> Self {
        Self::spawn(Command::new(program), role)
    }

    /// Starts the bench again as a proxy to the server at `upstream`.
    pub(crate) fn proxy_to(upstream: SocketAddr) -> Self {
        let program = std::env::current_exe().expect("a program has a path");
        let mut command = Command::new(program);
        command.env(UPSTREAM, upstream.to_string());
        Self::spawn(command, Role::HyperProxy)
    }

    /// Starts the bench again before the component of `guest`.
    pub(crate) fn of_guest(guest: &str) -> Self {
        let program = std::env::current_exe().expect("a program has a path");
        let mut command = Command::new(program);
        command.env(GUEST, guest);
        Self::spawn(command, Role::Component)
    }

    fn spawn(mut command: Command, role: Role) -> Self {
        let name = ROLES
            .iter()
            .find(|(known, _)| *known == role)
            .map_or("", |(_, name)| name);
        command
            .args(["serve", name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("the bench starts itself");
        let input = child.stdin.take().expect("piped");
        let mut line = String::new();
        let output = child.stdout.take().expect("piped");
        BufReader::new(output)
            .read_line(&mut line)
            .expect("the server says where it is");
        let address = line.trim().parse().expect("an address");
        Self {
            address,
            child,
            _input: input,
        }
    }

    /// Processor time that the process has used.
    pub(crate) fn cpu(&self) -> Duration {
        cpu(self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processor time of a process over all its living threads, in nanoseconds from the scheduler
/// (`/proc/ID/task/*/schedstat`).
pub(crate) fn cpu(process: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("linux tells it");
    let of_thread = |entry: io::Result<fs::DirEntry>| {
        let text = fs::read_to_string(entry.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    Duration::from_nanos(threads.filter_map(of_thread).sum())
}

/// Processor time of a process over all threads that it has and had, in steps of 10 ms
/// (`/proc/ID/stat`, fields 14 and 15): for servers whose threads come and go.
pub(crate) fn cpu_with_ended_threads(process: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).expect("linux tells it");
    // The second field is the name, in parentheses, which may have spaces in it.
    let (_, fields) = text.rsplit_once(')').expect("a name in parentheses");
    let ticks = fields.split_whitespace().skip(11).take(2);
    let n_ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(n_ticks * 10)
}

/// [`cpu`] of a process and those that it has started.
pub(crate) fn cpu_of_tree(process: u32) -> Duration {
    let path = format!("/proc/{process}/task/{process}/children");
    let children = fs::read_to_string(path).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|id| id.parse().ok());
    children.map(cpu).sum::<Duration>() + cpu(process)
}

/// Runs as a server until standard input ends.
pub(crate) fn run(name: &str) -> io::Result<()> {
    let Some((role, _)) = ROLES.iter().find(|(_, known)| *known == name) else {
        return Err(io::Error::other(format!("no server is called {name}")));
    };
    std::thread::spawn(|| {
        // Ends when the bench does, however that ends.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(*role))
}

async fn serve(role: Role) -> io::Result<()> {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let (config, counters) = (
        Arc::new(ServerConfig::default()),
        Arc::new(Counters::default()),
    );
    match role {
        Role::Bare => {
            let listener = TcpListener::bind(any).await?;
            say(listener.local_addr()?)?;
            loop {
                let (socket, _) = listener.accept().await?;
                tokio::spawn(bare_echo(socket));
            }
        }
        Role::Direct => serve_tcp(Arc::new(Echo)).await?,
        Role::Native => serve_tcp(Arc::new(pipeline(Arc::new(Echo), &[]))).await?,
        Role::Component => {
            let folder = tempfile::tempdir()?;
            let plugin = component(folder.path()).await?;
            serve_tcp(Arc::new(pipeline(Arc::new(plugin), &[]))).await?;
        }
        Role::NativeUdp => {
            let server = UdpServer::bind(any, config, Arc::new(Echo), counters).await?;
            say(server.local_addr())?;
            server.serve(Shutdown::new()).await;
        }
        Role::PeerUdp => {
            let server = vstp::VstpUdpServer::bind("127.0.0.1:0")
                .await
                .map_err(io::Error::other)?;
            say(server.local_addr().map_err(io::Error::other)?)?;
            while let Ok((frame, from)) = server.recv().await {
                let reply = vstp::Frame::new(vstp::FrameType::Data).with_payload(frame.payload);
                server.send(reply, from).await.map_err(io::Error::other)?;
            }
        }
        Role::Hyper => serve_http(service_fn(http_echo)).await?,
        Role::HyperProxy => serve_http(forwarding()?).await?,
        Role::Tonic => {
            let listener = TcpListener::bind(any).await?;
            say(listener.local_addr()?)?;
            tonic_echo::serve(listener).await?;
        }
    }
    Ok(())
}

/// hyper with `service` for each connection, and nothing else.
async fn serve_http<S, B>(service: S) -> io::Result<()>
where
    S: Service<http::Request<Incoming>, Response = http::Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    say(listener.local_addr()?)?;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let served = http1::Builder::new().serve_connection(TokioIo::new(socket), service.clone());
        tokio::spawn(served);
    }
}

type Forwarded = BoxFuture<Result<http::Response<Incoming>, client::legacy::Error>>;

/// Sends each request on to the upstream, over connections that are kept.
fn forwarding() -> io::Result<
    impl Service<
        http::Request<Incoming>,
        Response = http::Response<Incoming>,
        Error = client::legacy::Error,
        Future = Forwarded,
    > + Clone,
> {
    let upstream = std::env::var(UPSTREAM).map_err(io::Error::other)?;
    let authority: http::uri::Authority = upstream.parse().map_err(io::Error::other)?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).build(connector);
    Ok(service_fn(move |mut request: http::Request<Incoming>| {
        let uri = http::Uri::builder()
            .scheme("http")
            .authority(authority.clone())
            .path_and_query(
                request
                    .uri()
                    .path_and_query()
                    .map_or("/", |path| path.as_str()),
            )
            .build();
        *request.uri_mut() = uri.expect("the path was one before");
        request.headers_mut().remove(http::header::HOST);
        Box::pin(client.request(request)) as Forwarded
    }))
}

async fn serve_tcp(handler: Arc<dyn Handler>) -> io::Result<()> {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = TcpServer::bind(any, Arc::default(), handler, Arc::default()).await?;
    say(server.local_addr())?;
    server.serve(Shutdown::new()).await;
    Ok(())
}

/// A component as a handler, with nothing of the gateway around it. Its streams may last as long as a round.
async fn component(folder: &Path) -> io::Result<Plugin> {
    let config = RuntimeConfig {
        data_dir: folder.to_path_buf(),
        ..RuntimeConfig::default()
    };
    let guest = std::env::var(GUEST).unwrap_or_else(|_| "echo".to_owned());
    let mut spec = PluginSpec::default();
    spec.limits.time_max = Duration::from_secs(30);
    let runtime = Runtime::new(config).map_err(io::Error::other)?;
    let plugin = Plugin::new(&runtime, &guest);
    let deployed = plugin.deploy(postern_tests::component(&guest), spec).await;
    deployed.map_err(io::Error::other)?;
    Ok(plugin)
}

async fn bare_echo(mut socket: TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let n_octets = socket.read(&mut buffer).await?;
        if n_octets == 0 {
            return Ok(());
        }
        socket
            .write_all(buffer.get(..n_octets).unwrap_or_default())
            .await?;
    }
}

async fn http_echo(request: http::Request<Incoming>) -> hyper::Result<http::Response<Full<Bytes>>> {
    let body = request.into_body().collect().await?;
    Ok(http::Response::new(Full::new(body.to_bytes())))
}

/// Answers with what it was sent.
pub(crate) struct Echo;

impl Handler for Echo {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        Box::pin(std::future::ready(Ok(Reply::new(
            Headers::new(),
            call.body,
        ))))
    }
}

fn say(address: SocketAddr) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "{address}")?;
    out.flush()
}
