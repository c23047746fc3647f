//! What the gateway says about itself: log lines and numbers.

pub mod calls;
pub mod histogram;
