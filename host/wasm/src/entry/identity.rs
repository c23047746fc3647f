//! Roles `authenticator` and `authorizer`: who a caller is, and what it may do.

use std::{sync::Arc, time::Duration};

use postern_core::{
    Error, Principal, Text,
    extension::{Asked, AuthFault, Authenticator, Authorizer, Credentials, Identity, Step},
};
use wasmtime::{AsContext, component::Func};

use crate::{
    bindings::{
        Failure, HandleStreamFunc, HandleStreamParams,
        extension::{self as shape, Nothing},
    },
    convert::{self, outcome_of},
    exports::{self, Export, Functions},
    generation::WorkerShard,
    instance::no_role,
    lease::Lease,
    offload::{self, Purpose},
    role::Role,
    serving::InService,
    spec::Budgets,
    state::{CallContext, StoreState},
    worker_local::{DirectFunctions, WorkerLocal},
};

/// Octets of everything that a guest may say about one caller.
const IDENTITY_BYTES_MAX: usize = 64 * 1024;
/// Roles, and claims, that one caller may have.
const PARTS_MAX: usize = 1024;

/// `authenticator.authenticate`.
pub(crate) struct Authenticate(shape::Authenticate);

/// `authorizer.authorize`, which has the shape of `handle-stream`.
pub(crate) struct Authorize(HandleStreamFunc);

impl Functions for Authenticate {
    const ROLE: Role = Role::Authenticator;
    const EXPORTS: &'static [Export] = &[Export::new::<
        shape::AuthenticateParams,
        shape::AuthenticateResult,
    >("authenticate")];

    fn find(funcs: &[Func], store: impl AsContext) -> wasmtime::Result<Self> {
        let [authenticate] = exports::functions(funcs)?;
        Ok(Self(authenticate.typed(store)?))
    }
}

impl DirectFunctions for Authenticate {
    fn budget(budgets: &Budgets) -> Duration {
        budgets.authenticator
    }
}

impl Functions for Authorize {
    const ROLE: Role = Role::Authorizer;
    const EXPORTS: &'static [Export] = &[Export::new::<HandleStreamParams<'static>, (Nothing,)>(
        "authorize",
    )];

    fn find(funcs: &[Func], store: impl AsContext) -> wasmtime::Result<Self> {
        let [authorize] = exports::functions(funcs)?;
        Ok(Self(HandleStreamFunc::new(authorize, store)?))
    }
}

impl DirectFunctions for Authorize {
    fn budget(budgets: &Budgets) -> Duration {
        budgets.authorizer
    }
}

/// A plugin as an authenticator; every question goes to the generation in service.
pub(crate) struct PluginAuthenticator(pub(crate) Arc<InService>);

/// A plugin as an authorizer; every question goes to the generation in service.
pub(crate) struct PluginAuthorizer(pub(crate) Arc<InService>);

type Judged = Result<Option<Identity>, AuthFault>;
type Allowed = Result<(), AuthFault>;
type Said = Result<Option<shape::Identity>, Failure>;

impl Authenticator for PluginAuthenticator {
    /// 0 while none is in service, which then answers nothing either.
    fn generation(&self) -> u64 {
        let serving = self.0.load();
        serving
            .as_ref()
            .map_or(0, |serving| serving.generation.number)
    }

    fn authenticate(&self, asked: &Arc<Asked>, credentials: &Credentials) -> Step<Judged> {
        let broken = |error| Step::Done(Err(AuthFault::Broken(error)));
        let serving = self.0.load();
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
        match generation.local() {
            Some(local) => Step::Done(authenticate(local, asked, credentials)),
            None => {
                let shard = serving.shard();
                let entered = pooled_authenticate(shard, Arc::clone(asked), credentials);
                let purpose = Purpose::role("authenticate");
                let broken = |error| Err(AuthFault::Broken(error));
                Step::Later(offload::run(
                    &generation.guest,
                    purpose,
                    broken,
                    Box::pin(entered),
                ))
            }
        }
    }
}

