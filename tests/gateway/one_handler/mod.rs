//! One handler, the same vectors over every protocol: what a caller is told of a call is the same, however it
//! comes. The vectors are those of `vectors.json`, the handler is the guest `table-rust`; the clients are those of
//! others (`clients.py`), and our own for VSTP.

use std::{fs, path::Path};

use postern_core::{Call, Error, Handler};
use postern_net::{Client, ClientConfig, dial};
use postern_tests::{
    CallerTransport, Finished, Gateway, Setup, connect, free_address, python, said, velithon_python,
};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{figure, share};

/// A protocol's outcomes, in the order of the vectors.
struct Row {
    protocol: &'static str,
    client: &'static str,
    outcomes: Vec<Value>,
}

/// Who calls.
#[derive(Clone, Copy)]
enum Caller {
    Ours(CallerTransport),
    /// VSTP over WebSocket.
    OursOverWebSocket,
    /// `clients.py` by the protocol's name, at the listener of that name.
    Script {
        client: &'static str,
        listener: &'static str,
    },
}

/// Every protocol that a caller may come by. A listener of a protocol that is not built in has a table in
/// `LISTENERS`.
const ROWS: [(&str, Caller); 9] = [
    ("vstp, tcp", Caller::Ours(CallerTransport::Tcp)),
    ("vstp, udp", Caller::Ours(CallerTransport::Udp)),
    ("vstp, websocket", Caller::OursOverWebSocket),
    ("http", script("urllib", "http")),
    ("websocket", script("websockets", "http")),
    ("grpc", script("grpcio", "http")),
    ("mqtt", script("paho-mqtt, request and response", "mqtt")),
    ("redis", script("redis-py, CALL", "redis")),
    ("velithon", script("velithon 0.6.0", "velithon")),
];
/// Listeners beside those that are built in, by their protocols.
const LISTENERS: [&str; 3] = ["mqtt", "redis", "velithon"];

const fn script(client: &'static str, listener: &'static str) -> Caller {
    Caller::Script { client, listener }
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/gateway/one_handler"))
}

fn outcome(replied: Result<Vec<u8>, Error>) -> Value {
    match replied {
        Ok(body) => json!({ "ok": serde_json::from_slice::<Value>(&body).expect("json") }),
        Err(error) => json!({ "kind": error.kind.name(), "message": *error.message }),
    }
}

async fn by_handler(handler: &dyn Handler, vectors: &[Value]) -> Vec<Value> {
    let mut outcomes = Vec::new();
    for vector in vectors {
        let method = vector["method"].as_str().expect("a name").to_owned();
        let body = vector["body"].to_string();
        let call = Call::unary("table-rust", method, body);
        let replied = async {
            let reply = handler.call(call).await?;
            Ok(reply.body.into_one(1 << 20).await?.to_vec())
        };
        outcomes.push(outcome(replied.await));
    }
    outcomes
}

async fn by_script(protocol: &str, address: String) -> Vec<Value> {
    let program = match protocol {
        "velithon" => velithon_python(),
        _ => python(),
    };
    let mut command = Command::new(program);
    command
        .arg(folder().join("clients.py"))
        .args([protocol, &address])
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let Finished { code, out, err } = said(&mut command).await;
    assert_eq!(code, Some(0), "{protocol}: {out}\n{err}");
    let lines = out.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("json"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_handler_answers_the_same_over_every_protocol() {
    let _machine = share().await;
    let vectors = fs::read_to_string(folder().join("vectors.json")).expect("readable");
    let vectors: Vec<Value> = serde_json::from_str(&vectors).expect("json");
    let addresses = LISTENERS.map(|_| free_address().expect("a free port"));
    let listeners = LISTENERS.iter().zip(addresses);
    let config: String = listeners
        .map(|(protocol, address)| {
            format!("[listeners.{protocol}]\nprotocol = \"{protocol}\"\naddress = \"{address}\"\n")
        })
        .collect();
    let manifest = folder().join("../../guests/table-rust/table-rust.toml");
    let manifest = fs::read_to_string(manifest).expect("a manifest");
    let setup = Setup {
        config,
        ..Setup::default()
    };
    let setup = setup.plugin("table-rust").file("table-rust.toml", manifest);
    let gateway = Gateway::start(setup).await;
    let mut rows = Vec::new();
    for (protocol, caller) in ROWS {
        let (client, outcomes) = match caller {
            Caller::Ours(transport) => {
                let handler = connect(&gateway, transport).await;
                ("ours", by_handler(&*handler, &vectors).await)
            }
            Caller::OursOverWebSocket => {
                let authority = format!("{}/vstp", gateway.http);
                let targets = dial::targets(postern_core::Transport::WebSocket, &authority).await;
                let target = targets.expect("an address").remove(0);
                let client = Client::connect(target, ClientConfig::default()).await;
                let client = client.expect("it takes sessions");
                ("ours", by_handler(&client, &vectors).await)
            }
            Caller::Script { client, listener } => {
                let of_listener = LISTENERS.iter().position(|name| *name == listener);
                let address = of_listener.map_or(gateway.http, |idx| addresses[idx]);
                (client, by_script(protocol, address.to_string()).await)
            }
        };
        rows.push(Row {
            protocol,
            client,
            outcomes,
        });
    }
    judge(&vectors, &rows, &gateway);
}

/// Compares every row with the first, and shows the table.
fn judge(vectors: &[Value], rows: &[Row], gateway: &Gateway) {
    let expected = &rows[0].outcomes;
    assert_eq!(expected.len(), vectors.len());
    let mut faults = Vec::new();
    for Row {
        protocol,
        client,
        outcomes,
    } in rows
    {
        assert_eq!(outcomes.len(), vectors.len(), "{protocol}");
        let each = vectors.iter().zip(expected).zip(outcomes);
        let differing = each.filter(|((_, expected), found)| expected != found);
        let n_before = faults.len();
        faults.extend(differing.map(|((vector, expected), found)| {
            format!("{protocol}: {}: {found}, not {expected}", vector["name"])
        }));
        let n_equal = vectors.len() - (faults.len() - n_before);
        figure(&format!(
            "one handler over {protocol} ({client}): {n_equal} of {} outcomes equal",
            vectors.len()
        ));
    }
    assert_eq!(faults, [""; 0], "{}", gateway.log());
    // The vectors are not all one outcome.
    let n_failures = expected
        .iter()
        .filter(|one| one.get("kind").is_some())
        .count();
    assert!(
        n_failures > 15 && n_failures < vectors.len() - 5,
        "{n_failures}"
    );
}
