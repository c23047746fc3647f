//! Clients whose tokens expire while they are connected: the connection ends then. Pure.

use std::collections::{BTreeSet, HashMap};

use postern_core::{Principal, Text};

/// When which client's token expires, in seconds since 1970.
#[derive(Debug, Default)]
pub(super) struct TokenExpiry {
    by_time: BTreeSet<(u64, Text)>,
    by_client: HashMap<Text, u64>,
}

impl TokenExpiry {
    /// The client has connected as `principal`: what was known of it before counts no more.
    pub(super) fn on_connected(&mut self, client_id: &Text, principal: Option<&Principal>) {
        if let Some(before) = self.by_client.remove(client_id) {
            self.by_time.remove(&(before, client_id.clone()));
        }
        if let Some(at) = principal.and_then(expires_at) {
            self.by_client.insert(client_id.clone(), at);
            self.by_time.insert((at, client_id.clone()));
        }
    }

    /// The next client whose token has expired at `now`.
    pub(super) fn take_expired(&mut self, now: u64) -> Option<Text> {
        let (at, _) = self.by_time.first()?;
        if *at > now {
            return None;
        }
        let (_, client_id) = self.by_time.pop_first()?;
        self.by_client.remove(&client_id);
        Some(client_id)
    }

    pub(super) fn len(&self) -> usize {
        self.by_client.len()
    }

    /// Forgets those that `is_connected` says are gone.
    pub(super) fn retain(&mut self, is_connected: impl Fn(&Text) -> bool) {
        self.by_client
            .retain(|client_id, _| is_connected(client_id));
        let known = &self.by_client;
        self.by_time
            .retain(|(_, client_id)| known.contains_key(client_id));
    }
}

/// Claim `exp` of a token (RFC 7519 section 4.1.4); a fraction of a second does not matter.
fn expires_at(principal: &Principal) -> Option<u64> {
    let mut claims = principal.claims.iter();
    let (_, value) = claims.find(|(name, _)| *name == "exp")?;
    value.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(exp: &str) -> Principal {
        Principal {
            name: "d".into(),
            roles: Vec::new(),
            claims: vec![("exp".into(), exp.into())],
        }
    }

    #[test]
    fn a_token_ends_the_connection_that_was_made_with_it() {
        let mut expiry = TokenExpiry::default();
        expiry.on_connected(&"a".into(), Some(&principal("10")));
        expiry.on_connected(&"b".into(), Some(&principal("7.5")));
        assert_eq!(expiry.take_expired(6), None);
        assert_eq!(expiry.take_expired(7).as_deref(), Some("b"));
        // With another token it goes on.
        expiry.on_connected(&"a".into(), Some(&principal("20")));
        assert_eq!(expiry.take_expired(10), None);
        expiry.on_connected(&"a".into(), None);
        assert_eq!((expiry.take_expired(99), expiry.len()), (None, 0));
    }

    #[test]
    fn clients_that_have_gone_are_forgotten() {
        let mut expiry = TokenExpiry::default();
        for name in ["a", "b"] {
            expiry.on_connected(&name.into(), Some(&principal("10")));
        }
        expiry.retain(|client_id| *client_id == "b");
        assert_eq!(expiry.len(), 1);
        assert_eq!(expiry.take_expired(10).as_deref(), Some("b"));
        assert_eq!(expiry.take_expired(10), None);
    }
}
