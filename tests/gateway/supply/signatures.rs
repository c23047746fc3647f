//! Signed plugins, by minisign itself: what is taken, what is refused and why.

use std::fs;

use bytes::Bytes;
use postern_tests::{Gateway, Setup, component, patiently};
use postern_wasm::Digest;
use serde_json::{Value, json};

use super::{answers, metric, refused, serves, shows, signer::Signer};
use crate::{reload::variant, share};

/// Plugins are signed by `signer`, under these further keys of `[plugins.signatures]` and `[plugins]`.
fn signed_by(signer: &Signer, signatures: &str, plugins: &str) -> Setup {
    let key = &signer.key;
    Setup {
        config: format!(
            "[plugins]\n{plugins}\n[plugins.signatures]\nkeys = [\"{key}\"]\n{signatures}\n"
        ),
        ..Setup::default()
    }
}

const REQUIRED: &str = "require-signature = true";

/// Puts `echo` there with its signature, as a careful deployer does.
fn deploy(gateway: &Gateway, component: &Bytes, signature: &[u8]) {
    gateway.deploy("echo.wasm.minisig", signature);
    gateway.deploy("echo.wasm", component);
}

async fn generation(gateway: &Gateway, number: u64) {
    let claim = format!("generation {number} takes the calls");
    shows(gateway, "echo", &claim, |plugin| {
        plugin["generation"] == number && plugin["refusal"].is_null()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn require_signature_takes_what_one_of_the_keys_has_signed_and_nothing_else() {
    let _machine = share().await;
    let (signer, stranger) = (Signer::new(), Signer::new());
    let echo = component("echo");
    let setup = signed_by(&signer, REQUIRED, "settle = \"50ms\"");
    let gateway = Gateway::start(setup).await;
    gateway.deploy("echo.wasm", &echo);
    let reason = "echo.wasm is not signed: echo.wasm.minisig is not there; sign it";
    refused(&gateway, "echo", reason).await;
    assert!(!answers(&gateway).await);
    gateway.deploy("echo.wasm.minisig", &signer.sign("echo.wasm", &echo));
    generation(&gateway, 1).await;
    serves(&gateway).await;

    let info = gateway.postern(&["plugins", "info", "echo"]);
    let by = format!("component by {}: timestamp:", signer.key_id);
    assert!(info.out.contains(&by), "{}", info.out);
    assert!(info.out.contains("file:echo.wasm"), "{}", info.out);
    let checked = gateway.postern(&["check"]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let by = format!("signed by {} (timestamp:", signer.key_id);
    assert!(checked.out.contains(&by), "{}", checked.out);

    // Another component with the same signature; one of a stranger; another plugin's.
    let other = variant(&echo, 1);
    gateway.deploy("echo.wasm", &other);
    let reason = format!("echo.wasm is not what the key {} has signed", signer.key_id);
    refused(&gateway, "echo", &reason).await;
    deploy(&gateway, &other, &stranger.sign("echo.wasm", &other));
    let reason = format!(
        "signed by the key {}, which is none of plugins.signatures ({})",
        stranger.key_id, signer.key_id
    );
    refused(&gateway, "echo", &reason).await;
    deploy(&gateway, &other, &signer.sign("users.wasm", &other));
    refused(&gateway, "echo", "echo.wasm was signed as users.wasm").await;
    assert!(
        answers(&gateway).await,
        "the version before serves all the while"
    );
    let shown = gateway.admin_json("/plugins/echo").await;
    assert_eq!(
        (&shown["generation"], &shown["source"]),
        (&json!(1), &json!("folder"))
    );
    let refusals = metric(&gateway, "postern_plugin_signature_refusals_total", "echo").await;
    assert!(
        refusals.parse::<u64>().expect("a number") >= 4,
        "{refusals}"
    );
    deploy(&gateway, &other, &signer.sign("echo.wasm", &other));
    generation(&gateway, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_older_than_what_has_served_is_refused_but_for_a_rollback() {
    let _machine = share().await;
    let signer = Signer::new();
    let versions = [0, 1].map(|n| variant(&component("echo"), n));
    let [old, new] = [(0, 1_700_000_000), (1, 1_700_000_001)].map(|(n, at)| {
        let signature = signer.sign_at(at, "echo.wasm", &versions[n]);
        (versions[n].clone(), signature)
    });
    let setup = signed_by(&signer, REQUIRED, "settle = \"50ms\"");
    let setup = setup
        .file("echo.wasm", &old.0)
        .file("echo.wasm.minisig", &old.1);
    let mut gateway = Gateway::start(setup).await;
    deploy(&gateway, &new.0, &new.1);
    generation(&gateway, 2).await;
    deploy(&gateway, &old.0, &old.1);
    let reason = "echo.wasm was signed on Tue, 14 Nov 2023 22:13:20 GMT, and one that was signed on \
                  Tue, 14 Nov 2023 22:13:21 GMT has served";
    refused(&gateway, "echo", reason).await;
    // Whoever may ask the gateway may go back.
    let back = gateway.postern(&["plugins", "rollback", "echo"]);
    assert_eq!(back.code, Some(0), "{back:?}");
    assert_eq!(
        gateway.admin_json("/plugins/echo").await["source"],
        "rollback"
    );
    deploy(&gateway, &new.0, &new.1);
    shows(&gateway, "echo", "the new one serves again", |plugin| {
        plugin["source"] == "folder"
    })
    .await;
    // The last good copy is written after it takes the calls.
    let state = gateway.folder().join(".postern/plugins/echo/state.json");
    patiently("it is kept", async || {
        let text = fs::read_to_string(&state).unwrap_or_default();
        let state: Value = serde_json::from_str(&text).unwrap_or_default();
        state["good"]["component"] == Digest::of(&new.0).to_string()
    })
    .await;
    // Put back while the gateway is down.
    gateway.terminate().await;
    deploy(&gateway, &old.0, &old.1);
    gateway.start_again().await;
    let shown = refused(&gateway, "echo", "echo.wasm was signed on").await;
    assert_eq!(shown["source"], "last-good", "{shown}");
    let checked = gateway.postern(&["check"]);
    assert!(
        checked.out.contains("echo.wasm was signed on"),
        "{checked:?}"
    );
    // Taken away and put back.
    for name in ["echo.wasm", "echo.wasm.minisig"] {
        gateway.remove(name);
    }
    patiently("it is gone", async || {
        matches!(gateway.admin("/plugins/echo").await, Ok((404, _)))
    })
    .await;
    deploy(&gateway, &old.0, &old.1);
    let shown = refused(&gateway, "echo", "echo.wasm was signed on").await;
    assert_eq!(shown["generation"], 0, "{shown}");
    let signature = signer.sign("echo.wasm", &old.0);
    gateway.deploy("echo.wasm.minisig", &signature);
    shows(&gateway, "echo", "signed again it is taken", |plugin| {
        plugin["state"] == "active"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_file_is_refused_under_every_name_of_its_plugin_and_versions_stay_side_by_side() {
    let _machine = share().await;
    let signer = Signer::new();
    let put = |gateway: &Gateway, label: &str, n: usize, at: u64| {
        let file = format!("{label}.wasm");
        let octets = variant(&component("echo"), n);
        gateway.deploy(
            &format!("{file}.minisig"),
            &signer.sign_at(at, &file, &octets),
        );
        gateway.deploy(&file, &octets);
    };
    let setup = signed_by(&signer, REQUIRED, "settle = \"50ms\"");
    let mut gateway = Gateway::start(setup).await;
    let serves = async |gateway: &Gateway, label: &str, place: &str| {
        shows(gateway, label, "it is taken", |plugin| {
            plugin["place"] == place && plugin["refusal"].is_null() && plugin["state"] == "active"
        })
        .await;
    };
    put(&gateway, "echo@blue", 1, 1_700_000_001);
    serves(&gateway, "echo@blue", "stable").await;
    put(&gateway, "echo@green", 2, 1_700_000_002);
    serves(&gateway, "echo@green", "stable").await;
    // The one before lies beside it as it did.
    gateway.restart().await;
    serves(&gateway, "echo@green", "stable").await;
    serves(&gateway, "echo@blue", "held").await;
    assert_eq!(gateway.postern(&["check"]).code, Some(0));
    // A file that is no older than what has served under that name, but than what has under another.
    put(&gateway, "echo@blue", 3, 1_700_000_001);
    let reason = "echo@blue.wasm was signed on Tue, 14 Nov 2023 22:13:21 GMT, and one that was signed on \
                  Tue, 14 Nov 2023 22:13:22 GMT has served";
    refused(&gateway, "echo@blue", reason).await;
    put(&gateway, "echo@blue", 3, 1_700_000_003);
    serves(&gateway, "echo@blue", "stable").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_is_signed_like_its_component_and_does_not_go_away() {
    let _machine = share().await;
    let signer = Signer::new();
    let (echo, manifest) = (component("echo"), "version = \"1.0.0\"\n");
    let signature = signer.sign("echo.wasm", &echo);
    let setup = signed_by(&signer, REQUIRED, "settle = \"50ms\"");
    // Both forms of the folder are the same to it.
    let setup = setup
        .file("echo/echo.wasm", &echo)
        .file("echo/echo.wasm.minisig", signature)
        .file("echo/echo.toml", manifest)
        .file(
            "echo/echo.toml.minisig",
            signer.sign("echo.toml", manifest.as_bytes()),
        );
    let gateway = Gateway::start(setup).await;
    let shown = gateway.admin_json("/plugins/echo").await;
    assert_eq!(
        shown["signature"]["manifest"]["key"],
        json!(signer.key_id),
        "{shown}"
    );
    gateway.deploy("echo/echo.toml", b"[grants]\nservices = [\"*\"]\n");
    let reason = format!("echo.toml is not what the key {} has signed", signer.key_id);
    refused(&gateway, "echo", &reason).await;
    gateway.remove("echo/echo.toml.minisig");
    refused(&gateway, "echo", "echo.toml is not signed").await;
    gateway.remove("echo/echo.toml");
    let reason = "echo.toml is not there, and the plugin has served with one that was signed";
    refused(&gateway, "echo", reason).await;
    let other = "version = \"2.0.0\"\n";
    gateway.deploy(
        "echo/echo.toml.minisig",
        &signer.sign("echo.toml", other.as_bytes()),
    );
    gateway.deploy("echo/echo.toml", other.as_bytes());
    generation(&gateway, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_and_its_signature_are_taken_as_one() {
    let _machine = share().await;
    let signer = Signer::new();
    let [first, second] = [0, 1].map(|n| variant(&component("echo"), n));
    let setup = signed_by(&signer, REQUIRED, "settle = \"5s\"");
    let setup = setup
        .file("echo.wasm", &first)
        .file("echo.wasm.minisig", signer.sign("echo.wasm", &first));
    let gateway = Gateway::start(setup).await;
    let signature = signer.sign("echo.wasm", &second);
    gateway.deploy("echo.wasm", &second);
    // Long after a component that came alone would have been read.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    gateway.deploy("echo.wasm.minisig", &signature);
    generation(&gateway, 2).await;
    let refusals = metric(&gateway, "postern_plugin_signature_refusals_total", "echo").await;
    assert_eq!(refusals, "0", "nothing was refused in between");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_is_there_is_looked_at_where_none_is_required() {
    let _machine = share().await;
    let signer = Signer::new();
    let echo = component("echo");
    let setup = Setup {
        // From a file, and none in `keys`.
        config: format!(
            "[plugins]\nsettle = \"50ms\"\n[plugins.signatures]\nkey-files = [\"{}\"]\n",
            signer.public_file().display()
        ),
        ..Setup::default()
    };
    let gateway = Gateway::start(setup.file("echo.wasm", &echo)).await;
    let shown = gateway.admin_json("/plugins/echo").await;
    assert!(
        shown["signature"].is_null() && shown["state"] == "active",
        "{shown}"
    );
    gateway.deploy(
        "echo.wasm.minisig",
        &signer.sign("echo.wasm", b"something else"),
    );
    refused(&gateway, "echo", "echo.wasm is not what the key").await;
    gateway.deploy("echo.wasm.minisig", &signer.sign("echo.wasm", &echo));
    let shown = shows(&gateway, "echo", "it is taken", |plugin| {
        plugin["generation"] == 2
    })
    .await;
    assert_eq!(shown["signature"]["component"]["key"], json!(signer.key_id));
    // Nothing can be said of signatures without the keys.
    fs::remove_file(signer.public_file()).expect("there");
    gateway.deploy("echo.wasm", &variant(&echo, 1));
    refused(&gateway, "echo", "a.pub is no public key of minisign").await;
    assert!(answers(&gateway).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_serves_goes_on_when_signatures_come_to_be_required() {
    let _machine = share().await;
    let signer = Signer::new();
    let setup = signed_by(&signer, "require-signature = false", "");
    let gateway = Gateway::start(setup.plugin("echo")).await;
    let path = gateway.folder().join("postern.toml");
    let text = fs::read_to_string(&path).expect("readable");
    let text = text.replace("require-signature = false", REQUIRED);
    fs::write(&path, text).expect("written");
    refused(&gateway, "echo", "echo.wasm is not signed").await;
    assert!(answers(&gateway).await, "it is told, and nothing is cut");
}
