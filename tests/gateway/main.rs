//! The gateway from outside, by capability. Each test starts processes of its own.
