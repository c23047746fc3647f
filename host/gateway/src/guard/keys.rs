//! Keys that verify tokens: a secret, a PEM file, a set of public keys (JWKS, RFC 7517).

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse},
};
use sha2::{Digest, Sha256};

/// Keys of one issuer.
#[derive(Debug, Clone, Default)]
pub(super) struct KeySet {
    keys: Vec<VerifyingKey>,
    /// Keys of its set that can verify nothing here.
    n_passed_over: usize,
}

/// One key and what it may verify.
#[derive(Debug, Clone)]
pub(super) struct VerifyingKey {
    pub id: KeyId,
    /// Name within its set; keys that come alone have none.
    kid: Option<String>,
    /// The one algorithm it is for, where its set says so.
    algorithm: Option<Algorithm>,
    key: DecodingKey,
}

/// SHA-256 of a key and of what it may verify, so that a key is recognised when its set is read
/// again.
pub(super) type KeyId = [u8; 32];

/// Why octets hold no keys.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    #[error("it is not a set of keys: {0}")]
    Set(serde_json::Error),
    #[error("it is no public key in PEM: {0}")]
    Pem(jsonwebtoken::errors::Error),
    #[error("there is no key in it that could verify a token")]
    Empty,
    #[error("it holds {n_keys} keys, the limit is {KEYS_MAX}")]
    TooMany { n_keys: usize },
    #[error("the secret is empty")]
    EmptySecret,
    #[error("none of its keys verifies {algorithms}: another type of key, or another curve")]
    Misfit { algorithms: String },
}

impl KeySet {
    pub(super) fn of_secret(secret: &[u8]) -> Result<Self, KeysError> {
        if secret.is_empty() {
            return Err(KeysError::EmptySecret);
        }
        Ok(Self::of_one(secret, DecodingKey::from_secret(secret)))
    }

    /// The first block of a PEM text: a public key or a certificate; RSA, EC or Ed25519.
    pub(super) fn of_pem(pem: &[u8]) -> Result<Self, KeysError> {
        let key = DecodingKey::from_rsa_pem(pem)
            .or_else(|_| DecodingKey::from_ec_pem(pem))
            .or_else(|_| DecodingKey::from_ed_pem(pem))
            .map_err(KeysError::Pem)?;
        Ok(Self::of_one(pem, key))
    }

    /// The keys of a set that can verify signatures. Others are passed over: a set may hold keys
    /// of kinds that nobody here knows (RFC 7517 section 5). A set without keys is one: its issuer
    /// has withdrawn them all.
    pub(super) fn of_jwks(json: &[u8]) -> Result<Self, KeysError> {
        #[derive(serde::Deserialize)]
        struct Set {
            keys: Vec<serde_json::Value>,
        }
        let set: Set = serde_json::from_slice(json).map_err(KeysError::Set)?;
        let n_keys = set.keys.len();
        if n_keys > KEYS_MAX {
            return Err(KeysError::TooMany { n_keys });
        }
        let keys: Vec<_> = set
            .keys
            .into_iter()
            .filter_map(VerifyingKey::of_jwk)
            .collect();
        Ok(Self {
            n_passed_over: n_keys - keys.len(),
            keys,
        })
    }

    /// # Errors
    /// `Empty` when it holds keys and none of them could verify a token, which is a mistake in a set
    /// that nobody has used yet.
    pub(super) const fn check(&self) -> Result<(), KeysError> {
        match self.is_empty() && self.n_passed_over > 0 {
            true => Err(KeysError::Empty),
            false => Ok(()),
        }
    }

    /// Whether no token can be good.
    pub(super) const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    fn of_one(material: &[u8], key: DecodingKey) -> Self {
        Self {
            keys: vec![VerifyingKey {
                id: Sha256::digest(material).into(),
                kid: None,
                algorithm: None,
                key,
            }],
            n_passed_over: 0,
        }
    }

