//! mosquitto_pub and mosquitto_sub, over everything that carries MQTT.

use std::{fs, path::Path, process::Stdio, time::Duration};

use postern_tests::{Finished, Setup, free_address, patiently, said, system_tool};
use tokio::process::{Child, Command};

use super::Broker;
use crate::{
    share,
    tls::authority::{Authority, VALID},
};

/// Where a client connects, as its options.
struct ClientTransport {
    name: &'static str,
    options: Vec<String>,
}

fn transport(name: &'static str, options: &[&str]) -> ClientTransport {
    ClientTransport {
        name,
        options: options.iter().map(ToString::to_string).collect(),
    }
}

/// mosquitto_sub, which ends by itself with that many messages.
fn subscriber(transport: &ClientTransport, n_messages: usize, words: &[&str]) -> Child {
    let mut command = Command::new(system_tool("mosquitto_sub"));
    command
        .args(&transport.options)
        .args(["-C", &n_messages.to_string(), "-W", "60", "-F", "%t %q %p"])
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command.spawn().expect("mosquitto_sub starts")
}

async fn published(transport: &ClientTransport, words: &[&str]) -> Finished {
    let mut command = Command::new(system_tool("mosquitto_pub"));
    said(command.args(&transport.options).args(words)).await
}

/// Waits until the gateway has that many subscriptions of MQTT.
async fn subscribed(broker: &Broker, wanted: u64) {
    patiently("the subscription is there", async || {
        let (_, text) = broker.admin("/metrics").await.expect("asked");
        let mut lines = text.lines();
        let found = lines.find_map(|line| line.strip_prefix("postern_mqtt_subscriptions "));
        found.is_some_and(|count| count.parse() == Ok(wanted))
    })
    .await;
}

/// A gateway that listens on everything, with certificates below `folder`.
async fn everywhere(folder: &Path) -> (Broker, Vec<ClientTransport>) {
    let authority = Authority::new("own");
    let (server, client) = (
        authority.pair("gateway", 1, VALID),
        authority.pair("device", 2, VALID),
    );
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let (ca, certificate) = (
        file("ca.pem", &authority.pem()),
        file("a.pem", &server.certificate),
    );
    let key = file("a.key", &server.key);
    let own = [
        file("c.pem", &client.certificate),
        file("c.key", &client.key),
    ];
    let tls = free_address().expect("a free port");
    let socket = folder.join("mqtt.sock").display().to_string();
    let config = format!(
        "[listeners.mqtts]\nprotocol = \"mqtt\"\naddress = \"{tls}\"\n\
         [listeners.mqtts.tls]\ncertificate-file = \"{certificate}\"\nkey-file = \"{key}\"\n\
         client-certificates = \"required\"\nclient-ca-files = [\"{ca}\"]\n\
         [listeners.local]\nprotocol = \"mqtt\"\naddress = \"unix:{socket}\"\n\
         [auth.certificates.device]\nsubjects = [\"CN=device\"]\n\
         [mqtt.rules.all]\npublish = [\"#\"]\nsubscribe = [\"#\"]\n"
    );
    let broker = Broker::of(Setup::default(), &config).await;
    let (host, port) = (
        broker.address.ip().to_string(),
        broker.address.port().to_string(),
    );
    let secure = tls.port().to_string();
    let of_tls = [
        "-h",
        "localhost",
        "-p",
        &secure,
        "--cafile",
        &ca,
        "--cert",
        &own[0],
        "--key",
        &own[1],
    ];
    let transports = vec![
        transport("tcp", &["-h", &host, "-p", &port]),
        transport("tls", &of_tls),
        transport("unix", &["--unix", &socket]),
    ];
    (broker, transports)
}

#[tokio::test(flavor = "multi_thread")]
async fn mosquittos_clients_are_served_over_tcp_tls_and_a_unix_socket() {
    let _machine = share().await;
    let folder = tempfile::tempdir().expect("a folder");
    let (broker, transports) = everywhere(folder.path()).await;
    for transport in &transports {
        for version in ["mqttv311", "mqttv5"] {
            let words = ["-V", version, "-q", "2", "-t", "m/+/temp"];
            let reader = subscriber(transport, 3, &words);
            subscribed(&broker, 1).await;
            for qos in ["0", "1", "2"] {
                let topic = format!("m/{qos}/temp");
                let words = ["-V", version, "-q", qos, "-t", &topic, "-m", "21"];
                let said = published(transport, &words).await;
                assert_eq!(said.code, Some(0), "{}: {}", transport.name, said.err);
            }
            let output = tokio::time::timeout(Duration::from_secs(60), reader.wait_with_output());
            let output = output.await.expect("it ends").expect("it is awaited");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let expected = "m/0/temp 0 21\nm/1/temp 1 21\nm/2/temp 2 21\n";
            assert_eq!(text, expected, "{} {version}", transport.name);
            subscribed(&broker, 0).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_sub_is_given_what_is_retained_after_a_restart() {
    let _machine = share().await;
    let mut broker = Broker::start("").await;
    let (host, port) = (
        broker.address.ip().to_string(),
        broker.address.port().to_string(),
    );
    let transport = transport("tcp", &["-h", &host, "-p", &port]);
    for (topic, text) in [("kept/a", "1"), ("kept/b", "2"), ("kept/c", "3")] {
        let words = ["-r", "-q", "1", "-t", topic, "-m", text];
        assert_eq!(published(&transport, &words).await.code, Some(0));
    }
    // An empty one removes it.
    let words = ["-r", "-q", "1", "-t", "kept/b", "-n"];
    assert_eq!(published(&transport, &words).await.code, Some(0));
    broker.signal("KILL");
    broker.ended().await;
    broker.start_again().await;
    let reader = subscriber(&transport, 2, &["-q", "1", "-t", "kept/#"]);
    let output = tokio::time::timeout(Duration::from_secs(60), reader.wait_with_output());
    let output = output.await.expect("it ends").expect("it is awaited");
    let mut lines: Vec<_> = output.stdout.split(|octet| *octet == b'\n').collect();
    lines.sort_unstable();
    assert_eq!(lines, [&b""[..], b"kept/a 1 1", b"kept/c 1 3"]);
}
