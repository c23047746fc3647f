//! The files of certificates, keys, authorities and revocations, as they were read last, and what they
//! make of the settings of TLS.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use postern_net::tls::{
    ClientCertificates, ClientTlsSettings, KeyPair, Pem, ServerTlsSettings, TlsError, Trust,
};
use tracing::warn;

use crate::{
    acme::{self, AuthorityFolder},
    config::tls::{ClientCertificateMode, ListenerTls, UpstreamTls},
    sources::{
        files::FILE_BYTES_MAX,
        sight::{self, ReadError},
    },
};

/// What each file said last, by its absolute path.
pub(super) type FileContents = BTreeMap<PathBuf, Bytes>;

/// Where the certificate of a name comes to be, with its key. It need not be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IssuedFile {
    pub(super) name: String,
    /// Absolute.
    pub(super) path: PathBuf,
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificatesError {
    #[error("{table}: {source}")]
    File { table: String, source: ReadError },
    #[error("{table}: {} is not there", path.display())]
    Absent { table: String, path: PathBuf },
    #[error("{table}: {source}")]
    Unusable { table: String, source: TlsError },
    #[error("acme.ca-files: {reason}")]
    Authority { reason: String },
}

impl IssuedFile {
    pub(super) fn all(settings: &ListenerTls, folder: &AuthorityFolder) -> Vec<Self> {
        let names = settings.acme.iter();
        let files = names.map(|name| Self {
            name: name.clone(),
            path: absolute(&folder.issued(name)),
        });
        files.collect()
    }

    /// Adds what it holds to `files`, where that is of use; from `known` where that is known.
    pub(super) fn read(&self, known: &FileContents, files: &mut FileContents) {
        let content = match known.get(&self.path) {
            Some(content) => Some(content.clone()),
            None => match sight::read(&self.path, FILE_BYTES_MAX) {
                Ok(content) => content.map(Bytes::from).filter(|one| self.takes(one)),
                Err(error) => {
                    warn!(name = self.name, %error, "a certificate that was issued cannot be read");
                    None
                }
            },
        };
        if let Some(content) = content {
            files.insert(self.path.clone(), content);
        }
    }

    /// Whether `content` is a certificate of its name, with its key.
    pub(super) fn takes(&self, content: &Bytes) -> bool {
        let usable = acme::usable(&self.path, content.clone(), &self.name);
        if let Err(error) = &usable {
            warn!(name = self.name, %error, "a certificate that was issued cannot be used");
        }
        usable.is_ok()
    }

    /// What was taken of it.
    fn pair(&self, files: &FileContents) -> Option<KeyPair> {
        let pem = Pem::new(
            self.path.display().to_string(),
            files.get(&self.path)?.clone(),
        );
        Some(KeyPair {
            certificate: pem.clone(),
            key: pem,
        })
    }
}

/// Adds what `paths` hold to `files`, from `known` where that is known.
pub(super) fn read_all(
    table: &str,
    paths: &BTreeSet<PathBuf>,
    known: &FileContents,
    files: &mut FileContents,
) -> Result<(), CertificatesError> {
    for path in paths {
        let path = absolute(path);
        let content = match known.get(&path) {
            Some(content) => content.clone(),
            None => read(table, &path)?,
        };
        files.insert(path, content);
    }
    Ok(())
}

fn read(table: &str, path: &Path) -> Result<Bytes, CertificatesError> {
    let content = sight::read(path, FILE_BYTES_MAX);
    let content = content.map_err(|source| CertificatesError::File {
        table: table.to_owned(),
        source,
    })?;
    content
        .map(Bytes::from)
        .ok_or_else(|| CertificatesError::Absent {
            table: table.to_owned(),
            path: path.to_owned(),
        })
}

pub(super) fn server_settings(
    settings: &ListenerTls,
    issued: &[IssuedFile],
    files: &FileContents,
) -> ServerTlsSettings {
    let trust = Trust {
        authorities: pems(&settings.client_ca_files, files),
        revocations: pems(&settings.client_crl_files, files),
    };
    let named = settings.pairs();
    let named = named.map(|(certificate, key)| pair(certificate, key, files));
    let issued = issued.iter().filter_map(|issued| issued.pair(files));
    ServerTlsSettings {
        pairs: named.chain(issued).collect(),
        awaited: settings.acme.clone(),
        clients: match settings.client_certificates {
            ClientCertificateMode::Off => ClientCertificates::Off,
            ClientCertificateMode::Optional => ClientCertificates::Optional(trust),
            ClientCertificateMode::Required => ClientCertificates::Required(trust),
        },
        version_min: settings.version_min.into(),
        resumption: settings.resumption,
    }
}

pub(super) fn client_settings(settings: &UpstreamTls, files: &FileContents) -> ClientTlsSettings {
    let named = settings
        .certificate_file
        .as_ref()
        .zip(settings.key_file.as_ref());
    let authorities = pems(&settings.ca_files, files);
    ClientTlsSettings {
        authorities: (!authorities.is_empty()).then_some(authorities),
        pair: named.map(|(certificate, key)| pair(certificate, key, files)),
        version_min: settings.version_min.into(),
    }
}

fn pair(certificate: &Path, key: &Path, files: &FileContents) -> KeyPair {
    KeyPair {
        certificate: pem(certificate, files),
        key: pem(key, files),
    }
}

fn pems(paths: &[PathBuf], files: &FileContents) -> Vec<Pem> {
    paths.iter().map(|path| pem(path, files)).collect()
}

/// Every file of a table is read before this.
fn pem(path: &Path, files: &FileContents) -> Pem {
    let content = files.get(&absolute(path)).cloned().unwrap_or_default();
    Pem::new(path.display().to_string(), content)
}

pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
