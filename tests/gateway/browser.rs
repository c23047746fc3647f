//! A browser: Chromium opens a page of another origin over HTTPS, and the page calls the gateway by
//! `fetch` and over both WebSockets, while its plugin is swapped. The pages stand in `browser/`; they
//! tell their origin what they have seen.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use postern_tests::{Gateway, Setup, ToolProcess, component, free_address, patiently, system_tool};
use rcgen::PublicKeyData as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{dev_certificates::DevCertificates, proxy::Server, reload::variant, share};

/// How long the browser may take for all, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);
/// The service that pages tell what they have seen, as `crate::proxy` calls it.
const TOLD: &str = "shop";

/// What a page says, and where its answer is waited for.
pub(crate) struct Told {
    what: String,
    pub(crate) finding: Value,
    pub(crate) answer: oneshot::Sender<()>,
}

/// Where pages lie, and the gateway that they call.
pub(crate) struct Site {
    pub(crate) gateway: Gateway,
    pub(crate) certificates: DevCertificates,
    /// The listener whose pages may call `edge`.
    pages: SocketAddr,
    edge: SocketAddr,
    told: mpsc::UnboundedReceiver<Told>,
    _server: Server,
}

impl Site {
    async fn start() -> Self {
        Self::of(Setup::default().plugin("echo")).await
    }

    /// With what is called. `setup` has at most tables of its own, such as routes of the listener `pages`.
    pub(crate) async fn of(setup: Setup) -> Self {
        let certificates = DevCertificates::new();
        let (sender, told) = mpsc::unbounded_channel();
        let server = Server::serving(move |stream, head| {
            let sender = sender.clone();
            async move { pass_on(stream, &head, &sender).await }
        })
        .await;
        let [pages, edge] = [(); 2].map(|()| free_address().expect("a free port"));
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/gateway/browser");
        let listener = |name: &str, address: SocketAddr| {
            let table = certificates.table(name);
            format!("[listeners.{name}]\nprotocol = \"http\"\naddress = \"{address}\"\n{table}")
        };
        let config = format!(
            "{}\n{}{}[listeners.edge.cors]\norigins = [\"https://localhost:{}\"]\n\
             [routes.told]\npath = \"/told/{{what}}\"\nmethods = [\"POST\"]\nupstream = \"{TOLD}\"\n\
             listeners = [\"pages\"]\n\
             [routes.pages]\npath = \"/{{path*}}\"\nfiles = {{ folder = \"{folder}\" }}\n\
             listeners = [\"pages\"]\n{}",
            setup.config,
            listener("pages", pages),
            listener("edge", edge),
            pages.port(),
            server.instance("test"),
        );
        Self {
            gateway: Gateway::start(Setup { config, ..setup }).await,
            certificates,
            pages,
            edge,
            told,
            _server: server,
        }
    }

    /// The page `name` of the host `host`, which calls the gateway at `localhost`.
    pub(crate) fn url(&self, host: &str, name: &str) -> String {
        let (pages, edge) = (self.pages.port(), self.edge.port());
        format!("https://{host}:{pages}/{name}?api=localhost:{edge}")
    }

    /// The next that a page says.
    pub(crate) async fn told(&mut self, browser: &Browser) -> Told {
        let told = timeout(PATIENCE, self.told.recv()).await;
        let told = told.unwrap_or_else(|_| panic!("the page says nothing\n{}", browser.log()));
        told.expect("the server is there")
    }
}

/// Hands on what a page says, and answers when the test has done its part.
async fn pass_on(mut stream: TcpStream, head: &str, told: &mpsc::UnboundedSender<Told>) {
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length = length
        .and_then(|length| length.parse().ok())
        .expect("a length");
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.expect("whole");
    let target = head.split(' ').nth(1).expect("a target");
    let what = target.trim_start_matches("/told/").to_owned();
    let finding = serde_json::from_slice(&body).expect("JSON");
    let (answer, answered) = oneshot::channel();
    let all = Told {
        what,
        finding,
        answer,
    };
    // Whoever does not listen any more is over.
    let is_done = told.send(all).is_ok() && answered.await.is_ok();
    let status = if is_done { "200 OK" } else { "410 Gone" };
    let response = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    // The browser may have gone.
    let _ = stream.write_all(response.as_bytes()).await;
}

/// Chromium with a profile of its own.
pub(crate) struct Browser {
    profile: tempfile::TempDir,
    _process: ToolProcess,
}

