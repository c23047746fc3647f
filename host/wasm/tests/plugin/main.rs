//! Plugins from the outside: components in, calls through, and what happens when they misbehave.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod calls;
mod guest;
mod imports;
mod lifecycle;
mod limits;
mod pool;
mod streams;
