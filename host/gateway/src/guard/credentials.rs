//! What a call carries to prove who calls: a token or an API key. Pure.
//!
//! | header | credentials |
//! | --- | --- |
//! | `authorization: Bearer TOKEN` | a token (RFC 6750 section 2.1) |
//! | `x-vsp-api-key: KEY` (the name is `auth.api-keys.header`) | an API key |
//!
//! VSTP keys are octets and HTTP's are lower case, so names match in any case. Another scheme than
//! `Bearer` is somebody else's: it is left where it is and counts as no credentials.

use std::borrow::Cow;

use postern_core::Headers;

/// Something that proves who calls, if it is good.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CallCredentials<'c> {
    Token(Cow<'c, str>),
    ApiKey(Cow<'c, [u8]>),
}

/// Which kind of credentials said who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CredentialKind {
    Token,
    ApiKey,
}

/// Which credentials are looked for. What nobody could check is left to the service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub tokens: bool,
    /// Header of API keys, lower case.
    pub api_key_header: Option<String>,
    pub bytes_max: usize,
}

/// Why credentials cannot even be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum CredentialsError {
    #[error("the call carries more than one token or key")]
    Several,
    #[error("the token or key exceeds the limit of {limit} octets")]
    TooLong { limit: usize },
    #[error("the token is not text")]
    NotText,
    #[error("the token or key is empty")]
    Empty,
}

impl Wanted {
    /// The one credential of a call.
    ///
    /// # Errors
    /// Several are refused, because nobody could say which of them the caller is.
    pub(super) fn find<'c>(
        &self,
        headers: &'c Headers,
    ) -> Result<Option<CallCredentials<'c>>, CredentialsError> {
        let is_there = headers
            .entries()
            .any(|(key, _)| self.is_token_header(key) || self.is_key_header(key));
        if !is_there {
            return Ok(None);
        }
        let mut found = None;
        for (key, value) in headers.iter() {
            let credentials = if self.is_token_header(key) {
                bearer(value)?.map(CallCredentials::Token)
            } else if self.is_key_header(key) {
                Some(CallCredentials::ApiKey(value))
            } else {
                None
            };
            let Some(credentials) = credentials else {
                continue;
            };
            if found.is_some() {
                return Err(CredentialsError::Several);
            }
            found = Some(credentials);
        }
        if let Some(found) = &found {
            self.check_length(found)?;
        }
        Ok(found)
    }

    /// Headers without those that carry what was taken.
    pub(super) fn without(&self, headers: &Headers, taken: CredentialKind) -> Headers {
        headers.without(|key| match taken {
            CredentialKind::Token => self.is_token_header(key),
            CredentialKind::ApiKey => self.is_key_header(key),
        })
    }

    fn check_length(&self, credentials: &CallCredentials<'_>) -> Result<(), CredentialsError> {
        let length = match credentials {
            CallCredentials::Token(token) => token.len(),
            CallCredentials::ApiKey(key) => key.len(),
        };
        match length {
            0 => Err(CredentialsError::Empty),
            length if length > self.bytes_max => Err(CredentialsError::TooLong {
                limit: self.bytes_max,
            }),
            _ => Ok(()),
        }
    }

    fn is_token_header(&self, key: &[u8]) -> bool {
        self.tokens && key.eq_ignore_ascii_case(b"authorization")
    }

    fn is_key_header(&self, key: &[u8]) -> bool {
        let header = self.api_key_header.as_deref();
        header.is_some_and(|header| key.eq_ignore_ascii_case(header.as_bytes()))
    }
}

