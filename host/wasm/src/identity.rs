//! Roles `authenticator` and `authorizer`: who a caller is, and what it may do.

use std::{sync::Arc, time::Duration};

use postern_core::{
    Error, Principal, Text,
    extension::{Asked, Authenticator, Authorizer, Credentials, Fault, Identity, Step},
};

use crate::{
    bindings::{
        Failure,
        extension::{self as shape, Nothing},
    },
    component::Role,
    convert,
    direct::{Authentication, Authorization, WorkerLocal},
    generation::Generation,
    interceptor::{ambient, outcome_of},
    offload::{self, Purpose},
    plugin::Plugin,
    serving::WorkerShard,
    state::State,
};

/// Octets of everything that a guest may say about one caller.
const IDENTITY_BYTES_MAX: usize = 64 * 1024;
/// Roles, and claims, that one caller may have.
const PARTS_MAX: usize = 1024;

/// A plugin as an authenticator; every question goes to the generation in service.
pub(crate) struct PluginAuthenticator(pub(crate) Arc<Plugin>);

/// A plugin as an authorizer; every question goes to the generation in service.
pub(crate) struct PluginAuthorizer(pub(crate) Arc<Plugin>);

type Judged = Result<Option<Identity>, Fault>;
type Allowed = Result<(), Fault>;
type Said = Result<Option<shape::Identity>, Failure>;

impl Authenticator for PluginAuthenticator {
    /// 0 while none is in service, which then answers nothing either.
    fn generation(&self) -> u64 {
        let serving = self.0.serving();
        serving
            .as_ref()
            .map_or(0, |serving| serving.generation.number)
    }

    fn authenticate(&self, asked: &Arc<Asked>, credentials: &Credentials) -> Step<Judged> {
        let broken = |error| Step::Done(Err(Fault::Broken(error)));
        let serving = self.0.serving();
        let Some(serving) = serving.as_ref() else {
            return broken(self.0.unavailable());
        };
        let generation = &serving.generation;
        if let Err(error) = generation.check_role(Role::Authenticator) {
            return broken(error);
        }
        let credentials = shape::Credentials {
            scheme: credentials.scheme.to_string(),
            token: credentials.token.to_string(),
        };
        match generation
            .direct()
            .and_then(|direct| direct.authenticator.as_ref())
        {
            Some(local) => Step::Done(authenticate(generation, local, asked, credentials)),
            None => match serving.shard() {
                Some(shard) => {
                    let entered =
                        pooled_authenticate(Arc::clone(&shard), Arc::clone(asked), credentials);
                    let purpose = Purpose::role("authenticate");
                    let broken = |error| Err(Fault::Broken(error));
                    Step::Later(offload::run(&shard, purpose, broken, Box::pin(entered)))
                }
                None => broken(self.0.unavailable()),
            },
        }
    }
}

impl Authorizer for PluginAuthorizer {
    fn authorize(&self, asked: &Arc<Asked>) -> Step<Allowed> {
        let broken = |error| Step::Done(Err(Fault::Broken(error)));
        let serving = self.0.serving();
        let Some(serving) = serving.as_ref() else {
            return broken(self.0.unavailable());
        };
        let generation = &serving.generation;
        if let Err(error) = generation.check_role(Role::Authorizer) {
            return broken(error);
        }
        match generation
            .direct()
            .and_then(|direct| direct.authorizer.as_ref())
        {
            Some(local) => Step::Done(authorize(generation, local, asked)),
            None => match serving.shard() {
                Some(shard) => {
                    let entered = pooled_authorize(Arc::clone(&shard), Arc::clone(asked));
                    let purpose = Purpose::role("authorize");
                    let broken = |error| Err(Fault::Broken(error));
                    Step::Later(offload::run(&shard, purpose, broken, Box::pin(entered)))
                }
                None => broken(self.0.unavailable()),
            },
        }
    }
}

fn authenticate(
    generation: &Generation,
    local: &WorkerLocal<Authentication>,
    asked: &Arc<Asked>,
    credentials: shape::Credentials,
) -> Judged {
    let taken = local.take();
    let mut entry = taken.map_err(|absent| Fault::Broken(local.on_absent(absent)))?;
    let set = |state: &mut State| state.ambient = Some(ambient(asked));
    let result = entry.run(1, set, |store, functions| {
        functions.authenticate.call(store, (credentials,))
    });
    if let Some(state) = entry.state() {
        state.ambient = None;
    }
    let time = entry.time();
    drop(entry);
    let (said,) = local
        .settle(generation, time, result)
        .map_err(Fault::Broken)?;
    judged(said, &generation.guest.plugin)
}

