//! Tokens: what they say, and whether it holds. Pure; signatures are verified by `keys`.
//!
//! A token names its algorithm, but the issuer's settings decide which are taken; there is no
//! `none`. Claims: RFC 7519 section 4.1; what to beware of: RFC 8725.

use jsonwebtoken::{Algorithm, Header, dangerous::insecure_decode, decode_header};
use postern_core::{Principal, Text};
use serde_json::Value;

use crate::config::{self, Jwt};

type Claims = serde_json::Map<String, Value>;

/// A token whose signature nobody has looked at.
pub(super) struct Token<'t> {
    header: Header,
    claims: Claims,
    /// Header and claims as they were signed.
    message: &'t str,
    /// In base64url.
    signature: &'t str,
}

/// What a token of one issuer must be, and who it then says calls.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    algorithms: Vec<Algorithm>,
    issuer: Option<String>,
    audiences: Vec<String>,
    leeway_s: u64,
    required: Vec<String>,
    name: String,
    roles: Vec<String>,
}

/// Why a token is not good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TokenError {
    #[error("the token is not a signed token with an algorithm that is known")]
    Malformed,
    #[error("the token asks for extensions that are not known")]
    Critical,
    #[error("tokens signed with {0:?} are not taken")]
    Algorithm(Algorithm),
    #[error("the token's issuer {0:?} is not known")]
    Issuer(String),
    #[error("the token's key {0:?} is not known")]
    Key(String),
    #[error("the token's signature is wrong")]
    Signature,
    #[error("the token expired {0} s ago")]
    Expired(u64),
    #[error("the token is good only in {0} s")]
    NotYet(u64),
    #[error("the token is for another audience")]
    Audience,
    #[error("the token lacks the claim {0}")]
    Missing(String),
    #[error("the token's claim {0} is not of its type")]
    Claim(&'static str),
    /// Nothing can be said of any token at present.
    #[error("the keys of issuer {0} cannot be had at present")]
    NoKeys(String),
}

impl<'t> Token<'t> {
    /// Reads a token without believing it.
    pub(super) fn read(text: &'t str) -> Result<Self, TokenError> {
        let (message, signature) = text.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let header = decode_header(text).map_err(|_| TokenError::Malformed)?;
        if header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        let claims = insecure_decode::<Claims>(text).map_err(|_| TokenError::Malformed)?;
        Ok(Self {
            header,
            claims: claims.claims,
            message,
            signature,
        })
    }

    pub(super) fn issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }

    pub(super) fn kid(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    pub(super) const fn algorithm(&self) -> Algorithm {
        self.header.alg
    }

    pub(super) const fn message(&self) -> &'t str {
        self.message
    }

    pub(super) const fn signature(&self) -> &'t str {
        self.signature
    }
}

impl Terms {
    pub(super) fn new(jwt: &Jwt) -> Self {
        Self {
            algorithms: jwt.algorithms().into_iter().map(algorithm).collect(),
            issuer: jwt.issuer.clone(),
            audiences: jwt.audiences.clone(),
            leeway_s: jwt.leeway.as_secs(),
            required: jwt.required_claims.clone(),
            name: jwt.name_claim.clone(),
            roles: jwt.role_claims.clone(),
        }
    }

    /// Whether a token may be of this issuer at all.
    pub(super) fn takes(&self, issuer: Option<&str>) -> bool {
        self.issuer.as_deref().is_none_or(|own| issuer == Some(own))
    }

    /// Everything but the signature, at `now` in seconds since 1970.
    pub(super) fn check(&self, token: &Token<'_>, now: u64) -> Result<(), TokenError> {
        if !self.algorithms.contains(&token.header.alg) {
            return Err(TokenError::Algorithm(token.header.alg));
        }
        for name in &self.required {
            if find(&token.claims, name).is_none_or(Value::is_null) {
                return Err(TokenError::Missing(name.clone()));
            }
        }
        if let Some(expires) = token.seconds("exp")? {
            let until = expires.saturating_add(self.leeway_s);
            if now >= until {
                return Err(TokenError::Expired(now.saturating_sub(expires)));
            }
        }
        if let Some(begins) = token.seconds("nbf")?
            && begins > now.saturating_add(self.leeway_s)
        {
            return Err(TokenError::NotYet(begins - now));
        }
        if self.audiences.is_empty() {
            return Ok(());
        }
        match token.claims.get("aud") {
            None => Err(TokenError::Missing("aud".to_owned())),
            Some(audience) => match words(audience).any(|word| self.audiences.contains(&word)) {
                true => Ok(()),
                false => Err(TokenError::Audience),
            },
        }
    }

