//! Unix sockets and the PROXY protocol of the real gateway: upstreams of HTTP at a socket, commands that ask
//! an admin listener there, and proxies that say for whom they connect over VSTP.

use std::{
    fs,
    future::Future,
    os::{linux::net::SocketAddrExt, unix::net as std_unix},
    path::Path,
    process::{Child, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use postern_core::Error;
use postern_net::{
    Client, ClientConfig, Destination, Target,
    tls::{ClientTls, ClientTlsSettings, Pem, TlsDialer, TlsVersion},
};
use postern_tests::{Gateway, Setup, call, command_in, free_address, patiently, postern};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    task::JoinHandle,
    time::timeout,
};

use crate::share;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const ROUTE: &str = "[routes.shop]\npath = \"/shop/{rest*}\"\nupstream = \"shop\"\n\
                     strip-prefix = \"/shop\"\n";

/// An upstream at a Unix socket. It ends with the test.
struct Server {
    n_connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Server {
    fn serving<F>(
        listener: std_unix::UnixListener,
        serve: impl Fn(UnixStream) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        listener.set_nonblocking(true).expect("a socket");
        let listener = UnixListener::from_std(listener).expect("a socket");
        let n_connections = Arc::<AtomicUsize>::default();
        let (counted, serve) = (Arc::clone(&n_connections), Arc::new(serve));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let serve = Arc::clone(&serve);
                tokio::spawn(async move { serve(stream).await });
            }
        });
        Self {
            n_connections,
            task,
        }
    }

    fn n_connections(&self) -> usize {
        self.n_connections.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Answers each request of a connection with its head, but `/healthz` with nothing and `/chat` by going on in
/// another protocol.
async fn echo_heads(mut stream: UnixStream) {
    while let Some(head) = head(&mut stream).await {
        let answer = if head.contains("GET /healthz ") {
            "HTTP/1.1 204 No Content\r\n\r\n".to_owned()
        } else if head.contains("GET /chat ") {
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello"
                .to_owned()
        } else {
            format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{head}",
                head.len()
            )
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The head of a request, with what stands before it; `None` where the connection ends before.
async fn head(stream: &mut (impl AsyncReadExt + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

fn abstract_listener(name: &str) -> std_unix::UnixListener {
    let address = std_unix::SocketAddr::from_abstract_name(name).expect("a short name");
    std_unix::UnixListener::bind_addr(&address).expect("a free name")
}

/// A gateway with the route to `shop`, whose one instance is at `address`, and these tables.
async fn gateway(address: &str, config: &str) -> Gateway {
    let instance = format!("[instances.one]\nservice = \"shop\"\naddresses = [\"{address}\"]\n");
    let setup = Setup {
        config: format!("{ROUTE}{instance}{config}"),
        ..Setup::default()
    };
    Gateway::start(setup).await
}

/// All that comes of a request, whose connection ends with it.
async fn get(gateway: &Gateway, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let mut stream = TcpStream::connect(gateway.http).await.expect("it listens");
    stream.write_all(request.as_bytes()).await.expect("taken");
    let mut told = String::new();
    let reading = stream.read_to_string(&mut told);
    timeout(PATIENCE, reading)
        .await
        .expect("an end")
        .expect("text");
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_at_a_unix_socket_is_asked_over_connections_that_are_kept() {
    let _machine = share().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("shop.sock");
    let name = format!("postern-shop-{}", std::process::id());
    for (listener, address) in [
        (
            std_unix::UnixListener::bind(&path).expect("free"),
            format!("http://unix:{}", path.display()),
        ),
        (abstract_listener(&name), format!("http://unix:@{name}")),
    ] {
        let server = Server::serving(listener, echo_heads);
        let gateway = gateway(&address, "").await;
        let before = server.n_connections();
        for path in ["/shop/a%2Fb?x=%20", "/shop/c", "/shop/d"] {
            let told = get(&gateway, path).await;
            assert!(told.starts_with("HTTP/1.1 200 "), "{address}: {told}");
            let seen = path.strip_prefix("/shop").expect("all begin so");
            let expected = format!("\r\n\r\nGET {seen} HTTP/1.1\r\nhost: localhost\r\n");
            assert!(told.contains(&expected), "{address}: {told}");
        }
        // One after the other they need one connection; a probe may have had another.
        let n_opened = server.n_connections() - before;
        assert!(
            (1..=2).contains(&n_opened),
            "{address}: {n_opened} connections"
        );
        let shown = gateway.postern(&["services", "info", "shop"]);
        assert_eq!(shown.code, Some(0), "{shown:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_proxy_does_it_does_over_a_unix_socket() {
    let _machine = share().await;
    let folder = tempfile::tempdir().expect("a folder");
    let [well, gone] = ["well.sock", "gone.sock"].map(|name| folder.path().join(name));
    let listener = std_unix::UnixListener::bind(&well).expect("free");
    let _server = Server::serving(listener, echo_heads);
    // A socket that nobody listens at: its requests are tried at the other instance.
    let tables = format!(
        "[instances.gone]\nservice = \"shop\"\naddresses = [\"http://unix:{}\"]\n\
         [services.shop.http]\nsend-proxy = \"v1\"\nhealth-path = \"/healthz\"\n",
        gone.display()
    );
    let gateway = gateway(&format!("http://unix:{}", well.display()), &tables).await;
    for _ in 0..6 {
        let told = get(&gateway, "/shop/x").await;
        assert!(told.starts_with("HTTP/1.1 200 "), "{told}");
        // A socket of the machine has no address that the client might have asked for.
        assert!(told.contains("PROXY TCP4 127.0.0.1 0.0.0.0 "), "{told}");
    }
    let mut stream = TcpStream::connect(gateway.http).await.expect("it listens");
    let request = "GET /shop/chat HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n\
                   upgrade: websocket\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("taken");
    let response = timeout(PATIENCE, head(&mut stream)).await.expect("in time");
    let response = response.expect("a response");
    assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
    let mut said = [0; 5];
    stream.read_exact(&mut said).await.expect("open");
    assert_eq!(&said, b"hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_goes_to_another_gateway_over_http_at_a_unix_socket() {
    let _machine = share().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("web.sock");
    let web = format!(
        "[listeners.web]\nprotocol = \"http\"\naddress = \"unix:{}\"\n",
        path.display()
    );
    let setup = Setup {
        config: web,
        ..Setup::default()
    };
    let behind = Gateway::start(setup.plugin("echo")).await;
    let address = format!("http://unix:{}", path.display());
    let tables = format!("[instances.far]\nservice = \"echo\"\naddresses = [\"{address}\"]\n");
    let gateway = gateway(&address, &tables).await;
    for arguments in [
        &["call", "echo/Echo", "{\"a\":1}"][..],
        &["call", "--transport", &address, "echo/Echo", "{\"a\":1}"],
    ] {
        let called = gateway.postern(arguments);
        assert_eq!(called.code, Some(0), "{arguments:?}: {called:?}");
        assert_eq!(called.out.trim(), "{\"a\":1}", "{arguments:?}");
    }
    drop(behind);
}

/// A gateway whose admin listener is at a Unix socket. It is killed at the end.
struct Quiet(Child);

impl Quiet {
    fn start(folder: &Path, admin: &str) -> Self {
        let config = format!(
            "[admin]\naddress = \"{admin}\"\ntoken = \"secret\"\n[listeners.vstp]\nenabled = false\n\
             [listeners.http]\nenabled = false\n"
        );
        fs::create_dir_all(folder.join("plugins")).expect("made");
        let plugin = folder.join("plugins").join("echo.wasm");
        fs::write(plugin, postern_tests::component("echo")).expect("written");
        fs::write(folder.join("postern.toml"), config).expect("written");
        let log = fs::File::create(folder.join("log")).expect("created");
        let mut command = command_in(folder);
        command.arg("run").stdout(Stdio::null()).stderr(log);
        Self(command.spawn().expect("it runs"))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_ask_an_admin_listener_at_a_unix_socket() {
    let _machine = share().await;
    let name = format!("@postern-admin-{}", std::process::id());
    for is_abstract in [false, true] {
        let folder = tempfile::tempdir().expect("a folder");
        let elsewhere = tempfile::tempdir().expect("a folder");
        let address = match is_abstract {
            true => format!("unix:{name}"),
            false => format!("unix:{}", folder.path().join("admin.sock").display()),
        };
        let _gateway = Quiet::start(folder.path(), &address);
        patiently("the plugin answers for its service", async || {
            let listed = postern(folder.path(), &["services", "list"]);
            listed.code == Some(0) && listed.out.contains("echo")
        })
        .await;
        for arguments in [
            &["plugins", "list"][..],
            &["plugins", "info", "echo"],
            &["plugins", "rollback", "echo"],
        ] {
            let told = postern(folder.path(), arguments);
            // There is nothing to roll back to, which the gateway says.
            let expected = if arguments[1] == "rollback" { 1 } else { 0 };
            assert_eq!(told.code, Some(expected), "{arguments:?}: {told:?}");
            let said = format!("{}{}", told.out, told.err);
            assert!(said.contains("echo"), "{arguments:?}: {told:?}");
        }
        let named = postern(elsewhere.path(), &["services", "list", "--admin", &address]);
        assert!(
            named.code == Some(0) && named.out.contains("echo"),
            "{named:?}"
        );
    }
    let folder = tempfile::tempdir().expect("a folder");
    let nobody = postern(
        folder.path(),
        &["services", "list", "--admin", "unix:/nowhere/a"],
    );
    assert!(
        nobody.code == Some(1) && nobody.err.contains("http://unix:/nowhere/a"),
        "{nobody:?}"
    );
    let wrong = postern(
        folder.path(),
        &["services", "list", "--admin", "unix:nowhere"],
    );
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
}

/// Joins each connection with one of its own, which `header` stands before.
async fn proxy(to: impl AsRef<str>, header: &'static [u8]) -> std::net::SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("free");
    let (address, to) = (
        listener.local_addr().expect("bound"),
        to.as_ref().to_owned(),
    );
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let to = to.clone();
            tokio::spawn(async move {
                // An end of either side ends both.
                let _ = match to.strip_prefix("unix:") {
                    Some(path) => {
                        let mut far = UnixStream::connect(path).await.expect("it listens");
                        far.write_all(header).await.expect("open");
                        tokio::io::copy_bidirectional(&mut near, &mut far).await
                    }
                    None => {
                        let mut far = TcpStream::connect(to).await.expect("it listens");
                        far.write_all(header).await.expect("open");
                        tokio::io::copy_bidirectional(&mut near, &mut far).await
                    }
                };
            });
        }
    });
    address
}

/// The address that a plugin sees of whoever calls over `client`.
async fn seen(client: Result<Client, Error>) -> Result<String, Error> {
    let reply = call(&client?, "probe/Context", "null").await?;
    let seen: Value = serde_json::from_slice(&reply).expect("json");
    Ok(seen["address"].as_str().unwrap_or_default().to_owned())
}

/// Of version 2: TCP over IPv4, from 192.0.2.7:4711 to 192.0.2.9:9090.
const HEADER_V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x09\x12\x67\x23\x82";
const HEADER_V1: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.9 4711 9090\r\n";
const CLAIMED: &str = "192.0.2.7:4711";

/// What `HEADER_V1` and `HEADER_V2` say counts for plugins, limits and the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_says_for_whom_it_connects_over_vstp() {
    let _machine = share().await;
    let folder = tempfile::tempdir().expect("a folder");
    let (root, tls) = (folder.path().display(), free_address().expect("a port"));
    let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a pair");
    fs::write(folder.path().join("edge.pem"), pair.cert.pem()).expect("written");
    fs::write(
        folder.path().join("edge.key"),
        pair.signing_key.serialize_pem(),
    )
    .expect("written");
    let proxies = "proxy-protocol = true\nforwarded.trusted = [\"127.0.0.0/8\", \"unix\"]\n";
    let setup = Setup {
        vstp: proxies.to_owned(),
        config: format!(
            "[log]\naccess = \"info\"\n\
             [listeners.edge]\nprotocol = \"vstp\"\naddress = \"{tls}\"\ntransports = [\"tcp\"]\n{proxies}\
             [listeners.edge.tls]\ncertificate-file = \"{root}/edge.pem\"\nkey-file = \"{root}/edge.key\"\n\
             [listeners.local]\nprotocol = \"vstp\"\naddress = \"unix:{root}/local.sock\"\n{proxies}"
        ),
        ..Setup::default()
    };
    let gateway = Gateway::start(setup.plugin("probe")).await;
    let (vstp, local) = (gateway.vstp.to_string(), format!("unix:{root}/local.sock"));
    let settings = ClientTlsSettings {
        authorities: Some(vec![Pem::new("edge.pem", pair.cert.pem())]),
        pair: None,
        version_min: TlsVersion::V1_2,
    };
    let config = ClientConfig {
        tls: Arc::new(ClientTls::new(settings).expect("good settings")),
        ..ClientConfig::default()
    };
    for header in [HEADER_V1, HEADER_V2] {
        for to in [&vstp, &local] {
            let target = Target::tcp(proxy(to, header).await);
            let told = seen(Client::connect(target, ClientConfig::default()).await).await;
            assert_eq!(told.expect("answered"), CLAIMED, "{to}");
        }
        let destination = Destination::Host {
            host: "localhost".into(),
            address: proxy(tls.to_string(), header).await,
        };
        let target = Target::new(Arc::new(TlsDialer), destination);
        let told = seen(Client::connect(target, config.clone()).await).await;
        assert_eq!(told.expect("answered"), CLAIMED, "tls");
    }
    let log = gateway.log();
    assert!(log.contains("192.0.2.7"), "{log}");
    // Whoever is trusted begins with a header; one that does not end has its time.
    let plain = Client::connect(Target::tcp(gateway.vstp), ClientConfig::default()).await;
    assert!(seen(plain).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_that_a_proxy_claims_is_the_one_that_limits_count() {
    let _machine = share().await;
    let setup = Setup {
        vstp: "proxy-protocol = true\nforwarded.trusted = [\"127.0.0.1\"]\n".to_owned(),
        config: "[limits.each]\nby = \"peer\"\nrate = 1\nper = \"1h\"\nburst = 1\n".to_owned(),
        ..Setup::default()
    };
    let gateway = Gateway::start(setup.plugin("probe")).await;
    let vstp = gateway.vstp.to_string();
    let first = Target::tcp(proxy(&vstp, HEADER_V1).await);
    let again = Target::tcp(proxy(&vstp, HEADER_V2).await);
    let other = b"PROXY TCP4 192.0.2.8 192.0.2.9 4711 9090\r\n";
    let other = Target::tcp(proxy(&vstp, other).await);
    let session = async |target| seen(Client::connect(target, ClientConfig::default()).await).await;
    assert_eq!(session(first).await.expect("the first"), CLAIMED);
    let refused = session(again).await.expect_err("the same caller");
    assert_eq!(refused.kind, postern_core::Kind::ResourceExhausted);
    assert_eq!(session(other).await.expect("another"), "192.0.2.8:4711");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_trusted_to_claim_an_address_claims_none() {
    let _machine = share().await;
    let setup = Setup {
        vstp: "proxy-protocol = true\nforwarded.trusted = [\"192.0.2.1\"]\n".to_owned(),
        ..Setup::default()
    };
    let gateway = Gateway::start(setup.plugin("probe")).await;
    let plain = Client::connect(Target::tcp(gateway.vstp), ClientConfig::default()).await;
    let told = seen(plain).await.expect("as ever");
    assert!(told.starts_with("127.0.0.1:"), "{told}");
    let lying = Target::tcp(proxy(gateway.vstp.to_string(), HEADER_V1).await);
    let lying = seen(Client::connect(lying, ClientConfig::default()).await).await;
    assert!(lying.is_err(), "{lying:?}");
}

#[test]
fn check_says_where_the_proxy_protocol_cannot_be() {
    let folder = tempfile::tempdir().expect("a folder");
    for (keys, key, told) in [
        (
            "proxy-protocol = true",
            "proxy-protocol",
            "no proxy is trusted",
        ),
        (
            "forwarded.trusted = [\"unix\"]",
            "forwarded.trusted",
            "by the PROXY protocol alone",
        ),
        (
            "proxy-protocol = true\nforwarded.trusted = [\"unix\"]\ntransports = [\"udp\"]",
            "proxy-protocol",
            "udp and quic begin with no header",
        ),
        (
            "forwarded.accept = \"forwarded\"",
            "forwarded.accept",
            "only a listener that speaks http or grpc has this key",
        ),
    ] {
        let config = format!("[listeners.vstp]\n{keys}\n");
        fs::write(folder.path().join("postern.toml"), config).expect("written");
        let check = postern(folder.path(), &["check"]);
        let key = format!("listeners.vstp.{key}");
        assert!(
            check.code == Some(1) && check.err.contains(&key) && check.err.contains(told),
            "{keys}: {check:?}"
        );
    }
}
