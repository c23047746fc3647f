//! Bodies for fuzzing: plain functions that must not panic, whatever the octets. `cargo test` replays
//! the corpora of tests/fuzz and mutates them; `cargo fuzz run TARGET` in tests/fuzz searches.
//!
//! | target | octets are |
//! |---|---|
//! | `decoder` | one octet of mode, then a stream |
//! | `endpoint` | a script of datagrams, time, sends and closes, see endpoint.rs |
//! | `events` | a script of subscribers, publishers and readers, see events.rs |
//! | `headers` | a header section |
//! | `mqtt` | one octet of mode, then what a client sends |
//! | `reassembly` | a script of fragments, see reassembly.rs |
//! | `redis` | one octet of mode, then an entry of a stream, an address or an id |
//! | `resp` | one octet of mode, then what a client of Redis sends |
//! | `routes` | a request and routes, in lines, see routes.rs |
//! | `session` | a script of frames, time and calls, see session.rs |
//! | `velithon` | one octet of mode, then what a peer of velithon sends |
//! | `websocket` | one octet of mode, then what a client sends |
//!
//! Those of `postern_net::fuzz` are the same for decoders that stand on types of HTTP.

mod decoder;
mod endpoint;
mod events;
mod headers;
mod mqtt;
mod mutation;
mod reassembly;
mod redis;
mod resp;
mod routes;
mod session;
#[cfg(test)]
mod tests;
mod velithon;
mod websocket;

pub use self::{
    decoder::decoder, endpoint::endpoint, events::events, headers::headers, mqtt::mqtt,
    mutation::mutated, reassembly::reassembly, redis::redis, resp::resp, routes::routes,
    session::session, velithon::velithon, websocket::websocket,
};

/// Takes octets off the front of a fuzzer's input; zeros when it is used up.
#[derive(Debug)]
pub(crate) struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub(crate) const fn new(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn octet(&mut self) -> u8 {
        self.octets(1).first().copied().unwrap_or_default()
    }

    /// At most `n` octets.
    pub(crate) fn octets(&mut self, n: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        taken
    }
}
