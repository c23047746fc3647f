//! An authority of certificates on this machine: pebble, and
//! the name server that comes with it, by which every name leads to 127.0.0.1.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use postern_net::{
    http::{WebClient, WebConfig},
    tls::{ClientTls, ClientTlsSettings, Pem},
};
use postern_tests::{free_address, patiently, tool};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;
use tempfile::TempDir;

/// Key identifier of the account that an authority with external accounts knows, and its key.
pub(super) const EXTERNAL_ACCOUNT: (&str, &str) = (
    "kid-1",
    "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W",
);

/// What is asked of the authority.
#[derive(Debug, Clone)]
pub(super) struct Options {
    /// How long certificates of the profile "default" live, in seconds; those of "day" live a day. An
    /// order that names none has any.
    pub(super) life: u32,
    /// Of a hundred good nonces so many are refused.
    pub(super) nonces_refused: u32,
    /// Whether new accounts need one that is known by other means.
    pub(super) external_accounts: bool,
}

/// A running authority. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Pebble {
    /// Where it looks for names over HTTP, and over TLS.
    pub(super) plain: SocketAddr,
    pub(super) tls: SocketAddr,
    folder: TempDir,
    options: Options,
    acme: SocketAddr,
    management: SocketAddr,
    names: SocketAddr,
    web: WebClient,
    running: Option<Child>,
    name_server: Child,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            life: 90 * 24 * 3600,
            nonces_refused: 0,
            external_accounts: false,
        }
    }
}

impl Pebble {
    /// Starts one, and waits until it answers.
    pub(super) async fn start(options: Options) -> Self {
        let mut pebble = Self::prepare(options);
        pebble.start_again().await;
        pebble
    }

    /// An authority that is not running.
    pub(super) fn prepare(options: Options) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        write_certificates(folder.path());
        let [plain, tls, acme, management, names] =
            [(); 5].map(|()| free_address().expect("a free port"));
        let authority = fs::read(folder.path().join("ca.pem")).expect("written");
        let web = web_client(authority);
        let log = File::create(folder.path().join("names.log")).expect("created");
        let mut name_server = Command::new(tool("pebble-challtestsrv"));
        name_server
            .arg("-dnsserver")
            .arg(names.to_string())
            .arg("-management")
            .arg(free_address().expect("a free port").to_string())
            .args(["-http01", "", "-https01", "", "-doh", "", "-tlsalpn01", ""])
            .args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""])
            .stdout(log);
        Self {
            name_server: spawn(name_server),
            running: None,
            plain,
            tls,
            folder,
            options,
            acme,
            management,
            names,
            web,
        }
    }

    /// Starts it at the addresses from before. It has a new root, and knows nobody.
    pub(super) async fn start_again(&mut self) {
        let root = self.folder.path();
        let config = json!({ "pebble": {
            "listenAddress": self.acme.to_string(),
            "managementListenAddress": self.management.to_string(),
            "certificate": root.join("server.pem"),
            "privateKey": root.join("server.key"),
            "httpPort": self.plain.port(),
            "tlsPort": self.tls.port(),
            "externalAccountBindingRequired": self.options.external_accounts,
            "externalAccountMACKeys": { EXTERNAL_ACCOUNT.0: EXTERNAL_ACCOUNT.1 },
            "keyAlgorithm": "ecdsa",
            "profiles": {
                "default": { "description": "as long as asked", "validityPeriod": self.options.life },
                "day": { "description": "a day", "validityPeriod": 24 * 3600 },
            },
        }});
        let file = root.join("pebble.json");
        fs::write(&file, config.to_string()).expect("written");
        let mut log = File::options();
        let log = log.create(true).append(true).open(root.join("log"));
        let mut pebble = Command::new(tool("pebble"));
        pebble
            .arg("-config")
            .arg(file)
            .arg("-dnsserver")
            .arg(self.names.to_string())
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_AUTHZREUSE", "0")
            .env(
                "PEBBLE_WFE_NONCEREJECT",
                self.options.nonces_refused.to_string(),
            )
            .stdout(log.expect("opened"));
        self.running = Some(spawn(pebble));
        let names = self.names;
        patiently("the name server answers", async || {
            TcpStream::connect(names).is_ok()
        })
        .await;
        patiently("the authority answers", async || {
            self.get("/roots/0").await.is_some()
        })
        .await;
        let acme = self.acme;
        patiently("the directory answers", async || {
            TcpStream::connect(acme).is_ok()
        })
        .await;
    }

    pub(super) fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            // An error means that it has ended already.
            drop(running.kill());
            drop(running.wait());
        }
    }

    /// Keys of `[acme]` by which a gateway asks this authority.
    pub(super) fn keys(&self) -> String {
        format!(
            "[acme]\ndirectory = \"https://localhost:{}/dir\"\nca-files = [{:?}]\n\
             contacts = [\"ops@example.org\"]\nterms-agreed = true\n",
            self.acme.port(),
            self.folder.path().join("ca.pem"),
        )
    }

    /// The certificate that all of its certificates lead up to.
    pub(super) async fn root(&self) -> Pem {
        let root = self.get("/roots/0").await.expect("it runs");
        Pem::new("root.pem", root)
    }

    /// Orders that were taken since the beginning.
    pub(super) fn n_orders(&self) -> usize {
        self.log().matches("Added order ").count()
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    async fn get(&self, path: &str) -> Option<Bytes> {
        let uri = format!("https://{}{path}", self.management);
        let request = Request::get(uri).body(Empty::<Bytes>::new());
        let answer = self.web.send(request.expect("a request")).await.ok()?;
        answer.status().is_success().then(|| answer.into_body())
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        self.stop();
        drop(self.name_server.kill());
        drop(self.name_server.wait());
    }
}

/// Of an authority for this test alone, by which its own server is verified.
fn write_certificates(folder: &Path) {
    let mut params = CertificateParams::new(Vec::new()).expect("legal");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = CertifiedIssuer::self_signed(params, key).expect("signs");
    let names = ["localhost", "127.0.0.1"].map(str::to_owned);
    let key = KeyPair::generate().expect("a key");
    let server = CertificateParams::new(names.to_vec()).expect("legal");
    let server = server.signed_by(&key, &authority).expect("signs");
    for (name, text) in [
        ("ca.pem", authority.pem()),
        ("server.pem", server.pem()),
        ("server.key", key.serialize_pem()),
    ] {
        fs::write(folder.join(name), text).expect("written");
    }
}

fn web_client(authority: Vec<u8>) -> WebClient {
    let tls = ClientTls::new(ClientTlsSettings {
        authorities: Some(vec![Pem::new("ca.pem", authority)]),
        ..ClientTlsSettings::default()
    });
    WebClient::new(&tls.expect("an authority"), WebConfig::default()).expect("a client")
}

fn spawn(mut command: Command) -> Child {
    let spawned = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn();
    spawned.expect("it was installed, and starts")
}
