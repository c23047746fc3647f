//! What `[auth]` cannot say key by key: which keys an issuer signs with, and how.

use postern_net::http::Fetcher;

use crate::config::{
    Auth, Jwt,
    leaf::is_token,
    section::{SectionReader, join},
    security::check_api_key,
};

pub(super) fn check(auth: &Auth, reader: &mut SectionReader) {
    for (name, jwt) in &auth.jwt {
        check_issuer(&format!("auth.jwt.{name}"), jwt, reader);
    }
    check_issuers_differ(auth, reader);
    for (name, key) in &auth.api_keys.keys {
        check_api_key(&format!("auth.api-keys.keys.{name}"), key, reader);
    }
    if !is_token(&auth.api_keys.header) {
        let message = format!("{:?} is not a header name", auth.api_keys.header);
        reader.fault_of_key("auth.api-keys.header", message, HEADER_REMEDY);
    }
}

fn check_issuer(path: &str, jwt: &Jwt, reader: &mut SectionReader) {
    let sources = [
        ("secret", jwt.secret.is_some()),
        ("secret-file", jwt.secret_file.is_some()),
        ("public-key-file", jwt.public_key_file.is_some()),
        ("jwks-file", jwt.jwks_file.is_some()),
        ("jwks-url", jwt.jwks_url.is_some()),
    ];
    let written: Vec<_> = sources
        .iter()
        .filter(|(key, is_set)| *is_set || reader.places.contains_key(&join(path, key)))
        .map(|(key, _)| *key)
        .collect();
    match written.as_slice() {
        [] => reader.fault_of_table(path, "no key says how its tokens are signed", SOURCE_REMEDY),
        [_] => {}
        [first, others @ ..] => {
            for other in others {
                let message = format!("{first} already says how its tokens are signed");
                reader.fault_of_key(&join(path, other), message, "remove one of the two");
            }
        }
    }
    check_algorithms(path, jwt, reader);
    if let Some(url) = &jwt.jwks_url
        && let Err(error) = Fetcher::check(url, jwt.jwks_allow_http)
    {
        let remedy = "write https://HOST/PATH, or jwks-allow-http = true for http";
        reader.fault_of_key(&join(path, "jwks-url"), error.to_string(), remedy);
    }
    if jwt.jwks_url.is_none() {
        for key in ONLY_URL {
            let key = join(path, key);
            if reader.places.contains_key(&key) && !written.contains(&"jwks-url") {
                reader.fault_of_key(
                    &key,
                    "only an issuer with jwks-url has this key",
                    "remove it",
                );
            }
        }
    }
}

/// A public key must never be taken for a secret: whoever has it could sign.
fn check_algorithms(path: &str, jwt: &Jwt, reader: &mut SectionReader) {
    let has_public =
        jwt.public_key_file.is_some() || jwt.jwks_file.is_some() || jwt.jwks_url.is_some();
    for algorithm in &jwt.algorithms {
        let name = algorithm.name();
        let message = match (algorithm.is_symmetric(), jwt.has_secret(), has_public) {
            (true, _, true) => format!("{name} needs a secret, these keys are public"),
            (false, true, _) => format!("{name} needs public keys, this is a secret"),
            (true, _, false) | (false, false, _) => continue,
        };
        let remedy = "write algorithms that fit the keys, or leave them out";
        reader.fault_of_key(&join(path, "algorithms"), message, remedy);
    }
}

fn check_issuers_differ(auth: &Auth, reader: &mut SectionReader) {
    let mut seen = std::collections::BTreeMap::new();
    for (name, jwt) in &auth.jwt {
        let Some(issuer) = &jwt.issuer else { continue };
        if let Some(other) = seen.insert(issuer, name) {
            let message = format!("{issuer:?} is the issuer of auth.jwt.{other} too");
            let remedy = "write one table for each issuer; a set of keys may hold many keys";
            reader.fault_of_key(&format!("auth.jwt.{name}.issuer"), message, remedy);
        }
    }
}

pub(super) const HEADER_REMEDY: &str = "write letters, digits and dashes";
const SOURCE_REMEDY: &str =
    "add one of secret, secret-file, public-key-file, jwks-file and jwks-url";
/// Keys that mean nothing without `jwks-url`.
const ONLY_URL: [&str; 7] = [
    "jwks-ca-file",
    "jwks-allow-http",
    "jwks-refresh",
    "jwks-refetch",
    "jwks-stale-max",
    "jwks-timeout",
    "jwks-bytes-max",
];
