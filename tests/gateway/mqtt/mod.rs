//! MQTT from outside: clients of others against the real binary.
//!
//! | file | clients |
//! | --- | --- |
//! | `matrix.rs` | paho-mqtt (Python), mqtt.js and rumqttc: every feature, over TCP and WebSocket |
//! | `mosquitto.rs` | mosquitto_pub and mosquitto_sub, over TCP, TLS, WebSocket and Unix sockets |
//! | `access.rs` | paho-mqtt: user names, keys, tokens, certificates, rules |
//! | `calls.rs` | paho-mqtt: routes, requests and replies; one event for every protocol |
//! | `limits.rs` | paho-mqtt: each key of `[mqtt]` |
//! | `kill.rs` | paho-mqtt: what is acknowledged outlives `kill -9` |
//! | `raw.rs` | octets that are wrong |

mod access;
mod calls;
mod kill;
mod limits;
mod matrix;
mod mosquitto;
mod raw;
mod rumqtt;

use std::{
    net::SocketAddr,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use postern_tests::{Gateway, Setup, free_address, python};
use tokio::{process::Command, time::timeout};

/// How long a program of others may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// A gateway with a listener of MQTT.
struct Broker {
    gateway: Gateway,
    address: SocketAddr,
}

/// What a program said, and its code.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Broker {
    /// With the plugin `echo`, and `config` beside.
    async fn start(config: &str) -> Self {
        Self::of(Setup::default().plugin("echo"), config).await
    }

    /// `config` may go on with keys of the listener: it comes before all other tables.
    async fn of(setup: Setup, config: &str) -> Self {
        let address = free_address().expect("a free port");
        let config = format!(
            "[listeners.mqtt]\nprotocol = \"mqtt\"\naddress = \"{address}\"\n{config}\n{}",
            setup.config
        );
        let gateway = Gateway::start(Setup { config, ..setup }).await;
        Self { gateway, address }
    }

    /// Runs the cases of a script of this folder and wants all of them to be good.
    async fn check(&self, script: &str, words: &[&str]) -> usize {
        let mut command = python_script(script);
        command
            .arg(self.address.ip().to_string())
            .arg(self.address.port().to_string())
            .args(words);
        self.cases(&mut command).await
    }

    /// As `check`, for any program that prints `case: ok`.
    async fn cases(&self, command: &mut Command) -> usize {
        let Said { code, out, err } = said(command).await;
        let faults: Vec<_> = out.lines().filter(|line| !line.ends_with(": ok")).collect();
        let n_cases = out.lines().count();
        assert!(
            code == Some(0) && faults.is_empty() && n_cases > 0,
            "{faults:#?}\n{err}\n{}",
            self.log()
        );
        n_cases
    }
}

impl Deref for Broker {
    type Target = Gateway;

    fn deref(&self) -> &Gateway {
        &self.gateway
    }
}

impl DerefMut for Broker {
    fn deref_mut(&mut self) -> &mut Gateway {
        &mut self.gateway
    }
}

/// Where the scripts are.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("gateway/mqtt")
}

fn python_script(name: &str) -> Command {
    let mut command = Command::new(python());
    command
        .arg(folder().join(name))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Runs a program to its end.
async fn said(command: &mut Command) -> Said {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {command:?}"));
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    Said {
        code: output.status.code(),
        out: text(&output.stdout),
        err: text(&output.stderr),
    }
}
