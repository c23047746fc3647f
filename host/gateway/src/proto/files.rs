//! The files of a schema as they were read: part of a deployment, kept and compared with it.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use postern_wasm::Digest;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// What a schema is compiled from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SchemaFiles {
    /// Names of the files that are asked for; the others are imported by them.
    pub roots: BTreeSet<String>,
    /// By the names by which files import each other.
    pub files: BTreeMap<String, FileOctets>,
    /// Why not all that are asked for are there; such a schema cannot be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// What stands in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FileOctets(pub Bytes);

impl SchemaFiles {
    /// A schema that cannot be read for the given reason.
    pub(super) fn faulty(fault: String) -> Self {
        Self {
            fault: Some(fault),
            ..Self::default()
        }
    }

    /// Of names and contents, 64 hex digits.
    #[must_use]
    pub(crate) fn digest(&self) -> String {
        Digest::of(&self.to_octets()).to_string()
    }

    /// As it is kept.
    #[must_use]
    pub(crate) fn to_octets(&self) -> Vec<u8> {
        // Maps with keys of text always have a form in JSON.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// As `to_octets` wrote it; `None` for anything else.
    #[must_use]
    pub(crate) fn from_octets(octets: &[u8]) -> Option<Self> {
        serde_json::from_slice(octets).ok()
    }

    /// The text of a file; `None` where it has none.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(&self.files.get(name)?.0).ok()
    }
}

/// Whether a file of that name is a source; others are sets of descriptors.
pub(super) fn is_source(name: &str) -> bool {
    name.ends_with(".proto")
}

impl Serialize for FileOctets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for FileOctets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let octets = STANDARD.decode(text).map_err(D::Error::custom)?;
        Ok(Self(octets.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_what_was_read() {
        let file = |octets: &'static [u8]| FileOctets(Bytes::from_static(octets));
        let files = SchemaFiles {
            roots: BTreeSet::from(["a.proto".to_owned()]),
            files: BTreeMap::from([
                ("a.proto".to_owned(), file(b"import \"b.proto\";")),
                ("b.proto".to_owned(), file(b"\xFF\0")),
            ]),
            fault: None,
        };
        assert_eq!(
            SchemaFiles::from_octets(&files.to_octets()),
            Some(files.clone())
        );
        let other = SchemaFiles::faulty("x".to_owned());
        assert_ne!(files.digest(), other.digest());
        assert_eq!(SchemaFiles::from_octets(b"{"), None);
    }
}
