//! What a plugin may reach: nothing that its manifest does not grant, and who is refused says what would grant it.

use postern_core::Kind;
use postern_tests::{CallerTransport, Gateway, Setup, call, connect, patiently};
use tokio::{io::AsyncWriteExt as _, net::TcpListener};

use crate::share;

async fn gateway(manifest: &str) -> Gateway {
    let setup = Setup::default().file("probe.toml", manifest);
    Gateway::start(setup.plugin("probe").plugin("echo")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_star_in_a_grant_of_services_names_many_and_who_is_refused_says_the_line() {
    let _machine = share().await;
    let gateway = gateway("[grants]\nservices = [\"ec*\"]\n").await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let of = |service: &str| {
        format!(
            "{{\"service\":\"{service}\",\"method\":\"Echo\",\"body\":\"hi\",\"headers\":{{}},\"timeout_ms\":null}}"
        )
    };
    call(&*handler, "probe/Call", of("echo"))
        .await
        .expect("granted");
    let error = call(&*handler, "probe/Call", of("events")).await;
    let error = error.expect_err("not granted");
    assert_eq!(error.kind, Kind::PermissionDenied);
    let line = "`services = [\"events\"]` below [grants] in probe.toml would allow it";
    assert!(error.message.ends_with(line), "{error}");
    patiently("the log says so, too", async || {
        gateway
            .log()
            .contains("denied: plugin probe has no grant for service events")
    })
    .await;
    assert_eq!(
        gateway.admin_json("/plugins/probe").await["denied"]["services"],
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_opens_the_sockets_that_its_manifest_grants_and_no_others() {
    let _machine = share().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let greeting = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(b"welcome").await.expect("written");
        }
    });
    let manifest = format!(
        "[grants]\nsockets = [\"tcp:127.0.0.0/8:{}\"]\n",
        address.port()
    );
    let bare = "[grants]\nsockets = []\n";
    for (manifest, is_granted) in [(bare, false), (&*manifest, true)] {
        let gateway = gateway(manifest).await;
        let handler = connect(&gateway, CallerTransport::Tcp).await;
        let said = call(&*handler, "probe/Connect", format!("\"{address}\"")).await;
        if is_granted {
            assert_eq!(said.expect("connected"), "\"welcome\"");
            let other = call(&*handler, "probe/Connect", "\"127.0.0.1:1\"").await;
            let error = other.expect_err("refused");
            assert_eq!(error.kind, Kind::PermissionDenied, "{error}");
            patiently("the log names the address", async || {
                gateway
                    .log()
                    .contains("no grant for sockets to tcp:127.0.0.1:1;")
            })
            .await;
            continue;
        }
        let error = said.expect_err("refused");
        assert_eq!(error.kind, Kind::PermissionDenied, "{error}");
        patiently("the log says what would grant it", async || {
            let log = gateway.log();
            log.contains("plugin probe has no grant for sockets of tcp")
                && log.contains("tcp:ADDRESS:PORT")
        })
        .await;
        let denied = gateway.admin_json("/plugins/probe").await["denied"]["sockets"].clone();
        assert!(denied.as_u64() > Some(0), "{denied}");
    }
    greeting.abort();
}
