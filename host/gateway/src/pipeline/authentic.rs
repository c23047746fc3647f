//! Who calls, as plugins in the role `authenticator` say it. What one of them said of credentials is
//! remembered for as long as it said, and no longer than the generation that said it is in service:
//! the generation is part of the key, and the memory is part of the chain, which is made anew when
//! any plugin or the configuration changes.

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

use super::chain::{ActiveChain, ChainLink};

/// What authenticators have said. Bounded; what is over first makes room.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    /// By plugin, generation and credentials, of which only a digest is kept.
    said: Mutex<HashMap<Key, Said>>,
}

type Key = [u8; 32];

#[derive(Debug, Clone)]
struct Said {
    principal: Arc<Principal>,
    until: Instant,
}

impl Remembered {
    /// Asks the authenticators of the chain, in order, who makes a call that has no principal yet
    /// and shows credentials.
    ///
    /// # Errors
    /// `unauthenticated` when one of them refuses the credentials; `unavailable` when one cannot do
    /// its part and fails closed.
    pub(super) async fn identify(&self, chain: &ActiveChain, call: &mut Call) -> Result<(), Error> {
        if call.context.principal.is_some() {
            return Ok(());
        }
        let mut asked = None;
        for (link, authenticator) in chain.authenticators() {
            let Some(credentials) = credentials(&call.headers) else {
                return Ok(());
            };
            // Read before it is asked: an answer of a later generation is kept for nobody.
            let generation = authenticator.generation();
            let (key, now) = (key(link, generation, &credentials), chain.start());
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

fn key(link: &ChainLink, generation: u64, credentials: &Credentials) -> Key {
    let mut digest = Sha256::new();
    digest.update(generation.to_be_bytes());
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
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use postern_core::extension::{AuthFault, Authenticator, Step};

    use postern_system::clock;

    use super::*;
    use crate::{
        config::Extension,
        pipeline::chain::{Chain, Part},
    };

    /// Knows everybody for a day, and counts how often it is asked.
    #[derive(Default)]
    struct Credulous {
        generation: AtomicU64,
        n_asked: AtomicU64,
    }

    impl Authenticator for Credulous {
        fn generation(&self) -> u64 {
            self.generation.load(Relaxed)
        }

        fn authenticate(
            &self,
            _: &Arc<Asked>,
            _: &Credentials,
        ) -> Step<Result<Option<Identity>, AuthFault>> {
            self.n_asked.fetch_add(1, Relaxed);
            Step::Done(Ok(Some(Identity {
                principal: Principal::default(),
                valid: Some(VALID_MAX),
            })))
        }
    }

    fn chain(authenticator: &Arc<Credulous>) -> Arc<Chain> {
        Arc::new(Chain::from_iter([ChainLink {
            plugin: "p".into(),
            settings: Extension::default(),
            part: Part::Live {
                authenticator: Some(Arc::clone(authenticator) as Arc<dyn Authenticator>),
                requests: None,
                responses: None,
                authorizer: None,
                frames: None,
            },
            counts: Arc::default(),
        }]))
    }

    #[tokio::test]
    async fn what_was_said_falls_with_the_generation_that_said_it_and_with_the_chain() {
        let authenticator = Arc::new(Credulous::default());
        let asked_after_a_call = async |chain: &Arc<Chain>| {
            let mut call = Call::unary("s", "m", "");
            call.headers = headers(&[("x-vsp-api-key", "k1")]);
            let chain = Arc::clone(chain).activate(&call, None, clock::now());
            let remembered = chain.remembered().expect("somebody is asked");
            let identified = remembered.identify(&chain, &mut call).await;
            identified.expect("everybody is known");
            assert!(call.context.principal.is_some());
            authenticator.n_asked.load(Relaxed)
        };
        let before = chain(&authenticator);
        assert_eq!(asked_after_a_call(&before).await, 1);
        assert_eq!(asked_after_a_call(&before).await, 1, "it is remembered");
        authenticator.generation.store(2, Relaxed);
        assert_eq!(asked_after_a_call(&before).await, 2);
        let after = chain(&authenticator);
        assert_eq!(asked_after_a_call(&after).await, 3);
        assert_eq!(asked_after_a_call(&after).await, 3);
    }

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
        let (remembered, now) = (Remembered::default(), clock::now());
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
