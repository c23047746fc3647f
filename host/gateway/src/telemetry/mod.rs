//! What the gateway says about itself: log lines and numbers.

pub mod calls;
pub mod export;
pub mod histogram;
pub mod log;
pub mod process;
mod text;
mod throttle;
mod writer;
