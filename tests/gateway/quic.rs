//! QUIC as a listener of the real binary, with the certificate of `postern certs dev`: called by the
//! command line and by sessions that outlive a swap of their plugin, and drained.

use std::{fs, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use postern_core::{Handler, Kind};
use postern_net::{
    Client, ClientConfig, Destination, QuicDialer, Target,
    tls::{ClientTls, ClientTlsSettings, Pem, TlsVersion},
};
use postern_tests::{Gateway, Load, Setup, call, component, free_address, patiently, postern};
use tempfile::TempDir;

use crate::share;

/// A gateway with the listener `edge`, which speaks QUIC, and the folder of its certificates.
async fn start(plugin: &str) -> (Gateway, SocketAddr, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let made = postern(folder.path(), &["certs", "dev"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let tls = folder.path().join("tls");
    let tls = tls.display();
    let address = free_address().expect("a free port");
    let config = format!(
        "[plugins.limits]\ntime = \"20s\"\n\
         [upstream-tls]\nca-files = [\"{tls}/ca.pem\"]\n\
         [listeners.edge]\nprotocol = \"vstp\"\naddress = \"{address}\"\ntransports = [\"quic\"]\n\
         [listeners.edge.tls]\ncertificate-file = \"{tls}/localhost.pem\"\nkey-file = \"{tls}/localhost.key\"\n"
    );
    let setup = Setup {
        config,
        ..Setup::default()
    };
    let gateway = Gateway::start(setup.plugin(plugin)).await;
    (gateway, address, folder)
}

/// A session that believes the authority of `folder`.
async fn session(address: SocketAddr, folder: &Path) -> Arc<dyn Handler> {
    let authority = fs::read(folder.join("tls/ca.pem")).expect("it was made");
    let settings = ClientTlsSettings {
        authorities: Some(vec![Pem::new("ca.pem", authority)]),
        pair: None,
        version_min: TlsVersion::V1_3,
    };
    let config = ClientConfig {
        tls: Arc::new(ClientTls::new(settings).expect("an authority")),
        ..ClientConfig::default()
    };
    let destination = Destination::Host {
        host: "localhost".into(),
        address,
    };
    let target = Target::new(Arc::<QuicDialer>::default(), destination);
    let client = Client::connect(target, config).await;
    Arc::new(client.expect("the gateway takes connections"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_is_called_over_quic_and_swapped_under_its_calls() {
    let _machine = share().await;
    let (gateway, address, folder) = start("echo").await;
    let url = format!("quic://{address}");
    let answer = gateway.postern(&["call", "--transport", &url, "echo/Echo", "{\"n\":1}"]);
    assert_eq!(
        (answer.code, answer.out.trim()),
        (Some(0), "{\"n\":1}"),
        "{answer:?}"
    );
    // The name alone means the listener of the configuration.
    let answer = gateway.postern(&["call", "--transport", "quic", "echo/Echo", "{}"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");

    let client = session(address, folder.path()).await;
    let load = Load::start(&client, "echo/Echo", &Bytes::from("{}"), 4, Duration::ZERO);
    let mut swapped = component("echo").to_vec();
    // A custom section, by which the same component is another file.
    swapped.extend([0, 4, 3, b'n', b'e', b'w']);
    gateway.deploy("echo.wasm", &swapped);
    patiently("the second generation serves", async || {
        gateway.admin_json("/plugins/echo").await["generation"].as_u64() >= Some(2)
    })
    .await;
    let outcome = load.stop().await;
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
    assert!(!outcome.answered.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_of_quic_is_told_when_a_gateway_that_was_killed_is_back() {
    let _machine = share().await;
    let (mut gateway, address, folder) = start("echo").await;
    let client = session(address, folder.path()).await;
    call(&*client, "echo/Echo", "{}").await.expect("answered");
    gateway.signal("KILL");
    gateway.ended().await;
    gateway.start_again().await;
    // Were it not told, the call would end by its time, and the session after 90 s.
    let lost = call(&*client, "echo/Echo", "{}")
        .await
        .expect_err("the session is gone");
    assert_eq!(lost.kind, Kind::Unavailable, "{lost}");
    let client = session(address, folder.path()).await;
    call(&*client, "echo/Echo", "{}").await.expect("answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_answers_what_is_in_flight_over_quic() {
    let _machine = share().await;
    let (mut gateway, address, folder) = start("misbehave").await;
    let client = session(address, folder.path()).await;
    let calling =
        tokio::spawn(async move { call(&*client, "misbehave/Burn", "{\"ms\":3000}").await });
    patiently("the call is being answered", async || {
        let (_, metrics) = gateway.admin("/metrics").await.expect("metrics");
        metrics.contains("postern_calls_in_flight{service=\"misbehave\"} 1")
    })
    .await;
    let status = gateway.terminate().await;
    let answer = calling.await.expect("the caller does not panic");
    assert!(answer.is_ok(), "{answer:?}");
    assert_eq!(status.code(), Some(0), "{}", gateway.log());
}
