//! `postern plugins pull` from a registry that runs here.

use std::{fs, io::Write as _, path::Path, process::Stdio};

use oci_client::{
    client::ImageLayer,
    manifest::{OciImageIndex, OciManifest},
    secrets::RegistryAuth,
};
use postern_tests::{Finished, Gateway, Setup, command_in, component, free_address, patiently};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt as _, net::TcpListener};

use super::{
    serves, shows,
    signer::Signer,
    store::{ADA, Registry, WASM, client, layer},
};
use crate::share;

const MANIFEST: &str = "version = \"3.1.4\"\n";

pub(super) fn echo() -> ImageLayer {
    layer(WASM, "echo.wasm", &component("echo"))
}

/// A folder with `plugins` in it, in which commands run.
pub(super) fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("plugins")).expect("made");
    folder
}

/// `postern plugins pull REFERENCE`, with `input` on its standard input.
fn pull_with(folder: &Path, arguments: &[&str], input: &str, docker: &Path) -> Finished {
    let mut command = command_in(folder);
    command.args(["plugins", "pull"]).args(arguments);
    // Not what whoever runs the tests has there.
    command.env("DOCKER_CONFIG", docker).env("HOME", folder);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("it runs");
    let mut stdin = child.stdin.take().expect("piped");
    stdin
        .write_all(input.as_bytes())
        .expect("it reads, or has a pipe to hold it");
    drop(stdin);
    child.wait_with_output().expect("it ends").into()
}

pub(super) fn pull(folder: &Path, arguments: &[&str]) -> Finished {
    pull_with(folder, arguments, "", folder)
}

