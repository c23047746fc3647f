//! Whether a call may be made, for fronts that answer it themselves: everything that stands between a
//! caller and a service but for the service, and for plugins that change calls.

use std::sync::Arc;

use postern_core::{
    Blame, BoxFuture, Call, Context, Error, Peer, Principal, Text, bounded::late, extension::Asked,
};
use postern_system::clock;

use super::{Pipeline, interceptor_run::CallGuard};
use crate::guard::{Identified, Moment, Sender};

impl Pipeline {
    /// Whether nothing stands between callers and services.
    #[must_use]
    pub(crate) fn is_clear(&self) -> bool {
        self.in_the_way(&self.rules.load()).is_none()
    }

    /// Whether a plugin may be asked before a call goes on, so that calls which came in order may not go
    /// on in order.
    #[must_use]
    pub(crate) fn asks_plugins(&self) -> bool {
        !self.extensions.load().links().is_empty()
    }

    /// Whether `peer`, showing no credentials, would not be refused for that at `service`/`method`.
    #[must_use]
    pub(crate) fn takes_strangers(&self, peer: &Arc<Peer>, service: &str, method: &str) -> bool {
        let rules = self.rules.load();
        let Some(guard) = &rules.guard else {
            return true;
        };
        if guard.may_be_anonymous(service, method) {
            return true;
        }
        // Its connection may say who it is.
        let mut call = Call::unary(service, method, "");
        call.context = Context::of(Arc::clone(peer));
        let identified = guard.identify(&mut call, Moment::now());
        matches!(identified, Ok(Identified::Settled)) && call.context.principal.is_some()
    }

    /// Whether anybody here looks at credentials.
    #[must_use]
    pub(crate) fn knows_callers(&self) -> bool {
        self.rules.load().guard.is_some() || self.extensions.load().authenticates()
    }

    /// Who makes `call`, which came through `listener`; none who is anonymous.
    ///
    /// # Errors
    /// `unauthenticated` where its credentials are not good.
    pub(crate) fn identify(
        &self,
        call: Call,
        listener: &Text,
    ) -> BoxFuture<Result<Option<Arc<Principal>>, Error>> {
        self.judge(call, listener, Judgement::Identity)
    }

    /// Whether `call`, which came through `listener`, may be made, and by whom. It counts against the
    /// limits that it falls under.
    ///
    /// # Errors
    /// Why it may not.
    pub(crate) fn permit(
        &self,
        call: Call,
        listener: &Text,
    ) -> BoxFuture<Result<Option<Arc<Principal>>, Error>> {
        self.judge(call, listener, Judgement::Permission)
    }

    fn judge(
        &self,
        call: Call,
        listener: &Text,
        judgement: Judgement,
    ) -> BoxFuture<Result<Option<Arc<Principal>>, Error>> {
        let (rules, now) = (self.rules.load_full(), clock::now());
        let chain = self.extensions.chain();
        let chain = chain.activate(&call, Some(listener.as_str()), now);
        let guard = rules.guard.clone().map(|guard| CallGuard {
            guard,
            now: Moment::at(now),
        });
        let timeout = rules.settings.timeout;
        let failures = rules.failures.clone();
        let judging = async move {
            let (mut call, mut sender) = (Box::new(call), Sender::Caller);
            if let Some(watch) = &guard {
                sender = watch.identify(&mut call).await?;
            }
            chain.check_missing()?;
            if let Some(remembered) = chain.remembered() {
                let identified = remembered.identify(&chain, &mut call).await;
                identified.map_err(|error| match (&guard, &failures) {
                    (Some(watch), _) => watch.guard.refuse(&call, error, now),
                    (None, Some(failures)) => failures.refuse(&call.context.peer, error, now),
                    (None, None) => error,
                })?;
            }
            if judgement == Judgement::Identity {
                return Ok(call.context.principal);
            }
            if let Some(watch) = &guard {
                watch.guard.require(&call)?;
                watch.guard.authorize(&call)?;
            }
            if chain.is_judged() {
                let asked = Asked::of(&call, chain.start());
                chain.authorize(&asked).await?;
            }
            if let Some(watch) = &guard {
                watch.guard.admit(&call, sender, now)?;
            }
            Ok(call.context.principal)
        };
        Box::pin(async move {
            let judged = tokio::time::timeout(timeout, judging).await;
            judged.unwrap_or_else(|_| Err(late(Blame::Gateway)))
        })
    }
}

/// How far a call is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judgement {
    Identity,
    Permission,
}
