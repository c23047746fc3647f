//! Where the session of a client stands.

use std::sync::Arc;

/// Where a session stands.
///
/// ```text
/// Open ──BYE of either end──▶ Closing ──▶ Ended
///   └──────────link broken, cut────────────▶┘
/// ```
#[derive(Debug, Clone)]
pub(super) enum Life {
    Open,
    /// Nothing more begins; what is in flight goes on.
    Closing,
    /// For this reason.
    Ended(Arc<str>),
}