    /// Until when a good token may be believed without being looked at again, in seconds since
    /// 1970.
    pub(super) fn until(&self, token: &Token<'_>) -> u64 {
        let expires = token.seconds("exp").ok().flatten();
        expires.map_or(u64::MAX, |expires| expires.saturating_add(self.leeway_s))
    }

    /// Who a good token says calls.
    pub(super) fn principal(&self, token: &Token<'_>) -> Result<Principal, TokenError> {
        let name = find(&token.claims, &self.name);
        let name = name.ok_or_else(|| TokenError::Missing(self.name.clone()))?;
        let mut roles: Vec<Text> = Vec::new();
        for path in &self.roles {
            let Some(value) = find(&token.claims, path) else {
                continue;
            };
            for role in words(value).flat_map(|text| split(&text)) {
                if !roles.contains(&role) {
                    roles.push(role);
                }
            }
        }
        let claims = token.claims.iter().filter(|(name, _)| **name != self.name);
        Ok(Principal {
            name: text(name),
            roles,
            claims: claims
                .map(|(name, value)| (Text::from(name.as_str()), text(value)))
                .collect(),
        })
    }
}

impl Token<'_> {
    /// A claim that is a number of seconds since 1970 (RFC 7519 section 2, "NumericDate").
    fn seconds(&self, name: &'static str) -> Result<Option<u64>, TokenError> {
        let Some(value) = self.claims.get(name) else {
            return Ok(None);
        };
        let whole = value.as_u64().or_else(|| {
            let number = value.as_f64()?;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "the range is checked, and a fraction of a second does not matter"
            )]
            (0.0..1e18).contains(&number).then_some(number as u64)
        });
        whole.map(Some).ok_or(TokenError::Claim(name))
    }
}

/// The claim at a path: a name as it stands, or names of members within members. Names may hold
/// dots themselves (`https://example.org/roles`), so the whole is tried first.
fn find<'c>(claims: &'c Claims, path: &str) -> Option<&'c Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let (first, rest) = path.split_once('.')?;
    find(claims.get(first)?.as_object()?, rest)
}

/// One text, or each text of a list.
fn words(value: &Value) -> impl Iterator<Item = String> {
    let one = value.as_str().map(str::to_owned);
    let many = value.as_array().into_iter().flatten();
    let many = many.filter_map(|item| item.as_str().map(str::to_owned));
    one.into_iter().chain(many)
}

/// The words of a text, as `scope` lists them (RFC 8693 section 4.2).
fn split(text: &str) -> Vec<Text> {
    text.split_ascii_whitespace().map(Text::from).collect()
}

fn text(value: &Value) -> Text {
    match value.as_str() {
        Some(text) => Text::from(text),
        None => Text::from(value.to_string()),
    }
}

pub(super) const fn algorithm(algorithm: config::Algorithm) -> Algorithm {
    match algorithm {
        config::Algorithm::Hs256 => Algorithm::HS256,
        config::Algorithm::Hs384 => Algorithm::HS384,
        config::Algorithm::Hs512 => Algorithm::HS512,
        config::Algorithm::Rs256 => Algorithm::RS256,
        config::Algorithm::Rs384 => Algorithm::RS384,
        config::Algorithm::Rs512 => Algorithm::RS512,
        config::Algorithm::Ps256 => Algorithm::PS256,
        config::Algorithm::Ps384 => Algorithm::PS384,
        config::Algorithm::Ps512 => Algorithm::PS512,
        config::Algorithm::Es256 => Algorithm::ES256,
        config::Algorithm::Es384 => Algorithm::ES384,
        config::Algorithm::EdDsa => Algorithm::EdDSA,
    }
}

#[cfg(test)]
mod tests;
