//! Against servers in the test: one over `h2`, and one that writes frames itself for what `h2` would not do.

mod calls;
mod connections;
mod fixture;
mod questions;
mod raw;
