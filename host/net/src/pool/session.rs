//! A session as the accounting holds it, and leases lend it.

use tokio_util::sync::CancellationToken;

use crate::client::Client;

/// An open session.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) client: Client,
    /// Told when the session is to be closed in order.
    pub(super) close: CancellationToken,
}
