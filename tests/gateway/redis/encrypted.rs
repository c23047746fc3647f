//! TLS with certificates on both sides, ACL users, and files that change.

use std::{fs, path::Path};

use postern_core::Kind;
use postern_tests::{Gateway, RedisServer, patiently};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::{caller, get, set, setup};
use crate::share;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // What is issued by a name of its own counts as signed by itself.
    params
        .distinguished_name
        .push(DnType::CommonName, "authority");
    let key = KeyPair::generate().expect("a key");
    CertifiedIssuer::self_signed(params, key).expect("signed")
}

/// Writes `NAME.crt` and `NAME.key`.
fn certificate(authority: &Authority, folder: &Path, name: &str) {
    let names = ["127.0.0.1", "localhost"].map(str::to_owned);
    let params = CertificateParams::new(names).expect("names");
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, authority).expect("signed");
    fs::write(folder.join(format!("{name}.crt")), certificate.pem()).expect("written");
    fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).expect("written");
}

/// A server that speaks TLS alone, asks for certificates, and knows two users.
async fn server(authority: &Authority) -> RedisServer {
    let mut server = RedisServer::prepare(&["redis.conf"]);
    let port = server.port;
    server.write(
        "redis.conf",
        &format!(
            "port 0\nbind 127.0.0.1\nsave \"\"\ntls-port {port}\ntls-cert-file server.crt\n\
             tls-key-file server.key\ntls-ca-cert-file ca.crt\ntls-auth-clients yes\n\
             user default off\nuser edge on >secret ~edge:* &* +@all -@dangerous\n\
             user admin on >secret ~* &* +@all\n"
        ),
    );
    server.write("ca.crt", &authority.pem());
    certificate(authority, server.folder(), "server");
    let file = |name: &str| server.folder().join(name).display().to_string();
    server.cli = [
        "--tls",
        "--cert",
        &file("server.crt"),
        "--key",
        &file("server.key"),
        "--cacert",
        &file("ca.crt"),
        "--user",
        "admin",
        "--pass",
        "secret",
    ]
    .map(str::to_owned)
    .into();
    server.start_again().await;
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_verified_and_shown_a_certificate_and_files_may_change() {
    let _machine = share().await;
    let (authority, other) = (authority(), authority());
    let server = server(&authority).await;
    let folder = tempfile::tempdir().expect("a folder");
    certificate(&authority, folder.path(), "client");
    // Another authority first: nothing is spoken with the server.
    let ca = folder.path().join("ca.crt");
    fs::write(&ca, other.pem()).expect("written");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let keys = format!(
        "username = \"edge\"\npassword = \"secret\"\nkey-prefix = \"edge:\"\nreconnect-max = \"200ms\"\n\
         [stores.main.tls]\nca-files = [\"{}\"]\ncertificate-file = \"{}\"\nkey-file = \"{}\"\nversion-min = \"1.3\"\n",
        ca.display(),
        path("client.crt"),
        path("client.key"),
    );
    let url = format!("rediss://localhost:{}/0", server.port);
    let gateway = Gateway::start(setup(&url, &keys)).await;
    let caller = caller(&gateway).await;
    let error = get(&*caller, "k").await.expect_err("not verified");
    assert_eq!(error.kind, Kind::Unavailable, "{error}");
    // Beside, and renamed into place.
    fs::write(path("new"), authority.pem()).expect("written");
    fs::rename(path("new"), &ca).expect("renamed");
    patiently("it is verified by the file that came", async || {
        set(&*caller, "k", 1).await.is_ok()
    })
    .await;
    let shown = gateway.admin("/config").await.expect("answered").1;
    assert!(
        !shown.contains("secret") && !gateway.log().contains("secret"),
        "{shown}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_may_do_what_its_list_allows() {
    let _machine = share().await;
    let authority = authority();
    let server = server(&authority).await;
    let folder = tempfile::tempdir().expect("a folder");
    certificate(&authority, folder.path(), "client");
    fs::write(folder.path().join("ca.crt"), authority.pem()).expect("written");
    let path = |name: &str| folder.path().join(name).display().to_string();
    // The prefix of its keys is not the one that it may use.
    let keys = format!(
        "username = \"edge\"\npassword = \"secret\"\nkey-prefix = \"others:\"\n\
         [stores.main.tls]\nca-files = [\"{}\"]\ncertificate-file = \"{}\"\nkey-file = \"{}\"\n",
        path("ca.crt"),
        path("client.crt"),
        path("client.key"),
    );
    let url = format!("rediss://localhost:{}", server.port);
    let gateway = Gateway::start(setup(&url, &keys)).await;
    let caller = caller(&gateway).await;
    let error = set(&*caller, "k", 1).await.expect_err("not its keys");
    assert_eq!(error.kind, Kind::PermissionDenied, "{error}");
}
