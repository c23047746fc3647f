//! Who answers for an entry. Only its owner replaces, renews or removes it.

use std::{fmt, ops::Deref};

use crate::text::Text;

/// Who put an entry into the directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// A plugin of this gateway, by its name.
    Local(Text),
    /// The configuration.
    Config,
    /// A remote provider. The name must outlive its sessions (its principal, or its address where
    /// nobody authenticates), or a provider that reconnects could not renew what it registered.
    Registered(Text),
    /// A gateway named in `[[peers]]`. What it told is not told on.
    Peer(Text),
}

/// One thing that can answer for a service, by a name of the owner's choice.
///
/// Among all that this gateway answers for itself (plugins, configuration, registrations) a name
/// stands once; each peer has names of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(pub Text);

/// Which of several lives of an instance this is: larger is later. A provider takes the time of its
/// start, or a counter that it keeps. 0 where it has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Incarnation(pub u64);

/// What names an entry in the directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryKey {
    // The owner comes first, so that what one owner has stands together.
    pub owner: Owner,
    pub instance: InstanceId,
}

impl Owner {
    /// Whether this gateway answers for the entry itself. Only such entries are told to peers.
    #[must_use]
    pub const fn is_own(&self) -> bool {
        match self {
            Self::Local(_) | Self::Config | Self::Registered(_) => true,
            Self::Peer(_) => false,
        }
    }

    /// Whether the operator of this gateway decided on the entry.
    pub(super) const fn is_of_operator(&self) -> bool {
        match self {
            Self::Local(_) | Self::Config => true,
            Self::Registered(_) | Self::Peer(_) => false,
        }
    }

    /// The same owner in memory of its own. See `entry`, "What is held".
    pub(super) fn detached(&self) -> Self {
        let copy = |name: &Text| Text::from(name.as_str());
        match self {
            Self::Local(name) => Self::Local(copy(name)),
            Self::Config => Self::Config,
            Self::Registered(name) => Self::Registered(copy(name)),
            Self::Peer(name) => Self::Peer(copy(name)),
        }
    }

    /// The least key that this owner can have.
    pub(super) fn first_key(&self) -> EntryKey {
        EntryKey {
            owner: self.clone(),
            instance: InstanceId(Text::default()),
        }
    }
}

/// For logs and for operators.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(name) => write!(f, "plugin {name}"),
            Self::Config => f.write_str("configuration"),
            Self::Registered(name) => write!(f, "provider {name}"),
            Self::Peer(name) => write!(f, "peer {name}"),
        }
    }
}

impl InstanceId {
    #[must_use]
    pub fn new(name: impl Into<Text>) -> Self {
        Self(name.into())
    }
}

impl Deref for InstanceId {
    type Target = Text;

    fn deref(&self) -> &Text {
        &self.0
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_owner_has_stands_behind_its_first_key() {
        let owners = [
            Owner::Local("a".into()),
            Owner::Local("b".into()),
            Owner::Config,
            Owner::Registered("a".into()),
            Owner::Peer("a".into()),
        ];
        for pair in owners.windows(2) {
            let last = EntryKey {
                owner: pair[0].clone(),
                instance: InstanceId::new("\u{10ffff}"),
            };
            assert!(pair[0].first_key() < last);
            assert!(last < pair[1].first_key());
        }
    }

    #[test]
    fn only_peers_are_not_our_own() {
        assert!(Owner::Local("a".into()).is_own());
        assert!(Owner::Config.is_own());
        assert!(Owner::Registered("a".into()).is_own());
        assert!(!Owner::Peer("a".into()).is_own());
    }
}
