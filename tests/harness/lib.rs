//! What every test from outside needs: a gateway process, plugins, callers, load and bad links.
//!
//! The gateway under test is the binary `postern-under-test` of this package: the gateway's own
//! `main.rs`, built together with the tests, so that no test meets a stale binary.
//! `POSTERN_BIN=path` tests another one instead.

mod api_key;
mod caller;
mod clients;
mod events;
mod figures;
mod guests;
mod listener_gateway;
mod load;
mod mosquitto;
mod network;
mod octets_codec;
mod ports;
mod process;
mod redis_server;
mod relay;
mod tools;

pub use api_key::api_key;
pub use caller::{CallerTransport, call, connect, patiently};
pub use clients::{RunningClient, python_script, said};
pub use events::{ask_events, next_event, publish_event, session};
pub use figures::{Percentiles, rss_bytes};
pub use guests::component;
pub use listener_gateway::ListenerGateway;
pub use load::{Load, Outcome};
pub use mosquitto::{Mosquitto, MosquittoReading, mosquitto_passwords};
pub use network::{Host, Network};
pub use octets_codec::OctetsCodec;
pub use ports::free_address;
pub use process::{Finished, Gateway, Setup, binary, command_in, postern};
pub use redis_server::RedisServer;
pub use relay::{Faults, Relay};
pub use tools::{
    ToolProcess, cache as build_cache, node_packages, python, system_tool, tool, velithon_python,
};
