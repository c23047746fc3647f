//! The gateway: configuration, pipeline, plugins and admin around the transports and the components.
//! Nothing of it is for others but [`main`], and what [`testing`] hands out.

mod acme;
mod admin;
mod app;
mod bridges;
mod build;
mod certificates;
mod channels;
mod cli;
mod cluster;
mod config;
mod consul;
mod control;
mod directory;
mod events;
mod grpc;
mod guard;
mod inspect;
mod local_authority;
mod memory;
mod mqtt;
mod name_table;
mod nearest;
mod oci;
mod openapi;
mod pipeline;
mod plugins;
mod printed;
mod private_file;
mod proto;
mod readiness;
mod recording;
mod redis_front;
mod scaffold;
mod schema;
mod sources;
mod stores;
mod telemetry;
pub mod testing;
mod users;
mod vyra;

pub use self::cli::main;
