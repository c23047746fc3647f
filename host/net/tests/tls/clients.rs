//! Certificates of clients: who is taken, what is known of them, and what those hear who are not.

use postern_core::tls::{Fingerprint, SubjectName};
use postern_net::tls::{
    ClientCertificates, ClientTls, KeyPair, Pem, ServerTlsSettings, TlsError, Trust,
};
use rcgen::{
    CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, KeyIdMethod,
    RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use sha2::{Digest, Sha256};

use crate::{Served, believing, certificates::Authority, echo};

fn asking(
    authority: &Authority,
    clients: impl FnOnce(Trust) -> ClientCertificates,
    revocations: Vec<Pem>,
) -> ServerTlsSettings {
    let trust = Trust {
        authorities: vec![authority.pem()],
        revocations,
    };
    ServerTlsSettings {
        clients: clients(trust),
        ..ServerTlsSettings::new(authority.pair(&["localhost"]))
    }
}

fn showing(authority: &Authority, pair: Option<KeyPair>) -> ClientTls {
    ClientTls::new(believing(authority, pair)).expect("good settings")
}

/// Of users, with serial number `serial`.
fn users(serial: u64) -> CertificateParams {
    let mut params = CertificateParams::new(vec!["users.example".to_owned()]).expect("legal");
    let spiffe = rcgen::string::Ia5String::try_from("spiffe://example.org/users").expect("ASCII");
    params.subject_alt_names.push(SanType::URI(spiffe));
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, "Example, Inc.");
    subject.push(DnType::CommonName, "users");
    params.distinguished_name = subject;
    params.serial_number = Some(SerialNumber::from(serial));
    params
}

fn revoked(authority: &Authority, serial: u64) -> Pem {
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2024, 1, 1),
        next_update: date_time_ymd(2124, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: vec![RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&authority.issuer).expect("signs");
    Pem::new("revoked.pem", list.pem().expect("text"))
}

/// What a client hears that is not taken: in TLS 1.3 with the first thing that it reads.
async fn heard(served: &Served, tls: ClientTls) -> String {
    let refused = served.connect("localhost", tls).await;
    refused.expect_err("not taken").message.to_string()
}

#[tokio::test]
async fn who_must_show_a_certificate_is_known_by_it() {
    let authority = Authority::new("own");
    let served = Served::start(asking(&authority, ClientCertificates::Required, Vec::new())).await;
    let pair = authority.sign(&users(7));
    let tls = showing(&authority, Some(pair));
    let client = served.connect("localhost", tls).await.expect("taken");
    assert_eq!(echo(&client, "7").await, "7");
    let peer = served.peer();
    let shown = peer.tls.as_ref().and_then(|facts| facts.client.as_ref());
    let shown = shown.expect("a certificate");
    assert_eq!(&*shown.subject, "CN=users,O=Example\\, Inc.");
    assert_eq!(
        shown.names,
        [
            SubjectName::Dns("users.example".into()),
            SubjectName::Uri("spiffe://example.org/users".into()),
        ]
    );
    let digest = Sha256::digest(&shown.der).into();
    assert_eq!(shown.fingerprint, Fingerprint(digest));
    client.close().await;
    // Who shows none hears that one is needed, which is no secret.
    let heard = heard(&served, showing(&authority, None)).await;
    assert!(
        heard.ends_with("fatal alert: CertificateRequired"),
        "{heard}"
    );
    served.stop().await;
}

#[tokio::test]
async fn who_may_show_a_certificate_must_show_a_good_one() {
    let (authority, other) = (Authority::new("own"), Authority::new("other"));
    let served = Served::start(asking(&authority, ClientCertificates::Optional, Vec::new())).await;
    let client = served.connect("localhost", showing(&authority, None)).await;
    let client = client.expect("taken without");
    assert_eq!(echo(&client, "7").await, "7");
    assert_eq!(served.peer().tls.as_ref().expect("facts").client, None);
    client.close().await;
    let pair = other.sign(&users(7));
    let heard = heard(&served, showing(&authority, Some(pair))).await;
    assert!(
        heard.ends_with("fatal alert: CertificateUnknown"),
        "{heard}"
    );
    served.stop().await;
}

#[tokio::test]
async fn all_who_are_refused_hear_the_same() {
    let (authority, other) = (Authority::new("own"), Authority::new("other"));
    let list = revoked(&authority, 7);
    let served = Served::start(asking(&authority, ClientCertificates::Required, vec![list])).await;
    let mut expired = users(8);
    expired.not_after = date_time_ymd(2020, 1, 1);
    let refused = [
        authority.sign(&users(7)),
        authority.sign(&expired),
        other.sign(&users(9)),
    ];
    for pair in refused {
        let heard = heard(&served, showing(&authority, Some(pair))).await;
        assert!(
            heard.ends_with("fatal alert: CertificateUnknown"),
            "{heard}"
        );
    }
    let handshakes_failed = served.counters.handshakes_failed.value();
    assert_eq!(handshakes_failed, 3);
    // The list is of that authority, and says nothing against the next number.
    let pair = authority.sign(&users(10));
    let client = served
        .connect("localhost", showing(&authority, Some(pair)))
        .await;
    client.expect("taken").close().await;
    served.stop().await;
}

#[tokio::test]
async fn a_list_of_revocations_holds_from_the_next_session_on() {
    let authority = Authority::new("own");
    let served = Served::start(asking(&authority, ClientCertificates::Required, Vec::new())).await;
    let pair = authority.sign(&users(7));
    let client = served
        .connect("localhost", showing(&authority, Some(pair.clone())))
        .await;
    let client = client.expect("taken");
    let list = vec![revoked(&authority, 7)];
    let settings = asking(&authority, ClientCertificates::Required, list);
    served.tls.replace(settings).expect("good");
    assert_eq!(echo(&client, "still here").await, "still here");
    client.close().await;
    let heard = heard(&served, showing(&authority, Some(pair))).await;
    assert!(
        heard.ends_with("fatal alert: CertificateUnknown"),
        "{heard}"
    );
    served.stop().await;
}

#[tokio::test]
async fn authorities_that_hold_nothing_are_refused_by_name() {
    let authority = Authority::new("own");
    let served = Served::start(ServerTlsSettings::new(authority.pair(&["localhost"]))).await;
    let replace = |authorities, revocations| {
        let trust = Trust {
            authorities,
            revocations,
        };
        served.tls.replace(ServerTlsSettings {
            clients: ClientCertificates::Required(trust),
            ..ServerTlsSettings::new(authority.pair(&["localhost"]))
        })
    };
    assert_eq!(replace(Vec::new(), Vec::new()), Err(TlsError::NoAuthority));
    let empty = || vec![Pem::new("empty.pem", "")];
    let refused = replace(empty(), Vec::new()).expect_err("empty").to_string();
    assert_eq!(refused, "empty.pem holds no certificate in PEM");
    let refused = replace(vec![authority.pem()], empty())
        .expect_err("empty")
        .to_string();
    assert_eq!(refused, "empty.pem holds no revocation list in PEM");
    served.stop().await;
}
