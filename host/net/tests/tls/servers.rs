//! What servers show, and whom clients believe.

use std::sync::Arc;

use postern_core::{Kind, Transport};
use postern_net::tls::{
    ClientTls, ClientTlsSettings, KeyPair, Pem, ServerTls, ServerTlsSettings, TlsError, TlsVersion,
    alpn,
};
use rustls::HandshakeKind;
use tokio::io::AsyncReadExt;

use crate::{Served, believing, certificates::Authority, echo, trusting};

#[tokio::test]
async fn a_session_goes_over_tls_with_whoever_the_authority_signed() {
    let authority = Authority::new("own");
    let served = Served::start(ServerTlsSettings::new(authority.pair(&["localhost"]))).await;
    let client = served.connect("localhost", trusting(&authority)).await;
    let client = client.expect("a session");
    assert_eq!(echo(&client, "hello").await, "hello");
    let peer = served.peer();
    let facts = peer.tls.as_ref().expect("facts");
    assert_eq!(peer.transport, Transport::Tls);
    assert_eq!(facts.server_name.as_deref(), Some("localhost"));
    assert_eq!(facts.protocol.as_deref(), Some("vstp"));
    assert_eq!(facts.client, None);
    client.close().await;
    served.stop().await;
}

#[tokio::test]
async fn a_server_of_another_authority_or_of_another_name_is_not_believed() {
    let (authority, other) = (Authority::new("own"), Authority::new("other"));
    let served = Served::start(ServerTlsSettings::new(authority.pair(&["localhost"]))).await;
    for (host, tls) in [
        ("localhost", trusting(&other)),
        ("elsewhere.example", trusting(&authority)),
    ] {
        let refused = served.connect(host, tls).await.expect_err("not believed");
        assert_eq!(refused.kind, Kind::Unavailable);
        let expected = format!(
            "cannot connect to {host} ({}): invalid peer certificate",
            served.address
        );
        assert!(refused.message.starts_with(&expected), "{refused}");
    }
    served.stop().await;
}

#[tokio::test]
async fn the_certificate_is_chosen_by_the_name_that_is_asked_for() {
    let authority = Authority::new("own");
    let pairs: Vec<_> = [
        &["first.example"][..],
        &["b.example", "c.example"],
        &["*.b.example"],
    ]
    .map(|names| authority.pair(names))
    .into();
    let expected: Vec<_> = pairs.iter().map(der_of).collect();
    let served = Served::start(ServerTlsSettings {
        pairs,
        ..ServerTlsSettings::new(authority.pair(&["unused.example"]))
    })
    .await;
    for (host, pair_idx) in [
        ("first.example", 0),
        ("b.example", 1),
        ("C.EXAMPLE", 1),
        ("a.b.example", 2),
    ] {
        let shown = served.shown(host, &authority).await;
        assert!(shown == expected[pair_idx], "{host}");
    }
    // A wildcard stands for one label, and who asks for a name that nobody has is shown the first.
    for host in ["x.a.b.example", "nobody.example"] {
        let config = trusting(&authority).config(&[]).expect("made");
        let refused = served.raw(host, config).await.expect_err("another's name");
        assert!(refused.to_string().contains("first.example"), "{refused}");
    }
    served.stop().await;
}

#[tokio::test]
async fn a_client_of_another_protocol_is_refused_and_one_that_names_none_is_taken() {
    let authority = Authority::new("own");
    let served = Served::start(ServerTlsSettings::new(authority.pair(&["localhost"]))).await;
    let config = trusting(&authority).config(&["h2"]).expect("made");
    let refused = served
        .raw("localhost", config)
        .await
        .expect_err("no HTTP here");
    assert!(
        refused
            .to_string()
            .ends_with("fatal alert: NoApplicationProtocol"),
        "{refused}"
    );
    let config = trusting(&authority).config(&[]).expect("made");
    let taken = served.raw("localhost", config).await.expect("taken");
    assert_eq!(taken.get_ref().1.alpn_protocol(), None);
    drop(taken);
    served.stop().await;
}

/// The version that a client of at most `version` reaches, or the end of its words.
async fn reach(served: &Served, authority: &Authority, only_1_2: bool) -> Result<String, String> {
    let mut config = (*trusting(authority).config(&[]).expect("made")).clone();
    if only_1_2 {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(authority.issuer.der().clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS12])
            .expect("a version")
            .with_root_certificates(roots)
            .with_no_client_auth();
    }
    let stream = served.raw("localhost", Arc::new(config)).await;
    let stream = stream.map_err(|error| error.to_string())?;
    Ok(format!(
        "{:?}",
        stream.get_ref().1.protocol_version().expect("agreed")
    ))
}

#[tokio::test]
async fn versions_below_the_least_are_refused() {
    let authority = Authority::new("own");
    for (version_min, old) in [
        (TlsVersion::V1_2, Ok("TLSv1_2".to_owned())),
        (
            TlsVersion::V1_3,
            Err("received fatal alert: ProtocolVersion".to_owned()),
        ),
    ] {
        let served = Served::start(ServerTlsSettings {
            version_min,
            ..ServerTlsSettings::new(authority.pair(&["localhost"]))
        })
        .await;
        assert_eq!(reach(&served, &authority, true).await, old);
        assert_eq!(
            reach(&served, &authority, false).await,
            Ok("TLSv1_3".to_owned())
        );
        served.stop().await;
    }
}

/// How the second session of a client begins.
async fn second(served: &Served, tls: &ClientTls, between: impl FnOnce()) -> HandshakeKind {
    let config = tls.config(&[]).expect("made");
    let mut first = served
        .raw("localhost", Arc::clone(&config))
        .await
        .expect("taken");
    // Tickets come behind the handshake; the frame that the peer does not finish ends the session.
    tokio::io::AsyncWriteExt::write_all(&mut first, b"no frame of ours")
        .await
        .expect("written");
    let _ = first.read_to_end(&mut Vec::new()).await;
    drop(first);
    between();
    let again = served.raw("localhost", config).await.expect("taken");
    again.get_ref().1.handshake_kind().expect("done")
}