impl Browser {
    /// Opens `url`, believing in a server whose key is that of `certificates`.
    pub(crate) fn open(url: &str, certificates: &DevCertificates) -> Self {
        let profile = tempfile::tempdir().expect("a folder");
        let log = File::create(profile.path().join("log")).expect("created");
        let mut command = Command::new(system_tool("chromium"));
        command
            // Every page here is ours, and root has no other way.
            .args(["--headless=new", "--no-sandbox", "--disable-gpu"])
            .args(["--no-first-run", "--disable-dev-shm-usage"])
            .args(["--disable-background-networking", "--disable-sync"])
            .args(["--disable-component-update", "--disable-breakpad"])
            .args(["--password-store=basic", "--use-mock-keychain"])
            .args(["--enable-logging=stderr", "--no-proxy-server"])
            .arg(argument("--user-data-dir=", profile.path()))
            .arg(format!(
                "--ignore-certificate-errors-spki-list={}",
                key_hash(certificates)
            ))
            .arg(url)
            .env("HOME", profile.path())
            .env("XDG_CONFIG_HOME", profile.path())
            .env("XDG_CACHE_HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        Self {
            _process: ToolProcess::start(&mut command),
            profile,
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.profile.path().join("log")).unwrap_or_default()
    }
}

fn argument(name: &str, path: &Path) -> std::ffi::OsString {
    let mut argument = std::ffi::OsString::from(name);
    argument.push(path);
    argument
}

/// By which Chromium knows a key: SHA-256 of its SubjectPublicKeyInfo, in base64.
fn key_hash(certificates: &DevCertificates) -> String {
    let pair = rcgen::KeyPair::from_pem(&certificates.read("localhost.key")).expect("a key");
    BASE64.encode(Sha256::digest(pair.subject_public_key_info()))
}

/// Puts another component in the place of `echo`.
async fn swap(gateway: &Gateway, good: &Bytes, n: usize) {
    let generation = async || gateway.admin_json("/plugins/echo").await["generation"].clone();
    let before = generation().await;
    gateway.deploy("echo.wasm", &variant(good, n));
    patiently("the new component takes the calls", async || {
        generation().await != before
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_calls_and_streams_while_its_plugin_is_swapped_ten_times() {
    const N_SWAPS: usize = 10;
    let _machine = share().await;
    let mut site = Site::start().await;
    let browser = Browser::open(&site.url("localhost", "index.html"), &site.certificates);
    let good = component("echo");
    let mut n_swaps = 0;
    let finding = loop {
        let Told {
            what,
            finding,
            answer,
        } = site.told(&browser).await;
        if what == "swap" {
            n_swaps += 1;
            swap(&site.gateway, &good, n_swaps).await;
        }
        // The page goes on with it.
        let _ = answer.send(());
        if what == "page" {
            break finding;
        }
    };
    assert_eq!(finding["error"], Value::Null, "{finding:#}");
    assert_eq!(n_swaps, N_SWAPS);
    let session = finding["welcome"]["session-id"].as_str();
    assert_eq!(session.map(str::len), Some(32), "{finding:#}");
    let swaps: Vec<_> = (1..=N_SWAPS).map(|n| json!([n, n.to_string()])).collect();
    let frames = json!({"n_items": 100, "n_bytes": 1_000_000});
    let packed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    for (part, expected) in [
        (
            "fetch",
            json!({"status": 200, "body": {"text": "grüße"}, "correlation": "of-the-page"}),
        ),
        (
            "lines",
            json!({"status": 200, "n_lines": 1000, "isSame": true}),
        ),
        ("protocols", json!(["vstp.json", "vstp"])),
        ("extensions", json!([packed, packed])),
        (
            "json",
            json!({"begin": "open", "n_items": 100, "end": "end"}),
        ),
        ("frames", frames.clone()),
        ("swaps", json!(swaps)),
        ("after", frames),
        ("closed", json!([])),
        ("codes", json!([1000, 1000])),
    ] {
        assert_eq!(finding[part], expected, "{part} in {finding:#}");
    }
    let failure = &finding["failure"];
    assert_eq!(
        (&failure["status"], &failure["kind"]),
        (&json!(404), &json!("not-found")),
        "{failure:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_an_origin_that_is_not_shared_with_reads_and_opens_nothing() {
    let _machine = share().await;
    let mut site = Site::start().await;
    // The same pages by another name: another origin, to which nothing is allowed.
    let url = site.url("127.0.0.1", "stranger.html");
    let browser = Browser::open(&url, &site.certificates);
    let told = site.told(&browser).await;
    let expected = json!({
        "simple": "TypeError", "asked": "TypeError", "calls": "Error", "session": "Error",
    });
    assert_eq!((&*told.what, &told.finding), ("stranger", &expected));
    // It was the gateway that refused them: no call came through.
    let (_, metrics) = site.gateway.admin("/metrics").await.expect("metrics");
    let mut calls = metrics.lines().filter(|line| {
        line.starts_with("postern_calls_total") && line.contains("service=\"echo\"")
    });
    assert!(calls.all(|line| line.ends_with(" 0")), "{metrics}");
}
