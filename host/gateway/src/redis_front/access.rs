//! Whether a client may do what it asks for: by the guard's rules and limits, and by the plugins that
//! judge calls. Commands are calls there: `events/publish`, `events/subscribe`, the method that `CALL`
//! names, and `redis/get` for `GET`.

use std::sync::Arc;

use postern_core::{
    BoxFuture, Call, Context, Error, Headers, Peer, Principal, Text,
    event::SERVICE as EVENTS,
    resp::{CommandAccess, RespCommand},
};

use super::listener::RedisListener;

/// Service under which rules name commands that are no calls.
pub(super) const REDIS: &str = "redis";
/// Method of the service for events under which subscribing is named.
const SUBSCRIBE: &str = "subscribe";
const PUBLISH: &str = "publish";

/// The call as which rules know a command; none for `CALL`, which is one.
#[must_use]
pub(super) fn named(row: &RespCommand) -> (Text, Text) {
    let events = |method| (Text::from_static(EVENTS), Text::from_static(method));
    match row.access {
        CommandAccess::Publish | CommandAccess::Append => events(PUBLISH),
        CommandAccess::Subscribe | CommandAccess::Consume | CommandAccess::Acknowledge => {
            events(SUBSCRIBE)
        }
        CommandAccess::Session
        | CommandAccess::Read
        | CommandAccess::Write
        | CommandAccess::Update
        | CommandAccess::Call => (Text::from_static(REDIS), row.method().into()),
    }
}

impl RedisListener {
    /// Whether nothing stands between clients and what they ask for.
    #[must_use]
    pub(super) fn is_clear(&self) -> bool {
        self.pipeline.is_clear()
    }

    /// Who may do `service`/`method` of those who show `headers`; none who is anonymous.
    ///
    /// # Errors
    /// Why they may not.
    pub(super) fn permit(
        &self,
        peer: &Arc<Peer>,
        headers: &Headers,
        (service, method): (Text, Text),
    ) -> BoxFuture<Result<Option<Arc<Principal>>, Error>> {
        let call = Call {
            headers: headers.clone(),
            context: Context::of(Arc::clone(peer)),
            ..Call::unary(service, method, "")
        };
        self.pipeline.permit(call, &self.name)
    }

    /// Who shows `headers`, as far as the gateway itself knows.
    ///
    /// # Errors
    /// `unauthenticated` where they are not good.
    pub(super) fn identify(
        &self,
        peer: &Arc<Peer>,
        headers: Headers,
    ) -> BoxFuture<Result<Option<Arc<Principal>>, Error>> {
        let call = Call {
            headers,
            context: Context::of(Arc::clone(peer)),
            ..Call::unary(REDIS, "auth", "")
        };
        self.pipeline.identify(call, &self.name)
    }
}
