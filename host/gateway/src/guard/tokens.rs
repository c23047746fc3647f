//! Tokens that were verified, so that a caller's next call does not cost a signature again.
//!
//! An entry is believed until the token expires and as long as the key that verified it is one of
//! its issuer's: a key that leaves its set takes its tokens along.

use std::sync::Arc;

use postern_core::Principal;
use sha2::{Digest, Sha256};

use super::{bounded_map::BoundedMap, keys::KeyId};

/// Verified tokens by their SHA-256. Bounded; the one that expires first makes room.
#[derive(Debug)]
pub(super) struct Tokens(BoundedMap<[u8; 32], TokenEntry>);

/// Which token: the token itself is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TokenId([u8; 32]);

#[derive(Debug, Clone)]
pub(super) struct TokenEntry {
    pub principal: Arc<Principal>,
    /// Place of its issuer among the issuers.
    pub issuer_idx: usize,
    pub key: KeyId,
    /// Seconds since 1970.
    pub until: u64,
}

impl TokenId {
    pub(super) fn of(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }
}

impl Tokens {
    pub(super) fn new(tokens_max: usize) -> Self {
        Self(BoundedMap::new(tokens_max, |entry| entry.until))
    }

    /// Who a token that was verified before says calls, at `now` in seconds since 1970;
    /// `is_key_good` says whether its key still is.
    pub(super) fn find(
        &self,
        token: TokenId,
        now: u64,
        is_key_good: impl FnOnce(&TokenEntry) -> bool,
    ) -> Option<Arc<Principal>> {
        let entry = self.0.read(&token.0, TokenEntry::clone)?;
        (now < entry.until && is_key_good(&entry)).then_some(entry.principal)
    }

    pub(super) fn insert(&self, token: TokenId, entry: TokenEntry) {
        let inserted: Result<(), std::convert::Infallible> =
            self.0.update(&token.0, |_| Ok(((), entry)));
        match inserted {
            Ok(()) => {}
            Err(never) => match never {},
        }
    }

    /// Forgets what could not be believed any more.
    pub(super) fn evict_expired(&self, now: u64, is_key_good: impl Fn(&TokenEntry) -> bool) {
        self.0
            .retain(|entry| now < entry.until && is_key_good(entry));
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(until: u64) -> TokenEntry {
        TokenEntry {
            principal: Arc::new(Principal {
                name: "ann".into(),
                roles: Vec::new(),
                claims: Vec::new(),
            }),
            issuer_idx: 0,
            key: [7; 32],
            until,
        }
    }

    #[test]
    fn a_token_is_believed_until_it_expires() {
        let (tokens, id) = (Tokens::new(10), TokenId::of("a.b.c"));
        assert!(tokens.find(id, 0, |_| true).is_none());
        tokens.insert(id, entry(100));
        assert!(tokens.find(id, 99, |_| true).is_some());
        assert!(tokens.find(id, 100, |_| true).is_none());
        assert!(tokens.find(TokenId::of("a.b.d"), 99, |_| true).is_none());
    }

    #[test]
    fn a_token_falls_with_its_key() {
        let (tokens, id) = (Tokens::new(10), TokenId::of("a.b.c"));
        tokens.insert(id, entry(100));
        assert!(tokens.find(id, 0, |entry| entry.key != [7; 32]).is_none());
        tokens.evict_expired(0, |entry| entry.key != [7; 32]);
        assert_eq!(tokens.len(), 0);
    }

    #[test]
    fn the_first_to_expire_makes_room_and_0_keeps_none() {
        let tokens = Tokens::new(2);
        for (name, until) in [("a", 300), ("b", 100), ("c", 200)] {
            tokens.insert(TokenId::of(name), entry(until));
        }
        assert!(tokens.find(TokenId::of("b"), 0, |_| true).is_none());
        assert!(tokens.find(TokenId::of("a"), 0, |_| true).is_some());
        let none = Tokens::new(0);
        none.insert(TokenId::of("a"), entry(300));
        assert_eq!(none.len(), 0);
    }
}
