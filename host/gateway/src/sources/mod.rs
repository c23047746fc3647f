//! Files that others write and this gateway reads: the configuration, plugins, keys. One rule for all
//! of them says when a version counts, and nothing that goes wrong with a file takes away what it
//! said before.
//!
//! ```text
//! notices ──▶ settle ──▶ due ──▶ read ──▶ whole, not empty ──▶ a version, known by its digest
//!    ▲          │ open for writing: wait for the close        │ gone, empty, unreadable:
//!  look ────────┘ no notices: wait until it rests             └▶ what was read before stays; trouble
//! ```
//! `settle` decides and is pure; `notices` and `sight` touch the system; `files` drives both for single
//! files, `plugins::watch` for the plugin folder. At the start, before any notice can come, `writers` tells
//! who is writing.
//!
//! **Invariant:** nothing of a file counts while a writer that was noticed has it open, and a file of
//! no bytes never counts.

pub(crate) mod files;
pub(crate) mod links;
pub(crate) mod notices;
pub(crate) mod settle;
pub(crate) mod sight;
pub mod troubles;
pub(crate) mod writers;

#[cfg(test)]
pub(crate) mod tests;
