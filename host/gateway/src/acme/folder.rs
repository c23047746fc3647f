//! The files of one authority. Everything here blocks.

use std::{
    fs::{self, File, TryLockError},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use postern_core::tls::SubjectName;
use postern_net::tls::{CertificateInfo, KeyPair, Pem};
use serde::{Serialize, de::DeserializeOwned};
use tracing::warn;

use super::standing::{Attempts, Standing};
use crate::{config::Config, private_file};

/// Where they lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuthorityFolder(PathBuf);

/// Held by whoever orders from the authority; let go of when it is dropped, or its process ends.
#[derive(Debug)]
pub(crate) struct FolderLock {
    #[expect(dead_code, reason = "the lock is held as long as the file is open")]
    file: File,
}

/// What is answered as long as this is there.
#[derive(Debug)]
pub(super) struct AnswerFile(PathBuf);

/// The certificate and key in `octets`, which the file `path` holds, where they are good for `name`.
///
/// # Errors
/// Why they are not.
pub(crate) fn usable(
    path: &Path,
    octets: impl Into<bytes::Bytes>,
    name: &str,
) -> Result<(KeyPair, CertificateInfo), String> {
    let pem = Pem::new(path.display().to_string(), octets);
    let pair = KeyPair {
        certificate: pem.clone(),
        key: pem,
    };
    let info = pair.info().map_err(|error| error.to_string())?;
    let is_named = |one: &SubjectName| matches!(one, SubjectName::Dns(dns) if *dns == *name);
    match info.names.iter().any(is_named) {
        true => Ok((pair, info)),
        false => Err(format!("{} is of another name than {name}", path.display())),
    }
}

impl AuthorityFolder {
    pub(crate) const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Of the authority that `config` names.
    pub(crate) fn of(config: &Config) -> Self {
        Self::new(config.acme.authority_folder(&config.data_dir))
    }

    /// Makes what is missing of it.
    ///
    /// # Errors
    /// What the operating system says.
    pub(crate) fn create(&self) -> io::Result<()> {
        private_file::create_folder(&self.0.join(CERTIFICATES))?;
        private_file::create_folder(&self.0.join(CHALLENGES))
    }

    /// The right to order; none while another has it. What the one before left unfinished is removed.
    ///
    /// # Errors
    /// What the operating system says.
    pub(crate) fn try_lock(&self) -> io::Result<Option<FolderLock>> {
        let mut options = File::options();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(self.0.join("lock"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        for left in fs::read_dir(self.0.join(CHALLENGES))? {
            fs::remove_file(left?.path())?;
        }
        Ok(Some(FolderLock { file }))
    }

    /// Where the certificate of `name` is, with its key.
    #[must_use]
    pub(crate) fn issued(&self, name: &str) -> PathBuf {
        self.0.join(CERTIFICATES).join(format!("{name}.pem"))
    }

    /// How it stands with `name`. A file that cannot be used counts as none.
    pub(crate) fn standing(&self, name: &str) -> Standing {
        let path = self.issued(name);
        let info = match fs::read(&path) {
            Ok(octets) => match usable(&path, octets, name) {
                Ok((_, info)) => Some(info),
                Err(error) => {
                    warn!(name, %error, "a certificate that was issued cannot be used");
                    None
                }
            },
            Err(error) => {
                tell_unless_absent(&path, &error);
                None
            }
        };
        let attempts = read_json(&self.attempts(name)).unwrap_or_default();
        Standing {
            name: name.to_owned(),
            info,
            attempts,
        }
    }

    /// Keeps key and chain, and that nothing has failed since.
    ///
    /// # Errors
    /// What the operating system says.
    pub(crate) fn put_issued(&self, name: &str, pem: &str) -> io::Result<()> {
        private_file::put(&self.issued(name), pem.as_bytes())?;
        match fs::remove_file(self.attempts(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// # Errors
    /// What the operating system says.
    pub(crate) fn put_attempts(&self, name: &str, attempts: &Attempts) -> io::Result<()> {
        put_json(&self.attempts(name), attempts)
    }

    pub(super) fn account<T: DeserializeOwned>(&self) -> Option<T> {
        read_json(&self.0.join(ACCOUNT))
    }

    pub(super) fn put_account<T: Serialize>(&self, account: &T) -> io::Result<()> {
        put_json(&self.0.join(ACCOUNT), account)
    }

    /// Answers by `text` whoever asks for `key`, which is a token or a name, by a challenge of `kind`.
    pub(super) fn put_answer(&self, kind: &str, key: &str, text: &str) -> io::Result<AnswerFile> {
        let path = self.answer_path(kind, key);
        private_file::put(&path, text.as_bytes())?;
        Ok(AnswerFile(path))
    }

    pub(super) fn answer(&self, kind: &str, key: &str) -> Option<String> {
        fs::read_to_string(self.answer_path(kind, key)).ok()
    }

    fn answer_path(&self, kind: &str, key: &str) -> PathBuf {
        self.0.join(CHALLENGES).join(format!("{kind}.{key}"))
    }

    fn attempts(&self, name: &str) -> PathBuf {
        self.0.join(CERTIFICATES).join(format!("{name}.json"))
    }
}

impl Drop for AnswerFile {
    fn drop(&mut self) {
        // Whoever orders next removes what is left.
        drop(fs::remove_file(&self.0));
    }
}

/// None where it is not there, or says nothing that can be read.
fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let octets = match fs::read(path) {
        Ok(octets) => octets,
        Err(error) => {
            tell_unless_absent(path, &error);
            return None;
        }
    };
    // The error of a parser may quote what it reads, and a key is among it.
    let parsed = serde_json::from_slice(&octets);
    if parsed.is_err() {
        warn!(file = %path.display(), "it cannot be read, and counts as not there");
    }
    parsed.ok()
}

fn put_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    private_file::put(path, &serde_json::to_vec(value)?)
}

fn tell_unless_absent(path: &Path, error: &io::Error) {
    if error.kind() != ErrorKind::NotFound {
        warn!(file = %path.display(), %error, "it cannot be read, and counts as not there");
    }
}

const ACCOUNT: &str = "account.json";
const CERTIFICATES: &str = "certificates";
const CHALLENGES: &str = "challenges";