fn authorize(
    generation: &Generation,
    local: &WorkerLocal<Authorization>,
    asked: &Arc<Asked>,
) -> Allowed {
    let taken = local.take();
    let mut entry = taken.map_err(|absent| Fault::Broken(local.on_absent(absent)))?;
    let set = |state: &mut State| state.ambient = Some(ambient(asked));
    let result = entry.run(1, set, |store, functions| {
        let authorize = functions.authorize.typed();
        authorize.call(store, (&*asked.service, &*asked.method))
    });
    if let Some(state) = entry.state() {
        state.ambient = None;
    }
    let time = entry.time();
    drop(entry);
    let (said,) = local
        .settle(generation, time, result)
        .map_err(Fault::Broken)?;
    allowed(said)
}

async fn pooled_authenticate(
    shard: Arc<WorkerShard>,
    asked: Arc<Asked>,
    credentials: shape::Credentials,
) -> Judged {
    let plugin = Arc::clone(&shard.generation().guest.plugin);
    let lease = shard.lease_async(asked.context.deadline).await;
    let mut lease = lease.map_err(Fault::Broken)?;
    let instance = lease.begin(Some(ambient(&asked)));
    let (store, beside) = instance.beside();
    let result = match &beside.authenticate {
        Some(authenticate) => authenticate.call_async(&mut *store, (credentials,)).await,
        None => Err(wasmtime::format_err!("it has no role `authenticator`")),
    };
    store.data_mut().ambient = None;
    match instance.finish(result.map(|(said,)| said)) {
        Ok(said) => {
            lease.finish(outcome_of(&said));
            judged(said, &plugin)
        }
        Err(trapped) => Err(Fault::Broken(lease.trap(trapped))),
    }
}

async fn pooled_authorize(shard: Arc<WorkerShard>, asked: Arc<Asked>) -> Allowed {
    let lease = shard.lease_async(asked.context.deadline).await;
    let mut lease = lease.map_err(Fault::Broken)?;
    let instance = lease.begin(Some(ambient(&asked)));
    let (store, beside) = instance.beside();
    let result = match beside.authorize {
        Some(authorize) => {
            let asked = (&*asked.service, &*asked.method);
            authorize.typed().call_async(&mut *store, asked).await
        }
        None => Err(wasmtime::format_err!("it has no role `authorizer`")),
    };
    store.data_mut().ambient = None;
    match instance.finish(result.map(|(said,)| said)) {
        Ok(said) => {
            lease.finish(outcome_of(&said));
            allowed(said)
        }
        Err(trapped) => Err(Fault::Broken(lease.trap(trapped))),
    }
}

fn allowed(said: Nothing) -> Allowed {
    said.map_err(|failure| Fault::Refused(convert::to_error(failure)))
}

fn judged(said: Said, plugin: &str) -> Judged {
    match said {
        Ok(None) => Ok(None),
        Ok(Some(identity)) => to_identity(identity, plugin)
            .map(Some)
            .map_err(Fault::Broken),
        Err(failure) => Err(Fault::Refused(convert::to_error(failure))),
    }
}

/// Takes what a guest says about a caller, within bounds.
fn to_identity(identity: shape::Identity, plugin: &str) -> Result<Identity, Error> {
    let shape::Identity {
        name,
        roles,
        claims,
        valid_ms,
    } = identity;
    let (n_roles, n_claims) = (roles.len(), claims.len());
    if n_roles > PARTS_MAX || n_claims > PARTS_MAX {
        let message = format!(
            "plugin {plugin} tells {n_roles} roles and {n_claims} claims, the limit is {PARTS_MAX} each"
        );
        return Err(Error::internal(message));
    }
    let of_claims: usize = claims
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    let n_bytes = name.len() + roles.iter().map(String::len).sum::<usize>() + of_claims;
    if n_bytes > IDENTITY_BYTES_MAX {
        let message = format!(
            "plugin {plugin} tells {n_bytes} octets about a caller, the limit is {IDENTITY_BYTES_MAX}"
        );
        return Err(Error::internal(message));
    }
    let claims = claims.into_iter();
    Ok(Identity {
        principal: Principal {
            name: name.into(),
            roles: roles.into_iter().map(Text::from).collect(),
            claims: claims
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        },
        valid: valid_ms.map(Duration::from_millis),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(n_roles: usize, name_bytes: usize) -> shape::Identity {
        shape::Identity {
            name: "n".repeat(name_bytes),
            roles: vec![String::new(); n_roles],
            claims: Vec::new(),
            valid_ms: Some(7),
        }
    }

    #[test]
    fn identities_are_bounded() {
        let check = |n_roles, name_bytes| to_identity(identity(n_roles, name_bytes), "p").is_ok();
        assert!(check(PARTS_MAX, 1) && !check(PARTS_MAX + 1, 1));
        assert!(check(1, IDENTITY_BYTES_MAX) && !check(1, IDENTITY_BYTES_MAX + 1));
        let known = to_identity(identity(1, 1), "p").unwrap();
        assert_eq!(known.valid, Some(Duration::from_millis(7)));
    }
}
