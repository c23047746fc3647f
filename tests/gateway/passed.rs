//! Sockets that are open before the gateway starts, passed as systemd passes them: `systemd:NAME`.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use postern_net::{Client, ClientConfig, Destination, Target, unix::UnixDialer};
use postern_tests::{binary, call, component, patiently};
use socket2::{SockRef, Socket};
use tempfile::TempDir;

use crate::share;

/// A gateway that was passed sockets. Dropping it kills it.
struct Activated {
    child: Child,
    folder: TempDir,
}

/// Sockets by their names.
type Passed<'a> = [(&'a str, OwnedFd)];

impl Activated {
    /// Starts a gateway with the descriptors from 3 on. `process` is what `LISTEN_PID` says; `$$` is the
    /// gateway itself.
    fn start(config: &str, passed: &Passed<'_>, process: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let plugins = folder.path().join("plugins");
        fs::create_dir(&plugins).expect("a folder");
        fs::write(plugins.join("echo.wasm"), component("echo")).expect("written");
        fs::write(folder.path().join("postern.toml"), config).expect("written");
        let log = fs::File::create(folder.path().join("log")).expect("writable");
        let names: Vec<_> = passed.iter().map(|(name, _)| *name).collect();
        let (mut copies, mut redirections) = (String::new(), String::new());
        for (idx, (_, socket)) in passed.iter().enumerate() {
            // The shell inherits it, and has it at the number that is agreed on.
            let inherited = SockRef::from(socket).set_cloexec(false);
            inherited.expect("a descriptor");
            // By way of numbers that are not among those.
            copies += &format!("exec {{copy{idx}}}<&{}; ", socket.as_raw_fd());
            redirections += &format!(" {}<&$copy{idx}", idx + 3);
        }
        let script = format!("{copies}export LISTEN_PID={process}; exec \"$0\" run{redirections}");
        let mut command = Command::new("bash");
        command
            .args(["-c", &script])
            .arg(binary())
            .current_dir(folder.path())
            .env("LISTEN_FDS", passed.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("POSTERN_") {
                command.env_remove(name);
            }
        }
        let child = command.spawn().expect("bash is there");
        Self { child, folder }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).expect("it was made")
    }

    /// Waits until it says that it is ready.
    async fn ready(&mut self, admin: SocketAddr) {
        patiently("it is ready", async || {
            let ended = self.child.try_wait().expect("a child");
            assert!(ended.is_none(), "{}", self.log());
            get(open(admin), "/readyz").starts_with("HTTP/1.1 200 ")
        })
        .await;
    }

    /// Waits until it has ended by itself, and gives its log.
    async fn ended(&mut self) -> String {
        let mut status = None;
        patiently("it ends", async || {
            status = self.child.try_wait().expect("a child");
            status.is_some()
        })
        .await;
        let log = self.log();
        assert_eq!(status.expect("ended").code(), Some(1), "{log}");
        log
    }
}

