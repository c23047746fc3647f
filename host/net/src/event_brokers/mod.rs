//! Brokers of others that no crate speaks for: another gateway over VSTP, and whoever takes text messages
//! over WebSocket.
//!
//! ```text
//! publish, subscribe, call ─▶ keeper's task ─▶ one connection, made anew with back-off
//!                               └─ events ─▶ inbox of each source (bounded, loses the oldest)
//! ```
//!
//! | file | what it holds |
//! | --- | --- |
//! | `keeper` | how it stands with a connection, and the pauses before the next |
//! | `inbox` | events for one source |
//! | `vstp` | another gateway, as a session of ours |
//! | `websocket` | a server of text messages |
//! | `text_session`, `text_message` | one connection to it; its messages, written and read |

mod inbox;
mod keeper;
mod text_message;
mod text_session;
mod vstp;
mod websocket;

use std::{sync::Arc, time::Duration};

use postern_core::{Text, registry::Address};

pub use self::{text_message::TextForm, vstp::VstpBroker, websocket::WebSocketBroker};
use crate::tls::ClientTls;

/// Where a broker is and how it is spoken to.
#[derive(Debug, Clone)]
pub struct EventBrokerConfig {
    pub address: Address,
    /// Sent as `authorization: Bearer TOKEN`.
    pub token: Option<Text>,
    /// Time to make a connection. Default 5 s.
    pub connect_timeout: Duration,
    /// For addresses with TLS.
    pub tls: Arc<ClientTls>,
}

/// How long a call may take that sets no deadline, and a request of our own.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