    /// The keys that a token may be signed with, by what its header says.
    ///
    /// A named key is the one of that name; a key that came alone has no name to compare.
    pub(super) fn candidates(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &VerifyingKey> {
        let candidates = self.keys.iter().filter(move |key| {
            let is_named = match (&key.kid, kid) {
                (Some(has), Some(asked)) => has == asked,
                (None, _) | (_, None) => true,
            };
            is_named && key.fits(algorithm)
        });
        candidates.take(CANDIDATES_MAX)
    }

    /// Whether a token that is signed by one of `algorithms` could be verified at all; an empty set is
    /// empty on purpose.
    pub(super) fn check_fits(&self, algorithms: &[Algorithm]) -> Result<(), KeysError> {
        let mut pairs = algorithms
            .iter()
            .flat_map(|algorithm| self.keys.iter().map(move |key| (key, *algorithm)));
        if self.is_empty() || pairs.any(|(key, algorithm)| key.fits(algorithm)) {
            return Ok(());
        }
        let names: Vec<_> = algorithms
            .iter()
            .map(|algorithm| format!("{algorithm:?}"))
            .collect();
        Err(KeysError::Misfit {
            algorithms: names.join(", "),
        })
    }

    pub(super) fn holds(&self, id: &KeyId) -> bool {
        self.keys.iter().any(|key| key.id == *id)
    }
}

impl VerifyingKey {
    fn of_jwk(value: serde_json::Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        // A secret in a set of public keys is no secret; it is passed over like what is unknown.
        let is_usable = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => true,
            AlgorithmParameters::EllipticCurve(key) => {
                matches!(key.curve, EllipticCurve::P256 | EllipticCurve::P384)
            }
            AlgorithmParameters::OctetKeyPair(key) => key.curve == EllipticCurve::Ed25519,
            AlgorithmParameters::OctetKey(_) | AlgorithmParameters::Other(_) | _ => false,
        };
        let is_for_signatures = !matches!(
            jwk.common.public_key_use,
            Some(PublicKeyUse::Encryption | PublicKeyUse::Other(_))
        );
        if !is_usable || !is_for_signatures {
            return None;
        }
        let algorithm = match jwk.common.key_algorithm {
            None => None,
            // One that is for something else verifies nothing.
            Some(algorithm) => Some(Algorithm::try_from(algorithm).ok()?),
        };
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        Some(Self {
            id: {
                let common = &jwk.common;
                let whole = (&jwk.algorithm, &common.key_id, &common.key_algorithm);
                Sha256::digest(serde_json::to_vec(&whole).ok()?).into()
            },
            kid: jwk.common.key_id,
            algorithm,
            key,
        })
    }

    /// Whether `signature` (base64url) is this key's of `message`.
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &str) -> bool {
        jsonwebtoken::crypto::verify(signature, message, &self.key, algorithm).unwrap_or(false)
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        self.family() == algorithm.family()
            && self.algorithm.is_none_or(|only| only == algorithm)
            && self.fits_curve(algorithm)
    }

    /// A key on P-256 is for ES256 alone, one on P-384 for ES384 (RFC 7518 section 3.4). A point is
    /// an octet and two coordinates (SEC 1 section 2.3.3).
    fn fits_curve(&self, algorithm: Algorithm) -> bool {
        let coordinate_bytes = if algorithm == Algorithm::ES256 {
            32
        } else if algorithm == Algorithm::ES384 {
            48
        } else {
            return true;
        };
        let point = self.key.try_get_as_bytes();
        point.is_ok_and(|point| point.len() == 1 + 2 * coordinate_bytes)
    }

    fn family(&self) -> AlgorithmFamily {
        self.key.family()
    }
}

