//! A gateway with folders of its own and free ports, and a way to ask it.

use std::{fs, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use postern_core::{Call, Error, Handler};
use postern_net::{
    Client, ClientConfig, PassedSockets, Shutdown, Target,
    http::{HttpClient, HttpClientConfig},
};
use postern_system::clock;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};

use super::guest;
use crate::{
    app::{App, ServingAddresses, StartError, gateway::Gateway},
    config::{self, ConfigSource},
    pipeline::Pipeline,
};

/// A running gateway.
pub(super) struct GatewayFixture {
    pub folder: TempDir,
    pub gateway: Arc<Gateway>,
    pub pipeline: Arc<Pipeline>,
    pub shutdown: Shutdown,
    pub serving: ServingAddresses,
    task: JoinHandle<()>,
}

/// What the operators' listener answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// Folders for a gateway that is not running.
pub(super) fn folders() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("plugins")).expect("created");
    folder
}

impl GatewayFixture {
    pub(super) async fn start() -> Self {
        Self::start_in(folders(), "").await.expect("starts")
    }

    /// Starts a gateway whose folders are below `folder`; `extra` is appended to its configuration.
    pub(super) async fn start_in(folder: TempDir, extra: &str) -> Result<Self, StartError> {
        let text = Self::text(&folder, extra);
        Ok(Self::start_unready(folder, &text).await?.ready().await)
    }

    /// Starts a gateway whose folders are below `folder`, and that holds what asks for more.
    pub(super) async fn start_holding(folder: TempDir) -> Self {
        let text = Self::text(&folder, "");
        let started = Self::start_with(folder, &text, "growth").await;
        started.expect("starts").ready().await
    }

    async fn ready(self) -> Self {
        self.until("ready", || self.gateway.unready_reasons().is_empty())
            .await;
        self
    }

    /// Starts a gateway with the configuration `text` and does not wait until it is ready.
    pub(super) async fn start_unready(folder: TempDir, text: &str) -> Result<Self, StartError> {
        // Nobody is there to approve what asks for more.
        Self::start_with(folder, text, "off").await
    }

