//! Keys and signatures by minisign itself.

use std::{fs, path::PathBuf, process::Command};

use postern_tests::system_tool;
use tempfile::TempDir;

/// Whoever signs, with a key of its own.
pub(super) struct Signer {
    folder: TempDir,
    /// The second line of its key file.
    pub(super) key: String,
    /// As minisign shows it.
    pub(super) key_id: String,
}

impl Signer {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        minisign(&folder, &["-G", "-W", "-p", "a.pub", "-s", "a.key"]);
        let text = fs::read_to_string(folder.path().join("a.pub")).expect("made");
        let mut lines = text.lines();
        let comment = lines.next().expect("a comment");
        let (_, key_id) = comment.rsplit_once(' ').expect("it ends with the number");
        Self {
            key_id: key_id.to_owned(),
            key: lines.next().expect("a key").to_owned(),
            folder,
        }
    }

    /// The key file.
    pub(super) fn public_file(&self) -> PathBuf {
        self.folder.path().join("a.pub")
    }

    /// The signature of `octets` as the file `name`, as minisign makes it by itself.
    pub(super) fn sign(&self, name: &str, octets: &[u8]) -> Vec<u8> {
        self.sign_with(name, octets, &[])
    }

    /// The signature of `octets` as the file `name`, made at `at` seconds since 1970.
    pub(super) fn sign_at(&self, at: u64, name: &str, octets: &[u8]) -> Vec<u8> {
        let comment = format!("timestamp:{at}\tfile:{name}\thashed");
        self.sign_with(name, octets, &["-t", &comment])
    }

    fn sign_with(&self, name: &str, octets: &[u8], further: &[&str]) -> Vec<u8> {
        fs::write(self.folder.path().join(name), octets).expect("written");
        let mut arguments = vec!["-S", "-s", "a.key", "-m", name, "-x", "signature"];
        arguments.extend(further);
        minisign(&self.folder, &arguments);
        fs::read(self.folder.path().join("signature")).expect("made")
    }
}

fn minisign(folder: &TempDir, arguments: &[&str]) {
    let mut command = Command::new(system_tool("minisign"));
    let output = command.args(arguments).current_dir(folder.path()).output();
    let output = output.expect("it runs");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}
