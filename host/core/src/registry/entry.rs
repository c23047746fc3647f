//! An instance's line in the directory, checked.
//!
//! # What is held
//!
//! A `Text` read from a frame keeps the whole buffer of the frame alive. An entry lives for hours,
//! so `Entry::new` copies its texts: it holds at most `ENTRY_BYTES_MAX` octets of text beside the
//! fixed size of its parts, whatever it came in.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Deref,
    sync::Arc,
};

use super::{
    address::{Address, AddressError},
    owner::{EntryKey, Incarnation, InstanceId, Owner},
    value::{self, Params},
    version::Version,
};
use crate::{service::MethodInfo, text::Text, transport::Transport};

/// Octets of a name: instance, service, network, permission, zone, method, key. What one VSTP
/// header value holds.
pub const NAME_BYTES_MAX: usize = 255;
/// Octets of a value of metadata or of a text parameter.
pub const TEXT_BYTES_MAX: usize = 1024;
pub const VNETS_MAX: usize = 32;
pub const PERMISSIONS_MAX: usize = 32;
pub const METADATA_MAX: usize = 64;
pub const METHODS_MAX: usize = 256;
/// The weight of an entry that says none.
pub const WEIGHT_DEFAULT: u32 = 100;
/// Weights of 10,000 entries (the default bound of a directory) add up within 32 bits.
pub const WEIGHT_MAX: u32 = 10_000;
/// Octets of all texts of one entry, so that 10,000 entries take at most about 160 MB.
pub const ENTRY_BYTES_MAX: usize = 16 * 1024;

/// An entry as somebody wrote it. `Entry::new` checks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    pub instance: InstanceId,
    pub service: Text,
    pub version: Option<Version>,
    pub incarnation: Incarnation,
    /// At most one per transport, the preferred first. None where calls go back over the session that
    /// registered it, or to a plugin of this gateway.
    pub addresses: Vec<Address>,
    /// What of the service it is responsible for.
    pub params: Params,
    /// The virtual networks it is in.
    pub vnets: BTreeSet<Text>,
    /// A caller needs one of these to see or use it. None: everybody.
    pub permissions: BTreeSet<Text>,
    /// Share of calls beside others, 0 to `WEIGHT_MAX`. 0 is drained: seen, and given no new call.
    pub weight: u32,
    pub zone: Option<Text>,
    pub metadata: BTreeMap<Text, Text>,
    /// One sentence about the service, for people; may be empty.
    pub summary: Text,
    /// What it can be asked, where that is known.
    pub methods: Option<Vec<MethodInfo>>,
}

/// A checked entry. Read-only and shared; its fields are those of `Draft`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry(Arc<Draft>);

