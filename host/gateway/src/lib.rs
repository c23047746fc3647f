//! The gateway: configuration, pipeline, plugins and admin around the transports and the components.

pub mod build;
pub mod config;
pub mod pipeline;
pub mod plugins;
pub mod telemetry;