impl Authorizer for PluginAuthorizer {
    fn authorize(&self, asked: &Arc<Asked>) -> Step<Allowed> {
        let broken = |error| Step::Done(Err(AuthFault::Broken(error)));
        let serving = self.0.load();
        let Some(serving) = serving.as_ref() else {
            return broken(self.0.unavailable());
        };
        let generation = &serving.generation;
        if let Err(error) = generation.check_role(Role::Authorizer) {
            return broken(error);
        }
        match generation.local() {
            Some(local) => Step::Done(authorize(local, asked)),
            None => {
                let shard = serving.shard();
                let entered = pooled_authorize(shard, Arc::clone(asked));
                let purpose = Purpose::role("authorize");
                let broken = |error| Err(AuthFault::Broken(error));
                Step::Later(offload::run(
                    &generation.guest,
                    purpose,
                    broken,
                    Box::pin(entered),
                ))
            }
        }
    }
}

fn authenticate(
    local: &WorkerLocal<Authenticate>,
    asked: &Arc<Asked>,
    credentials: shape::Credentials,
) -> Judged {
    let taken = local.take();
    let mut entry = taken.map_err(|absent| AuthFault::Broken(local.on_absent(absent)))?;
    let set = |state: &mut StoreState| state.set_ambient(Some(CallContext::asked(asked)));
    let result = entry.run(1, set, |store, functions| {
        functions.0.call(store, (credentials,))
    });
    if let Some(state) = entry.state() {
        state.ambient = None;
    }
    let time = entry.time();
    drop(entry);
    let (said,) = local.settle(time, result).map_err(AuthFault::Broken)?;
    judged(said, &local.code().guest.plugin)
}

fn authorize(local: &WorkerLocal<Authorize>, asked: &Arc<Asked>) -> Allowed {
    let taken = local.take();
    let mut entry = taken.map_err(|absent| AuthFault::Broken(local.on_absent(absent)))?;
    let set = |state: &mut StoreState| state.set_ambient(Some(CallContext::asked(asked)));
    let result = entry.run(1, set, |store, functions| {
        let authorize = functions.0.typed();
        authorize.call(store, (&*asked.service, &*asked.method))
    });
    if let Some(state) = entry.state() {
        state.ambient = None;
    }
    let time = entry.time();
    drop(entry);
    let (said,) = local.settle(time, result).map_err(AuthFault::Broken)?;
    allowed(said)
}

async fn pooled_authenticate(
    shard: Arc<WorkerShard>,
    asked: Arc<Asked>,
    credentials: shape::Credentials,
) -> Judged {
    let plugin = Arc::clone(&shard.generation().guest.plugin);
    let lease = Lease::for_async(shard, asked.context.deadline).await;
    let mut lease = lease.map_err(AuthFault::Broken)?;
    let instance = lease.begin(Some(CallContext::asked(&asked)));
    let (store, authenticate) = instance.parts::<Authenticate>();
    let result = match authenticate {
        Some(Authenticate(authenticate)) => authenticate.call_async(store, (credentials,)).await,
        None => Err(no_role::<Authenticate>()),
    };
    instance.state().ambient = None;
    match instance.finish(result.map(|(said,)| said)) {
        Ok(said) => {
            lease.finish(outcome_of(&said));
            judged(said, &plugin)
        }
        Err(trapped) => Err(AuthFault::Broken(lease.trap(trapped))),
    }
}

async fn pooled_authorize(shard: Arc<WorkerShard>, asked: Arc<Asked>) -> Allowed {
    let lease = Lease::for_async(shard, asked.context.deadline).await;
    let mut lease = lease.map_err(AuthFault::Broken)?;
    let instance = lease.begin(Some(CallContext::asked(&asked)));
    let (store, authorize) = instance.parts::<Authorize>();
    let result = match authorize {
        Some(Authorize(authorize)) => {
            let asked = (&*asked.service, &*asked.method);
            authorize.typed().call_async(store, asked).await
        }
        None => Err(no_role::<Authorize>()),
    };
    instance.state().ambient = None;
    match instance.finish(result.map(|(said,)| said)) {
        Ok(said) => {
            lease.finish(outcome_of(&said));
            allowed(said)
        }
        Err(trapped) => Err(AuthFault::Broken(lease.trap(trapped))),
    }
}

fn allowed(said: Nothing) -> Allowed {
    said.map_err(|failure| AuthFault::Refused(convert::to_error(failure)))
}

fn judged(said: Said, plugin: &str) -> Judged {
    match said {
        Ok(None) => Ok(None),
        Ok(Some(identity)) => to_identity(identity, plugin)
            .map(Some)
            .map_err(AuthFault::Broken),
        Err(failure) => Err(AuthFault::Refused(convert::to_error(failure))),
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
