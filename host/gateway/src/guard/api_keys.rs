//! API keys: known by their hashes only, from the configuration and from a file.
//!
//! A key is looked up by its SHA-256 and the hash is then compared in constant time. What a lookup
//! takes tells about the hash of what was sent, from which nothing can be learnt about a key.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use postern_core::Principal;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tracing::{info, warn};

use super::{GuardError, issuer::read_file};
use crate::config::{ApiKey, ApiKeys, KeyHash};

/// All keys at present.
#[derive(Debug)]
pub(super) struct KeyRing {
    settings: ApiKeys,
    keys: ArcSwap<Keys>,
    /// SHA-256 of what the file held when it was last read, good or bad.
    seen: Mutex<[u8; 32]>,
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
    pub(super) fn open(settings: &ApiKeys) -> Result<Self, GuardError> {
        let octets = settings.file.as_deref().map(read_file).transpose()?;
        let octets = octets.unwrap_or_default();
        let keys = collect(settings, &octets)?;
        Ok(Self {
            settings: settings.clone(),
            keys: ArcSwap::from_pointee(keys),
            seen: Mutex::new(Sha256::digest(&octets).into()),
        })
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

    /// Reads the file again; one that cannot be read leaves the keys from before. Blocks.
    pub(super) fn reread(&self) {
        let Some(path) = &self.settings.file else {
            return;
        };
        let octets = match read_file(path) {
            Ok(octets) => octets,
            Err(error) => return warn!(%error, "API keys stay as they were"),
        };
        let digest: [u8; 32] = Sha256::digest(&octets).into();
        if std::mem::replace(&mut *self.seen.lock(), digest) == digest {
            return;
        }
        match collect(&self.settings, &octets) {
            Ok(keys) => {
                info!(n_keys = keys.len(), "API keys were read again");
                self.keys.store(Arc::new(keys));
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
    let text = std::str::from_utf8(file).map_err(|_| GuardError::File {
        path: path.clone(),
        source: std::io::Error::other("it is not UTF-8"),
    })?;
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
        let ring = KeyRing::open(&settings(&text)).expect("opens");
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
    fn a_file_of_keys_is_read_again_and_a_broken_one_leaves_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("keys.toml");
        std::fs::write(&file, format!("[ann]\nhash = \"{}\"\n", hash("a"))).expect("written");
        let ring = KeyRing::open(&ApiKeys {
            file: Some(file.clone()),
            ..ApiKeys::default()
        })
        .expect("opens");
        assert!(ring.is_used());
        assert!(ring.find(b"a", 0).is_ok());
        std::fs::write(&file, "[ann]\nhash = \"sha256:short\"\n").expect("written");
        ring.reread();
        assert!(ring.find(b"a", 0).is_ok());
        std::fs::write(&file, format!("[bob]\nhash = \"{}\"\n", hash("b"))).expect("written");
        ring.reread();
        assert!(ring.find(b"a", 0).is_err() && ring.find(b"b", 0).is_ok());
        std::fs::remove_file(&file).expect("removed");
        ring.reread();
        assert!(ring.find(b"b", 0).is_ok());
    }

    #[test]
    fn two_owners_of_one_key_are_refused() {
        let text = format!(
            "[auth.api-keys.keys.ann]\nhash = \"{0}\"\n[auth.api-keys.keys.bob]\nhash = \"{0}\"",
            hash("same")
        );
        let error = KeyRing::open(&settings(&text)).expect_err("refused");
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
