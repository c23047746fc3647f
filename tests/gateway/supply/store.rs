//! A registry that runs here: distribution, the one that stands behind Docker's.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
};

use bytes::Bytes;
use oci_client::{
    Client, Reference,
    client::{ClientConfig, ClientProtocol, Config, ImageLayer},
    manifest::OciImageManifest,
    secrets::RegistryAuth,
};
use postern_tests::{ToolProcess, free_address, tool};
use tempfile::TempDir;

/// A running registry. Dropping it ends it.
pub(super) struct Registry {
    pub(super) address: SocketAddr,
    folder: TempDir,
    _process: ToolProcess,
}

/// Who may ask: `ada` with `secret`, in bcrypt as htpasswd writes it.
const HTPASSWD: &str = "ada:$2a$04$3S8OifXqnj/WJc8EVJc74.YQlhrU0C2NygINSBDymTDRMhdrpcVuy\n";
pub(super) const ADA: (&str, &str) = ("ada", "secret");

pub(super) const WASM: &str = "application/wasm";
const CONFIG: &str = "application/vnd.wasm.config.v0+json";
const TITLE: &str = "org.opencontainers.image.title";

impl Registry {
    /// `further` are lines of its configuration, `http` those below that key.
    pub(super) async fn start(http: &str, further: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let address = free_address().expect("a port");
        let root = folder.path().display();
        let config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {root}/data\n\
             http:\n  addr: {address}\n{http}{further}"
        )
        .replace("ROOT", &root.to_string());
        fs::write(folder.path().join("htpasswd"), HTPASSWD).expect("written");
        let path = folder.path().join("config.yml");
        fs::write(&path, config).expect("written");
        let log = fs::File::create(folder.path().join("log")).expect("made");
        let mut command = Command::new(tool("registry"));
        command
            .arg("serve")
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(log);
        let mut process = ToolProcess::start(&mut command);
        process.listening(address).await;
        Self {
            address,
            folder,
            _process: process,
        }
    }

    pub(super) async fn open() -> Self {
        Self::start("", "").await
    }

    /// One that asks for credentials.
    pub(super) async fn private() -> Self {
        let further = "auth:\n  htpasswd:\n    realm: private\n    path: ROOT/htpasswd\n";
        Self::start("", further).await
    }

    pub(super) fn reference(&self, of: &str) -> String {
        format!("oci://{}/{of}", self.address)
    }

    /// Pushes an artifact of these layers and says its digest.
    pub(super) async fn push(&self, of: &str, layers: &[ImageLayer]) -> String {
        self.push_as(&RegistryAuth::Anonymous, of, layers).await
    }

    pub(super) async fn push_as(
        &self,
        auth: &RegistryAuth,
        of: &str,
        layers: &[ImageLayer],
    ) -> String {
        let reference = self.image(of);
        let config = Config::new(Bytes::from_static(b"{}"), CONFIG.to_owned(), None);
        let manifest = OciImageManifest::build(layers, &config, None);
        let client = client();
        let pushed = client
            .push(&reference, layers, config, auth, Some(manifest))
            .await;
        pushed.expect("it takes it");
        let digest = client.fetch_manifest_digest(&reference, auth).await;
        digest.expect("it is there")
    }

    pub(super) fn image(&self, of: &str) -> Reference {
        let image = format!("{}/{of}", self.address);
        image.parse().expect("a reference")
    }

    /// Where it keeps the octets of `digest`.
    pub(super) fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").expect("a digest");
        let two = hex.get(..2).expect("64 digits");
        let blobs = self
            .folder
            .path()
            .join("data/docker/registry/v2/blobs/sha256");
        blobs.join(two).join(hex).join("data")
    }
}

pub(super) fn client() -> Client {
    postern_net::tls::install_provider();
    Client::try_from(ClientConfig {
        protocol: ClientProtocol::Http,
        ..ClientConfig::default()
    })
    .expect("a client")
}

/// A layer with the title that `oras push` would give it.
pub(super) fn layer(media_type: &str, title: &str, octets: &[u8]) -> ImageLayer {
    let title = BTreeMap::from([(TITLE.to_owned(), title.to_owned())]);
    let octets = Bytes::copy_from_slice(octets);
    ImageLayer::new(octets, media_type.to_owned(), Some(title))
}