/// What follows the scheme `Bearer`; `None` for another scheme.
fn bearer(value: Cow<'_, [u8]>) -> Result<Option<Cow<'_, str>>, CredentialsError> {
    const SCHEME: usize = "Bearer".len();
    let is_bearer = match (value.get(..SCHEME), value.get(SCHEME)) {
        (Some(scheme), after) => {
            scheme.eq_ignore_ascii_case(b"bearer") && after.is_none_or(|octet| *octet == b' ')
        }
        (None, _) => false,
    };
    if !is_bearer {
        return Ok(None);
    }
    Ok(Some(match value {
        Cow::Borrowed(value) => text(value.get(SCHEME..))?.into(),
        Cow::Owned(value) => text(value.get(SCHEME..))?.to_owned().into(),
    }))
}

fn text(octets: Option<&[u8]>) -> Result<&str, CredentialsError> {
    let text = std::str::from_utf8(octets.unwrap_or_default());
    text.map(str::trim).map_err(|_| CredentialsError::NotText)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        Wanted {
            tokens: true,
            api_key_header: Some("x-vsp-api-key".to_owned()),
            bytes_max: 600,
        }
    }

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::new();
        for (key, value) in pairs {
            headers.push(key, value).expect("short");
        }
        headers
    }

    #[track_caller]
    fn check(
        pairs: &[(&str, &str)],
        expected: Result<Option<CallCredentials<'_>>, CredentialsError>,
    ) {
        assert_eq!(wanted().find(&headers(pairs)), expected);
    }

    fn token(text: &str) -> Result<Option<CallCredentials<'_>>, CredentialsError> {
        Ok(Some(CallCredentials::Token(text.into())))
    }

    #[test]
    fn a_token_follows_its_scheme_in_any_case() {
        check(&[("authorization", "Bearer a.b.c")], token("a.b.c"));
        check(&[("Authorization", "bearer  a.b.c ")], token("a.b.c"));
        check(&[("x", "y"), ("authorization", "BEARER t")], token("t"));
    }

    #[test]
    fn other_schemes_are_left_alone() {
        check(&[("authorization", "Basic dTpw")], Ok(None));
        check(&[("authorization", "Bearerish x")], Ok(None));
        check(&[("authorization", "")], Ok(None));
        check(&[], Ok(None));
    }

    #[test]
    fn a_key_is_its_header_as_it_stands() {
        let key = Ok(Some(CallCredentials::ApiKey(b" k "[..].into())));
        check(&[("X-VSP-API-Key", " k ")], key);
    }

    #[test]
    fn several_are_refused_even_when_they_are_equal() {
        let key = ("x-vsp-api-key", "k");
        let bearer = ("authorization", "Bearer t");
        for pairs in [[key, key], [bearer, bearer], [key, bearer]] {
            check(&pairs, Err(CredentialsError::Several));
        }
        check(&[("authorization", "Basic x"), bearer], token("t"));
    }

    #[test]
    fn length_holds_at_its_edge_also_over_several_entries() {
        let long = "t".repeat(600);
        check(
            &[("authorization", &format!("Bearer {long}"))],
            token(&long),
        );
        let too_long = Err(CredentialsError::TooLong { limit: 600 });
        check(&[("authorization", &format!("Bearer {long}t"))], too_long);
        check(&[("x-vsp-api-key", "")], Err(CredentialsError::Empty));
        check(&[("authorization", "Bearer")], Err(CredentialsError::Empty));
    }

    #[test]
    fn what_nobody_checks_is_not_looked_at() {
        let nothing = Wanted::default();
        let headers = headers(&[("authorization", "Bearer t"), ("x-vsp-api-key", "k")]);
        assert_eq!(nothing.find(&headers), Ok(None));
        assert_eq!(nothing.without(&headers, CredentialKind::Token), headers);
    }

    #[test]
    fn only_what_was_taken_is_removed() {
        let headers = headers(&[("Authorization", "Basic x"), ("X-VSP-API-Key", "k")]);
        let left = wanted().without(&headers, CredentialKind::ApiKey);
        assert_eq!(left.get_str("Authorization").as_deref(), Some("Basic x"));
        assert_eq!(left.get_str("X-VSP-API-Key"), None);
        let left = wanted().without(&headers, CredentialKind::Token);
        assert_eq!(left.iter().count(), 1);
    }
}
