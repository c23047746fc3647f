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
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
};

use postern_tests::{ListenerGateway, Setup};
use tokio::process::Command;

/// A gateway with a listener of MQTT.
struct Broker(ListenerGateway);

impl Broker {
    /// With the plugin `echo`, and `config` beside.
    async fn start(config: &str) -> Self {
        Self::of(Setup::default().plugin("echo"), config).await
    }

    /// `config` may go on with keys of the listener: it comes before all other tables.
    async fn of(setup: Setup, config: &str) -> Self {
        Self(ListenerGateway::start("mqtt", setup, config).await)
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
}

impl Deref for Broker {
    type Target = ListenerGateway;

    fn deref(&self) -> &ListenerGateway {
        &self.0
    }
}

impl DerefMut for Broker {
    fn deref_mut(&mut self) -> &mut ListenerGateway {
        &mut self.0
    }
}

/// Where the scripts are.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("gateway/mqtt")
}

fn python_script(name: &str) -> Command {
    postern_tests::python_script(&format!("mqtt/{name}"))
}