/// Keys of one set. Identity providers publish two to ten.
const KEYS_MAX: usize = 256;
/// Keys that one token is tried with, so that a nameless one does not cost a whole set.
const CANDIDATES_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::guard::forge::{Forge, set_of};

    #[test]
    fn keys_of_unknown_kinds_are_passed_over() {
        let known = Forge::ed("a").jwk();
        let set = json!({ "keys": [
            { "kty": "AKP", "alg": "ML-DSA-65", "pub": "AA" },
            { "kty": "oct", "k": "c2VjcmV0", "kid": "secret" },
            { "kty": "OKP", "crv": "Ed448", "x": "AA" },
            known,
        ]});
        let set = KeySet::of_jwks(set.to_string().as_bytes()).expect("one is known");
        assert_eq!(set.keys.len(), 1);
        assert_eq!(set.candidates(Some("a"), Algorithm::EdDSA).count(), 1);
    }

    #[test]
    fn a_set_is_empty_on_purpose_or_by_mistake_or_is_none() {
        let set = |text: &str| KeySet::of_jwks(text.as_bytes());
        let emptied = set("{\"keys\":[]}").expect("a set");
        assert!(emptied.is_empty() && emptied.check().is_ok());
        let useless = set("{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}").expect("a set");
        assert!(useless.is_empty() && matches!(useless.check(), Err(KeysError::Empty)));
        for text in ["", "[]", "{}", "{\"keys\":1}"] {
            assert!(matches!(set(text), Err(KeysError::Set(_))));
        }
    }

    #[test]
    fn a_key_that_is_for_something_else_from_now_on_is_another() {
        let id = |change: fn(&mut serde_json::Value)| {
            let mut key = Forge::rs256("a").jwk();
            change(&mut key);
            let set = json!({ "keys": [key] }).to_string();
            let set = KeySet::of_jwks(set.as_bytes()).expect("a set");
            set.keys.first().expect("a key").id
        };
        let before = id(|_| {});
        assert_eq!(before, id(|_| {}));
        assert_ne!(before, id(|key| key["kid"] = "b".into()));
        assert_ne!(before, id(|key| key["alg"] = "PS256".into()));
    }

    #[test]
    fn a_set_is_taken_at_the_limit_and_refused_one_key_over() {
        let key = Forge::ed("a").jwk();
        let set = |n_keys: usize| json!({ "keys": vec![key.clone(); n_keys] }).to_string();
        assert!(KeySet::of_jwks(set(KEYS_MAX).as_bytes()).is_ok());
        let error = KeySet::of_jwks(set(KEYS_MAX + 1).as_bytes());
        assert!(matches!(error, Err(KeysError::TooMany { n_keys: 257 })));
    }

    #[test]
    fn a_token_is_tried_with_keys_of_its_name_and_family_only() {
        let forges = [Forge::ed("a"), Forge::ed("b"), Forge::es256("c")];
        let set = KeySet::of_jwks(set_of(&forges).as_bytes()).expect("a set");
        assert_eq!(set.candidates(Some("a"), Algorithm::EdDSA).count(), 1);
        assert_eq!(set.candidates(None, Algorithm::EdDSA).count(), 2);
        assert_eq!(set.candidates(Some("a"), Algorithm::ES256).count(), 0);
        assert_eq!(set.candidates(Some("z"), Algorithm::EdDSA).count(), 0);
        assert_eq!(set.candidates(Some("a"), Algorithm::HS256).count(), 0);
    }

    #[test]
    fn a_key_for_encryption_verifies_nothing() {
        let mut key = Forge::ed("a").jwk();
        key["use"] = "enc".into();
        let set = json!({ "keys": [key] }).to_string();
        let set = KeySet::of_jwks(set.as_bytes()).expect("a set");
        assert!(matches!(set.check(), Err(KeysError::Empty)));
    }

    #[test]
    fn keys_fit_the_algorithms_of_their_type_and_curve_only() {
        let check = |forge: &Forge, algorithms: &[Algorithm], expected: Option<&str>| {
            let set = set_of(std::slice::from_ref(forge));
            let of_jwk = KeySet::of_jwks(set.as_bytes()).expect("a set");
            let of_pem = KeySet::of_pem(forge.public_pem().as_bytes()).expect("a public key");
            for set in [of_jwk, of_pem] {
                let fits = set
                    .check_fits(algorithms)
                    .map_err(|error| error.to_string());
                assert_eq!(fits.err().as_deref(), expected, "{algorithms:?}");
            }
        };
        let misfit = "none of its keys verifies ES384: another type of key, or another curve";
        check(&Forge::es256("a"), &[Algorithm::ES256], None);
        check(&Forge::es384("a"), &[Algorithm::ES384], None);
        check(&Forge::es256("a"), &[Algorithm::ES384], Some(misfit));
        check(&Forge::rs256("a"), &[Algorithm::ES384], Some(misfit));
        check(&Forge::ed("a"), &[Algorithm::ES384, Algorithm::EdDSA], None);
        let misfit =
            "none of its keys verifies RS256, ES256: another type of key, or another curve";
        let asked = [Algorithm::RS256, Algorithm::ES256];
        check(&Forge::es384("a"), &asked, Some(misfit));
    }

    #[test]
    fn pem_of_each_family_is_read() {
        for forge in [Forge::ed("a"), Forge::es256("a"), Forge::rs256("a")] {
            let set = KeySet::of_pem(forge.public_pem().as_bytes()).expect("a public key");
            assert_eq!(set.candidates(Some("any"), forge.algorithm()).count(), 1);
        }
        assert!(matches!(
            KeySet::of_pem(b"nonsense"),
            Err(KeysError::Pem(_))
        ));
        let forge = Forge::es256("a");
        assert!(matches!(
            KeySet::of_pem(forge.private_pem().as_bytes()),
            Err(KeysError::Pem(_))
        ));
    }
}
