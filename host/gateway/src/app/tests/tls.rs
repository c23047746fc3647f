//! TLS of listeners, of the admin listener and towards others: what the keys do, and what a change of
//! a file touches. All keys are of `[listeners.NAME.tls]`, `[admin.tls]` and `[upstream-tls]`.

use std::{fs, path::PathBuf, sync::Arc};

use postern_core::Kind;
use postern_net::{
    http::{HttpClient, HttpClientConfig},
    tls::ClientTls,
};
use rcgen::CertificateParams;
use tokio::{io::AsyncReadExt, net::TcpStream};

use super::{
    authority::{
        Authority, assert_answers, edge, put, session, start, with_certificates, write_pair,
    },
    fixture::{GatewayFixture, folders},
};
use crate::{app, config};

/// The reasons for a look that are about certificates.
fn told(fixture: &GatewayFixture) -> Vec<(String, String)> {
    let degraded = fixture.gateway.readiness().degraded().into_iter();
    let of_certificates = degraded.filter(|reason| reason.name == "certificate");
    of_certificates
        .map(|reason| (reason.subject, reason.message))
        .collect()
}

/// What the certificate of the listener `edge` has for a fingerprint.
fn fingerprint(fixture: &GatewayFixture) -> String {
    let shown = fixture.gateway.certificates().shown();
    shown[0].info.fingerprint.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_with_certificate_file_and_key_file_speaks_tls() {
    let authority = Authority::new();
    let folder = with_certificates(&authority);
    let extra = edge(&folder, "vstp", "", "");
    let fixture = start(folder, &extra).await;
    let address = fixture.address("edge", "tls");
    let client = session(address, authority.client(None))
        .await
        .expect("a session");
    assert_answers(&client).await;
    client.close().await;
    let metrics = fixture.admin("GET", "/metrics").await.body;
    let series = "postern_certificate_not_after_seconds{table=\"listeners.edge.tls\",file=\"";
    assert!(metrics.contains(series), "{metrics}");
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_and_admin_go_over_tls_and_one_of_certificates_is_shown_by_name() {
    let authority = Authority::new();
    let folder = with_certificates(&authority);
    write_pair(folder.path(), "other", authority.pair("other.example"));
    let root = folder.path().display().to_string();
    let other = format!(
        "[listeners.edge.tls.certificates.other]\ncertificate-file = \"{root}/other.pem\"\n\
         key-file = \"{root}/other.key\"\n"
    );
    // The text of a fixture ends in the table of the admin listener.
    let admin = format!(
        "[admin.tls]\ncertificate-file = \"{root}/edge.pem\"\nkey-file = \"{root}/edge.key\"\n"
    );
    let extra = format!("{admin}{}", edge(&folder, "http", "", &other));
    let fixture = start(folder, &extra).await;
    let admin = fixture.admin_address();
    for (address, path) in [
        (fixture.address("edge", "https"), "/v1/services"),
        (admin, "/livez"),
    ] {
        let config = HttpClientConfig {
            tls: Arc::new(ClientTls::new(authority.client(None)).expect("good")),
            ..HttpClientConfig::default()
        };
        let base = format!("https://localhost:{}", address.port());
        let client = HttpClient::new(&base, config).expect("an address");
        let answer = client
            .fetch("GET", path, &postern_core::Headers::new())
            .await;
        answer.expect("answered");
    }
    let shown = fixture.gateway.certificates().shown();
    let tables: Vec<_> = shown.iter().map(|shown| shown.table.as_str()).collect();
    assert_eq!(
        tables,
        ["admin.tls", "listeners.edge.tls", "listeners.edge.tls"]
    );
    assert_eq!(shown[2].info.names[0].to_string(), "DNS:other.example");
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn client_certificates_are_asked_for_and_verified_by_client_ca_files_and_client_crl_files() {
    let authority = Authority::new();
    let folder = with_certificates(&authority);
    put(&folder.path().join("crl.pem"), authority.revoking(7));
    let root = folder.path().display().to_string();
    let keys = format!(
        "client-certificates = \"required\"\nclient-ca-files = [\"{root}/ca.pem\"]\n\
         client-crl-files = [\"{root}/crl.pem\"]"
    );
    let extra = edge(&folder, "vstp", "", &keys);
    let fixture = start(folder, &extra).await;
    let address = fixture.address("edge", "tls");
    let numbered = |number: u64| {
        let mut params = CertificateParams::new(vec!["users.example".to_owned()]).expect("legal");
        params.serial_number = Some(number.into());
        authority.client(Some(authority.sign(&params)))
    };
    let client = session(address, numbered(8)).await.expect("taken");
    assert_answers(&client).await;
    client.close().await;
    for (settings, alert) in [
        (numbered(7), "CertificateUnknown"),
        (authority.client(None), "CertificateRequired"),
    ] {
        let refused = session(address, settings).await.expect_err("not taken");
        assert!(refused.message.ends_with(alert), "{refused}");
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn version_min_and_resumption_are_those_of_the_listener() {
    let authority = Authority::new();
    let folder = with_certificates(&authority);
    let extra = edge(
        &folder,
        "vstp",
        "",
        "version-min = \"1.3\"\nresumption = false",
    );
    let fixture = start(folder, &extra).await;
    let tls = fixture.gateway.certificates().of("listeners.edge.tls");
    let config = tls.expect("it has TLS").config();
    assert_eq!(config.send_tls13_tickets, 0);
    assert!(!config.ticketer.enabled());
    let client = session(fixture.address("edge", "tls"), authority.client(None)).await;
    client.expect("1.3 is spoken").close().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handshake_timeout_and_handshakes_max_bound_who_says_nothing() {
    let authority = Authority::new();
    let folder = with_certificates(&authority);
    let keys = "handshake-timeout = \"100ms\"\nhandshakes-max = 2\n";
    let extra = edge(&folder, "vstp", keys, "");
    let fixture = start(folder, &extra).await;
    let address = fixture.address("edge", "tls");
    let silent = async || {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let _ = stream.read_to_end(&mut Vec::new()).await;
    };
    // Three at once: two are closed for their time, and one for its number.
    tokio::join!(silent(), silent(), silent());
    let n_failed = || {
        let numbers = fixture.gateway.numbers().transports;
        let edge = numbers
            .iter()
            .find(|one| one.listener == "edge")
            .expect("counted");
        let failed = edge
            .readings
            .iter()
            .find(|one| one.name == "handshakes_failed");
        failed.expect("counted").value
    };
    fixture.until("three are counted", || n_failed() == 3).await;
    let client = session(address, authority.client(None))
        .await
        .expect("room again");
    assert_answers(&client).await;
    client.close().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_replaced_are_shown_to_new_sessions_and_leave_those_that_are_open() {
    let authority = Authority::new();
    let folder = with_certificates(&authority);
    let extra = edge(&folder, "vstp", "", "");
    let fixture = start(folder, &extra).await;
    let address = fixture.address("edge", "tls");
    let before = session(address, authority.client(None))
        .await
        .expect("a session");
    let old = fingerprint(&fixture);
    let (certificate, key) = authority.pair("localhost");
    let root = fixture.folder.path().to_owned();
    // The certificate comes first, and does not fit the key that is there.
    put(&root.join("edge.pem"), certificate);
    fixture
        .until("told as not fitting", || !told(&fixture).is_empty())
        .await;
    let (subject, message) = told(&fixture).remove(0);
    assert_eq!(subject, "listeners.edge.tls");
    assert!(
        message.contains("edge.key is not the key of") && message.ends_with("stays in force"),
        "{message}"
    );
    assert_eq!(fingerprint(&fixture), old);
    assert!(fixture.gateway.unready_reasons().is_empty());
    put(&root.join("edge.key"), key);
    fixture
        .until("in force", || fingerprint(&fixture) != old)
        .await;
    assert_eq!(told(&fixture), []);
    assert_answers(&before).await;
    before.close().await;
    let after = session(address, authority.client(None))
        .await
        .expect("a session");
    assert_answers(&after).await;
    after.close().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_expires_soon_is_told_of() {
    let authority = Authority::new();
    let folder = with_certificates(&authority);
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("legal");
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    write_pair(folder.path(), "edge", authority.sign(&params));
    let extra = edge(&folder, "vstp", "", "");
    let fixture = start(folder, &extra).await;
    let file = fixture.folder.path().join("edge.pem").display().to_string();
    fixture
        .until("told as expired", || !told(&fixture).is_empty())
        .await;
    let (subject, message) = told(&fixture).remove(0);
    assert_eq!(subject, file);
    assert!(
        message.starts_with("it expired ") && message.ends_with(" days ago"),
        "{message}"
    );
    let root = fixture.folder.path().to_owned();
    write_pair(&root, "edge", authority.pair("localhost"));
    fixture
        .until("nothing is to be said", || told(&fixture).is_empty())
        .await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_and_run_refuse_the_same_certificates() {
    let authority = Authority::new();
    for (spoil, expected) in [
        ("edge.pem", "listeners.edge.tls: "),
        ("edge.key", "holds no private key in PEM"),
    ] {
        let folder = with_certificates(&authority);
        let file = folder.path().join(spoil);
        match spoil {
            "edge.pem" => fs::remove_file(&file).expect("it is there"),
            _ => put(&file, "no key"),
        }
        let text = GatewayFixture::text(&folder, &edge(&folder, "vstp", "", ""));
        let path: PathBuf = folder.path().join("postern.toml");
        fs::write(&path, &text).expect("written");
        let source = config::ConfigSource {
            file: Some(path),
            ..config::ConfigSource::default()
        };
        let loaded = config::load(&source).expect("valid");
        let checked = Box::pin(app::check(&loaded))
            .await
            .expect_err("refused")
            .to_string();
        assert!(checked.contains(expected), "{checked}");
        let run = GatewayFixture::start_unready(folder, &text).await;
        assert_eq!(run.err().expect("refused").to_string(), checked);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_tls_decides_whom_this_gateway_believes_and_what_it_shows() {
    let authority = Authority::new();
    let folder = with_certificates(&authority);
    let root = folder.path().display().to_string();
    let keys = format!("client-certificates = \"required\"\nclient-ca-files = [\"{root}/ca.pem\"]");
    let extra = edge(&folder, "vstp", "", &keys);
    let upstream = start(folder, &extra).await;
    let port = upstream.address("edge", "tls").port();

    let folder = with_certificates(&authority);
    write_pair(folder.path(), "client", authority.pair("gateway.example"));
    let root = folder.path().display().to_string();
    let instance = format!(
        "[instances.far]\nservice = \"nobody\"\naddresses = [\"tls://localhost:{port}\"]\n"
    );
    let believing = format!("[upstream-tls]\nca-files = [\"{root}/ca.pem\"]\n");
    let showing = format!(
        "{believing}certificate-file = \"{root}/client.pem\"\nkey-file = \"{root}/client.key\"\n\
         version-min = \"1.3\"\n"
    );
    // Without a certificate it is not taken there.
    let fixture = start(folder, &format!("{believing}{instance}")).await;
    let refused = fixture.ask("tcp", "nobody").await.expect_err("not taken");
    assert_eq!(refused.kind, Kind::Unavailable, "{refused}");
    let folder = fixture.end().await;
    // With one the other gateway answers that it has no such service either.
    let fixture = start(folder, &format!("{showing}{instance}")).await;
    let answer = fixture.ask("tcp", "nobody").await.expect_err("nobody");
    assert_eq!(answer.kind, Kind::NotFound, "{answer}");
    fixture.end().await;
    upstream.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_listener_that_others_reach_needs_insecure() {
    let folder = folders();
    let open = "[listeners.open]\nprotocol = \"http\"\naddress = \"0.0.0.0:0\"\n";
    let text = GatewayFixture::text(&folder, open);
    let refused = config::parse("postern.toml", &text, &Default::default());
    let refused = refused.expect_err("plain").to_string();
    assert!(
        refused.contains("0.0.0.0:0 can be reached from other machines, and http is plain"),
        "{refused}"
    );
    let fixture = start(folder, &format!("{open}insecure = true\n")).await;
    assert!(fixture.gateway.bound_addresses().contains_key("open"));
    fixture.end().await;
}
