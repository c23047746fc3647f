//! The MQTT broker: listeners of MQTT 3.1.1 and 5, and the sessions of their clients.
//!
//! ```text
//! stream ─▶ connection ─▶ core::mqtt (packets, session) ─▶ MqttBackend (rules, events, routes, store)
//!                │                                              │ accepted
//!                └──────────── Broker ◀─────────────────────────┘
//!                                │ filters ─▶ mailbox of each subscriber ─▶ its connection
//! events of others ─▶ Broker::deliver_event
//! ```

mod attaching;
mod backend;
mod broker;
mod config;
mod connection;
mod info;
mod keeping;
mod kept;
mod restoring;
mod routes;
mod server;
mod service;
mod session;
mod session_record;
mod sessions;
mod share;
mod share_member;
mod shares;
mod sys;
mod wills;

pub use self::{
    backend::{
        Acceptance, ConnectAttempt, MqttAdmission, MqttBackend, MqttClient, MqttRefusal,
        PublishOutcome,
    },
    broker::{Broker, BrokerNumbers},
    config::{BrokerConfig, MqttConfig},
    kept::{MqttStore, StoredSession},
    server::{MqttControl, MqttFront, MqttServer},
    session::SessionInfo,
};
pub(crate) use self::{connection::serve_stream, service::MqttService};
pub use postern_core::mqtt::ClientLimits;

/// The path of MQTT on the HTTP port.
pub const MQTT_PATH: &str = "/mqtt";
/// Its subprotocol of WebSocket (section 6).
pub const MQTT_PROTOCOL: &str = "mqtt";