#[tokio::test]
async fn a_session_is_resumed_where_that_is_allowed() {
    let authority = Authority::new("own");
    for (resumption, expected) in [(true, HandshakeKind::Resumed), (false, HandshakeKind::Full)] {
        let served = Served::start(ServerTlsSettings {
            resumption,
            ..ServerTlsSettings::new(authority.pair(&["localhost"]))
        })
        .await;
        let tls = trusting(&authority);
        assert_eq!(second(&served, &tls, || {}).await, expected);
        served.stop().await;
    }
}

#[tokio::test]
async fn a_session_survives_another_certificate_and_not_another_trust() {
    use postern_net::tls::{ClientCertificates, Trust};
    let authority = Authority::new("own");
    let served = Served::start(ServerTlsSettings::new(authority.pair(&["localhost"]))).await;
    let tls = trusting(&authority);
    let renewed = ServerTlsSettings::new(authority.pair(&["localhost"]));
    let trust = Trust {
        authorities: vec![authority.pem()],
        revocations: Vec::new(),
    };
    let asking = ServerTlsSettings {
        clients: ClientCertificates::Optional(trust),
        ..renewed.clone()
    };
    let renew = || served.tls.replace(renewed).expect("good");
    assert_eq!(second(&served, &tls, renew).await, HandshakeKind::Resumed);
    let ask = || served.tls.replace(asking).expect("good");
    assert_eq!(second(&served, &tls, ask).await, HandshakeKind::Full);
    served.stop().await;
}

#[tokio::test]
async fn a_replacement_is_for_new_sessions_and_leaves_those_that_are_open() {
    let authority = Authority::new("own");
    let served = Served::start(ServerTlsSettings::new(authority.pair(&["localhost"]))).await;
    let before = served.connect("localhost", trusting(&authority)).await;
    let before = before.expect("a session");
    let old = served.shown("localhost", &authority).await;
    let renewed = authority.pair(&["localhost"]);
    served
        .tls
        .replace(ServerTlsSettings::new(renewed))
        .expect("good");
    assert!(served.shown("localhost", &authority).await != old);
    assert_eq!(echo(&before, "still here").await, "still here");
    before.close().await;
    served.stop().await;
}

#[tokio::test]
async fn what_cannot_be_used_is_named_and_changes_nothing() {
    let authority = Authority::new("own");
    let (one, two) = (
        authority.pair(&["localhost"]),
        authority.pair(&["localhost"]),
    );
    let served = Served::start(ServerTlsSettings::new(one.clone())).await;
    let old = served.shown("localhost", &authority).await;
    let empty = Pem::new("empty.pem", "");
    let cut = Pem::new("cut.pem", one.certificate.octets.slice(..200));
    let pair = |certificate: &Pem, key: &Pem| KeyPair {
        certificate: certificate.clone(),
        key: key.clone(),
    };
    for (pair, expected) in [
        (
            pair(&one.certificate, &two.key),
            "shown.key is not the key of shown.pem: keys may not be consistent: KeyMismatch",
        ),
        (
            pair(&empty, &one.key),
            "empty.pem holds no certificate in PEM",
        ),
        (
            pair(&one.certificate, &empty),
            "empty.pem holds no private key in PEM",
        ),
        (pair(&cut, &one.key), "cut.pem: a section does not end"),
    ] {
        let refused = served.tls.replace(ServerTlsSettings::new(pair));
        assert_eq!(refused.expect_err("unusable").to_string(), expected);
    }
    let none = ServerTlsSettings {
        pairs: Vec::new(),
        ..ServerTlsSettings::new(one)
    };
    let refused = ServerTls::new(none, &[alpn::VSTP]).expect_err("nothing to show");
    assert_eq!(refused, TlsError::NoCertificate);
    assert!(served.shown("localhost", &authority).await == old);
    served.stop().await;
}

#[tokio::test]
async fn a_client_goes_on_with_what_was_good() {
    let authority = Authority::new("own");
    let served = Served::start(ServerTlsSettings::new(authority.pair(&["localhost"]))).await;
    let tls = trusting(&authority);
    let refused = tls.replace(ClientTlsSettings {
        authorities: Some(Vec::new()),
        ..believing(&authority, None)
    });
    assert_eq!(refused, Err(TlsError::NoAuthority));
    let client = served.connect("localhost", tls).await.expect("a session");
    assert_eq!(echo(&client, "7").await, "7");
    client.close().await;
    served.stop().await;
}

#[test]
fn what_is_told_of_a_certificate_is_what_it_says() {
    let authority = Authority::new("own");
    let pair = authority.pair(&["a.example", "*.b.example", "10.0.0.7"]);
    let tls = ServerTls::new(ServerTlsSettings::new(pair), &[alpn::VSTP]).expect("good");
    let told = tls.certificates();
    let names: Vec<_> = told[0].names.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["DNS:a.example", "DNS:*.b.example", "IP:10.0.0.7"]);
    assert_eq!(&*told[0].subject, "CN=rcgen self signed cert");
    // As rcgen has it unless told otherwise: 1975 to 4096.
    assert_eq!(told[0].not_before, 157_766_400);
    assert_eq!(told[0].not_after, 67_090_118_400);
}

/// What is shown of `pair`.
pub(crate) fn der_of(pair: &KeyPair) -> Vec<u8> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    CertificateDer::from_pem_slice(&pair.certificate.octets)
        .expect("a certificate")
        .to_vec()
}
