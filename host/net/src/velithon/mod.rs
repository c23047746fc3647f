//! Velithon VSP on sockets: a listener for its clients, and its servers as instances of services. The machine
//! is `core::velithon`.
//!
//! ```text
//! client  ─▶ server.rs ─▶ conversation.rs ─▶ front.rs ─▶ handler
//! call    ─▶ upstream.rs ─▶ connections.rs ─▶ outgoing.rs ─▶ conversation.rs ─▶ the instance
//! ```
//! | part | file |
//! | --- | --- |
//! | a listener and its connections | `server`, `served` |
//! | which peers have been silent, over all their connections | `silence` |
//! | either end of a connection: requests answered, responses handed on | `conversation` |
//! | its octets | `line` |
//! | a request as a call, a reply as a response | `front` |
//! | an instance: calls, health | `upstream` |
//! | its connections: chosen and opened, run | `connections`, `outgoing` |
//! | the same for the command line | `client` |

mod client;
mod config;
mod connections;
mod conversation;
mod front;
mod line;
mod outgoing;
mod served;
mod server;
mod silence;
#[cfg(test)]
mod tests;
mod upstream;

pub use self::{
    client::{dial, dial_tls},
    config::{VelithonAddress, VelithonConfig, VelithonUpstreamConfig},
    front::Endpoints,
    server::{VelithonReconfigure, VelithonServer},
    upstream::VelithonUpstream,
};