impl Drop for Activated {
    fn drop(&mut self) {
        // An error says that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is answered to a request, nothing where nobody answers.
fn get(stream: Option<impl std::io::Read + std::io::Write>, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let mut answer = String::new();
    if let Some(mut stream) = stream
        && stream.write_all(request.as_bytes()).is_ok()
    {
        // What has come until an error is the answer.
        let _ = stream.read_to_string(&mut answer);
    }
    answer
}

/// A connection, whose answers are not waited for for ever: what is passed takes connections before the
/// gateway does.
fn open(address: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect(address).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .ok()?;
    Some(stream)
}

fn tcp() -> (OwnedFd, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    (listener.into(), address)
}

fn udp(address: SocketAddr) -> OwnedFd {
    UdpSocket::bind(address).expect("a free port").into()
}

async fn answers(target: Target) {
    let client = Client::connect(target, ClientConfig::default()).await;
    let client = client.expect("a session");
    let answer = call(&client, "echo/Echo", "{}").await;
    assert_eq!(answer.expect("answered"), "{}");
    client.close().await;
}

/// A path in `folder`, where a socket listens.
fn unix(folder: &Path, name: &str) -> (OwnedFd, String) {
    let path = folder.join(name);
    let listener = UnixListener::bind(&path).expect("a free path");
    (listener.into(), path.display().to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_listener_takes_a_socket_that_is_passed_by_its_name() {
    let _machine = share().await;
    let sockets = tempfile::tempdir().expect("a folder");
    let (vstp, address) = tcp();
    let datagrams = udp(([127, 0, 0, 1], 0).into());
    let at = SockRef::from(&datagrams).local_addr().expect("bound");
    let (http, http_at) = tcp();
    let (admin, admin_at) = tcp();
    let (local, local_at) = unix(sockets.path(), "local.sock");
    let (web, web_at) = unix(sockets.path(), "web.sock");
    // Another than the names of the listeners, and one name for two kinds.
    let passed = [
        ("edge", vstp),
        ("edge", datagrams),
        ("web", http),
        ("ops", admin),
        ("local.socket", local),
        ("odd", web),
    ];
    let config = "[listeners.vstp]\naddress = \"systemd:edge\"\n\
        [listeners.http]\naddress = \"systemd:web\"\n\
        [admin]\naddress = \"systemd:ops\"\n\
        [listeners.local]\nprotocol = \"vstp\"\naddress = \"systemd:local.socket\"\ntransports = [\"tcp\"]\n\
        [listeners.here]\nprotocol = \"http\"\naddress = \"systemd:odd\"\n";
    let mut gateway = Activated::start(config, &passed, "$$");
    // Whoever started it keeps its own, as systemd does.
    gateway.ready(admin_at).await;
    answers(Target::tcp(address)).await;
    answers(Target::udp(at.as_socket().expect("an address"))).await;
    let path = Destination::Path(local_at.clone().into());
    answers(Target::new(Arc::new(UnixDialer), path)).await;
    let of_http = get(open(http_at), "/v1/services");
    let of_path = get(UnixStream::connect(&web_at).ok(), "/v1/services");
    for answer in [of_http, of_path] {
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    let metrics = get(open(admin_at), "/metrics");
    let series = "postern_connections_opened_total{listener=\"local\",transport=\"unix\"} 1";
    assert!(metrics.contains(series), "{metrics}");

    // A listener that is closed and opened again finds its socket.
    let file = gateway.folder.path().join("postern.toml");
    let without = config.replace("[listeners.http]", "[listeners.http]\nenabled = false");
    let series = "postern_config_reloads_total{result=\"applied\"}";
    for (n, text) in [(1, without.as_str()), (2, config)] {
        fs::write(file.with_extension("new"), text).expect("written");
        fs::rename(file.with_extension("new"), &file).expect("renamed");
        patiently("it is in force", async || {
            let metrics = get(open(admin_at), "/metrics");
            metrics.contains(&format!("{series} {n}"))
        })
        .await;
    }
    let answer = get(open(http_at), "/v1/services");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    drop(gateway);
    for path in [local_at, web_at] {
        assert!(Path::new(&path).exists(), "it is another's to remove");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_does_not_fit_is_refused_by_its_name() {
    let _machine = share().await;
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let idle = || {
        let socket = Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        OwnedFd::from(socket.expect("a socket"))
    };
    let reachable = || {
        let listener = TcpListener::bind("0.0.0.0:0").expect("a free port");
        OwnedFd::from(listener)
    };
    let http = "[listeners.vstp]\nenabled = false\n[listeners.http]\naddress = \"systemd:web\"\n";
    let vstp = "[listeners.http]\nenabled = false\n[listeners.vstp]\naddress = \"systemd:web\"\n";
    let free = "[admin]\nenabled = false\n";
    let cases: [(&str, &str, OwnedFd, &str, &str); 6] = [
        (
            http,
            "web",
            udp(any),
            "$$",
            "\"web\" is a UDP socket at 127.0.0.1:",
        ),
        (
            http,
            "web",
            idle(),
            "$$",
            "\"web\" is a stream that does not listen, and a stream socket",
        ),
        (
            http,
            "web",
            reachable(),
            "$$",
            "can be reached from other machines, and what goes there is plain",
        ),
        (
            vstp,
            "web",
            tcp().0,
            "$$",
            "\"web\" is a TCP socket at 127.0.0.1:",
        ),
        (
            http,
            "other",
            tcp().0,
            "$$",
            "no socket called \"web\" was passed, but \"other\", a TCP socket at",
        ),
        (
            http,
            "web",
            tcp().0,
            "1",
            "no socket was passed: LISTEN_PID is \"1\", and not that of this process",
        ),
    ];
    for (config, name, socket, process, expected) in cases {
        let config = format!("{free}{config}");
        let mut gateway = Activated::start(&config, &[(name, socket)], process);
        let log = gateway.ended().await;
        assert!(log.contains(expected), "{expected}\n{log}");
        assert!(log.contains("systemd:web"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_nobody_takes_is_told_of() {
    let _machine = share().await;
    let (admin, admin_at) = tcp();
    let passed = [("ops", admin), ("spare", tcp().0)];
    let config = "[listeners.vstp]\nenabled = false\n\
        [listeners.http]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"systemd:ops\"\n";
    let mut gateway = Activated::start(config, &passed, "$$");
    gateway.ready(admin_at).await;
    let log = gateway.log();
    assert!(
        log.contains("no listener has the address systemd:spare"),
        "{log}"
    );
    assert!(!log.contains("systemd:ops"), "{log}");
}
