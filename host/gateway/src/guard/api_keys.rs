//! API keys: known by their hashes only, from the configuration and from a file.
//!
//! A key is looked up by its SHA-256 and the hash is then compared in constant time. What a lookup
//! takes tells about the hash of what was sent, from which nothing can be learnt about a key.

use std::{collections::HashMap, path::Path, sync::Arc};

use arc_swap::ArcSwap;
use postern_core::Principal;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tracing::{info, warn};

use super::{error::GuardError, held::HeldFile};
use crate::config::{ApiKey, ApiKeys, KeyHash};

/// All keys at present.
#[derive(Debug)]
pub(super) struct KeyRing {
    settings: ApiKeys,
    keys: ArcSwap<Keys>,
    /// What the file said when it was last good.
    file: Option<HeldFile>,
}

type Keys = HashMap<[u8; 32], Held>;

#[derive(Debug, Clone)]
struct Held {
    hash: KeyHash,
    principal: Arc<Principal>,
    /// Seconds since 1970.
    expires: Option<u64>,
}

/// Why a key is not good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ApiKeyError {
    #[error("the API key is not known")]
    Unknown,
    #[error("the API key of {name} expired {ago_s} s ago")]
    Expired { name: String, ago_s: u64 },
}

impl KeyRing {
    /// What the file says is `held` where it was read before.
    pub(super) fn open(settings: &ApiKeys, held: Option<HeldFile>) -> Result<Self, GuardError> {
        let file = match (&settings.file, held) {
            (None, _) => None,
            (Some(_), Some(held)) => Some(held),
            (Some(path), None) => Some(HeldFile::read(path)?),
        };
        let octets = file.as_ref().map(HeldFile::octets).unwrap_or_default();
        let keys = collect(settings, &octets)?;
        Ok(Self {
            settings: settings.clone(),
            keys: ArcSwap::from_pointee(keys),
            file,
        })
    }

    /// What it has read of `path`.
    pub(super) fn held(&self, path: &Path) -> Option<HeldFile> {
        let file = self.file.as_ref().filter(|file| file.path() == path);
        file.map(HeldFile::copy)
    }

    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_ref().map(HeldFile::path)
    }

    /// Whether there could be any key at all.
    pub(super) fn is_used(&self) -> bool {
        !self.settings.keys.is_empty() || self.settings.file.is_some()
    }

    /// Whose key it is, at `now` in seconds since 1970.
    pub(super) fn find(&self, key: &[u8], now: u64) -> Result<Arc<Principal>, ApiKeyError> {
        let hash: [u8; 32] = Sha256::digest(key).into();
        let keys = self.keys.load();
        let held = keys.get(&hash).ok_or(ApiKeyError::Unknown)?;
        if !bool::from(held.hash.0.ct_eq(&hash)) {
            return Err(ApiKeyError::Unknown);
        }
        match held.expires {
            Some(expires) if now >= expires => Err(ApiKeyError::Expired {
                name: held.principal.name.to_string(),
                ago_s: now - expires,
            }),
            _ => Ok(Arc::clone(&held.principal)),
        }
    }

    /// Takes what its file says; what is wrong leaves the keys from before.
    pub(super) fn take(&self, path: &Path, octets: &[u8]) {
        let Some(file) = self.file.as_ref().filter(|file| file.is_of(path)) else {
            return;
        };
        if file.says(octets) {
            return;
        }
        match collect(&self.settings, octets) {
            Ok(keys) => {
                info!(n_keys = keys.len(), "API keys were read again");
                self.keys.store(Arc::new(keys));
                file.set(octets);
            }
            Err(error) => warn!(%error, "API keys stay as they were"),
        }
    }
}

/// The keys of the configuration and those of a file.
fn collect(settings: &ApiKeys, file: &[u8]) -> Result<Keys, GuardError> {
    let mut keys = Keys::new();
    let own = settings.keys.iter();
    let path = settings.file.clone().unwrap_or_default();
    let text = std::str::from_utf8(file).map_err(|_| GuardError::NotText(path.clone()))?;
    let of_file = ApiKeys::parse_file(&path.display().to_string(), text)?;
    if let Some(name) = of_file
        .keys()
        .find(|name| settings.keys.contains_key(*name))
    {
        let name = name.clone();
        return Err(GuardError::SameOwner { name, path });
    }
    for (name, key) in own.chain(&of_file) {
        let Some((hash, held)) = held(name, key) else {
            continue;
        };
        if let Some(other) = keys.insert(hash, held) {
            return Err(GuardError::SameKey {
                names: [other.principal.name.to_string(), name.clone()],
            });
        }
    }
    Ok(keys)
}

