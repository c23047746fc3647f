//! `[vyra]`: this gateway as a module of VYRA, and the modules of others.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use postern_core::vyra::{NameError, VyraModule, VyraTopic};

use super::{
    events::Topics,
    leaf::{Leaf, Secret, word_leaf},
    named::Named,
    section::section,
    units::Size,
    value::Value,
};

section! {
    /// VYRA's patterns of revision J: publishing, requests and goals, over Redis and Unix sockets.
    pub(crate) struct Vyra {
        /// This gateway's module name. With `id` it is what the topics of its functions begin with.
        pub module: ModulePart = ModulePart("postern".to_owned());
        /// Which of the modules of that name it is.
        pub id: ModulePart = ModulePart("gateway".to_owned());
        /// The table [stores.NAME] of the Redis that is spoken over; the only one where left out.
        pub store: Option<String> = None;
        /// Shown to this gateway's own guard by calls of others, as `authorization: Bearer TOKEN`: VYRA has no
        /// credentials.
        pub token: Option<Secret> = None;
        /// Folder of the Unix sockets, as `VYRA_SOCKET_DIR` of its peers.
        pub socket_folder: PathBuf = "/vyra/sockets".into();
        /// How long a request waits for its response, a goal for its acceptance.
        pub timeout: Duration = Duration::from_secs(5), within "10ms" to "24h";
        /// How often the state of a goal of another module is looked at: one that was aborted is told by it
        /// alone.
        pub state_interval: Duration = Duration::from_secs(1), within "10ms" to "1m";
        /// Largest message over a stream socket. What is read from datagrams is 64 KiB at most.
        pub message_bytes_max: Size = Size::mib(1), within "1KiB" to "64MiB";
        /// Requests and goals of others that are answered at one time; one more is passed over.
        pub calls_max: usize = 256, within "1" to "100000";
        /// What others may ask of this gateway, by a name of your choice.
        pub functions: BTreeMap<String, VyraFunction> = BTreeMap::new();
        /// Modules of others. Each is a service here, under the name of its table.
        pub peers: BTreeMap<String, VyraPeer> = BTreeMap::new();
    }
}

section! {
    /// A function of this gateway.
    pub(crate) struct VyraFunction {
        /// Its name as others see it; the table's where left out, with _ for -.
        pub function: Option<String> = None;
        /// Stands before the function in its topic.
        pub namespace: Option<String> = None;
        /// Stands behind it.
        pub subsection: Option<String> = None;
        /// "request": a call with one reply. "goal": a call whose items are feedback and then the result.
        /// "publish": events of `topics` go out. "subscribe": what others publish under it comes in as
        /// events of `topic`.
        pub kind: VyraKind = VyraKind::Request;
        /// What it is spoken over: "redis", "sockets" or both.
        pub over: Vec<VyraTransport> = vec![VyraTransport::Redis];
        /// The service that is called.
        pub service: Option<String> = None;
        /// The method of it; the function's name where left out.
        pub method: Option<String> = None;
        /// Events that go out.
        pub topics: Vec<Topics> = Vec::new();
        /// Topic of events that come in; its VYRA topic with . for / where left out.
        pub topic: Option<EventTopic> = None;
    }
}

section! {
    /// A module of others.
    pub(crate) struct VyraPeer {
        /// Its module name.
        pub module: Option<ModulePart> = None;
        /// Its id.
        pub id: Option<ModulePart> = None;
        /// Stands before each function.
        pub namespace: Option<String> = None;
        /// What is spoken with it.
        pub over: VyraTransport = VyraTransport::Redis;
        /// Functions that answer a request: methods of the service. Empty, and `goals` too: every method is
        /// a request.
        pub functions: Vec<String> = Vec::new();
        /// Functions that take goals: methods that answer a stream of feedback with the result as its last
        /// item.
        pub goals: Vec<String> = Vec::new();
        /// Functions whose publishing comes in as events.
        pub events: Vec<String> = Vec::new();
        /// What their topics begin with; the function follows. The peer's own topic with . for / where left
        /// out.
        pub topic: Option<EventTopic> = None;
        /// As `vyra.timeout`, for this peer.
        pub timeout: Option<Duration> = None, within "10ms" to "24h";
    }
}

/// A module name or an id: letters, digits, `_`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ModulePart(pub String);

/// A topic of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventTopic(pub String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VyraKind {
    Request,
    Goal,
    Publish,
    Subscribe,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VyraTransport {
    Redis,
    Sockets,
}

word_leaf!(VyraKind {
    Request = "request",
    Goal = "goal",
    Publish = "publish",
    Subscribe = "subscribe",
});
word_leaf!(VyraTransport { Redis = "redis", Sockets = "sockets" });

impl Vyra {
    /// Whether anything is to be done.
    #[must_use]
    pub(crate) fn is_on(&self) -> bool {
        !self.functions.is_empty() || !self.peers.is_empty()
    }

    #[must_use]
    pub(crate) fn uses_redis(&self) -> bool {
        let of_functions = self.functions.values().flat_map(|function| &function.over);
        let of_peers = self.peers.values().map(|peer| &peer.over);
        of_functions
            .chain(of_peers)
            .any(|over| *over == VyraTransport::Redis)
    }

    /// # Errors
    /// What is wrong with one of the two names.
    pub(crate) fn own_module(&self) -> Result<VyraModule, NameError> {
        VyraModule::new(&self.module.0, &self.id.0)
    }
}

impl VyraFunction {
    /// `name` is that of its table.
    #[must_use]
    pub(crate) fn function_name(&self, name: &str) -> String {
        let own = self.function.clone();
        own.unwrap_or_else(|| name.replace('-', "_"))
    }

    /// # Errors
    /// What is wrong with one of its names.
    pub(crate) fn vyra_topic(
        &self,
        module: &VyraModule,
        name: &str,
    ) -> Result<VyraTopic, NameError> {
        let function = self.function_name(name);
        module.topic(
            self.namespace.as_deref(),
            &function,
            self.subsection.as_deref(),
        )
    }
}

impl VyraPeer {
    /// # Errors
    /// What is wrong with one of its names; none where one is missing.
    pub(crate) fn vyra_module(&self) -> Option<Result<VyraModule, NameError>> {
        let (module, id) = self.module.as_ref().zip(self.id.as_ref())?;
        Some(VyraModule::new(&module.0, &id.0))
    }
}

impl Named for VyraFunction {}
impl Named for VyraPeer {}

impl Leaf for ModulePart {
    fn expected() -> String {
        "a name of letters, digits and _".to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        let text = String::read(value)?;
        VyraModule::new(&text, "x").map_err(|error| format!("{text:?}: {error}"))?;
        Ok(Self(text))
    }

    fn written(&self) -> Option<String> {
        self.0.written()
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "string", "pattern": "^[A-Za-z0-9_]{1,64}$" })
    }
}

impl Leaf for EventTopic {
    fn expected() -> String {
        "a topic such as \"user.created\"".to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        let text = String::read(value)?;
        postern_core::event::check_topic(&text).map_err(|error| format!("{text:?}: {error}"))?;
        Ok(Self(text))
    }

    fn written(&self) -> Option<String> {
        self.0.written()
    }

    fn schema() -> serde_json::Value {
        String::schema()
    }
}
