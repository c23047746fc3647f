//! What the gateway says about itself: log lines and numbers.

pub(crate) mod calls;
pub(crate) mod export;
pub(crate) mod histogram;
pub(crate) mod log;
pub(crate) mod process;
mod sizes;
mod text;
mod throttle;
mod writer;