/// `None` for a key without a hash, which was refused where it was read.
fn held(name: &str, key: &ApiKey) -> Option<([u8; 32], Held)> {
    let hash = key.hash?;
    let principal = Principal {
        name: name.into(),
        roles: key.roles.iter().map(|role| role.as_str().into()).collect(),
        claims: Vec::new(),
    };
    let held = Held {
        hash,
        principal: Arc::new(principal),
        expires: key.expires.map(|expires| expires.0),
    };
    Some((hash.0, held))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config;

    fn hash(key: &str) -> String {
        KeyHash(Sha256::digest(key).into()).to_string()
    }

    fn settings(text: &str) -> ApiKeys {
        let parsed = config::parse("t", text, &BTreeMap::new());
        let (config, _) = parsed.unwrap_or_else(|faults| panic!("{faults}"));
        config.auth.api_keys
    }

    #[test]
    fn a_key_is_good_until_the_second_it_expires() {
        let text = format!(
            "[auth.api-keys.keys.ann]\nhash = \"{}\"\nroles = [\"user\"]\nexpires = 1970-01-02\n\
             [auth.api-keys.keys.bob]\nhash = \"{}\"",
            hash("key of ann"),
            hash("key of bob")
        );
        let ring = KeyRing::open(&settings(&text), None).expect("opens");
        let ann = ring.find(b"key of ann", 86_399).expect("good");
        assert_eq!(
            (&*ann.name, ann.roles.as_slice()),
            ("ann", &["user".into()][..])
        );
        let expired = ApiKeyError::Expired {
            name: "ann".to_owned(),
            ago_s: 0,
        };
        assert_eq!(ring.find(b"key of ann", 86_400), Err(expired));
        assert!(ring.find(b"key of bob", u64::MAX).is_ok());
        for key in ["", "key of ann ", "Key of ann", &hash("key of ann")] {
            assert_eq!(ring.find(key.as_bytes(), 0), Err(ApiKeyError::Unknown));
        }
    }

    #[test]
    fn a_file_of_keys_is_taken_and_a_broken_one_leaves_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("keys.toml");
        std::fs::write(&file, format!("[ann]\nhash = \"{}\"\n", hash("a"))).expect("written");
        let settings = ApiKeys {
            file: Some(file.clone()),
            ..ApiKeys::default()
        };
        let ring = KeyRing::open(&settings, None).expect("opens");
        assert!(ring.is_used());
        assert!(ring.find(b"a", 0).is_ok());
        ring.take(&file, b"[ann]\nhash = \"sha256:short\"\n");
        assert!(ring.find(b"a", 0).is_ok());
        let after = KeyRing::open(&settings, ring.held(&file)).expect("opens");
        assert!(after.find(b"a", 0).is_ok(), "it goes on with what was good");
        let of_bob = format!("[bob]\nhash = \"{}\"\n", hash("b"));
        ring.take(Path::new("other.toml"), of_bob.as_bytes());
        assert!(ring.find(b"b", 0).is_err(), "not its file");
        ring.take(&file, of_bob.as_bytes());
        assert!(ring.find(b"a", 0).is_err() && ring.find(b"b", 0).is_ok());
        std::fs::write(&file, "[bob").expect("written");
        let after = KeyRing::open(&settings, ring.held(&file)).expect("opens");
        assert!(after.find(b"b", 0).is_ok(), "half a file was not read");
    }

    #[test]
    fn an_empty_file_of_keys_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("keys.toml");
        let settings = ApiKeys {
            file: Some(file.clone()),
            ..ApiKeys::default()
        };
        let error = KeyRing::open(&settings, None).expect_err("absent");
        assert!(matches!(error, GuardError::Absent(_)), "{error}");
        std::fs::write(&file, "").expect("written");
        let error = KeyRing::open(&settings, None).expect_err("empty");
        assert!(error.to_string().ends_with("keys.toml is empty"), "{error}");
        std::fs::write(&file, "# no keys yet\n").expect("written");
        KeyRing::open(&settings, None).expect("a file that says so");
    }

    #[test]
    fn two_owners_of_one_key_are_refused() {
        let text = format!(
            "[auth.api-keys.keys.ann]\nhash = \"{0}\"\n[auth.api-keys.keys.bob]\nhash = \"{0}\"",
            hash("same")
        );
        let error = KeyRing::open(&settings(&text), None).expect_err("refused");
        assert!(matches!(error, GuardError::SameKey { .. }), "{error}");
    }

    #[test]
    fn faults_of_a_file_name_their_line() {
        let faults = ApiKeys::parse_file("keys.toml", "[ann]\nrole = []\n").expect_err("faults");
        let drawing = faults.draw(false);
        assert!(drawing.contains("keys.toml:2:"), "{drawing}");
        assert!(drawing.contains("the key \"hash\" is missing"), "{drawing}");
    }
}
