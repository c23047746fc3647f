//! MQTT 3.1.1 and 5 as a client of a broker of others.
//!
//! ```text
//! BrokerClient ── queue, commands ──▶ BrokerDriver ── octets, time ──▶ ClientSession (pure)
//!      ▲                                   │                             outgoing, incoming
//!      └───── standing, readers ───────────┴──▶ BrokerObserver: messages, connections
//! ```
//! Packets are read and written by `mqtt-protocol-core`; what is kept between them is ours, because it
//! outlives a connection ([ADR 0075](../../../docs/adr/0075-mqtt-bridges.md)).
//!
//! **Invariant:** a message of the broker with QoS 1 or 2 is acknowledged only when the observer has
//! taken it or refused it for good.
//!
//! **Invariant:** a message that was taken from the queue is sent until the broker has acknowledged or
//! refused it, over as many connections as that takes.

mod back_off;
mod broker;
mod client;
mod config;
mod driver;
mod fault;
mod incoming;
mod link;
mod mapping;
mod message;
mod observer;
mod outgoing;
mod packet;
mod queue;
mod requests;
mod session;
mod shared;
mod sources;
mod written;

pub use self::{
    client::{BrokerClient, BrokerClientNumbers, BrokerClientParts},
    config::{BrokerClientConfig, BrokerPassword, BrokerPasswordSource, BrokerWill},
    driver::BrokerDriver,
    fault::BrokerFault,
    mapping::{event_of, event_topic_of, filter_of, message_of},
    message::BrokerMessage,
    observer::BrokerObserver,
    queue::BrokerQueueFull,
    written::BrokerSubscription,
};
