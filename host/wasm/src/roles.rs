//! A plugin in each of the roles beside handlers. What is given out here follows the plugin: every
//! call of it goes to the generation in service.

use std::sync::Arc;

use postern_core::{
    Blame, Error,
    extension::{
        Authenticator, Authorizer, EventHandler, FrameExtension, RequestInterceptor,
        ResponseInterceptor,
    },
};

use crate::{
    balancer::ComponentBalancer,
    component::Role,
    convert::Trapped,
    direct::Direct,
    event::PluginEvents,
    frame::PluginFrames,
    generation::Generation,
    identity::{PluginAuthenticator, PluginAuthorizer},
    interceptor::{PluginRequests, PluginResponses},
    plugin::Plugin,
    spec::OnTrap,
};

impl Plugin {
    /// The plugin as an interceptor of requests, if the generation in service is one.
    #[must_use]
    pub fn request_interceptor(self: &Arc<Self>) -> Option<Arc<dyn RequestInterceptor>> {
        self.is(Role::RequestInterceptor)
            .then(|| Arc::new(PluginRequests(Arc::clone(self))) as _)
    }

    /// The plugin as an interceptor of responses, if the generation in service is one.
    #[must_use]
    pub fn response_interceptor(self: &Arc<Self>) -> Option<Arc<dyn ResponseInterceptor>> {
        self.is(Role::ResponseInterceptor)
            .then(|| Arc::new(PluginResponses(Arc::clone(self))) as _)
    }

    /// The plugin as a frame extension, if the generation in service is one.
    #[must_use]
    pub fn frame_extension(self: &Arc<Self>) -> Option<Arc<dyn FrameExtension>> {
        self.is(Role::FrameExtension)
            .then(|| Arc::new(PluginFrames(Arc::clone(self))) as _)
    }

    /// The plugin as an authenticator, if the generation in service is one.
    #[must_use]
    pub fn authenticator(self: &Arc<Self>) -> Option<Arc<dyn Authenticator>> {
        self.is(Role::Authenticator)
            .then(|| Arc::new(PluginAuthenticator(Arc::clone(self))) as _)
    }

    /// The plugin as an authorizer, if the generation in service is one.
    #[must_use]
    pub fn authorizer(self: &Arc<Self>) -> Option<Arc<dyn Authorizer>> {
        self.is(Role::Authorizer)
            .then(|| Arc::new(PluginAuthorizer(Arc::clone(self))) as _)
    }

    /// The plugin as a handler of events, if the generation in service is one.
    #[must_use]
    pub fn event_handler(self: &Arc<Self>) -> Option<Arc<dyn EventHandler>> {
        self.is(Role::EventHandler)
            .then(|| Arc::new(PluginEvents(Arc::clone(self))) as _)
    }

    /// The plugin as the balancer of `service`, if the generation in service is one.
    #[must_use]
    pub fn balancer(self: &Arc<Self>, service: &str) -> Option<Arc<ComponentBalancer>> {
        self.is(Role::Balancer)
            .then(|| ComponentBalancer::new(self, service))
    }

    fn is(&self, role: Role) -> bool {
        let serving = self.serving();
        let roles = serving.as_ref().map(|serving| &serving.generation.roles);
        roles.is_some_and(|roles| roles.contains(&role))
    }
}

impl Generation {
    /// Whether it answers calls at all.
    pub(crate) const fn handles(&self) -> bool {
        let exports = &self.linked.exports;
        exports.handle.is_some() || exports.handle_stream.is_some()
    }

    /// The roles that are entered directly.
    pub(crate) const fn direct(&self) -> Option<&Direct> {
        self.linked.direct.as_ref()
    }

    /// Whether it can be entered as `role` at all.
    pub(crate) fn check_role(&self, role: Role) -> Result<(), Error> {
        let plugin = &self.guest.plugin;
        if let Some(reason) = self.stopped() {
            let message = format!("plugin {plugin} has stopped: {reason}");
            return Err(Error::unavailable(Blame::Guest, message));
        }
        if self.linked.exports.has(role) {
            return Ok(());
        }
        let role = role.name();
        let message = format!("the version of plugin {plugin} in service has no role {role}");
        Err(Error::unavailable(Blame::Gateway, message))
    }

    /// Whether it is an interceptor of one half and not of the other. One that has just taken over from
    /// a generation with both is still asked about the half that it has given up.
    pub(crate) const fn sees_only(&self, half: Role, other: Role) -> bool {
        let exports = &self.linked.exports;
        exports.has(half) && !exports.has(other)
    }

    /// What a trap in a direct entry means for the plugin (`OnTrap`).
    pub(crate) fn on_direct_trap(&self, trapped: &Trapped) {
        if self.guest.spec.on_trap == OnTrap::Stop {
            self.stopped.get_or_init(|| trapped.text.clone());
        }
    }
}
