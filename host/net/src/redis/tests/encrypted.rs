//! TLS with certificates on both sides, and users of ACLs.

use std::fs;

use postern_core::Kind;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair as SigningKey,
};

use super::*;
use crate::tls::{ClientTls, ClientTlsSettings, KeyPair, Pem};

type Authority = CertifiedIssuer<'static, SigningKey>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // What is issued by a name of its own counts as signed by itself.
    params
        .distinguished_name
        .push(DnType::CommonName, "authority");
    let key = SigningKey::generate().expect("a key");
    CertifiedIssuer::self_signed(params, key).expect("signed")
}

/// Certificate and key in PEM.
fn certificate(authority: &Authority) -> (String, String) {
    let names = ["127.0.0.1", "localhost"].map(str::to_owned);
    let params = CertificateParams::new(names).expect("names");
    let key = SigningKey::generate().expect("a key");
    let certificate = params.signed_by(&key, authority).expect("signed");
    (certificate.pem(), key.serialize_pem())
}

fn client(authority: &Authority, shown: Option<&(String, String)>) -> Arc<ClientTls> {
    let pair = shown.map(|(certificate, key)| KeyPair {
        certificate: Pem::new("client.crt", certificate.clone()),
        key: Pem::new("client.key", key.clone()),
    });
    let tls = ClientTls::new(ClientTlsSettings {
        authorities: Some(vec![Pem::new("ca.crt", authority.pem())]),
        pair,
        ..ClientTlsSettings::default()
    });
    Arc::new(tls.expect("good"))
}

async fn server(authority: &Authority) -> Server {
    let port = server::free_port();
    let text = port.to_string();
    let mut server = Server::new(
        port,
        &[
            "--port",
            "0",
            "--bind",
            "127.0.0.1",
            "--tls-port",
            &text,
            "--tls-cert-file",
            "server.crt",
            "--tls-key-file",
            "server.key",
            "--tls-ca-cert-file",
            "ca.crt",
            "--tls-auth-clients",
            "yes",
            "--aclfile",
            "users.acl",
        ],
    );
    let (certificate, key) = certificate(authority);
    let acl = "user default off\nuser postern on >secret ~postern:* &postern:* +@all -@dangerous\n\
               user reader on >secret ~postern:* +get +ping +hello +client\n\
               user admin on >secret ~* &* +@all\n";
    let folder = server.folder().to_owned();
    for (name, content) in [
        ("server.crt", certificate.as_str()),
        ("server.key", &key),
        ("ca.crt", &authority.pem()),
        ("users.acl", acl),
    ] {
        fs::write(folder.join(name), content).expect("written");
    }
    let file = |name: &str| folder.join(name).display().to_string();
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

fn open(server: &Server, tls: &Arc<ClientTls>, user: &str) -> Arc<RedisStore> {
    let url = format!("rediss://localhost:{}", server.port);
    let mut config = RedisConfig::new("main", url.parse().expect("an address"));
    config.reconnect_max = Duration::from_millis(100);
    config.credentials = RedisCredentials {
        username: Some(user.to_owned()),
        password: Some("secret".to_owned()),
    };
    RedisStore::open(config, Arc::clone(tls))
}

#[tokio::test]
async fn both_sides_prove_themselves_and_users_may_do_what_they_may() {
    let authority = authority();
    let server = server(&authority).await;
    let tls = client(&authority, Some(&certificate(&authority)));
    let store = open(&server, &tls, "postern");
    put(&store, "k", "1").await.expect("well");
    assert_eq!(
        value(&store, "k").await.expect("well").as_deref(),
        Some("1")
    );
    let reader = open(&server, &tls, "reader");
    assert_eq!(
        value(&reader, "k").await.expect("well").as_deref(),
        Some("1")
    );
    let error = put(&reader, "k", "2").await.expect_err("it may read alone");
    assert_eq!(error.kind, Kind::PermissionDenied, "{error}");
    let nobody = open(&server, &tls, "nobody");
    let error = value(&nobody, "k").await.expect_err("no such user");
    assert_eq!(error.kind, Kind::Unavailable, "{error}");
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_spoken_with_until_that_changes() {
    let (authority, other) = (authority(), authority());
    let server = server(&authority).await;
    let shown = certificate(&authority);
    let tls = client(&other, Some(&shown));
    let store = open(&server, &tls, "postern");
    let error = value(&store, "k").await.expect_err("not verified");
    assert_eq!(error.kind, Kind::Unavailable, "{error}");
    // Connections that are opened from here on use what is new.
    let replaced = tls.replace(ClientTlsSettings {
        authorities: Some(vec![Pem::new("ca.crt", authority.pem())]),
        pair: Some(KeyPair {
            certificate: Pem::new("client.crt", shown.0),
            key: Pem::new("client.key", shown.1),
        }),
        ..ClientTlsSettings::default()
    });
    replaced.expect("good");
    patiently("it is verified", async || value(&store, "k").await.is_ok()).await;
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_refuses_who_has_none() {
    let authority = authority();
    let server = server(&authority).await;
    let store = open(&server, &client(&authority, None), "postern");
    let error = value(&store, "k").await.expect_err("nothing is shown");
    assert_eq!(error.kind, Kind::Unavailable, "{error}");
}
