//! The tenants of the configuration.

use std::collections::BTreeMap;

use postern_guest::{Failure, Result};
use serde::Deserialize;
use sha2::{Digest, Sha256};

const HASH_BYTES: usize = 32;

type Hash = [u8; HASH_BYTES];

/// Tenants by name.
#[derive(Debug)]
pub(crate) struct Tenants(BTreeMap<String, Tenant>);

#[derive(Debug)]
pub(crate) struct Tenant {
    keys: Vec<Hash>,
    /// Names; one that ends in `*` stands for all that begin so.
    services: Vec<String>,
}

/// A tenant as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Written {
    /// SHA-256 of each key, in hexadecimal. More than one while keys change.
    keys: Vec<String>,
    #[serde(default)]
    services: Vec<String>,
}

impl Tenants {
    /// # Errors
    /// `failed-precondition` for a name that credentials cannot have, and for what is no hash.
    pub(crate) fn read(written: BTreeMap<String, Written>) -> Result<Self> {
        let tenants = written
            .into_iter()
            .map(|(name, Written { keys, services })| {
                if name.is_empty() || name.contains('.') {
                    let message = format!("tenant `{name}`: a name has no dot and is not empty");
                    return Err(Failure::failed_precondition(message));
                }
                let hash = |text: &String| {
                    let message =
                        || format!("tenant `{name}`: a key is not the SHA-256 of 64 hex digits");
                    hash(text).ok_or_else(|| Failure::failed_precondition(message()))
                };
                let keys = keys.iter().map(hash).collect::<Result<_>>()?;
                Ok((name, Tenant { keys, services }))
            });
        tenants.collect::<Result<_>>().map(Self)
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Tenant> {
        self.0.get(name)
    }
}

impl Tenant {
    /// Compares with every hash, so that the time does not tell which one it was.
    pub(crate) fn has_key(&self, key: &str) -> bool {
        let shown: Hash = Sha256::digest(key.as_bytes()).into();
        let differing = |hash: &Hash| {
            let pairs = hash.iter().zip(&shown);
            pairs.fold(0, |differing, (a, b)| differing | (a ^ b))
        };
        let equal = |found: bool, hash: &Hash| found | (differing(hash) == 0);
        self.keys.iter().fold(false, equal)
    }

    pub(crate) fn may_call(&self, service: &str) -> bool {
        self.services
            .iter()
            .any(|name| match name.strip_suffix('*') {
                Some(begin) => service.starts_with(begin),
                None => service == name,
            })
    }
}

fn hash(text: &str) -> Option<Hash> {
    let mut hash = [0; HASH_BYTES];
    if text.len() != 2 * HASH_BYTES || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (index, octet) in hash.iter_mut().enumerate() {
        let digits = text.get(2 * index..2 * index + 2)?;
        *octet = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_has_64_hex_digits() {
        assert_eq!(hash(&"0f".repeat(32)), Some([0x0f; 32]));
        assert_eq!(hash(&"0F".repeat(32)), Some([0x0f; 32]));
        assert_eq!(
            (hash(&"0f".repeat(31)), hash(&"0f".repeat(33))),
            (None, None)
        );
        assert_eq!(
            (hash(&"+f".repeat(32)), hash(&"é".repeat(32))),
            (None, None)
        );
    }
}
