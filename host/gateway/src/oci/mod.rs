//! Components out of registries, as the OCI distribution specification has them: named, fetched within
//! bounds, compared with their digests, and put into the plugin folder.
//!
//! | part of an artifact | known by |
//! | --- | --- |
//! | component | the layer of type `application/wasm` or `application/vnd.wasm.content.layer.v1+wasm` |
//! | manifest | a layer whose title (`org.opencontainers.image.title`) ends with `.toml` |
//! | schema | the layer of type `application/vnd.postern.schema.v1`: a source where its title ends with `.proto`, or else a set of descriptors |
//! | signatures | layers whose titles end with `.wasm.minisig`, `.toml.minisig`, and the end of the schema with `.minisig` |
//!
//! Titles say what a layer is and are never a path. Layers are fetched from the registry alone, whatever
//! other places a descriptor names.

mod artifact;
mod credentials;
mod fault;
mod fetch;
mod folder;
mod reference;

pub(crate) use self::{
    artifact::Artifact,
    credentials::{RegistryCredentials, credentials_of},
    fault::PullFault,
    fetch::{FetchOptions, fetch},
    folder::{ManifestChoice, Placed, PutFault, put},
    reference::ArtifactReference,
};
