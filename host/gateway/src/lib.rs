//! The gateway: configuration, pipeline, plugins and admin around the transports and the components.

pub mod admin;
pub mod app;
pub mod build;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod control;
pub mod directory;
pub mod events;
pub mod guard;
pub mod inspect;
mod memory;
mod name_table;
mod nearest;
pub mod pipeline;
pub mod plugins;
pub mod readiness;
pub mod scaffold;
mod shard;
pub mod sources;
pub mod telemetry;