/// Why a draft is no entry. Who registered it sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    #[error("{what} is empty")]
    Empty { what: &'static str },
    #[error("{what} of {bytes} octets exceeds the limit of {limit}")]
    TooLong {
        what: &'static str,
        bytes: usize,
        limit: usize,
    },
    #[error("{what} holds a control character")]
    Control { what: &'static str },
    #[error("more than {limit} {what}")]
    TooMany { what: &'static str, limit: usize },
    #[error("parameters are nested deeper than {limit}")]
    TooDeep { limit: usize },
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error("two addresses for {transport}")]
    TransportTwice { transport: Transport },
    #[error("method `{name}` stands twice")]
    MethodTwice { name: Text },
    #[error("weight {weight} exceeds the limit of {limit}")]
    Weight { weight: u32, limit: u32 },
    #[error("entry of {bytes} octets exceeds the limit of {limit}")]
    TooLarge { bytes: usize, limit: usize },
}

impl Draft {
    /// An entry for `service` with nothing else said.
    #[must_use]
    pub fn new(instance: impl Into<Text>, service: impl Into<Text>) -> Self {
        Self {
            instance: InstanceId::new(instance),
            service: service.into(),
            version: None,
            incarnation: Incarnation::default(),
            addresses: Vec::new(),
            params: Params::new(),
            vnets: BTreeSet::new(),
            permissions: BTreeSet::new(),
            weight: WEIGHT_DEFAULT,
            zone: None,
            metadata: BTreeMap::new(),
            summary: Text::default(),
            methods: None,
        }
    }

    /// Checks every bound; returns the octets of all texts.
    fn check(&self) -> Result<usize, EntryError> {
        if self.weight > WEIGHT_MAX {
            let (weight, limit) = (self.weight, WEIGHT_MAX);
            return Err(EntryError::Weight { weight, limit });
        }
        let mut bytes = check_name("instance", &self.instance)?;
        bytes += check_name("service", &self.service)?;
        if let Some(zone) = &self.zone {
            bytes += check_name("zone", zone)?;
        }
        bytes += check_names(
            "virtual network",
            "virtual networks",
            &self.vnets,
            VNETS_MAX,
        )?;
        bytes += check_names(
            "permission",
            "permissions",
            &self.permissions,
            PERMISSIONS_MAX,
        )?;
        bytes += check_text("summary", &self.summary)?;
        bytes += check_metadata(&self.metadata)?;
        bytes += check_addresses(&self.addresses)?;
        bytes += check_methods(self.methods.as_deref().unwrap_or_default())?;
        bytes += value::measure(&self.params)?;
        Ok(bytes)
    }

    fn detached(&self) -> Self {
        let copy = |text: &Text| Text::from(text.as_str());
        let methods = self.methods.as_ref();
        Self {
            instance: InstanceId(copy(&self.instance)),
            service: copy(&self.service),
            version: self.version.clone(),
            incarnation: self.incarnation,
            addresses: self.addresses.iter().map(Address::detached).collect(),
            params: value::detached(&self.params),
            vnets: self.vnets.iter().map(copy).collect(),
            permissions: self.permissions.iter().map(copy).collect(),
            weight: self.weight,
            zone: self.zone.as_ref().map(copy),
            metadata: (self.metadata.iter())
                .map(|(key, value)| (copy(key), copy(value)))
                .collect(),
            summary: copy(&self.summary),
            methods: methods.map(|methods| methods.iter().map(MethodInfo::detached).collect()),
        }
    }
}

impl Entry {
    /// Checks `draft` and copies its texts.
    ///
    /// # Errors
    /// The first bound that it exceeds.
    pub fn new(draft: &Draft) -> Result<Self, EntryError> {
        let (bytes, limit) = (draft.check()?, ENTRY_BYTES_MAX);
        if bytes > limit {
            return Err(EntryError::TooLarge { bytes, limit });
        }
        Ok(Self(Arc::new(draft.detached())))
    }

    /// What names it in the directory when it is `owner`'s.
    pub(super) fn key(&self, owner: &Owner) -> EntryKey {
        EntryKey {
            owner: owner.clone(),
            instance: self.instance.clone(),
        }
    }

    /// The fields, to change some and check again.
    #[must_use]
    pub fn into_draft(self) -> Draft {
        Arc::unwrap_or_clone(self.0)
    }

    /// The method of that name; `None` also where methods are not known.
    #[must_use]
    pub fn method(&self, name: &str) -> Option<&MethodInfo> {
        let methods = self.methods.as_ref()?;
        methods.iter().find(|method| method.name == *name)
    }

    /// Whether both name one thing at one place: told twice, by the provider and by a peer. What
    /// has no address is reached only through who told it, so that it is never the same.
    pub(super) fn is_same_thing(&self, other: &Self) -> bool {
        self.instance == other.instance
            && !self.addresses.is_empty()
            && self.is_at_same_place(other)
    }

    /// Whether calls of the one reach the other.
    pub(super) fn is_at_same_place(&self, other: &Self) -> bool {
        self.service == other.service && self.addresses == other.addresses
    }
}

impl Deref for Entry {
    type Target = Draft;

    fn deref(&self) -> &Draft {
        &self.0
    }
}

/// A name is there, short, and prints on one line. Returns its octets.
pub(super) fn check_name(what: &'static str, name: &str) -> Result<usize, EntryError> {
    if name.is_empty() {
        return Err(EntryError::Empty { what });
    }
    check_length(what, name, NAME_BYTES_MAX)
}

/// A value is short and has no control characters, line breaks included: it is shown to operators
/// and becomes a header.
pub(super) fn check_text(what: &'static str, text: &str) -> Result<usize, EntryError> {
    check_length(what, text, TEXT_BYTES_MAX)
}

fn check_length(what: &'static str, text: &str, limit: usize) -> Result<usize, EntryError> {
    let bytes = text.len();
    if bytes > limit {
        return Err(EntryError::TooLong { what, bytes, limit });
    }
    if text.chars().any(char::is_control) {
        return Err(EntryError::Control { what });
    }
    Ok(bytes)
}

const fn check_count(what: &'static str, count: usize, limit: usize) -> Result<(), EntryError> {
    if count > limit {
        return Err(EntryError::TooMany { what, limit });
    }
    Ok(())
}

fn check_names(
    one: &'static str,
    many: &'static str,
    names: &BTreeSet<Text>,
    limit: usize,
) -> Result<usize, EntryError> {
    check_count(many, names.len(), limit)?;
    let mut bytes = 0;
    for name in names {
        bytes += check_name(one, name)?;
    }
    Ok(bytes)
}

fn check_metadata(metadata: &BTreeMap<Text, Text>) -> Result<usize, EntryError> {
    check_count("pairs of metadata", metadata.len(), METADATA_MAX)?;
    let mut bytes = 0;
    for (key, value) in metadata {
        bytes += check_name("key of metadata", key)?;
        bytes += check_text("value of metadata", value)?;
    }
    Ok(bytes)
}

fn check_addresses(addresses: &[Address]) -> Result<usize, EntryError> {
    check_count("addresses", addresses.len(), Transport::addressed().count())?;
    let mut seen = BTreeSet::new();
    let mut bytes = 0;
    for address in addresses {
        address.check()?;
        if !seen.insert(address.transport) {
            let transport = address.transport;
            return Err(EntryError::TransportTwice { transport });
        }
        bytes += address.bytes();
    }
    Ok(bytes)
}

fn check_methods(methods: &[MethodInfo]) -> Result<usize, EntryError> {
    check_count("methods", methods.len(), METHODS_MAX)?;
    let mut seen = BTreeSet::new();
    let mut bytes = 0;
    for method in methods {
        check_name("method", &method.name)?;
        for text in method.texts() {
            bytes += check_text("description of a method", text)?;
        }
        if !seen.insert(&method.name) {
            let name = Text::from(method.name.as_str());
            return Err(EntryError::MethodTwice { name });
        }
    }
    Ok(bytes)
}
