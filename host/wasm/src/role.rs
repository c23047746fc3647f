//! What a component may be to the gateway: its roles, by the interface that it exports for each.

/// Makes the roles and their names of one list.
macro_rules! roles {
    ($($role:ident = $name:literal,)*) => {
        /// What a component does for the gateway. It may have several.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Role {
            $($role,)*
        }

        impl Role {
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$role),*];

            /// Name of the interface in the package `postern:gateway`; of another host's, the name that
            /// it has here (`interface`).
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$role => $name,)*
                }
            }
        }
    };
}

roles! {
    Handler = "handler",
    TextHandler = "text-handler",
    BatchHandler = "batch-handler",
    StreamHandler = "stream-handler",
    AsyncStreamHandler = "async-stream-handler",
    IncomingHandler = "incoming-handler",
    HttpHandler = "http-handler",
    Balancer = "balancer",
    RequestInterceptor = "request-interceptor",
    ResponseInterceptor = "response-interceptor",
    FrameExtension = "frame-extension",
    Authenticator = "authenticator",
    Authorizer = "authorizer",
    EventHandler = "event-handler",
    Health = "health",
    Describe = "describe",
    Schemas = "schemas",
}

impl Role {
    pub(crate) const fn bit(self) -> u32 {
        1 << self as u32
    }

    /// The interface, with its package, of a role that was made for other hosts, and the version that is
    /// known here.
    #[must_use]
    pub const fn foreign(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::IncomingHandler => Some(("wasi:http/incoming-handler", "0.2")),
            Self::HttpHandler => Some(("wasi:http/handler", "0.3")),
            Self::Handler
            | Self::TextHandler
            | Self::BatchHandler
            | Self::StreamHandler
            | Self::AsyncStreamHandler
            | Self::Balancer
            | Self::RequestInterceptor
            | Self::ResponseInterceptor
            | Self::FrameExtension
            | Self::Authenticator
            | Self::Authorizer
            | Self::EventHandler
            | Self::Health
            | Self::Describe
            | Self::Schemas => None,
        }
    }

    /// The role that the export `interface` of another host's package is for, and its version there.
    #[must_use]
    pub fn of_foreign(interface: &str) -> Option<(Self, &'static str)> {
        Self::ALL.into_iter().find_map(|role| {
            let (name, version) = role.foreign()?;
            (name == interface).then_some((role, version))
        })
    }

    /// Whether a component may be there for this role alone. `batch-handler` adds to `handler`;
    /// `health`, `describe` and `schemas` tell of others.
    #[must_use]
    pub const fn works(self) -> bool {
        !matches!(
            self,
            Self::BatchHandler | Self::Health | Self::Describe | Self::Schemas
        )
    }

    pub(crate) fn named(interface: &str) -> Option<Self> {
        let mut ours = Self::ALL
            .into_iter()
            .filter(|role| role.foreign().is_none());
        ours.find(|role| role.name() == interface)
    }
}
