//! Who calls, as plugins in the role `authenticator` say it. What one of them said of credentials is
//! remembered for as long as it said.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use postern_core::{
    Call, Error, Headers, Principal, Text,
    extension::{Asked, Credentials, Identity},
};
use sha2::{Digest, Sha256};

use super::chain::{Link, Passage};

/// What authenticators have said. Bounded; what is over first makes room.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    /// By plugin and credentials, of which only a digest is kept.
    said: Mutex<HashMap<Key, Said>>,
}

type Key = [u8; 32];

#[derive(Debug, Clone)]
struct Said {
    principal: Arc<Principal>,
    until: Instant,
}

impl Remembered {
    /// Asks the authenticators of the passage, in order, who makes a call that has no principal yet
    /// and shows credentials.
    ///
    /// # Errors
    /// `unauthenticated` when one of them refuses the credentials; `unavailable` when one cannot do
    /// its part and fails closed.
    pub(super) async fn identify(&self, passage: &Passage, call: &mut Call) -> Result<(), Error> {
        if call.context.principal.is_some() {
            return Ok(());
        }
        let mut asked = None;
        for (link, authenticator) in passage.authenticators() {
            let Some(credentials) = credentials(&call.headers) else {
                return Ok(());
            };
            let (key, now) = (key(link, &credentials), passage.start());
            if let Some(principal) = self.find(&key, now) {
                call.context.principal = Some(principal);
                return Ok(());
            }
            let asked = asked.get_or_insert_with(|| Asked::of(call, now));
            let said = authenticator
                .authenticate(asked, &credentials)
                .finish()
                .await;
            link.counts.seen.count();
            match said {
                Ok(Some(Identity { principal, valid })) => {
                    let principal = Arc::new(principal);
                    if let Some(valid) = valid {
                        self.remember(key, &principal, now, valid);
                    }
                    call.context.principal = Some(principal);
                    return Ok(());
                }
                Ok(None) => {}
                Err(fault) => link.judge(fault)?,
            }
        }
        Ok(())
    }

    /// Forgets everything: another generation of a plugin may say otherwise.
    pub(super) fn clear(&self) {
        self.said.lock().clear();
    }

    fn find(&self, key: &Key, now: Instant) -> Option<Arc<Principal>> {
        let said = self.said.lock();
        let said = said.get(key).filter(|said| now < said.until)?;
        Some(Arc::clone(&said.principal))
    }

    fn remember(&self, key: Key, principal: &Arc<Principal>, now: Instant, valid: Duration) {
        let Some(until) = now.checked_add(valid.min(VALID_MAX)) else {
            return;
        };
        let mut said = self.said.lock();
        if said.len() >= SAID_MAX {
            said.retain(|_, said| now < said.until);
        }
        if said.len() >= SAID_MAX
            && let Some(first) = said.iter().min_by_key(|(_, said)| said.until)
        {
            let first = *first.0;
            said.remove(&first);
        }
        let principal = Arc::clone(principal);
        said.insert(key, Said { principal, until });
    }
}

fn key(link: &Link, credentials: &Credentials) -> Key {
    let mut digest = Sha256::new();
    // Lengths keep apart what would read alike when written one after the other.
    for part in [
        link.plugin.as_bytes(),
        credentials.scheme.as_bytes(),
        credentials.token.as_bytes(),
    ] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

/// What the caller shows: `authorization: SCHEME TOKEN`, else `x-vsp-api-key: KEY`.
fn credentials(headers: &Headers) -> Option<Credentials> {
    if let Some(value) = headers.get_str("authorization") {
        let (scheme, token) = value.split_once(' ').unwrap_or((&value, ""));
        return Some(Credentials {
            scheme: scheme.to_ascii_lowercase().into(),
            token: token.trim().into(),
        });
    }
    let key = headers.get_str("x-vsp-api-key")?;
    Some(Credentials {
        scheme: Text::from_static("api-key"),
        token: Text::from(&*key),
    })
}

/// Answers kept at one time.
const SAID_MAX: usize = 10_000;
/// An answer is kept no longer, whatever the plugin says.
const VALID_MAX: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::new();
        for (name, value) in pairs {
            headers.push(name, value).expect("it fits");
        }
        headers
    }

    #[test]
    fn credentials_are_the_scheme_and_what_follows_it() {
        let found = credentials(&headers(&[("authorization", "Bearer abc")])).expect("there");
        assert_eq!((&*found.scheme, &*found.token), ("bearer", "abc"));
        let found = credentials(&headers(&[("x-vsp-api-key", "k1")])).expect("there");
        assert_eq!((&*found.scheme, &*found.token), ("api-key", "k1"));
        assert!(credentials(&headers(&[("accept", "x")])).is_none());
    }

    #[test]
    fn what_was_said_is_forgotten_when_it_is_over_and_the_first_to_end_makes_room() {
        let (remembered, now) = (Remembered::default(), Instant::now());
        let ann = Arc::new(Principal::default());
        let second = Duration::from_secs(1);
        remembered.remember([1; 32], &ann, now, second);
        assert!(remembered.find(&[1; 32], now).is_some());
        assert!(remembered.find(&[1; 32], now + second).is_none());
        for number in 0..SAID_MAX {
            let mut key = [2; 32];
            key[..8].copy_from_slice(&number.to_be_bytes());
            remembered.remember(key, &ann, now, second * 2);
        }
        assert_eq!(remembered.said.lock().len(), SAID_MAX);
        assert!(remembered.find(&[1; 32], now).is_none(), "it ended first");
    }
}
