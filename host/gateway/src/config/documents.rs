//! Documents about an HTTP listener, which it serves itself.

use super::leaf::word_leaf;

/// The path of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DocumentPath {
    OpenApi,
    Docs,
}

word_leaf!(DocumentPath { OpenApi = "/openapi.json", Docs = "/docs" });
