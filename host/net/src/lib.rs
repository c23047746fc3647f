//! Everything of Postern that touches a socket. No decision is made here: the pure machines of
//! `postern_core::wire` decide, this crate moves octets and time.

pub mod counters;
pub mod shutdown;

pub use counters::Counters;
pub use shutdown::Shutdown;
