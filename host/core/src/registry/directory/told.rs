//! What others tell the directory, and what is known of a peer that tells.

use std::time::Instant;

use crate::registry::{entry::Entry, lease::Ttl, owner::InstanceId, watch::Cursor};

/// An entry and its lease, as a peer or the configuration tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldEntry {
    pub entry: Entry,
    pub ttl: Option<Ttl>,
}

/// What became of one entry of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerChange {
    Put(ToldEntry),
    Removed(InstanceId),
}

/// How things stand with a peer, for operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerState {
    pub is_connected: bool,
    /// Since when what it told is stale.
    pub lost_at: Option<Instant>,
    /// Up to where its changes are known. `None`: fetch its snapshot.
    pub cursor: Option<Cursor>,
    pub n_entries: usize,
}

/// What is known of a peer.
#[derive(Debug, Default)]
pub(super) struct Peer {
    pub(super) is_connected: bool,
    pub(super) lost_at: Option<Instant>,
    pub(super) cursor: Option<Cursor>,
}
