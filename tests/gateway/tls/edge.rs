//! A gateway with a listener for each transport that is encrypted, and sessions with it.

use std::{fs, net::SocketAddr, sync::Arc};

use postern_core::Error;
use postern_net::{
    Client, ClientConfig, Destination, QuicDialer, Target,
    tls::{ClientTls, ClientTlsSettings, KeyPair, Pem, TlsDialer, TlsVersion},
    websocket::SecureWebSocketDialer,
};
use postern_tests::{Gateway, Setup, free_address};
use tempfile::TempDir;

use super::authority::{Authority, Pair};

/// What is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Secured {
    Tls,
    Quic,
    WebSocket,
}

pub(super) struct Edge {
    pub(super) gateway: Gateway,
    folder: TempDir,
    addresses: [SocketAddr; 3],
}

impl Secured {
    pub(super) const ALL: [Self; 3] = [Self::Tls, Self::Quic, Self::WebSocket];

    /// The name of its listener.
    fn name(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Quic => "quic",
            Self::WebSocket => "wss",
        }
    }

    fn listener(self) -> &'static str {
        match self {
            Self::Tls => "protocol = \"vstp\"\ntransports = [\"tcp\"]",
            Self::Quic => "protocol = \"vstp\"\ntransports = [\"quic\"]",
            Self::WebSocket => "protocol = \"http\"",
        }
    }

    fn target(self, destination: Destination) -> Target {
        match self {
            Self::Tls => Target::new(Arc::new(TlsDialer), destination),
            Self::Quic => Target::new(Arc::<QuicDialer>::default(), destination),
            Self::WebSocket => Target::new(Arc::new(SecureWebSocketDialer), destination),
        }
    }
}

impl Edge {
    /// Listeners that show `pair`, with these further keys of their tables `tls`. In those, `ROOT` is
    /// the folder that holds `files`.
    pub(super) async fn start(pair: &Pair, keys: &str, files: &[(&str, String)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            fs::write(folder.path().join(name), text).expect("written");
        }
        let root = folder.path().display().to_string();
        let addresses = [(); 3].map(|()| free_address().expect("a free port"));
        let mut config = String::from("[log]\nlevel = \"info,postern_net=debug\"\n");
        for (secured, address) in Secured::ALL.into_iter().zip(addresses) {
            let (name, listener) = (secured.name(), secured.listener());
            let keys = keys.replace("ROOT", &root);
            config += &format!(
                "[listeners.{name}]\naddress = \"{address}\"\n{listener}\n\
                 [listeners.{name}.tls]\ncertificate-file = \"{root}/edge.pem\"\n\
                 key-file = \"{root}/edge.key\"\n{keys}\n"
            );
        }
        write_pair(&folder, pair);
        let setup = Setup {
            config,
            ..Setup::default()
        };
        Self {
            gateway: Gateway::start(setup.plugin("echo")).await,
            folder,
            addresses,
        }
    }

    /// Writes another pair as tools do that renew certificates: one file after the other.
    pub(super) fn renew(&self, pair: &Pair) {
        write_pair(&self.folder, pair);
    }

    /// A session that believes `authorities` and shows `pair`.
    pub(super) async fn session(
        &self,
        secured: Secured,
        authorities: &[&Authority],
        pair: Option<&Pair>,
    ) -> Result<Client, Error> {
        let trusted = authorities.iter();
        let trusted = trusted.map(|authority| Pem::new("ca.pem", authority.pem()));
        let settings = ClientTlsSettings {
            authorities: Some(trusted.collect()),
            pair: pair.map(|pair| KeyPair {
                certificate: Pem::new("client.pem", pair.certificate.clone()),
                key: Pem::new("client.key", pair.key.clone()),
            }),
            version_min: TlsVersion::V1_3,
        };
        let config = ClientConfig {
            tls: Arc::new(ClientTls::new(settings).expect("good settings")),
            ..ClientConfig::default()
        };
        let destination = Destination::Host {
            host: "localhost".into(),
            address: self.address(secured),
        };
        Client::connect(secured.target(destination), config).await
    }

    fn address(&self, secured: Secured) -> SocketAddr {
        let mut all = Secured::ALL.into_iter().zip(self.addresses);
        let found = all.find(|(other, _)| *other == secured);
        found.expect("each has a listener").1
    }
}

fn write_pair(folder: &TempDir, pair: &Pair) {
    let write = |name, text: &str| fs::write(folder.path().join(name), text).expect("written");
    write("edge.pem", &pair.certificate);
    write("edge.key", &pair.key);
}
