//! What the answer of a route is made with.

use std::sync::Arc;

use postern_core::{Handler, Peer};

use crate::{
    ConnectionBytes,
    http::{HttpConfig, activity::InFlight, asker::Asker, gather::Gather},
};

/// Who asks, and what answers.
pub(in crate::http) struct RouteAsker<'a> {
    pub(in crate::http) handler: &'a Arc<dyn Handler>,
    pub(in crate::http) config: &'a HttpConfig,
    pub(in crate::http) peer: &'a Arc<Peer>,
    pub(in crate::http) bytes: &'a ConnectionBytes,
    pub(in crate::http) gather: &'a Gather,
    /// No other request of the connection waits for its reply.
    pub(in crate::http) is_alone: bool,
    /// For a request that goes on in another protocol.
    pub(in crate::http) connection: &'a Asker,
    pub(in crate::http) in_flight: &'a InFlight,
}
