//! Velithon VSP from outside: the published package, version 0.6.0, as client of the gateway and as server behind
//! it, octets by hand, and its discovery by way of an agent of Consul.
//!
//! | file | who |
//! | --- | --- |
//! | `callers.rs` with `client.py` | the published client |
//! | `instances.rs` with `server.py` | the published server |
//! | `octets.rs` | a client by hand |
//! | `consul.rs` with `agent.py`, `discovery.py` | a stub of an agent, and the published discovery |

mod callers;
mod consul;
mod instances;
mod octets;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use postern_tests::{
    Finished, Gateway, ListenerGateway, Setup, ToolProcess, free_address, velithon_python,
};
use serde_json::Value;

/// How long a program of others may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// A script of this folder, run by Python with the published package.
fn script(name: &str) -> Command {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("gateway/velithon");
    let mut command = Command::new(velithon_python());
    command
        .arg(folder.join(name))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null());
    command
}

/// Runs a script that prints JSON in its last line.
async fn said(command: Command) -> Value {
    let Finished { out, err, .. } = postern_tests::said(&mut command.into()).await;
    let last = out.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}\n{out}\n{err}"))
}

/// What the published client has to say of a case.
async fn client(address: SocketAddr, case: &str, n: usize) -> Value {
    let mut command = script("client.py");
    command.args([&address.to_string(), case, &n.to_string()]);
    said(command).await
}

/// The published server, at an address of its own.
struct Server {
    address: SocketAddr,
    process: Option<ToolProcess>,
}

impl Server {
    async fn start() -> Self {
        let mut server = Self {
            address: free_address().expect("a free port"),
            process: None,
        };
        server.start_again().await;
        server
    }

    async fn start_again(&mut self) {
        let mut command = script("server.py");
        command
            .arg(self.address.port().to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut process = ToolProcess::start(&mut command);
        process.listening(self.address).await;
        self.process = Some(process);
    }

    /// As `kill -9` does.
    fn kill(&mut self) {
        self.process = None;
    }

    /// Its table of the configuration, as an instance of the service `table`.
    fn instance(&self) -> String {
        let address = self.address;
        format!("[instances.python]\nservice = \"table\"\naddresses = [\"velithon://{address}\"]\n")
    }
}

/// Adds the guest `table-rust` as it lies in its folder.
fn with_table(setup: Setup) -> Setup {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest: PathBuf = tests.join("guests/table-rust/table-rust.toml");
    let manifest = fs::read_to_string(manifest).expect("a manifest");
    setup.plugin("table-rust").file("table-rust.toml", manifest)
}

/// Starts a gateway with a listener of velithon; `keys` are further ones of it.
async fn listening(config: &str, keys: &str) -> ListenerGateway {
    let config = format!("{keys}\n{config}");
    ListenerGateway::start("velithon", with_table(Setup::default()), &config).await
}

/// A number of the listener `velithon`.
async fn number(gateway: &Gateway, family: &str) -> u64 {
    let (status, text) = gateway.admin("/metrics").await.expect("answered");
    assert_eq!(status, 200);
    let of_listener =
        |line: &&str| line.starts_with(family) && line.contains("listener=\"velithon\"");
    let line = text.lines().find(of_listener);
    let value = line.and_then(|line| line.rsplit(' ').next());
    let value = value.and_then(|value| value.parse::<f64>().ok());
    let value = value.unwrap_or_else(|| panic!("{family} is not in\n{text}"));
    format!("{value:.0}").parse().expect("a whole number")
}
