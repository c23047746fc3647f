//! Client certificates of the real binary: why one is refused stands in the log and nowhere else.

use std::{fs, net::SocketAddr, path::Path, sync::Arc};

use postern_core::Error;
use postern_net::{
    Client, ClientConfig, Destination, Target,
    tls::{ClientTls, ClientTlsSettings, KeyPair, Pem, TlsDialer, TlsVersion},
};
use postern_tests::{Gateway, Setup, call, free_address, patiently};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyUsagePurpose, RevokedCertParams, date_time_ymd,
};

use crate::share;

type Authority = CertifiedIssuer<'static, rcgen::KeyPair>;

const REVOKED: u64 = 7;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("legal");
    // Of two with one name the signature would be wrong, and not the issuer unknown.
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = rcgen::KeyPair::generate().expect("a key");
    CertifiedIssuer::self_signed(params, key).expect("signs")
}

/// A certificate of `authority` whose subject is `CN=NAME`, and its key.
fn pair(authority: &Authority, name: &str, serial: u64, until: i32) -> (String, String) {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("legal");
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(serial.into());
    params.not_after = date_time_ymd(until, 1, 1);
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, authority).expect("signs");
    (certificate.pem(), key.serialize_pem())
}

/// A list of revocations on which `REVOKED` is.
fn list(authority: &Authority) -> String {
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2024, 1, 1),
        next_update: date_time_ymd(2124, 1, 1),
        crl_number: 1.into(),
        issuing_distribution_point: None,
        revoked_certs: vec![RevokedCertParams {
            serial_number: REVOKED.into(),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = list.signed_by(authority).expect("signs");
    list.pem().expect("text")
}

fn put(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).expect("written");
}

/// A gateway whose listener `edge` asks for certificates.
async fn start(folder: &Path, address: SocketAddr) -> Gateway {
    let root = folder.display();
    let config = format!(
        "[log]\nlevel = \"info,postern_net=debug\"\n\
         [listeners.edge]\nprotocol = \"vstp\"\naddress = \"{address}\"\ntransports = [\"tcp\"]\n\
         [listeners.edge.tls]\ncertificate-file = \"{root}/edge.pem\"\nkey-file = \"{root}/edge.key\"\n\
         client-certificates = \"required\"\nclient-ca-files = [\"{root}/ca.pem\"]\n\
         client-crl-files = [\"{root}/crl.pem\"]\n"
    );
    let setup = Setup {
        config,
        ..Setup::default()
    };
    Gateway::start(setup.plugin("echo")).await
}

/// A session that believes `authority` and shows `pair`.
async fn session(
    address: SocketAddr,
    authority: &Authority,
    pair: Option<(String, String)>,
) -> Result<Client, Error> {
    let settings = ClientTlsSettings {
        authorities: Some(vec![Pem::new("ca.pem", authority.pem())]),
        pair: pair.map(|(certificate, key)| KeyPair {
            certificate: Pem::new("client.pem", certificate),
            key: Pem::new("client.key", key),
        }),
        version_min: TlsVersion::V1_2,
    };
    let destination = Destination::Host {
        host: "localhost".into(),
        address,
    };
    let config = ClientConfig {
        tls: Arc::new(ClientTls::new(settings).expect("good settings")),
        ..ClientConfig::default()
    };
    Client::connect(Target::new(Arc::new(TlsDialer), destination), config).await
}

#[tokio::test(flavor = "multi_thread")]
async fn why_a_client_certificate_is_refused_stands_in_the_log_and_is_not_told() {
    let _machine = share().await;
    let folder = tempfile::tempdir().expect("a folder");
    let (own, other) = (authority("own"), authority("other"));
    let (certificate, key) = pair(&own, "gateway", 1, 2124);
    for (name, text) in [
        ("ca.pem", &own.pem()),
        ("crl.pem", &list(&own)),
        ("edge.pem", &certificate),
        ("edge.key", &key),
    ] {
        put(folder.path(), name, text);
    }
    let address = free_address().expect("a free port");
    let gateway = start(folder.path(), address).await;
    let session = async |pair| session(address, &own, pair).await;
    let client = session(Some(pair(&own, "good", 8, 2124))).await;
    let client = client.expect("it is good");
    call(&client, "echo/Echo", "{}").await.expect("answered");
    client.close().await;
    let unknown = "CertificateUnknown";
    for (shown, told, logged) in [
        (
            None,
            "CertificateRequired",
            ["", "peer sent no certificates"],
        ),
        (
            Some(pair(&other, "stranger", 8, 2124)),
            unknown,
            ["CN=stranger", "unknownissuer"],
        ),
        (
            Some(pair(&own, "old", 8, 2020)),
            unknown,
            ["CN=old", "expired"],
        ),
        (
            Some(pair(&own, "withdrawn", REVOKED, 2124)),
            unknown,
            ["CN=withdrawn", "revoked"],
        ),
    ] {
        let refused = session(shown).await.expect_err("not taken");
        assert!(refused.message.ends_with(told), "{refused}");
        // Whoever logs is a thread of its own.
        patiently(&format!("{logged:?} is logged"), async || {
            let log = gateway.log();
            let mut lines = log.lines().filter(|line| line.contains("handshake failed"));
            let [subject, reason] = logged;
            lines.any(|line| line.contains(subject) && line.to_lowercase().contains(reason))
        })
        .await;
    }
}
