//! Roles `authenticator` and `authorizer`: who a caller is, and what it may do.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use postern_core::{
    Error, Principal, Text,
    extension::{Asked, AuthFault, Authenticator, Authorizer, Credentials, Identity, Step},
};
use wasmtime::{AsContext, Store, component::Func};

use crate::{
    bindings::{
        HandleStreamFunc, HandleStreamParams,
        extension::{self as shape, Nothing},
    },
    convert,
    exports::{self, Export, Functions},
    lease,
    question::{Question, Said},
    role::Role,
    serving::InService,
    spec::Budgets,
    state::{CallContext, StoreState},
    worker_local::DirectFunctions,
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
    const BUDGET_KEY: &'static str = "budgets.authenticator";

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
    const BUDGET_KEY: &'static str = "budgets.authorizer";

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

/// Who `asked` is, by what it has shown.
struct Who {
    asked: Arc<Asked>,
    credentials: shape::Credentials,
}

/// Whether it may be done.
struct May(Arc<Asked>);

impl Authenticator for PluginAuthenticator {
    /// 0 while none is in service, which then answers nothing either.
    fn generation(&self) -> u64 {
        let serving = self.0.load();
        serving
            .as_ref()
            .map_or(0, |serving| serving.generation.number)
    }

    fn authenticate(&self, asked: &Arc<Asked>, credentials: &Credentials) -> Step<Judged> {
        let who = Who {
            asked: Arc::clone(asked),
            credentials: shape::Credentials {
                scheme: credentials.scheme.to_string(),
                token: credentials.token.to_string(),
            },
        };
        self.0.with(|serving| lease::ask(serving, who))
    }
}

impl Authorizer for PluginAuthorizer {
    fn authorize(&self, asked: &Arc<Asked>) -> Step<Allowed> {
        let may = May(Arc::clone(asked));
        self.0.with(|serving| lease::ask(serving, may))
    }
}

impl Question for Who {
    type Functions = Authenticate;
    type Params = shape::Credentials;
    type Said = Option<shape::Identity>;
    type Kept = ();
    type Answer = Judged;

    const NAME: &'static str = "authenticate";

    fn deadline(&self) -> Option<Instant> {
        self.asked.context.deadline
    }

    fn begin(self, state: &mut StoreState) -> shape::Credentials {
        state.set_ambient(Some(CallContext::asked(&self.asked)));
        self.credentials
    }

    fn enter(
        Authenticate(authenticate): &Authenticate,
        store: &mut Store<StoreState>,
        credentials: shape::Credentials,
    ) -> wasmtime::Result<Said<Self>> {
        let (said,) = authenticate.call(store, (credentials,))?;
        Ok(said)
    }

    async fn enter_async(
        Authenticate(authenticate): &Authenticate,
        store: &mut Store<StoreState>,
        credentials: shape::Credentials,
    ) -> wasmtime::Result<Said<Self>> {
        let (said,) = authenticate.call_async(store, (credentials,)).await?;
        Ok(said)
    }

    fn end(state: &mut StoreState) {
        state.ambient = None;
    }

    fn answer((): (), said: Result<Said<Self>, Error>, plugin: &str) -> Judged {
        let identity = match said.map_err(AuthFault::Broken)? {
            Ok(None) => return Ok(None),
            Ok(Some(identity)) => to_identity(identity, plugin),
            Err(failure) => return Err(AuthFault::Refused(convert::to_error(failure))),
        };
        identity.map(Some).map_err(AuthFault::Broken)
    }

    fn refuse(self, error: Error) -> Judged {
        Self::lose(error)
    }

    fn lose(error: Error) -> Judged {
        Err(AuthFault::Broken(error))
    }
}

impl Question for May {
    type Functions = Authorize;
    type Params = Arc<Asked>;
    type Said = ();
    type Kept = ();
    type Answer = Allowed;

    const NAME: &'static str = "authorize";

    fn deadline(&self) -> Option<Instant> {
        self.0.context.deadline
    }

    fn begin(self, state: &mut StoreState) -> Arc<Asked> {
        state.set_ambient(Some(CallContext::asked(&self.0)));
        self.0
    }

    fn enter(
        Authorize(authorize): &Authorize,
        store: &mut Store<StoreState>,
        asked: Arc<Asked>,
    ) -> wasmtime::Result<Said<Self>> {
        let params = (&*asked.service, &*asked.method);
        let (said,) = authorize.typed().call(store, params)?;
        Ok(said)
    }

    async fn enter_async(
        Authorize(authorize): &Authorize,
        store: &mut Store<StoreState>,
        asked: Arc<Asked>,
    ) -> wasmtime::Result<Said<Self>> {
        let params = (&*asked.service, &*asked.method);
        let (said,) = authorize.typed().call_async(store, params).await?;
        Ok(said)
    }

    fn end(state: &mut StoreState) {
        state.ambient = None;
    }

    fn answer((): (), said: Result<Said<Self>, Error>, _: &str) -> Allowed {
        let said = said.map_err(AuthFault::Broken)?;
        said.map_err(|failure| AuthFault::Refused(convert::to_error(failure)))
    }

    fn refuse(self, error: Error) -> Allowed {
        Self::lose(error)
    }

    fn lose(error: Error) -> Allowed {
        Err(AuthFault::Broken(error))
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
