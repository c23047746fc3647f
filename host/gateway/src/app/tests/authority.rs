//! Certificates for the tests, listeners that show them, and clients that believe them.

use std::{fs, net::SocketAddr, path::Path, sync::Arc};

use postern_core::{Call, Error, Handler, Kind};
use postern_net::{
    Client, ClientConfig, Destination, Target,
    dial::SessionDialer,
    tls::{ClientTls, ClientTlsSettings, KeyPair, Pem, TlsDialer, TlsVersion},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyUsagePurpose};
use tempfile::TempDir;

use super::fixture::{GatewayFixture, folders};

/// Signs what the tests need.
pub(super) struct Authority(pub(super) CertifiedIssuer<'static, rcgen::KeyPair>);

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("legal");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = rcgen::KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("signs"))
    }

    /// A certificate and its key in PEM.
    pub(super) fn pair(&self, name: &str) -> (String, String) {
        self.sign(&CertificateParams::new(vec![name.to_owned()]).expect("legal"))
    }

    pub(super) fn sign(&self, params: &CertificateParams) -> (String, String) {
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("signs");
        (certificate.pem(), key.serialize_pem())
    }

    /// A list of revocations on which the certificate numbered `serial` is, in PEM.
    pub(super) fn revoking(&self, serial: u64) -> String {
        let list = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2024, 1, 1),
            next_update: rcgen::date_time_ymd(2124, 1, 1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: vec![rcgen::RevokedCertParams {
                serial_number: serial.into(),
                revocation_time: rcgen::date_time_ymd(2024, 1, 1),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.0).expect("signs");
        list.pem().expect("text")
    }

    /// A client that believes it, and shows `pair`.
    pub(super) fn client(&self, pair: Option<(String, String)>) -> ClientTlsSettings {
        ClientTlsSettings {
            authorities: Some(vec![Pem::new("ca.pem", self.0.pem())]),
            pair: pair.map(|(certificate, key)| KeyPair {
                certificate: Pem::new("client.pem", certificate),
                key: Pem::new("client.key", key),
            }),
            version_min: TlsVersion::V1_2,
        }
    }
}

/// Puts `content` in the place of `path`, as a careful tool does.
pub(super) fn put(path: &Path, content: impl AsRef<[u8]>) {
    let beside = path.with_extension("new");
    fs::write(&beside, content).expect("written");
    fs::rename(beside, path).expect("renamed");
}

pub(super) fn write_pair(folder: &Path, name: &str, (certificate, key): (String, String)) {
    put(&folder.join(format!("{name}.pem")), certificate);
    put(&folder.join(format!("{name}.key")), key);
}

/// Folders with an authority's certificate, and one for `localhost`.
pub(super) fn with_certificates(authority: &Authority) -> TempDir {
    let folder = folders();
    put(&folder.path().join("ca.pem"), authority.0.pem());
    write_pair(folder.path(), "edge", authority.pair("localhost"));
    folder
}

/// A listener `[listeners.edge]`, with the certificate of `localhost` and further `keys` of its TLS.
pub(super) fn edge(folder: &TempDir, protocol: &str, listener: &str, keys: &str) -> String {
    let root = folder.path().display();
    let transports = match protocol {
        "vstp" => "transports = [\"tcp\"]\n",
        _ => "",
    };
    format!(
        "[listeners.edge]\nprotocol = \"{protocol}\"\naddress = \"127.0.0.1:0\"\n{transports}{listener}\
         [listeners.edge.tls]\ncertificate-file = \"{root}/edge.pem\"\nkey-file = \"{root}/edge.key\"\n\
         {keys}\n"
    )
}

pub(super) async fn start(folder: TempDir, extra: &str) -> GatewayFixture {
    GatewayFixture::start_in(folder, extra)
        .await
        .expect("starts")
}

/// A session over TCP with `address` under the name `localhost`.
pub(super) async fn session(
    address: SocketAddr,
    settings: ClientTlsSettings,
) -> Result<Client, Error> {
    session_over(Arc::new(TlsDialer), address, settings).await
}

/// A session of `dialer` with `address` under the name `localhost`.
pub(super) async fn session_over(
    dialer: Arc<dyn SessionDialer>,
    address: SocketAddr,
    settings: ClientTlsSettings,
) -> Result<Client, Error> {
    let destination = Destination::Host {
        host: "localhost".into(),
        address,
    };
    let config = ClientConfig {
        tls: Arc::new(ClientTls::new(settings).expect("good settings")),
        ..ClientConfig::default()
    };
    Client::connect(Target::new(dialer, destination), config).await
}

/// A session works: nobody has the service.
pub(super) async fn assert_answers(client: &Client) {
    let answer = client.call(Call::unary("nobody", "Say", "")).await;
    assert_eq!(answer.expect_err("nobody").kind, Kind::NotFound);
}
