//! TLS: what listeners show and ask (`[listeners.NAME.tls]`, `[admin.tls]`), and what is shown to
//! whoever this gateway dials (`[upstream-tls]`).

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use postern_net::tls::TlsVersion;

use super::{leaf::word_leaf, named::Named, section::section};

section! {
    /// What a listener shows its clients, and asks of them. On where there is a `certificate-file` or a
    /// name in `acme`.
    pub(crate) struct ListenerTls {
        /// Certificate and those that signed it, in PEM, its own first. Shown to clients that ask for
        /// a name which no certificate has, or for none.
        pub certificate_file: Option<PathBuf> = None;
        /// Its private key, in PEM.
        pub key_file: Option<PathBuf> = None;
        /// Further certificates, by names of your choice. A client is shown the one that has the name
        /// it asks for.
        pub certificates: BTreeMap<String, CertificateFiles> = BTreeMap::new();
        /// Names whose certificates `[acme]` gets and renews by itself, one each. Clients that ask for
        /// one of them are refused until its certificate is there.
        pub acme: Vec<String> = Vec::new();
        /// The least version of TLS: "1.2" or "1.3".
        pub version_min: LeastVersion = LeastVersion::Tls12;
        /// Whether a client that comes again may take up its session before.
        pub resumption: bool = true;
        /// Whether clients show certificates: "off" none is asked for, "optional" one that is shown
        /// must be good, "required" who shows none is refused.
        pub client_certificates: ClientCertificateMode = ClientCertificateMode::Off;
        /// Certificates of the authorities that clients are verified by, in PEM.
        pub client_ca_files: Vec<PathBuf> = Vec::new();
        /// Lists of revoked certificates, in PEM. Where there is any, whoever signs clients needs one.
        pub client_crl_files: Vec<PathBuf> = Vec::new();
    }
}

section! {
    /// One more certificate and its key.
    pub(crate) struct CertificateFiles {
        /// Certificate and those that signed it, in PEM, its own first. Needed.
        pub certificate_file: Option<PathBuf> = None;
        /// Its private key, in PEM. Needed.
        pub key_file: Option<PathBuf> = None;
    }
}

section! {
    /// How instances and other gateways at "tls://HOST:PORT" are verified, and what they are shown.
    pub(crate) struct UpstreamTls {
        /// Certificates of the authorities that they are verified by, in PEM. Those of the system when
        /// left empty.
        pub ca_files: Vec<PathBuf> = Vec::new();
        /// Shown to those that ask for a certificate, in PEM, with those that signed it.
        pub certificate_file: Option<PathBuf> = None;
        /// Its private key, in PEM.
        pub key_file: Option<PathBuf> = None;
        /// The least version of TLS: "1.2" or "1.3".
        pub version_min: LeastVersion = LeastVersion::Tls12;
    }
}

/// The least version of TLS that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeastVersion {
    Tls12,
    Tls13,
}

/// Whether clients show certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientCertificateMode {
    Off,
    Optional,
    Required,
}

word_leaf!(LeastVersion { Tls12 = "1.2", Tls13 = "1.3" });
word_leaf!(ClientCertificateMode { Off = "off", Optional = "optional", Required = "required" });

impl Named for CertificateFiles {}

impl From<LeastVersion> for TlsVersion {
    fn from(least: LeastVersion) -> Self {
        match least {
            LeastVersion::Tls12 => Self::V1_2,
            LeastVersion::Tls13 => Self::V1_3,
        }
    }
}

impl ListenerTls {
    #[must_use]
    pub(crate) const fn is_on(&self) -> bool {
        self.certificate_file.is_some() || !self.acme.is_empty()
    }

    /// Certificates with their keys, the default first.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&PathBuf, &PathBuf)> {
        let first = [(&self.certificate_file, &self.key_file)];
        let others = self.certificates.values();
        let others = others.map(|pair| (&pair.certificate_file, &pair.key_file));
        let pairs = first.into_iter().chain(others);
        pairs.filter_map(|(certificate, key)| Some((certificate.as_ref()?, key.as_ref()?)))
    }

    /// Every file that it names; those of `acme` are not among them.
    #[must_use]
    pub(crate) fn files(&self) -> BTreeSet<PathBuf> {
        let pairs = self
            .pairs()
            .flat_map(|(certificate, key)| [certificate, key]);
        let files = pairs.chain(&self.client_ca_files);
        files.chain(&self.client_crl_files).cloned().collect()
    }
}

impl UpstreamTls {
    /// Every file that it names.
    #[must_use]
    pub(crate) fn files(&self) -> BTreeSet<PathBuf> {
        let pair = self.certificate_file.iter().chain(&self.key_file);
        pair.chain(&self.ca_files).cloned().collect()
    }
}
