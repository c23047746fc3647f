//! A host for unit tests, in memory and per thread: `cargo test` needs no gateway.
//!
//! ```
//! use postern_guest::{Octets, fake::Host, kv};
//!
//! let host = Host::new();
//! host.config("greeting", "hello").answer("mailer", "Send", |_| Ok(Octets::from("null")));
//! kv::set("visits", &1)?;
//! assert_eq!(host.log(), []);
//! # Ok::<(), postern_guest::Failure>(())
//! ```
//!
//! It keeps the limits that the gateway has for keys, values and listings. Without a [`Host`] the
//! same empty host serves, so that a function that needs nothing can be tested as it is.

pub(crate) mod async_stream;
mod capabilities;
mod exchange;
mod host;
mod roles;
pub(crate) mod seam;
mod state;

pub use crate::fake::{
    exchange::Crossings,
    host::Host,
    roles::{Handled, WholeFrame},
    state::{ClientCall, Line, Published},
};

#[cfg(test)]
mod tests;
