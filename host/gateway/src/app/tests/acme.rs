//! Names of `acme`: what was issued is shown and followed as any file, by all listeners with the name.
//! Nobody answers at the authority's address here; tests/gateway/acme.rs has one.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use postern_core::Headers;
use postern_net::{
    http::{HttpClient, HttpClientConfig},
    tls::ClientTls,
};

use super::{
    authority::{Authority, assert_answers, put, session, start, with_certificates},
    fixture::GatewayFixture,
};
use crate::{app, config};

const DIRECTORY: &str = "https://127.0.0.1:1/dir";

/// `[admin.tls]` and a listener `edge`, each with `localhost` of `acme`.
fn extra(root: &Path, keys: &str) -> String {
    let root = root.display();
    format!(
        "[admin.tls]\nacme = [\"localhost\"]\n\
         [acme]\ndirectory = \"{DIRECTORY}\"\ncontacts = [\"ops@example.org\"]\nterms-agreed = true\n\
         ca-files = [\"{root}/ca.pem\"]\nfolder = \"{root}/issued\"\n{keys}\
         [listeners.edge]\nprotocol = \"vstp\"\naddress = \"127.0.0.1:0\"\ntransports = [\"tcp\"]\n\
         [listeners.edge.tls]\nacme = [\"localhost\"]\n"
    )
}

/// Where the certificate of `localhost` comes to be, whose folders are made.
fn issued(root: &Path) -> PathBuf {
    let certificates = root.join("issued/127.0.0.1-1-dir/certificates");
    fs::create_dir_all(&certificates).expect("made");
    certificates.join("localhost.pem")
}

fn told(fixture: &GatewayFixture) -> Option<String> {
    let degraded = fixture.gateway.readiness().degraded().into_iter();
    let mut of_name =
        degraded.filter(|one| one.name == "certificate" && one.subject == "localhost");
    of_name.next().map(|reason| reason.message)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_authority_issued_is_shown_by_admin_and_listeners_and_followed() {
    let authority = Authority::new();
    let folder = with_certificates(&authority);
    let file = issued(folder.path());
    let (certificate, key) = authority.pair("localhost");
    put(&file, format!("{key}{certificate}"));
    let extra = extra(folder.path(), "");
    let fixture = start(folder, &extra).await;
    let address = fixture.address("edge", "tls");
    let client = session(address, authority.client(None)).await;
    let client = client.expect("it is shown");
    assert_answers(&client).await;
    let config = HttpClientConfig {
        tls: Arc::new(ClientTls::new(authority.client(None)).expect("good")),
        ..HttpClientConfig::default()
    };
    let base = format!("https://localhost:{}", fixture.admin_address().port());
    let admin = HttpClient::new(&base, config).expect("an address");
    let metrics = admin.fetch("GET", "/metrics", &Headers::new()).await;
    let metrics = String::from_utf8(metrics.expect("answered").to_vec()).expect("text");
    for line in [
        "postern_acme_failures{name=\"localhost\"} 0",
        "postern_acme_orders_total{outcome=\"issued\"} 0",
        "postern_acme_renewal_seconds{name=\"localhost\"} ",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
    assert_eq!(told(&fixture), None);
    let shown = || fixture.gateway.certificates().shown()[0].info.fingerprint;
    let before = shown();
    // What is no certificate of the name changes nothing, and another one is shown.
    put(&file, "half");
    let (certificate, key) = authority.pair("elsewhere.example");
    put(&file, format!("{key}{certificate}"));
    let (certificate, key) = authority.pair("localhost");
    put(&file, format!("{key}{certificate}"));
    fixture
        .until("the new one is shown", || shown() != before)
        .await;
    assert_answers(&client).await;
    client.close().await;
    let client = session(address, authority.client(None)).await;
    client.expect("it is shown").close().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nothing_was_issued_clients_are_refused_and_somebody_is_told_why() {
    let authority = Authority::new();
    let folder = with_certificates(&authority);
    let file = issued(folder.path());
    let keys = "retry-pause = \"10ms\"\nretry-pause-max = \"1s\"\n";
    let extra = extra(folder.path(), keys);
    let fixture = start(folder, &extra).await;
    let address = fixture.address("edge", "tls");
    let refused = session(address, authority.client(None)).await;
    let refused = refused.expect_err("nothing is there").to_string();
    assert!(refused.ends_with("AccessDenied"), "{refused}");
    // Tried again by itself, as often as these keys say.
    let is_told = || told(&fixture).is_some_and(|told| told.contains("2 times in a row"));
    fixture.until("told", is_told).await;
    let message = told(&fixture).expect("told");
    let parts = [
        "no certificate was issued, ",
        "127.0.0.1 cannot be asked: ",
        "clients that ask for it are refused; tried again ",
    ];
    assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    assert!(fixture.gateway.unready_reasons().is_empty());
    let (certificate, key) = authority.pair("localhost");
    put(&file, format!("{key}{certificate}"));
    fixture
        .until("shown", || {
            !fixture.gateway.certificates().shown().is_empty()
        })
        .await;
    let client = session(address, authority.client(None)).await;
    client.expect("it is shown").close().await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_and_run_refuse_the_same_authorities_of_the_directory() {
    let authority = Authority::new();
    for (content, expected) in [(None, "acme.ca-files: cannot read "), (Some("x"), "in PEM")] {
        let folder = with_certificates(&authority);
        let file = folder.path().join("ca.pem");
        match content {
            None => fs::remove_file(&file).expect("it is there"),
            Some(content) => put(&file, content),
        }
        let text = GatewayFixture::text(&folder, &extra(folder.path(), ""));
        let path = folder.path().join("postern.toml");
        fs::write(&path, &text).expect("written");
        let source = config::ConfigSource {
            file: Some(path),
            ..config::ConfigSource::default()
        };
        let loaded = config::load(&source).expect("valid");
        let checked = Box::pin(app::check(&loaded)).await;
        let checked = checked.expect_err("refused").to_string();
        assert!(checked.contains(expected), "{checked}");
        let run = GatewayFixture::start_unready(folder, &text).await;
        assert_eq!(run.err().expect("refused").to_string(), checked);
    }
}
