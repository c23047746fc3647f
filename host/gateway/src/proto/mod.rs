//! Schemas of protobuf at run time.

pub(crate) mod http_rule;
