//! SUBSCRIBE and UNSUBSCRIBE (sections 3.8 and 3.10).

use super::{
    PacketFault,
    octets::Reader,
    property::{self, Property, PropertySet},
};
use crate::mqtt::{
    MqttNameError, MqttVersion, Qos, RetainHandling, SharedFilter, SubscriptionOptions,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    pub id: u16,
    /// At least one.
    pub requests: Vec<FilterRequest>,
}

/// One line of a SUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterRequest {
    /// One that is none is answered by itself.
    pub filter: Result<SharedFilter, MqttNameError>,
    pub options: SubscriptionOptions,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsubscribe {
    pub id: u16,
    /// At least one.
    pub filters: Vec<Result<SharedFilter, MqttNameError>>,
}

impl Subscribe {
    pub(super) fn read(reader: &mut Reader<'_>, version: MqttVersion) -> Result<Self, PacketFault> {
        let id = reader.packet_id()?;
        let mut subscription_id = None;
        if version == MqttVersion::V5 {
            property::read(reader, PropertySet::SUBSCRIBE, |property| {
                if let Property::SubscriptionId(number) = property {
                    subscription_id = Some(number);
                }
                Ok(())
            })?;
        }
        let mut requests = Vec::new();
        while !reader.is_empty() {
            check_room(requests.len())?;
            let filter = SharedFilter::new(reader.text()?);
            let mut options = read_options(reader.octet()?, version)?;
            options.id = subscription_id;
            let is_shared = filter.as_ref().is_ok_and(|filter| filter.group.is_some());
            if options.no_local && is_shared {
                return Err(PacketFault::NoLocalShared);
            }
            requests.push(FilterRequest { filter, options });
        }
        match requests.is_empty() {
            true => Err(PacketFault::NoFilter),
            false => Ok(Self { id, requests }),
        }
    }
}

impl Unsubscribe {
    pub(super) fn read(reader: &mut Reader<'_>, version: MqttVersion) -> Result<Self, PacketFault> {
        let id = reader.packet_id()?;
        if version == MqttVersion::V5 {
            property::read(reader, PropertySet::UNSUBSCRIBE, |_| Ok(()))?;
        }
        let mut filters = Vec::new();
        while !reader.is_empty() {
            check_room(filters.len())?;
            filters.push(SharedFilter::new(reader.text()?));
        }
        match filters.is_empty() {
            true => Err(PacketFault::NoFilter),
            false => Ok(Self { id, filters }),
        }
    }
}

fn check_room(n_filters: usize) -> Result<(), PacketFault> {
    let limit = FILTERS_MAX;
    match n_filters < limit {
        true => Ok(()),
        false => Err(PacketFault::TooManyFilters { limit }),
    }
}

/// ```text
/// 7 6        | 5 4             | 3                   | 2        | 1 0
/// reserved   | retain handling | retain as published | no local | QoS
/// ```
/// In 3.1.1 all but the QoS is reserved.
fn read_options(octet: u8, version: MqttVersion) -> Result<SubscriptionOptions, PacketFault> {
    let reserved = match version {
        MqttVersion::V3 => 0xfc,
        MqttVersion::V5 => 0xc0,
    };
    if octet & reserved != 0 {
        return Err(PacketFault::ReservedBit);
    }
    Ok(SubscriptionOptions {
        qos: Qos::from_bits(octet & 3).ok_or(PacketFault::QosThree)?,
        no_local: octet & 4 != 0,
        retain_as_published: octet & 8 != 0,
        retain_handling: match octet >> 4 & 3 {
            0 => RetainHandling::Always,
            1 => RetainHandling::IfNew,
            2 => RetainHandling::Never,
            _ => return Err(PacketFault::RetainHandling),
        },
        id: None,
    })
}

/// Filters of one packet: a filter of one octet takes four there, and a hundred here.
const FILTERS_MAX: usize = 4096;
