//! What last worked, kept per plugin, so that a restart over broken files starts what served before
//! them, and a rollback survives a restart. A component, its manifest and its schema are one deployment: they
//! are kept, started and rolled back to together.
//!
//! ```text
//! DATA-DIR/plugins/users/state.json        which deployment serves, which served before, which is skipped
//! DATA-DIR/plugins/users/DIGEST.wasm       a component, by the digest of its octets
//! DATA-DIR/plugins/users/DIGEST.toml       a manifest, by the digest of its text
//! DATA-DIR/plugins/users/DIGEST.schema     the files of a schema, by the digest of all of them
//! DATA-DIR/plugins/users/DIGEST.minisig    the signatures of all, by the digest of their texts
//! ```
//! Files are named by what they hold and never changed, and `state.json` is renamed into its place
//! last. A crash leaves the old state with all files that it names; what is not as its name says counts
//! as not there.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use postern_wasm::Digest;
use serde::{Deserialize, Serialize};

use super::{folder::Package, signature::SignatureTexts};
use crate::proto::SchemaFiles;

/// The copies of one plugin.
#[derive(Debug, Clone)]
pub(crate) struct PluginCopies {
    folder: PathBuf,
}

/// A component, its manifest and its schema by their digests, 64 hex digits each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Deployment {
    pub component: String,
    /// `None` where it has none.
    pub manifest: Option<String>,
    /// Of the files of its schema; `None` where none lies beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Of the signatures of all; `None` where nothing is signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// What the deployments of a plugin are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct DeploymentState {
    /// Serves, or served last.
    pub good: Option<Deployment>,
    /// Served before that, the latest first; at most `BEFORE_MAX`, each once.
    pub before: Vec<Deployment>,
    /// Rolled back from: not started though it lies in the plugin folder.
    pub skipped: Option<Deployment>,
}

/// A component, its manifest's text and the files of its schema, as they were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Copy {
    /// The component's, 64 hex digits.
    pub digest: String,
    pub component: Bytes,
    pub manifest: Option<String>,
    /// The schema that lies beside it.
    pub schema: Option<SchemaFiles>,
    pub signatures: SignatureTexts,
}

impl Copy {
    #[must_use]
    pub(crate) fn new(component: Bytes, manifest: Option<String>) -> Self {
        Self {
            digest: Digest::of(&component).to_string(),
            component,
            manifest,
            schema: None,
            signatures: SignatureTexts::default(),
        }
    }

    #[must_use]
    pub(crate) fn with_schema(self, schema: Option<SchemaFiles>) -> Self {
        Self { schema, ..self }
    }

    #[must_use]
    pub(crate) fn signed(self, signatures: SignatureTexts) -> Self {
        Self { signatures, ..self }
    }

    /// Of component, manifest and schema together, whoever signed them: 64 hex digits.
    #[must_use]
    pub(crate) fn content_digest(&self) -> String {
        let Deployment {
            component,
            manifest,
            schema,
            signature: _,
        } = self.deployment();
        let mut text = format!("{component}\n{}\n", manifest.unwrap_or_default());
        // One without a schema has the digest that it had before there were any.
        text.extend(schema.map(|schema| schema + "\n"));
        Digest::of(text.as_bytes()).to_string()
    }

    #[must_use]
    pub(crate) fn deployment(&self) -> Deployment {
        let manifest = self.manifest.as_ref();
        Deployment {
            component: self.digest.clone(),
            manifest: manifest.map(|text| Digest::of(text.as_bytes()).to_string()),
            schema: self.schema.as_ref().map(SchemaFiles::digest),
            signature: self.signatures.digest(),
        }
    }
}

impl PluginCopies {
    #[must_use]
    pub(crate) fn new(data_dir: &Path, plugin: &str) -> Self {
        Self {
            folder: data_dir.join("plugins").join(plugin),
        }
    }

