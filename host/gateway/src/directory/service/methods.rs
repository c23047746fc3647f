//! The name of the service, its methods, and what it says of itself.

use postern_core::{
    Error, Text,
    service::{MethodInfo, ServiceInfo},
};

use crate::nearest::nearest;

/// Its name. No provider can register it.
pub(crate) const SERVICE: &str = "directory";

/// The method that tells which services answer, and what their methods take and give.
pub(super) const SERVICES: &str = "services";

/// The method that tells the same as an OpenAPI document, with the routes that lead to them.
pub(super) const OPENAPI: &str = "openapi";

/// A method that is answered from the directory itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Register,
    Heartbeat,
    Unregister,
    Discover,
    Picture,
    Watch,
}

/// The methods, in order.
const METHODS: [&str; 8] = [
    "discover",
    "heartbeat",
    OPENAPI,
    "picture",
    "register",
    SERVICES,
    "unregister",
    "watch",
];

/// What the service says of itself.
pub(crate) fn info() -> ServiceInfo {
    let method = |name: &'static str| {
        let unary = |idempotent| MethodInfo::unary(Text::from_static(name), idempotent);
        match name {
            "discover" => {
                unary(true).with_summary("Finds instances by what they say of themselves.")
            }
            "heartbeat" => unary(true).with_summary("Renews the lease of an instance."),
            OPENAPI => unary(true).with_summary("What the caller may call, as OpenAPI 3.1."),
            "picture" => unary(true).with_summary("Every entry at one moment, page by page."),
            "register" => unary(true).with_summary("Enters an instance, or changes its entry."),
            "unregister" => unary(false).with_summary("Takes an instance out."),
            // One batch where the caller names a time, or has no streams.
            "watch" => MethodInfo::new(Text::from_static(name), true)
                .with_summary("The entries and what changes, as a stream or batch by batch."),
            _ => unary(true).with_summary("The services that the caller may call."),
        }
    };
    ServiceInfo {
        name: Text::from_static(SERVICE),
        summary: Text::from_static("Who answers for which service."),
        methods: METHODS.map(method).into(),
        ..ServiceInfo::default()
    }
}

impl Method {
    pub(super) fn named(name: &str) -> Result<Self, Error> {
        Ok(match name {
            "register" => Self::Register,
            "heartbeat" => Self::Heartbeat,
            "unregister" => Self::Unregister,
            "discover" => Self::Discover,
            "picture" => Self::Picture,
            "watch" => Self::Watch,
            _ => {
                let known = METHODS;
                return Err(Error::not_found(match nearest(name, known) {
                    Some(near) => format!("directory has no such method; did you mean {near}?"),
                    None => format!("directory has no such method; it has {}", known.join(", ")),
                }));
            }
        })
    }
}