    async fn start_with(folder: TempDir, text: &str, approval: &str) -> Result<Self, StartError> {
        let file = folder.path().join("postern.toml");
        fs::write(&file, text).expect("written");
        let quiet = ("POSTERN_LOG_LEVEL".to_owned(), "error".to_owned());
        let approval = ("POSTERN_PLUGINS_APPROVAL".to_owned(), approval.to_owned());
        let source = ConfigSource {
            file: Some(file),
            environment: [quiet, approval].into(),
        };
        let shutdown = Shutdown::new();
        let mut n_tries = 0;
        let app = loop {
            let loaded = config::load(&source).expect("valid");
            match Box::pin(App::start(
                loaded,
                PassedSockets::default(),
                shutdown.clone(),
            ))
            .await
            {
                // What a stage before it left to the threads that compile holds the store for a while.
                Err(StartError::Store(_)) if n_tries < 50 => n_tries += 1,
                started => break started?,
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        let (gateway, serving) = (Arc::clone(app.gateway()), app.serving());
        let pipeline = Arc::clone(&app.pipeline);
        let task = tokio::spawn(app.serve());
        Ok(Self {
            folder,
            gateway,
            pipeline,
            shutdown,
            serving,
            task,
        })
    }

    pub(super) fn text(folder: &TempDir, extra: &str) -> String {
        let root = folder.path().display();
        let free = "address = \"127.0.0.1:0\"";
        format!(
            "data-dir = \"{root}/state\"\n[plugins]\nfolder = \"{root}/plugins\"\n\
             [listeners.vstp]\n{free}\n[listeners.http]\n{free}\n[admin]\n{free}\n{extra}"
        )
    }

    pub(super) fn configure(&self, text: &str) {
        fs::write(self.folder.path().join("postern.toml"), text).expect("written");
    }

    pub(super) fn plugin_path(&self, file: &str) -> PathBuf {
        self.folder.path().join("plugins").join(file)
    }

    /// Puts a component into the folder as a deployment does: written beside, renamed.
    pub(super) fn drop_in(&self, file: &str, octets: &[u8]) {
        let beside = self.plugin_path(&format!(".{file}.new"));
        fs::write(&beside, octets).expect("written");
        fs::rename(beside, self.plugin_path(file)).expect("renamed");
    }

    pub(super) fn drop_answering(&self, file: &str, reply: &str) {
        self.drop_in(file, &guest::answering(reply));
    }

    pub(super) fn address(&self, listener: &str, transport: &str) -> SocketAddr {
        let bound_addresses = self.gateway.bound_addresses();
        let bound = bound_addresses[listener]
            .iter()
            .find(|bound| bound.transport.name() == transport);
        let bound = bound.expect("open");
        bound.address.socket_addr().expect("with a port")
    }

    pub(super) async fn client(&self, target: Target) -> Client {
        Client::connect(target, ClientConfig::default())
            .await
            .expect("connects")
    }

    pub(super) fn admin_address(&self) -> SocketAddr {
        let address = self.serving.admin.as_ref().expect("open");
        address.socket_addr().expect("with a port")
    }

    /// Asks once over a connection of its own.
    pub(super) async fn ask(&self, transport: &str, service: &str) -> Result<Bytes, Error> {
        let call = Call::unary(service.to_owned(), "Say", "{}");
        match transport {
            "http" => {
                let base = format!("http://{}", self.address("http", "http"));
                let client = HttpClient::new(&base, HttpClientConfig::default()).expect("a client");
                client.call(call).await?.body.into_one(1 << 20).await
            }
            "udp" => {
                let client = self.client(Target::udp(self.address("vstp", "udp"))).await;
                client.call(call).await?.body.into_one(1 << 20).await
            }
            _ => {
                let client = self.client(Target::tcp(self.address("vstp", "tcp"))).await;
                client.call(call).await?.body.into_one(1 << 20).await
            }
        }
    }

    /// Waits until `service` answers `expected`, and says how long that took.
    pub(super) async fn until_answered(&self, service: &str, expected: &str) -> Duration {
        let begun = clock::now();
        let client = self.client(Target::tcp(self.address("vstp", "tcp"))).await;
        loop {
            let answer = client
                .call(Call::unary(service.to_owned(), "Say", "{}"))
                .await;
            let answer = match answer {
                Ok(reply) => reply.body.into_one(1 << 20).await,
                Err(error) => Err(error),
            };
            if answer.as_ref().is_ok_and(|answer| answer == expected) {
                return clock::since(begun);
            }
            assert!(
                clock::since(begun) < PATIENCE,
                "{service} answers {answer:?}, not {expected}"
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(super) async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let begun = clock::now();
        while !is_so() {
            assert!(clock::since(begun) < PATIENCE, "waited in vain for: {what}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// One request to the operators' listener.
    pub(super) async fn admin(&self, method: &str, path: &str) -> Answer {
        self.admin_with(method, path, "").await
    }

    pub(super) async fn admin_with(&self, method: &str, path: &str, headers: &str) -> Answer {
        let address = self.admin_address();
        let mut stream = TcpStream::connect(address).await.expect("connects");
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head
            .split(' ')
            .nth(1)
            .expect("a status")
            .parse()
            .expect("a number");
        Answer {
            status,
            head: head.to_lowercase(),
            body: body.to_owned(),
        }
    }

    /// Whether everything has ended within `limit`.
    pub(super) async fn has_ended_within(&mut self, limit: Duration) -> bool {
        tokio::time::timeout(limit, &mut self.task).await.is_ok()
    }

    /// Drains and waits for the end.
    pub(super) async fn end(self) -> TempDir {
        self.shutdown.drain();
        let ended = tokio::time::timeout(PATIENCE, self.task).await;
        ended.expect("drains in time").expect("without a panic");
        self.folder
    }
}

impl Answer {
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

const PATIENCE: Duration = Duration::from_secs(20);
