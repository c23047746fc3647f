//! What the machine gives to every crate but the pure core: time, entropy, waiting until a
//! time, and the shard of the running thread. One function for each, so that paused time is paused everywhere and nothing that
//! must not be guessed comes from a generator that can be.

pub mod clock;
pub mod random;
pub mod shard;
pub mod wait;
