//! Keys and tokens for tests, made when they are needed.

use std::sync::OnceLock;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, jwk::Jwk};
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
};
use serde_json::{Value, json};

/// One key pair, or a secret.
pub(super) struct Forge {
    kid: String,
    algorithm: Algorithm,
    key: EncodingKey,
    public_pem: String,
    private_pem: String,
}

impl Forge {
    pub(super) fn ed(kid: &str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        let key = EncodingKey::from_ed_pem(pair.serialize_pem().as_bytes()).expect("pkcs8");
        Self::of_pair(kid, Algorithm::EdDSA, key, &pair)
    }

    pub(super) fn es256(kid: &str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).expect("pkcs8");
        Self::of_pair(kid, Algorithm::ES256, key, &pair)
    }

    pub(super) fn es384(kid: &str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("a key");
        let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).expect("pkcs8");
        Self::of_pair(kid, Algorithm::ES384, key, &pair)
    }

    /// Always the same key: making one takes long.
    pub(super) fn rs256(kid: &str) -> Self {
        static PAIR: OnceLock<KeyPair> = OnceLock::new();
        let pair = PAIR.get_or_init(|| KeyPair::generate_for(&PKCS_RSA_SHA256).expect("a key"));
        let key = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).expect("pkcs8");
        Self::of_pair(kid, Algorithm::RS256, key, pair)
    }

    pub(super) fn hs256(secret: &[u8]) -> Self {
        Self {
            kid: String::new(),
            algorithm: Algorithm::HS256,
            key: EncodingKey::from_secret(secret),
            public_pem: String::new(),
            private_pem: String::new(),
        }
    }

    fn of_pair(kid: &str, algorithm: Algorithm, key: EncodingKey, pair: &KeyPair) -> Self {
        Self {
            kid: kid.to_owned(),
            algorithm,
            key,
            public_pem: pair.public_key_pem(),
            private_pem: pair.serialize_pem(),
        }
    }

    pub(super) const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) fn public_pem(&self) -> &str {
        &self.public_pem
    }

    pub(super) fn private_pem(&self) -> &str {
        &self.private_pem
    }

    /// The public key as a set publishes it.
    pub(super) fn jwk(&self) -> Value {
        let pem = self.public_pem.as_bytes();
        let key = DecodingKey::from_rsa_pem(pem)
            .or_else(|_| DecodingKey::from_ec_pem(pem))
            .or_else(|_| DecodingKey::from_ed_pem(pem))
            .expect("a public key");
        let jwk = Jwk::from_decoding_key(&key, Some(self.algorithm)).expect("a key of a set");
        let mut jwk = serde_json::to_value(jwk).expect("json");
        jwk["kid"] = self.kid.as_str().into();
        jwk["use"] = "sig".into();
        jwk
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = (!self.kid.is_empty()).then(|| self.kid.clone());
        self.sign_as(&header, claims)
    }

    pub(super) fn sign_as(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &self.key).expect("signs")
    }
}

pub(super) fn set_of(forges: &[Forge]) -> String {
    let keys: Vec<_> = forges.iter().map(Forge::jwk).collect();
    json!({ "keys": keys }).to_string()
}

/// What a good token says at `now`, seconds since 1970: good for another hour.
pub(super) fn claims(now: u64) -> Value {
    json!({
        "iss": "https://id.example.org",
        "aud": "postern",
        "sub": "ann",
        "exp": now + 3600,
        "roles": ["user", "admin"],
    })
}
