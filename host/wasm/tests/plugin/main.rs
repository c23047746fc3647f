//! Plugins from the outside: components in, calls through, and what happens when they misbehave.

mod calls;
mod guest;
mod imports;
mod lifecycle;
mod limits;
mod pool;
mod streams;
