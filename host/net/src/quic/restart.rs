//! How a gateway that was started again tells the peers of the one before that their connections are
//! gone (stateless reset, RFC 9000 section 10.3). It knows their connection ids for its own, and makes
//! the tokens again that they were given, both by a secret that outlives the process. Without it they
//! would find out by `QuicConfig::idle_timeout`.

use std::{fmt, sync::Arc};

use quinn::{
    EndpointConfig,
    crypto::{CryptoError, HmacKey},
};
use quinn_proto::HashedConnectionIdGenerator;
use rustls::crypto::{aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256, tls13::OkmBlock};

/// The secret. Who has it can end the connections whose ids it sees.
#[derive(Clone, PartialEq, Eq)]
pub struct RestartKey([u8; SECRET_BYTES]);

/// HMAC-SHA256 by the library that TLS has it from.
struct ResetHmac(OkmBlock);

impl RestartKey {
    #[must_use]
    pub const fn new(secret: [u8; SECRET_BYTES]) -> Self {
        Self(secret)
    }

    /// The settings of an endpoint whose connections can be reset by the next.
    pub(super) fn endpoint(&self) -> EndpointConfig {
        let key = ResetHmac(OkmBlock::new(&self.0));
        let of_ids = key.tag(b"postern connection ids");
        let mut id_key = [0; 8];
        id_key
            .iter_mut()
            .zip(of_ids)
            .for_each(|(to, from)| *to = from);
        let id_key = u64::from_ne_bytes(id_key);
        let mut config = EndpointConfig::new(Arc::new(key));
        config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(id_key)));
        config
    }
}

impl ResetHmac {
    fn tag(&self, data: &[u8]) -> Vec<u8> {
        let suite = TLS13_AES_128_GCM_SHA256.tls13();
        let tag = suite.map(|suite| suite.hkdf_provider.hmac_sign(&self.0, data));
        tag.map(|tag| tag.as_ref().to_vec()).unwrap_or_default()
    }
}

impl HmacKey for ResetHmac {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        let tag = self.tag(data);
        signature_out
            .iter_mut()
            .zip(tag)
            .for_each(|(to, from)| *to = from);
    }

    fn signature_len(&self) -> usize {
        SHA256_BYTES
    }

    /// Without telling by its time how much was right.
    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let tag = self.tag(data);
        let pairs = tag.iter().zip(signature);
        let differing = pairs.fold(0, |differing, (a, b)| differing | (a ^ b));
        match differing == 0 && tag.len() == signature.len() {
            true => Ok(()),
            false => Err(CryptoError),
        }
    }
}

/// Without the secret.
impl fmt::Debug for RestartKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RestartKey")
    }
}

const SECRET_BYTES: usize = 32;
const SHA256_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 6 has the longest key; case 2 the shortest data.
    #[test]
    fn tags_are_those_of_hmac_sha256() {
        let key = ResetHmac(OkmBlock::new(b"Jefe"));
        let data = b"what do ya want for nothing?";
        let mut tag = [0; SHA256_BYTES];
        key.sign(data, &mut tag);
        let shown: String = tag.iter().map(|octet| format!("{octet:02x}")).collect();
        assert_eq!(
            shown,
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert!(key.verify(data, &tag).is_ok());
        tag[31] ^= 1;
        assert!(key.verify(data, &tag).is_err());
        assert!(key.verify(data, &tag[..31]).is_err());
    }

    #[test]
    fn the_secret_is_not_shown() {
        assert_eq!(format!("{:?}", RestartKey::new([7; 32])), "RestartKey");
    }
}
