//! Schemas of protobuf at run time: read beside a component, compiled, and used to convert messages, to
//! describe services and to answer reflection.
//!
//! ```text
//! users.proto, users.binpb, manifest `proto`  ─▶ folder ─▶ SchemaFiles ─┐
//! custom section `postern:proto`              ─▶ section ───────────────┴▶ compile ─▶ pool ─▶ ProtoSchema
//!                                                        codec, services with JSON Schemas ◀┘
//! ```
//! Files are read with the component, as one deployment with it; compiling reads nothing and decides
//! nothing about files. Whoever writes schemas is trusted with no more than whoever writes components:
//! files, octets and depth are bounded before anything is compiled (`bounds.rs`).

mod bounds;
mod built_in;
mod codec;
mod compile;
mod extent;
mod files;
mod folder;
pub(crate) mod http_rule;
mod json_faults;
mod json_schema;
mod loaded;
mod schema;
mod section;
mod services;
mod status_details;

pub(crate) use self::{
    bounds::SCHEMA_BYTES_MAX,
    files::SchemaFiles,
    folder::{SCHEMA_ENDS, SchemaSight, read},
    loaded::{LoadedSchema, LoadedSchemas, SchemaOwner},
    schema::ProtoSchema,
    status_details::PoolDetails,
};
