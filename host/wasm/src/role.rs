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

            /// Name of the interface in the package `postern:gateway`.
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
        1 << self as u16
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
        Self::ALL.into_iter().find(|role| role.name() == interface)
    }
}
