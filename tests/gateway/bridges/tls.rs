//! Brokers that show certificates, and ask for them.

use std::{fs, path::Path};

use postern_tests::{Gateway, Mosquitto, Setup, patiently};

use super::{connected, publish, publisher, state};
use crate::{
    share,
    tls::authority::{Authority, Pair, VALID},
};

const LINES: &str = "allow_anonymous false\nuse_identity_as_username true\nrequire_certificate true\n\
    cafile ROOT/ca.pem\ncertfile ROOT/broker.pem\nkeyfile ROOT/broker.key\n";

fn place(folder: &Path, pair: &Pair) {
    for (name, content) in [("gw.pem", &pair.certificate), ("gw.key", &pair.key)] {
        let beside = folder.join("part~");
        fs::write(&beside, content).expect("writable");
        fs::rename(beside, folder.join(name)).expect("writable");
    }
}

async fn broker(authority: &Authority) -> Mosquitto {
    let own = authority.pair("broker", 1, VALID);
    let files = [
        ("ca.pem", authority.pem()),
        ("broker.pem", own.certificate),
        ("broker.key", own.key),
    ];
    Mosquitto::with(LINES, &files).await
}

fn table(broker: &Mosquitto, folder: &Path, more: &str) -> String {
    let port = broker.address.port();
    let root = folder.display();
    format!(
        "[bridges.b]\nurl = \"mqtts://127.0.0.1:{port}\"\nreconnect-min = \"20ms\"\nreconnect-max = \"100ms\"\n\
         [bridges.b.topics.out]\nfilter = \"out/#\"\ndirection = \"out\"\nqos = 1\n\
         [bridges.b.tls]\nca-files = [\"{root}/ca.pem\"]\ncertificate-file = \"{root}/gw.pem\"\n\
         key-file = \"{root}/gw.key\"\n{more}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_show_certificates_and_the_name_is_that_of_server_name() {
    let _machine = share().await;
    let authority = Authority::new("own");
    let broker = broker(&authority).await;
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("ca.pem"), authority.pem()).expect("writable");
    place(folder.path(), &authority.pair("gateway-7", 2, VALID));
    let more = "server-name = \"localhost\"\nversion-min = \"1.3\"\n";
    let gateway = Gateway::start(Setup {
        config: table(&broker, folder.path(), more),
        ..Setup::default()
    })
    .await;
    connected(&gateway, "b").await;
    assert!(broker.log().contains("u'gateway-7'"), "{}", broker.log());
    publish(&publisher(&gateway).await, "out.x", "1").await;
    patiently("it is acknowledged", async || {
        state(&gateway, "b").await["sent"] == 1
    })
    .await;
    // The certificate bears no address.
    let path = gateway.folder().join("postern.toml");
    let config = fs::read_to_string(&path).expect("readable");
    fs::write(&path, config.replace("server-name = \"localhost\"\n", "")).expect("writable");
    patiently("the name does not fit", async || {
        let told = state(&gateway, "b").await;
        told["is_connected"] == false && told["reason"].to_string().contains("127.0.0.1")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_renewed_is_shown_by_the_next_connection() {
    let _machine = share().await;
    let (authority, other) = (Authority::new("own"), Authority::new("other"));
    let broker = broker(&authority).await;
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("ca.pem"), authority.pem()).expect("writable");
    place(folder.path(), &other.pair("stranger", 2, VALID));
    let gateway = Gateway::start(Setup {
        config: table(&broker, folder.path(), "server-name = \"localhost\"\n"),
        ..Setup::default()
    })
    .await;
    patiently("the broker refuses a stranger", async || {
        broker.log().contains("peer did not return a certificate")
            || broker
                .log()
                .to_lowercase()
                .contains("certificate verify failed")
            || broker.log().to_lowercase().contains("unknown ca")
            || state(&gateway, "b").await["reason"]
                .to_string()
                .contains("nknown")
    })
    .await;
    assert_eq!(state(&gateway, "b").await["is_connected"], false);
    place(folder.path(), &authority.pair("gateway-8", 3, VALID));
    connected(&gateway, "b").await;
    assert!(broker.log().contains("u'gateway-8'"), "{}", broker.log());
}