    /// What was noted last; nothing when nothing was, or when it cannot be read.
    #[must_use]
    pub(crate) fn state(&self) -> DeploymentState {
        let text = fs::read(self.folder.join(STATE)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// The copy of `deployment`, if it is kept whole.
    #[must_use]
    pub(crate) fn load(&self, deployment: &Deployment) -> Option<Copy> {
        let component = fs::read(self.component_path(deployment)).ok()?.into();
        let manifest = match self.manifest_path(deployment) {
            Some(path) => Some(fs::read_to_string(path).ok()?),
            None => None,
        };
        let schema = match self.schema_path(deployment) {
            Some(path) => Some(SchemaFiles::from_octets(&fs::read(path).ok()?)?),
            None => None,
        };
        let signatures = match self.signature_path(deployment) {
            Some(path) => serde_json::from_slice(&fs::read(path).ok()?).ok()?,
            None => SignatureTexts::default(),
        };
        let copy = Copy::new(component, manifest).with_schema(schema);
        let copy = copy.signed(signatures);
        (copy.deployment() == *deployment).then_some(copy)
    }

    /// What serves, or served last.
    #[must_use]
    pub(crate) fn load_good(&self) -> Option<Copy> {
        self.state().good.and_then(|good| self.load(&good))
    }

    /// The latest of the deployments before that is kept.
    #[must_use]
    pub(crate) fn load_before(&self) -> Option<Copy> {
        self.state()
            .before
            .iter()
            .find_map(|deployment| self.load(deployment))
    }

    /// Keeps `copy` as what serves; what served before it is kept for rollbacks.
    ///
    /// # Errors
    /// Whatever the system says; what was kept before stays.
    pub(crate) fn keep(&self, copy: &Copy) -> io::Result<()> {
        let deployment = copy.deployment();
        fs::create_dir_all(&self.folder)?;
        let kept = self.load(&deployment);
        if kept.as_ref() != Some(copy) {
            self.write(&self.component_path(&deployment), &copy.component)?;
            if let (Some(path), Some(text)) = (self.manifest_path(&deployment), &copy.manifest) {
                self.write(&path, text.as_bytes())?;
            }
            if let (Some(path), Some(schema)) = (self.schema_path(&deployment), &copy.schema) {
                self.write(&path, &schema.to_octets())?;
            }
            if let Some(path) = self.signature_path(&deployment) {
                self.write(&path, &serde_json::to_vec(&copy.signatures)?)?;
            }
        }
        let old = self.state();
        let mut before: Vec<_> = old.good.into_iter().chain(old.before).collect();
        before.retain(|known| *known != deployment);
        before.truncate(BEFORE_MAX);
        self.note(&DeploymentState {
            good: Some(deployment),
            before,
            skipped: None,
        })
    }

    /// Notes that `to`, one of those before, serves again and that `skipped` is not to be started.
    /// What served after it is forgotten, so that the next rollback goes further back.
    ///
    /// # Errors
    /// Whatever the system says.
    pub(crate) fn keep_rollback(
        &self,
        to: &Deployment,
        skipped: Option<Deployment>,
    ) -> io::Result<()> {
        let before = self.state().before.into_iter();
        let before = before.skip_while(|known| known != to).skip(1).collect();
        self.note(&DeploymentState {
            good: Some(to.clone()),
            before,
            skipped,
        })
    }

    /// Forgets the plugin.
    ///
    /// # Errors
    /// Whatever the system says.
    pub(crate) fn clear(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    fn note(&self, state: &DeploymentState) -> io::Result<()> {
        let text = serde_json::to_vec(state)?;
        self.write(&self.folder.join(STATE), &text)?;
        self.drop_older(state)
    }

    fn drop_older(&self, state: &DeploymentState) -> io::Result<()> {
        let kept = state.good.iter().chain(&state.before);
        let kept: BTreeSet<PathBuf> = kept
            .flat_map(|deployment| {
                let component = self.component_path(deployment);
                let others = self.manifest_path(deployment).into_iter();
                let others = others.chain(self.schema_path(deployment));
                let others = others.chain(self.signature_path(deployment));
                std::iter::once(component).chain(others)
            })
            .collect();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let end = path.extension().and_then(|end| end.to_str());
            let is_copy = end.is_some_and(|end| ENDS.contains(&end));
            if is_copy && !kept.contains(&path) {
                remove_if_there(&path)?;
            }
        }
        Ok(())
    }

    fn component_path(&self, deployment: &Deployment) -> PathBuf {
        self.folder.join(format!("{}.wasm", deployment.component))
    }

    fn manifest_path(&self, deployment: &Deployment) -> Option<PathBuf> {
        let digest = deployment.manifest.as_ref()?;
        Some(self.folder.join(format!("{digest}.toml")))
    }

    fn schema_path(&self, deployment: &Deployment) -> Option<PathBuf> {
        let digest = deployment.schema.as_ref()?;
        Some(self.folder.join(format!("{digest}.schema")))
    }

    fn signature_path(&self, deployment: &Deployment) -> Option<PathBuf> {
        let digest = deployment.signature.as_ref()?;
        Some(self.folder.join(format!("{digest}.minisig")))
    }

    /// On disk when it returns, whole under its name or not at all.
    fn write(&self, path: &Path, octets: &[u8]) -> io::Result<()> {
        let beside = self.folder.join(".writing");
        let mut file = fs::File::create(&beside)?;
        file.write_all(octets)?;
        file.sync_all()?;
        fs::rename(beside, path)
    }
}

impl From<Package> for Copy {
    fn from(package: Package) -> Self {
        let manifest = package.manifest.map(|(_, text)| text);
        let copy = Self::new(package.component, manifest).with_schema(package.schema);
        copy.signed(package.signatures)
    }
}

/// Names of the plugins of which something is kept. None where that cannot be read.
#[must_use]
pub(crate) fn kept(data_dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(data_dir.join("plugins"));
    let names = entries.into_iter().flatten().filter_map(|entry| {
        let name = entry.ok()?.file_name();
        Some(name.to_str()?.to_owned())
    });
    names.collect()
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

const STATE: &str = "state.json";
/// How names of copies end.
const ENDS: [&str; 4] = ["wasm", "toml", "schema", "minisig"];

/// Deployments to which a rollback can return.
pub(crate) const BEFORE_MAX: usize = 3;

#[cfg(test)]
mod tests;
