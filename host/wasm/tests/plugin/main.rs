//! Plugins from the outside: components in, calls through, and what happens when they misbehave.

#![expect(
    clippy::disallowed_methods,
    reason = "a test measures by the clock that it chooses"
)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod async_streams;
mod bailouts;
mod balancer;
mod batch;
mod calls;
mod frames;
mod guest;
mod identity;
mod imports;
mod interceptor;
mod lifecycle;
mod limits;
mod pool;
mod sandbox;
mod sharing;
mod streams;
mod text;
