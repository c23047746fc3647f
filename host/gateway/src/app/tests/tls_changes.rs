//! Changes of TLS while a gateway runs: of `[upstream-tls]`, one that is undone, and a list of
//! revocations behind the links of an orchestrator.

use std::{fs, net::TcpListener, os::unix::fs::symlink, path::Path};

use postern_core::{Call, Error, Handler, Kind};
use postern_net::{
    Client,
    tls::{ClientTlsSettings, Pem, ServerTls, ServerTlsSettings},
};
use rcgen::CertificateParams;

use super::{
    authority::{
        Authority, assert_answers, edge, put, session, start, with_certificates, write_pair,
    },
    fixture::GatewayFixture,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_upstream_tls_holds_for_sessions_that_come_after() {
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
    let believing = format!(
        "[services.nobody.breaker]\nenabled = false\n\
         [instances.far]\nservice = \"nobody\"\naddresses = [\"tls://localhost:{port}\"]\n\
         [upstream-tls]\nca-files = [\"{root}/ca.pem\"]\n"
    );
    let showing = format!(
        "{believing}certificate-file = \"{root}/client.pem\"\nkey-file = \"{root}/client.key\"\n"
    );
    let fixture = start(folder, &believing).await;
    let refused = fixture.ask("tcp", "nobody").await.expect_err("not taken");
    assert_eq!(refused.kind, Kind::Unavailable, "{refused}");
    fixture.configure(&GatewayFixture::text(&fixture.folder, &showing));
    // The other gateway has no such service, and says so once this one is taken there.
    until_refused(Kind::NotFound, async || {
        fixture.ask("tcp", "nobody").await.map(drop)
    })
    .await;
    fixture.end().await;
    upstream.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_a_change_that_cannot_be_bound_are_not_shown() {
    let authority = Authority::new();
    let folder = with_certificates(&authority);
    write_pair(folder.path(), "other", authority.pair("localhost"));
    let before = edge(&folder, "vstp", "", "");
    let fixture = start(folder, &before).await;
    let shown = || fixture.gateway.certificates().shown()[0].info.clone();
    let old = shown();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = taken.local_addr().map(|address| (taken, address));
    let (_taken, address) = taken.expect("bound");
    let after = before
        .replace("/edge.pem", "/other.pem")
        .replace("/edge.key", "/other.key");
    let refused =
        format!("{after}[listeners.second]\nprotocol = \"http\"\naddress = \"{address}\"\n");
    fixture.configure(&GatewayFixture::text(&fixture.folder, &refused));
    let degraded = || fixture.gateway.readiness().degraded();
    fixture
        .until("it is refused", || {
            let reasons = degraded();
            let mut reasons = reasons.iter();
            reasons.any(|one| {
                one.name == "config" && one.message.contains("listener second cannot take")
            })
        })
        .await;
    assert_eq!(
        (shown().fingerprint, shown().name),
        (old.fingerprint, old.name)
    );
    let client = session(fixture.address("edge", "tls"), authority.client(None)).await;
    let client = client.expect("as before");
    assert_answers(&client).await;
    client.close().await;
    // Its files are those that are followed.
    write_pair(fixture.folder.path(), "edge", authority.pair("localhost"));
    fixture
        .until("it is renewed", || shown().fingerprint != old.fingerprint)
        .await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_says_who_calls_by_names_subjects_and_fingerprints() {
    let authority = Authority::new();
    let folder = with_certificates(&authority);
    let root = folder.path().display().to_string();
    let asking =
        format!("client-certificates = \"optional\"\nclient-ca-files = [\"{root}/ca.pem\"]");
    let pair = authority.pair("reports.example");
    let shown = postern_net::tls::KeyPair {
        certificate: Pem::new("client.pem", pair.0.clone()),
        key: Pem::new("client.key", pair.1.clone()),
    };
    let own = ServerTls::new(ServerTlsSettings::new(shown), &[]).expect("a pair");
    let fingerprint = own.certificates()[0].fingerprint;
    for named in [
        "names = [\"DNS:reports.*\"]".to_owned(),
        "subjects = [\"CN=rcgen*\"]".to_owned(),
        format!("fingerprints = [\"{fingerprint}\"]"),
    ] {
        let folder = with_certificates(&authority);
        let rules = format!(
            "[auth.certificates.reports]\n{named}\nroles = [\"reader\"]\n\
             [authorization.rules.reading]\ncalls = [\"greeter/*\"]\nroles = [\"reader\"]\n"
        );
        let extra = format!("{}{rules}", edge(&folder, "vstp", "", &asking));
        let fixture = start(folder, &extra).await;
        let address = fixture.address("edge", "tls");
        let known = session(address, authority.client(Some(pair.clone()))).await;
        let known = known.expect("taken");
        let greeting = async |client: &Client| {
            client
                .call(Call::unary("greeter", "Say", ""))
                .await
                .map(drop)
        };
        fixture.drop_answering("greeter.wasm", "hi");
        let mut n_tries = 0;
        while let Err(error) = greeting(&known).await {
            // Its plugin is being deployed.
            n_tries += 1;
            assert!(
                n_tries < 10_000 && error.kind != Kind::Unauthenticated,
                "{error}"
            );
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        let anybody = session(address, authority.client(None))
            .await
            .expect("taken");
        let refused = greeting(&anybody).await.expect_err("anonymous");
        assert_eq!(refused.kind, Kind::Unauthenticated);
        known.close().await;
        anybody.close().await;
        fixture.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn revocations_are_followed_through_the_links_of_an_orchestrator() {
    let authority = Authority::new();
    let folder = with_certificates(&authority);
    // crl.pem → ..data/crl.pem, ..data → ..v1
    for (version, serial) in [("..v1", 6), ("..v2", 7)] {
        let folder = folder.path().join(version);
        fs::create_dir(&folder).expect("a folder");
        put(&folder.join("crl.pem"), authority.revoking(serial));
    }
    link(folder.path(), "..v1", "..data");
    link(folder.path(), "..data/crl.pem", "crl.pem");
    let root = folder.path().display().to_string();
    let keys = format!(
        "client-certificates = \"required\"\nclient-ca-files = [\"{root}/ca.pem\"]\n\
         client-crl-files = [\"{root}/crl.pem\"]"
    );
    let extra = edge(&folder, "vstp", "", &keys);
    let fixture = start(folder, &extra).await;
    let address = fixture.address("edge", "tls");
    let numbered = |number: u64| -> ClientTlsSettings {
        let mut params = CertificateParams::new(vec!["users.example".to_owned()]).expect("legal");
        params.serial_number = Some(number.into());
        authority.client(Some(authority.sign(&params)))
    };
    let open = session(address, numbered(7))
        .await
        .expect("not revoked yet");
    assert_answers(&open).await;
    let root = fixture.folder.path();
    link(root, "..v2", "..data_tmp");
    fs::rename(root.join("..data_tmp"), root.join("..data")).expect("renamed");
    until_refused(Kind::Unavailable, async || {
        session(address, numbered(7)).await.map(drop)
    })
    .await;
    // The session from before is as good as it was when it began, and the other is taken from here on.
    assert_answers(&open).await;
    let other = session(address, numbered(6))
        .await
        .expect("not revoked any more");
    assert_answers(&other).await;
    open.close().await;
    other.close().await;
    fixture.end().await;
}

fn link(folder: &Path, target: &str, name: &str) {
    symlink(target, folder.join(name)).expect("linked");
}

/// Waits until `attempt` fails with `kind`.
async fn until_refused(kind: Kind, mut attempt: impl AsyncFnMut() -> Result<(), Error>) {
    let mut last = None;
    for _ in 0..2_000 {
        match attempt().await {
            Err(error) if error.kind == kind => return,
            outcome => last = Some(outcome),
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("waited in vain for {kind}: {last:?}");
}