#[track_caller]
pub(super) fn check_refused(finished: &Finished, code: i32, told: &[&str]) {
    assert_eq!(finished.code, Some(code), "{finished:?}");
    for told in told {
        assert!(finished.err.contains(told), "{told}: {finished:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pulled_is_deployed_and_can_be_pinned() {
    let _machine = share().await;
    let registry = Registry::open().await;
    let layers = [
        echo(),
        layer("application/toml", "echo.toml", MANIFEST.as_bytes()),
    ];
    let digest = registry.push("acme/echo:1.2", &layers).await;
    let gateway = Gateway::start(Setup::default()).await;
    let reference = registry.reference("acme/echo:1.2");
    let pulled = pull(gateway.folder(), &[&reference, "--insecure"]);
    assert_eq!(pulled.code, Some(0), "{pulled:?}");
    let pinned = format!("{reference}@{digest}");
    assert!(
        pulled.out.contains(&format!("from     {pinned}")),
        "{}",
        pulled.out
    );
    shows(&gateway, "echo", "it serves", |plugin| {
        plugin["state"] == "active"
    })
    .await;
    serves(&gateway).await;
    let plugin = gateway.admin_json("/plugins/echo").await;
    assert!(plugin["manifest_digest"].is_string(), "{plugin}");
    assert_eq!(plugin["origin"], pinned, "{plugin}");

    // The tag leads elsewhere, the digest does not.
    let other = layer(WASM, "echo.wasm", &component("users"));
    let moved = registry.push("acme/echo:1.2", &[other]).await;
    assert_ne!(moved, digest);
    let at = folder();
    for reference in [
        pinned.clone(),
        registry.reference(&format!("acme/echo@{digest}")),
    ] {
        let arguments = [&reference, "--insecure", "--as", "mine", "--output", "json"];
        let pulled = pull(at.path(), &arguments);
        let said: Value = serde_json::from_str(&pulled.out).expect("json");
        let component = component("echo");
        assert_eq!(said["bytes"], json!(component.len()), "{said}");
        let ends = said["reference"]
            .as_str()
            .is_some_and(|said| said.ends_with(&digest));
        assert!(ends, "{said}");
        let written = fs::read(at.path().join("plugins/mine.wasm")).expect("written");
        assert_eq!(written, component);
    }
    let manifest = fs::read_to_string(at.path().join("plugins/mine.toml"));
    assert_eq!(manifest.expect("written"), MANIFEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_brings_its_signatures() {
    let _machine = share().await;
    let (registry, signer) = (Registry::open().await, Signer::new());
    let echo = component("echo");
    let layers = [
        // The type that wasm-to-oci writes.
        layer(
            "application/vnd.wasm.content.layer.v1+wasm",
            "echo.wasm",
            &echo,
        ),
        layer("text/plain", "echo.toml", MANIFEST.as_bytes()),
        layer(
            "text/plain",
            "echo.wasm.minisig",
            &signer.sign("echo.wasm", &echo),
        ),
        layer(
            "text/plain",
            "echo.toml.minisig",
            &signer.sign("echo.toml", MANIFEST.as_bytes()),
        ),
        layer("text/plain", "../../LICENSE", b"ours"),
    ];
    registry.push("echo:latest", &layers).await;
    let key = &signer.key;
    let setup = Setup {
        config: format!("[plugins.signatures]\nkeys = [\"{key}\"]\nrequire-signature = true\n"),
        ..Setup::default()
    };
    let gateway = Gateway::start(setup).await;
    // No tag is `latest`.
    let pulled = pull(
        gateway.folder(),
        &[&registry.reference("echo"), "--insecure"],
    );
    assert_eq!(pulled.code, Some(0), "{pulled:?}");
    let plugin = shows(&gateway, "echo", "it serves", |plugin| {
        plugin["state"] == "active"
    })
    .await;
    assert_eq!(
        plugin["signature"]["component"]["key"],
        json!(signer.key_id)
    );
    let files = fs::read_dir(gateway.folder().join("plugins")).expect("there");
    assert_eq!(
        files.count(),
        5,
        "with a note where they came from, and nothing else"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_repository_asks_for_credentials() {
    let _machine = share().await;
    let registry = Registry::private().await;
    let auth = RegistryAuth::Basic(ADA.0.to_owned(), ADA.1.to_owned());
    registry.push_as(&auth, "echo:1", &[echo()]).await;
    let reference = registry.reference("echo:1");
    let at = folder();
    let refused = pull(at.path(), &[&reference, "--insecure"]);
    check_refused(
        &refused,
        1,
        &["asks for credentials, and none were given", "docker login"],
    );
    let as_ada = [
        &reference,
        "--insecure",
        "--username",
        ADA.0,
        "--password-stdin",
    ];
    let refused = pull_with(at.path(), &as_ada, "wrong\n", at.path());
    check_refused(&refused, 1, &["does not take the credentials of ada"]);
    assert!(!refused.err.contains("wrong"), "{}", refused.err);
    let pulled = pull_with(at.path(), &as_ada, "secret\n", at.path());
    assert_eq!(pulled.code, Some(0), "{pulled:?}");
    fs::remove_file(at.path().join("plugins/echo.wasm")).expect("it was put there");

    // What `docker login` keeps: printf 'ada:secret' | base64
    let docker = tempfile::tempdir().expect("a folder");
    let kept =
        json!({ "auths": { (registry.address.to_string()): { "auth": "YWRhOnNlY3JldA==" } } });
    fs::write(docker.path().join("config.json"), kept.to_string()).expect("written");
    let pulled = pull_with(at.path(), &[&reference, "--insecure"], "", docker.path());
    assert_eq!(pulled.code, Some(0), "{pulled:?}");
    assert!(at.path().join("plugins/echo.wasm").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_had_is_told_and_the_folder_stays_as_it_is() {
    let _machine = share().await;
    let registry = Registry::open().await;
    let digest = registry.push("echo:1", &[echo()]).await;
    let tar = "application/vnd.oci.image.layer.v1.tar+gzip";
    registry
        .push("image:1", &[layer(tar, "layer.tar.gz", b"no component")])
        .await;
    let at = folder();
    let refused = |of: &str, told: &[&str]| {
        let reference = registry.reference(of);
        check_refused(&pull(at.path(), &[&reference, "--insecure"]), 1, told);
    };
    refused("echo:2", &["knows no oci://", "echo:2"]);
    refused("nothing:1", &["knows no oci://"]);
    refused(
        "image:1",
        &[
            "it is no component: no layer is of type application/wasm",
            tar,
            "oras push",
        ],
    );
    let unknown = format!("echo@sha256:{}", "0".repeat(64));
    refused(&unknown, &["knows no oci://"]);

    // Octets of the component, and then of the manifest, that are not what their digests say.
    let octets = component("echo");
    let blob = registry.blob(&format!("sha256:{}", hex(&octets)));
    let mut other = octets.to_vec();
    other[100] ^= 1;
    fs::write(&blob, &other).expect("written");
    refused(
        "echo:1",
        &[
            "the component is not what its digest says",
            &hex(&octets),
            &hex(&other),
        ],
    );
    fs::write(&blob, [&octets[..], b"more"].concat()).expect("written");
    let limit = format!("the limit is {}", octets.len());
    refused("echo:1", &["the component has", &limit]);
    fs::write(&blob, &octets).expect("written");
    let blob = registry.blob(&digest);
    let text = fs::read_to_string(&blob).expect("json");
    fs::write(&blob, text.replace("echo.wasm", "evil.wasm")).expect("written");
    refused(&format!("echo@{digest}"), &["echo"]);
    let files = fs::read_dir(at.path().join("plugins")).expect("there");
    assert_eq!(files.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_leads_to_its_only_artifact() {
    let _machine = share().await;
    let registry = Registry::open().await;
    let digest = registry.push("echo:one", &[echo()]).await;
    let length = fs::metadata(registry.blob(&digest)).expect("there").len();
    let entry = |architecture: &str| {
        json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest,
            "size": length,
            "platform": { "architecture": architecture, "os": "linux" },
        })
    };
    let index = |entries: Value| -> OciImageIndex {
        serde_json::from_value(json!({ "schemaVersion": 2, "mediaType":
            "application/vnd.oci.image.index.v1+json", "manifests": entries }))
        .expect("an index")
    };
    for (tag, entries, is_taken) in [
        ("single", json!([entry("amd64")]), true),
        ("wasm", json!([entry("amd64"), entry("wasm")]), true),
        ("several", json!([entry("amd64"), entry("arm64")]), false),
    ] {
        let image = registry.image(&format!("echo:{tag}"));
        let client = client();
        let auth = RegistryAuth::Anonymous;
        client
            .store_auth_if_needed(image.resolve_registry(), &auth)
            .await;
        let pushed = client
            .push_manifest(&image, &OciManifest::ImageIndex(index(entries)))
            .await;
        pushed.expect("it takes it");
        let at = folder();
        let pulled = pull(
            at.path(),
            &[&registry.reference(&format!("echo:{tag}")), "--insecure"],
        );
        match is_taken {
            true => assert_eq!(pulled.code, Some(0), "{tag}: {pulled:?}"),
            false => check_refused(&pulled, 1, &["an index of several artifacts"]),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_lies_there_is_the_operators() {
    let _machine = share().await;
    let registry = Registry::open().await;
    let layers = [
        echo(),
        layer("application/toml", "echo.toml", MANIFEST.as_bytes()),
    ];
    registry.push("echo:1", &layers).await;
    let (at, reference) = (folder(), registry.reference("echo:1"));
    let manifest = at.path().join("plugins/echo.toml");
    fs::write(&manifest, "# own\n").expect("written");
    let refused = pull(at.path(), &[&reference, "--insecure"]);
    check_refused(
        &refused,
        1,
        &[
            "echo.toml is there and is not that of the artifact",
            "--manifest keep",
        ],
    );
    for (choice, expected) in [("keep", "# own\n"), ("replace", MANIFEST)] {
        let pulled = pull(at.path(), &[&reference, "--insecure", "--manifest", choice]);
        assert_eq!(pulled.code, Some(0), "{pulled:?}");
        assert_eq!(fs::read_to_string(&manifest).expect("there"), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_is_asked_over_tls_and_verified() {
    let _machine = share().await;
    let certificates = tempfile::tempdir().expect("a folder");
    let path = |name: &str| certificates.path().join(name);
    let key = KeyPair::generate().expect("a key");
    let names = vec!["127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names)
        .expect("names")
        .self_signed(&key);
    fs::write(path("server.pem"), certificate.expect("signed").pem()).expect("written");
    fs::write(path("server.key"), key.serialize_pem()).expect("written");
    let (pem, key) = (path("server.pem"), path("server.key"));
    let tls = format!(
        "  tls:\n    certificate: {}\n    key: {}\n",
        pem.display(),
        key.display()
    );
    let registry = Registry::start(&tls, "").await;
    let (at, reference) = (folder(), registry.reference("echo:1"));
    let refused = pull(at.path(), &[&reference]);
    check_refused(&refused, 1, &["cannot be asked"]);
    let pem = pem.to_str().expect("text");
    // It answers, and has no such thing.
    let refused = pull(at.path(), &[&reference, "--ca-file", pem]);
    check_refused(&refused, 1, &["knows no oci://"]);
}

/// Nothing of what it says ends.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_end_is_broken_off() {
    let _machine = share().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let server = tokio::spawn(async move {
        let chunk = vec![b' '; 1 << 20];
        while let Ok((mut stream, _)) = listener.accept().await {
            let chunk = chunk.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let n = tokio::io::AsyncReadExt::read(&mut stream, &mut request).await;
                let request = String::from_utf8_lossy(&request[..n.unwrap_or(0)]).into_owned();
                let head =
                    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\n";
                if !request.contains("/manifests/") {
                    let empty = format!("{head}content-length: 2\r\n\r\n{{}}");
                    return stream.write_all(empty.as_bytes()).await;
                }
                stream.write_all(format!("{head}\r\n").as_bytes()).await?;
                loop {
                    stream.write_all(&chunk).await?;
                }
            });
        }
    });
    let at = folder();
    let path = at.path().to_owned();
    let pulling = tokio::task::spawn_blocking(move || {
        pull(&path, &[&format!("oci://{address}/echo:1"), "--insecure"])
    });
    let refused = pulling.await.expect("it ends");
    check_refused(&refused, 1, &["exceeds the limit of 67108864 bytes"]);
    server.abort();
}

#[test]
fn what_makes_no_sense_is_refused_before_anybody_is_asked() {
    let at = folder();
    for (arguments, told) in [
        (&["echo:1"][..], "it does not begin with oci://"),
        (&["oci://echo"], "it names no registry"),
        (
            &["oci://registry.example/echo", "--insecure"],
            "registry.example is not on this machine",
        ),
        (
            &["oci://registry.example/echo", "--as", "../echo"],
            "is no name of a plugin",
        ),
        (
            &["oci://registry.example/echo", "--username", "ada"],
            "--password-stdin",
        ),
    ] {
        check_refused(&pull(at.path(), arguments), 2, &[told]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_not_there_is_told() {
    let _machine = share().await;
    let (at, address) = (folder(), free_address().expect("a port"));
    let refused = pull(
        at.path(),
        &[&format!("oci://{address}/echo:1"), "--insecure"],
    );
    check_refused(
        &refused,
        1,
        &[&format!("{address} cannot be asked"), "refused"],
    );
    patiently("nothing is left", async || {
        fs::read_dir(at.path().join("plugins")).is_ok_and(|mut files| files.next().is_none())
    })
    .await;
}

/// SHA-256 as 64 digits.
fn hex(octets: &[u8]) -> String {
    postern_wasm::Digest::of(octets).to_string()
}
