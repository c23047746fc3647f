//! User name and password of CONNECT as the credentials that the guard knows. Pure.
//!
//! | password | where | becomes |
//! | --- | --- | --- |
//! | a token (JWT) | there are issuers | `authorization: Bearer PASSWORD`; the user name means nothing |
//! | anything | there are API keys | the key of the owner USER: its name must be the user name, where one is sent |
//! | anything else | | `authorization: Basic …`, for plugins that know callers |

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use postern_core::{Headers, Principal, Text, headers::HeaderError};

use crate::config::Auth;

/// Which credentials the guard looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KnownCredentials {
    takes_tokens: bool,
    /// Header of API keys, where there are any.
    key_header: Option<String>,
}

/// Credentials of a client, as headers of the call that CONNECT is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientCredentials {
    pub headers: Headers,
    kind: PasswordKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PasswordKind {
    /// None was sent.
    Absent,
    Token,
    ApiKey,
    /// Nothing of the gateway's own looks at it.
    Basic,
}

impl KnownCredentials {
    #[must_use]
    pub(crate) fn of(auth: &Auth) -> Self {
        let keys = &auth.api_keys;
        let has_keys = !keys.keys.is_empty() || keys.file.is_some();
        Self {
            takes_tokens: !auth.jwt.is_empty(),
            key_header: has_keys.then(|| keys.header.to_ascii_lowercase()),
        }
    }

    /// # Errors
    /// A password that is longer than headers may be.
    pub(crate) fn read(
        &self,
        user_name: Option<&str>,
        password: Option<&Bytes>,
    ) -> Result<ClientCredentials, HeaderError> {
        let mut headers = Headers::new();
        let Some(password) = password else {
            return Ok(ClientCredentials {
                headers,
                kind: PasswordKind::Absent,
            });
        };
        let token = self.takes_tokens.then(|| token(password)).flatten();
        let kind = match (token, &self.key_header) {
            (Some(token), _) => {
                headers.push("authorization", format!("Bearer {token}"))?;
                PasswordKind::Token
            }
            (None, Some(header)) => {
                headers.push(header, password)?;
                PasswordKind::ApiKey
            }
            (None, None) => {
                let mut pair = user_name.unwrap_or_default().as_bytes().to_vec();
                pair.push(b':');
                pair.extend_from_slice(password);
                headers.push("authorization", format!("Basic {}", STANDARD.encode(pair)))?;
                PasswordKind::Basic
            }
        };
        Ok(ClientCredentials { headers, kind })
    }

    /// Whether `principal` is whom the client said to be. A password that nobody looked at is not good
    /// where passwords are looked at: whoever shows one must not become anonymous.
    #[must_use]
    pub(crate) fn fits(
        &self,
        credentials: &ClientCredentials,
        user_name: Option<&Text>,
        principal: Option<&Principal>,
    ) -> bool {
        let is_named = |principal: &Principal| {
            user_name.is_none_or(|name| name.is_empty() || *name == principal.name)
        };
        match credentials.kind {
            PasswordKind::Absent | PasswordKind::Token => true,
            PasswordKind::ApiKey => principal.is_none_or(is_named),
            PasswordKind::Basic => principal.is_some() || !self.takes_tokens,
        }
    }
}

/// Three parts of base64url, the first an object (RFC 7515 section 3.1).
fn token(password: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(password).ok()?;
    let is_token = text.starts_with("ey") && text.split('.').count() == 3;
    is_token.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const HASH: &str = "sha256:2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683";
    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn known(tokens: bool, keys: bool) -> KnownCredentials {
        let mut text = String::new();
        if tokens {
            text += &format!("[auth.jwt.a]\nsecret = \"{SECRET}\"\n");
        }
        if keys {
            text += &format!("[auth.api-keys.keys.d1]\nhash = \"{HASH}\"\n");
        }
        let (config, _) = config::parse("t", &text, &Default::default()).expect("good");
        KnownCredentials::of(&config.auth)
    }

    #[track_caller]
    fn check(tokens: bool, keys: bool, password: &str, expected: (&str, &str)) {
        let password = Bytes::copy_from_slice(password.as_bytes());
        let read = known(tokens, keys).read(Some("d1"), Some(&password));
        let headers = read.expect("short").headers;
        assert_eq!(headers.get_str(expected.0).as_deref(), Some(expected.1));
        assert_eq!(headers.iter().count(), 1);
    }

    #[test]
    fn a_password_is_what_the_guard_can_look_at() {
        let jwt = "eyJh.eyJz.c2ln";
        let bearer = ("authorization", "Bearer eyJh.eyJz.c2ln");
        check(true, true, jwt, bearer);
        check(true, true, "key", ("x-vsp-api-key", "key"));
        check(false, true, jwt, ("x-vsp-api-key", jwt));
        check(true, false, "pass", ("authorization", "Basic ZDE6cGFzcw=="));
        check(
            false,
            false,
            "pass",
            ("authorization", "Basic ZDE6cGFzcw=="),
        );
        let nothing = known(true, true).read(Some("d1"), None).expect("nothing");
        assert!(nothing.headers.is_empty());
    }

    #[test]
    fn the_owner_of_a_key_is_the_user() {
        let known = known(true, true);
        let password = Bytes::from_static(b"key");
        let shown = known.read(Some("d1"), Some(&password)).expect("short");
        let principal = Principal {
            name: "d1".into(),
            ..Principal::default()
        };
        let fits = |user: Option<&str>| {
            known.fits(&shown, user.map(Text::from).as_ref(), Some(&principal))
        };
        assert!(fits(Some("d1")) && fits(None) && fits(Some("")));
        assert!(!fits(Some("d2")));
    }

    #[test]
    fn a_password_that_nobody_looked_at_makes_nobody_anonymous() {
        let password = Bytes::from_static(b"guess");
        let of_tokens = known(true, false);
        let shown = of_tokens.read(None, Some(&password)).expect("short");
        assert!(!of_tokens.fits(&shown, None, None));
        let open = known(false, false);
        let shown = open.read(None, Some(&password)).expect("short");
        assert!(open.fits(&shown, None, None));
    }
}
