//! Channels from outside: real brokers are killed under constant publishing, and events and calls go to
//! another gateway and to a server of WebSocket that is not ours.
//!
//! | file | claims |
//! | --- | --- |
//! | `failover.rs` | nothing is lost when Redis dies, then mosquitto, then both come back |
//! | `peers.rs` | another gateway over VSTP and WebSocket, and a server of plain JSON values |
//! | `observer.py` | subscribers and a server of others |

mod failover;
mod peers;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use postern_core::Error;
use postern_net::Client;
use postern_tests::{Gateway, patiently, publish_event, python};
use serde_json::Value;

/// A script of `observer.py`, and what it has said so far, each line with its moment.
struct Observer {
    child: Child,
    input: ChildStdin,
    lines: Arc<Mutex<Vec<(Instant, Value)>>>,
}

impl Observer {
    fn start(arguments: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("gateway/channels/observer.py");
        let mut child = Command::new(python())
            .arg(script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python runs");
        let input = child.stdin.take().expect("piped");
        let said = BufReader::new(child.stdout.take().expect("piped"));
        let lines = Arc::<Mutex<Vec<_>>>::default();
        let heard = Arc::clone(&lines);
        // It ends with the script.
        std::thread::spawn(move || {
            for line in said.lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).expect("a line of JSON");
                heard
                    .lock()
                    .expect("not poisoned")
                    .push((Instant::now(), line));
            }
        });
        Self {
            child,
            input,
            lines,
        }
    }

    fn lines(&self) -> Vec<(Instant, Value)> {
        self.lines.lock().expect("not poisoned").clone()
    }

    /// How many lines have the member `key`.
    fn count(&self, key: &str) -> usize {
        self.lines()
            .iter()
            .filter(|(_, line)| line.get(key).is_some())
            .count()
    }

    /// The first value of the member `key`, once it is said.
    async fn first(&self, key: &str) -> Value {
        patiently("the observer says it", async || self.count(key) > 0).await;
        let lines = self.lines();
        let mut found = lines.iter().filter_map(|(_, line)| line.get(key));
        found.next().expect("said").clone()
    }

    fn say(&mut self, line: &Value) {
        writeln!(self.input, "{line}").expect("it reads");
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Publishes `payload` under `topic`, with an id where there is one.
async fn publish(
    client: &Client,
    topic: &str,
    id: Option<&str>,
    payload: String,
) -> Result<(), Error> {
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(id.map(|id| ("event-id", id)));
    publish_event(client, topic, &headers, payload).await
}

/// Waits until the channel `name` goes over `broker`, which is well.
async fn carries(gateway: &Gateway, name: &str, broker: &str) {
    patiently("the broker carries", async || {
        let channels = gateway.admin_json("/channels").await;
        let channels = channels["channels"].as_array().expect("a list").clone();
        let mut named = channels.iter().filter(|channel| channel["name"] == name);
        named.any(|channel| channel["current"] == broker && channel["is-well"] == true)
    })
    .await;
}

async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}
