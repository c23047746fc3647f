//! Knows tenants by their keys, and says which services each may call.
//!
//! Credentials are `TENANT.KEY` as an API key, or `tenant:TENANT.KEY` as a bearer token. Only the
//! SHA-256 of a key is in the configuration; keys are long and random, so that it needs no salt.

mod tenants;

use std::time::Duration;

use postern_guest::{
    Authenticator, Authorizer, Credentials, Failure, Identity, Plugin, Result, call, config,
};

use crate::tenants::Tenants;

/// How long an answer may be remembered, unless the manifest says otherwise: a key that was taken
/// back is good for so long.
const VALID_MS_DEFAULT: u64 = 60_000;
const ROLE_DEFAULT: &str = "tenant";
/// The claim by which the authorizer knows a tenant, whoever has authenticated it.
const CLAIM: &str = "tenant";
/// What a bearer token for this plugin begins with.
const PREFIX: &str = "tenant:";

struct TenantAuth {
    tenants: Tenants,
    role: String,
    valid: Duration,
}

impl Plugin for TenantAuth {
    fn start() -> Result<Self> {
        Ok(Self {
            tenants: Tenants::read(config::require("tenants")?)?,
            role: config::text("role").unwrap_or_else(|| ROLE_DEFAULT.to_owned()),
            valid: Duration::from_millis(config::get("valid-ms")?.unwrap_or(VALID_MS_DEFAULT)),
        })
    }
}

impl Authenticator for TenantAuth {
    fn authenticate(&mut self, credentials: &Credentials) -> Result<Option<Identity>> {
        let token = match credentials.scheme.as_str() {
            "api-key" => Some(credentials.token.as_str()),
            "bearer" => credentials.token.strip_prefix(PREFIX),
            _ => None,
        };
        let Some(token) = token else {
            return Ok(None);
        };
        let known = token
            .split_once('.')
            .and_then(|(name, key)| Some((name, key, self.tenants.find(name)?)));
        match known {
            Some((name, key, tenant)) if tenant.has_key(key) => Ok(Some(self.identity(name))),
            Some(_) => Err(refused()),
            // Another plugin may know this API key; a token with our prefix is ours to refuse.
            None if credentials.scheme == "api-key" => Ok(None),
            None => Err(refused()),
        }
    }
}

impl Authorizer for TenantAuth {
    /// Callers that are no tenants are not judged here.
    fn authorize(&mut self, service: &str, _method: &str) -> Result<()> {
        let Some(name) = call::claim(CLAIM) else {
            return Ok(());
        };
        let tenant = self.tenants.find(&name);
        if tenant.is_some_and(|tenant| tenant.may_call(service)) {
            return Ok(());
        }
        let message = format!("tenant `{name}` may not call service `{service}`");
        Err(Failure::permission_denied(message))
    }
}

postern_guest::export!(TenantAuth: Authenticator, Authorizer);

impl TenantAuth {
    fn identity(&self, tenant: &str) -> Identity {
        Identity::new(tenant)
            .role(self.role.as_str())
            .claim(CLAIM, tenant)
            .valid(self.valid)
    }
}

/// The same for an unknown tenant and a wrong key.
fn refused() -> Failure {
    Failure::unauthenticated("the tenant's key is not valid")
}

#[cfg(test)]
mod tests;
