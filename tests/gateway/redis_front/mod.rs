//! Clients of Redis from outside: programs of others against the real binary, and a real redis-server
//! beside it.
//!
//! | file | what |
//! | --- | --- |
//! | `matrix.rs` | redis-py, ioredis, go-redis and redis-cli: every command |
//! | `octets.rs` | the octets of answers, beside those of redis-server |
//! | `raw.rs` | octets that are no requests |
//! | `access.rs` | `AUTH`, keys, tokens, rules, grants |
//! | `limits.rs` | each key of `[listeners.NAME.redis]`, and those that all listeners have |
//! | `kill.rs` | what is acknowledged outlives `kill -9` |

mod access;
mod kill;
mod limits;
mod matrix;
mod octets;
mod raw;

use std::{
    net::SocketAddr,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    time::Duration,
};

use postern_tests::{ListenerGateway, Setup};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::Command,
    time::timeout,
};

/// A gateway with a listener for clients of Redis.
struct Front(ListenerGateway);

/// A connection whose answers are read octet by octet.
struct Wire(TcpStream);

impl Front {
    /// With a store, a durable topic and the plugin `echo`, and `config` beside.
    async fn start(config: &str) -> Self {
        let config = format!("redis = {{ stores = [\"cache\", \"other\"] }}\n{config}\n{DURABLE}");
        Self::of(Setup::default().plugin("echo"), &config).await
    }

    /// `config` may go on with keys of the listener: it comes before all other tables.
    async fn of(setup: Setup, config: &str) -> Self {
        Self(ListenerGateway::start("redis", setup, config).await)
    }

    async fn wire(&self) -> Wire {
        Wire::open(self.address).await
    }

    /// Runs the cases of a script of this folder and wants all of them to be good.
    async fn check(&self, script: &str, words: &[&str]) -> usize {
        let mut command = python_script(script);
        command.arg(self.address.port().to_string()).args(words);
        self.cases(&mut command).await
    }
}

impl Deref for Front {
    type Target = ListenerGateway;

    fn deref(&self) -> &ListenerGateway {
        &self.0
    }
}

impl DerefMut for Front {
    fn deref_mut(&mut self) -> &mut ListenerGateway {
        &mut self.0
    }
}

impl Wire {
    async fn open(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.expect("it listens"))
    }

    async fn send(&mut self, octets: impl AsRef<[u8]>) {
        self.0.write_all(octets.as_ref()).await.expect("it is open");
    }

    /// What is said next, whole; none at the end.
    async fn reply(&mut self) -> Option<Vec<u8>> {
        let mut octets = Vec::new();
        let reading = self.read_reply(&mut octets);
        let read = timeout(Duration::from_secs(30), Box::pin(reading)).await;
        read.expect("an answer within 30 s").map(|()| octets)
    }

    /// As `reply`, as text that shows every octet.
    async fn text(&mut self) -> String {
        let reply = self.reply().await;
        let shown = reply.map(|octets| octets.escape_ascii().to_string());
        shown.map_or_else(
            || "the end".to_owned(),
            |shown| shown.replace("\\'", "'").replace("\\\"", "\""),
        )
    }

    /// Sends a line and gives what is said to it.
    async fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n")).await;
        self.text().await
    }

    async fn read_reply(&mut self, octets: &mut Vec<u8>) -> Option<()> {
        let mut n_left = 1_usize;
        while n_left > 0 {
            n_left -= 1;
            let start = octets.len();
            while !octets[start..].ends_with(b"\r\n") {
                octets.push(self.0.read_u8().await.ok()?);
            }
            let line = String::from_utf8_lossy(&octets[start..octets.len() - 2]).into_owned();
            let count = || line[1..].parse::<i64>().expect("a count").max(0);
            let count = || usize::try_from(count()).expect("a count");
            match line.as_bytes()[0] {
                b'$' | b'=' if line != "$-1" => {
                    let end = octets.len();
                    octets.resize(end + count() + 2, 0);
                    self.0.read_exact(&mut octets[end..]).await.ok()?;
                }
                b'*' | b'~' | b'>' => n_left += count(),
                b'%' => n_left += 2 * count(),
                _ => {}
            }
        }
        Some(())
    }
}

/// A topic whose events are kept.
const DURABLE: &str = "[topics.\"orders.>\"]\ndelivery = \"at-least-once\"\n";

/// Where the scripts are.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("gateway/redis_front")
}

fn python_script(name: &str) -> Command {
    postern_tests::python_script(&format!("redis_front/{name}"))
}
