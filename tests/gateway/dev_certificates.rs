//! What `postern certs dev` makes, for gateways that serve with TLS.

use std::{fs, path::PathBuf};

use postern_tests::postern;
use tempfile::TempDir;

/// An authority, and a certificate for `localhost` and this machine's own addresses.
pub(crate) struct DevCertificates {
    folder: TempDir,
}

impl DevCertificates {
    pub(crate) fn new() -> Self {
        Self::made(&["certs", "dev"])
    }

    /// For `localhost` alone, as clients with BoringSSL want it.
    pub(crate) fn of_hosts_only() -> Self {
        Self::made(&["certs", "dev", "--hosts-only"])
    }

    fn made(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let made = postern(folder.path(), arguments);
        assert_eq!(made.code, Some(0), "{made:?}");
        Self { folder }
    }

    /// The file `name`: `ca.pem`, `localhost.pem`, `localhost.key`.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("tls").join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("it was made")
    }

    /// The table by which the listener `name` serves with them.
    pub(crate) fn table(&self, name: &str) -> String {
        let (certificate, key) = (self.path("localhost.pem"), self.path("localhost.key"));
        format!(
            "[listeners.{name}.tls]\ncertificate-file = \"{}\"\nkey-file = \"{}\"\n",
            certificate.display(),
            key.display()
        )
    }
}
