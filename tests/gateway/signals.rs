//! Signals, and what comes before the listeners close.

use std::{
    fs,
    process::{Command, Stdio},
};

use postern_tests::{CallerTransport, Gateway, Setup, binary, call, connect, patiently};

use crate::share;

async fn gateway(config: &str) -> Gateway {
    let setup = Setup {
        config: format!("{config}\n[plugins.limits]\ntime = \"20s\"\n"),
        ..Setup::default()
    };
    Gateway::start(setup.plugin("misbehave")).await
}

/// A call that takes its time, and has begun.
async fn busy(gateway: &Gateway, ms: u32) -> tokio::task::JoinHandle<bool> {
    let handler = connect(gateway, CallerTransport::Tcp).await;
    let body = format!("{{\"ms\":{ms}}}");
    let answered =
        tokio::spawn(async move { call(&*handler, "misbehave/Burn", body).await.is_ok() });
    patiently("the call is being answered", async || {
        let services = gateway.admin_json("/services").await;
        let services = services["services"].as_array().cloned().unwrap_or_default();
        let misbehave = services
            .iter()
            .find(|service| service["name"] == "misbehave");
        misbehave.is_some_and(|service| service["calls"]["in_flight"] == 1)
    })
    .await;
    answered
}

async fn answers(gateway: &Gateway) -> bool {
    let handler = connect(gateway, CallerTransport::Tcp).await;
    call(&*handler, "misbehave/Echo", "\"x\"").await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn quit_drains_as_term_and_int_do() {
    let _machine = share().await;
    for signal in ["QUIT", "INT"] {
        let mut gateway = gateway("").await;
        let answered = busy(&gateway, 1500).await;
        gateway.signal(signal);
        let status = gateway.ended().await;
        assert_eq!(status.code(), Some(0), "{signal}: {status}");
        assert!(answered.await.expect("no panic"), "{signal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn user_signals_end_nothing() {
    let _machine = share().await;
    let gateway = gateway("").await;
    for signal in ["USR1", "USR2"] {
        gateway.signal(signal);
        patiently("the signal is in the log", async || {
            gateway
                .log()
                .contains(&format!("\"signal\":\"SIG{signal}\""))
        })
        .await;
        assert!(answers(&gateway).await, "{signal}");
    }
}

/// The interval in which files are looked at is an hour, so that nothing but the signal reads them.
#[tokio::test(flavor = "multi_thread")]
async fn hang_up_reads_configuration_and_key_files_again() {
    const CONFIG: &str = "[auth]\nauthentication = \"required\"\nfiles-interval = \"1h\"\n\
         [auth.api-keys]\nfile = \"keys.toml\"\n";
    // printf %s open-sesame | sha256sum
    const HASH: &str = "d7ecdf25eaf3deba0f2628771dbdd22d4138ab6cf38f91ed02a2ca0dec7c8ab7";
    let _machine = share().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let keys = folder.path().join("keys.toml");
    fs::write(&keys, "# nobody\n").expect("writable");
    let config = CONFIG.replace("keys.toml", &keys.display().to_string());
    let gateway = gateway(&config).await;
    let ask = || {
        gateway.postern(&[
            "call",
            "misbehave/Echo",
            "1",
            "--header",
            "x-vsp-api-key: open-sesame",
        ])
    };
    assert_eq!(ask().code, Some(1), "the key is not known yet: {:?}", ask());
    fs::write(&keys, format!("[ann]\nhash = \"sha256:{HASH}\"\n")).expect("writable");
    gateway.signal("HUP");
    patiently("the key is known", async || ask().code == Some(0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_says_so_first_and_takes_calls_for_the_delay() {
    let _machine = share().await;
    let mut gateway = gateway("drain-delay = \"10m\"").await;
    gateway.signal("TERM");
    let mut page = String::new();
    patiently("/readyz says that it drains", async || {
        let (status, body) = gateway
            .admin("/readyz")
            .await
            .expect("the admin listener answers");
        page = body;
        status == 503
    })
    .await;
    assert!(page.contains("\"draining\""), "{page}");
    for transport in CallerTransport::ALL {
        let handler = connect(&gateway, transport).await;
        let answer = call(&*handler, "misbehave/Echo", "\"x\"").await;
        assert!(answer.is_ok(), "{transport}: {answer:?}");
    }
    gateway.signal("TERM");
    gateway.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_goes_on_by_itself_after_the_delay() {
    let _machine = share().await;
    let mut gateway = gateway("drain-delay = \"300ms\"").await;
    let answered = busy(&gateway, 1500).await;
    let status = gateway.terminate().await;
    assert_eq!(status.code(), Some(0), "{}", gateway.log());
    assert!(answered.await.expect("no panic"));
}

/// `script` gives the gateway a terminal; killing it closes the terminal, as a lost connection does.
#[tokio::test(flavor = "multi_thread")]
async fn a_closed_terminal_drains() {
    let _machine = share().await;
    let mut gateway = gateway("").await;
    gateway.terminate().await;
    let command = format!("exec {} run", binary().display());
    let script = Command::new("script")
        .args(["-q", "-c", &command, "/dev/null"])
        .current_dir(gateway.folder())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut script = script.expect("script(1) of util-linux runs");
    patiently("ready in its terminal", async || {
        matches!(gateway.admin("/readyz").await, Ok((200, _)))
    })
    .await;
    let answered = busy(&gateway, 1500).await;
    script.kill().expect("it runs");
    script.wait().expect("it has ended");
    assert!(answered.await.expect("no panic"), "the call is cut off");
    patiently("the gateway ends", async || {
        gateway.admin("/livez").await.is_err()
    })
    .await;
}
