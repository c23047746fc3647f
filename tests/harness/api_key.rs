//! Keys of the API in the configuration.

use sha2::{Digest as _, Sha256};

/// The table of the key `name`, with `roles` as a list of TOML has them.
#[must_use]
pub fn api_key(name: &str, secret: &str, roles: &str) -> String {
    let digits: String = Sha256::digest(secret)
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect();
    format!("[auth.api-keys.keys.{name}]\nhash = \"sha256:{digits}\"\nroles = [{roles}]\n")
}
