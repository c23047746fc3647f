//! Packets off the front of what was read, and those that are written.
//!
//! ```text
//! octet 0: kind (4 bits), flags (4 bits) | 1 to 4 octets: length of the rest, 7 bits each | the rest
//! ```
//! MQTT 3.1.1 section 2.2 and 5 section 2.1. A length is held against the limit before the rest of its
//! packet is waited for. The rest is read by `mqtt-protocol-core`.

use bytes::{Buf, Bytes, BytesMut};
use mqtt_protocol_core::mqtt::{
    packet::{Property, v3_1_1, v5_0},
    result_code::MqttError,
};
use postern_core::{
    Text,
    mqtt::{MqttVersion, Qos},
};

use super::{fault::BrokerFault, message::BrokerMessage};

/// A packet of a broker.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BrokerPacket {
    Connack(BrokerGreeting),
    Publish {
        message: BrokerMessage,
        /// None with QoS 0.
        packet_id: Option<u16>,
        alias: Option<u16>,
    },
    Puback {
        packet_id: u16,
        code: u8,
    },
    Pubrec {
        packet_id: u16,
        code: u8,
    },
    Pubrel {
        packet_id: u16,
    },
    Pubcomp {
        packet_id: u16,
        code: u8,
    },
    /// A code for each filter, in their order.
    Suback {
        packet_id: u16,
        codes: Vec<u8>,
    },
    Unsuback {
        packet_id: u16,
    },
    Pingresp,
    Disconnect {
        code: u8,
    },
}

/// How a broker takes a connection, and what it allows on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BrokerGreeting {
    pub(super) has_session: bool,
    /// 0 where it takes the connection.
    pub(super) code: u8,
    pub(super) reason: Option<Text>,
    pub(super) receive_maximum: u16,
    pub(super) packet_bytes_max: u32,
    pub(super) topic_aliases_max: u16,
    pub(super) qos_max: Qos,
    pub(super) takes_retained: bool,
    /// In seconds; where it wants another keep-alive than it was told.
    pub(super) keep_alive_s: Option<u16>,
}

/// One packet, its rest unread.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RawPacket {
    first: u8,
    rest: Bytes,
}

impl BrokerPacket {
    /// As the specification numbers it.
    pub(super) const fn kind(&self) -> u8 {
        match self {
            Self::Connack(_) => CONNACK,
            Self::Publish { .. } => PUBLISH,
            Self::Puback { .. } => PUBACK,
            Self::Pubrec { .. } => PUBREC,
            Self::Pubrel { .. } => PUBREL,
            Self::Pubcomp { .. } => PUBCOMP,
            Self::Suback { .. } => SUBACK,
            Self::Unsuback { .. } => UNSUBACK,
            Self::Pingresp => PINGRESP,
            Self::Disconnect { .. } => DISCONNECT,
        }
    }
}

/// Takes the first packet off `input` once it is whole.
pub(super) fn take(input: &mut BytesMut, bytes_max: u32) -> Result<Option<RawPacket>, BrokerFault> {
    let Some(first) = input.first().copied() else {
        return Ok(None);
    };
    let mut length: u64 = 0;
    for n_read in 0..LENGTH_BYTES_MAX {
        let Some(octet) = input.get(1 + n_read).copied() else {
            return Ok(None);
        };
        length |= u64::from(octet & 0x7f) << (7 * n_read);
        if octet & 0x80 != 0 {
            continue;
        }
        let n_head = 2 + n_read;
        let declared = length + n_head as u64;
        if declared > u64::from(bytes_max) {
            let limit = bytes_max;
            return Err(BrokerFault::TooLong { declared, limit });
        }
        let Ok(n_rest) = usize::try_from(length) else {
            return Err(BrokerFault::TooLong {
                declared,
                limit: bytes_max,
            });
        };
        if input.len() < n_head + n_rest {
            return Ok(None);
        }
        input.advance(n_head);
        let rest = input.split_to(n_rest).freeze();
        return Ok(Some(RawPacket { first, rest }));
    }
    Err(BrokerFault::Malformed {
        kind: first >> 4,
        reason: format!("its length has more than {LENGTH_BYTES_MAX} octets"),
    })
}

impl RawPacket {
    const fn kind(&self) -> u8 {
        self.first >> 4
    }

    pub(super) fn read(&self, version: MqttVersion) -> Result<BrokerPacket, BrokerFault> {
        let (kind, flags) = (self.kind(), self.first & 0x0f);
        let wanted = match kind {
            PUBLISH => flags,
            PUBREL => 0b0010,
            _ => 0,
        };
        if flags != wanted {
            let reason = format!("its flags are {flags:#06b}, not {wanted:#06b}");
            return Err(BrokerFault::Malformed { kind, reason });
        }
        match version {
            MqttVersion::V3 => self.read_v3(flags),
            MqttVersion::V5 => self.read_v5(flags),
        }
    }

    fn read_v3(&self, flags: u8) -> Result<BrokerPacket, BrokerFault> {
        Ok(match self.kind() {
            CONNACK => BrokerPacket::Connack(of_v3(&self.whole(v3_1_1::Connack::parse)?)),
            PUBLISH => {
                let packet = self.whole(|rest| v3_1_1::Publish::parse(flags, rest.into()))?;
                BrokerPacket::Publish {
                    message: BrokerMessage::of_v3(&packet),
                    packet_id: self.id_of_publish(packet.packet_id())?,
                    alias: None,
                }
            }
            PUBACK => BrokerPacket::Puback {
                packet_id: self.whole(v3_1_1::Puback::parse)?.packet_id(),
                code: 0,
            },
            PUBREC => BrokerPacket::Pubrec {
                packet_id: self.whole(v3_1_1::Pubrec::parse)?.packet_id(),
                code: 0,
            },
            PUBREL => BrokerPacket::Pubrel {
                packet_id: self.whole(v3_1_1::Pubrel::parse)?.packet_id(),
            },
            PUBCOMP => BrokerPacket::Pubcomp {
                packet_id: self.whole(v3_1_1::Pubcomp::parse)?.packet_id(),
                code: 0,
            },
            SUBACK => {
                let packet = self.whole(v3_1_1::Suback::parse)?;
                let codes = packet.return_codes().into_iter();
                BrokerPacket::Suback {
                    packet_id: packet.packet_id(),
                    codes: codes.map(|code| code as u8).collect(),
                }
            }
            UNSUBACK => BrokerPacket::Unsuback {
                packet_id: self.whole(v3_1_1::Unsuback::parse)?.packet_id(),
            },
            PINGRESP => self.empty(BrokerPacket::Pingresp)?,
            kind => return Err(BrokerFault::Unexpected { kind }),
        })
    }

    fn read_v5(&self, flags: u8) -> Result<BrokerPacket, BrokerFault> {
        Ok(match self.kind() {
            CONNACK => BrokerPacket::Connack(of_v5(&self.whole(v5_0::Connack::parse)?)),
            PUBLISH => {
                let packet = self.whole(|rest| v5_0::Publish::parse(flags, rest.into()))?;
                let (message, alias) = BrokerMessage::of_v5(&packet);
                BrokerPacket::Publish {
                    message,
                    packet_id: self.id_of_publish(packet.packet_id())?,
                    alias,
                }
            }
            PUBACK => {
                let packet = self.whole(v5_0::Puback::parse)?;
                BrokerPacket::Puback {
                    packet_id: packet.packet_id(),
                    code: packet.reason_code().map_or(0, |code| code as u8),
                }
            }
            PUBREC => {
                let packet = self.whole(v5_0::Pubrec::parse)?;
                BrokerPacket::Pubrec {
                    packet_id: packet.packet_id(),
                    code: packet.reason_code().map_or(0, |code| code as u8),
                }
            }
            PUBREL => BrokerPacket::Pubrel {
                packet_id: self.whole(v5_0::Pubrel::parse)?.packet_id(),
            },
            PUBCOMP => {
                let packet = self.whole(v5_0::Pubcomp::parse)?;
                BrokerPacket::Pubcomp {
                    packet_id: packet.packet_id(),
                    code: packet.reason_code().map_or(0, |code| code as u8),
                }
            }
            SUBACK => {
                let packet = self.whole(v5_0::Suback::parse)?;
                let codes = packet.reason_codes().into_iter();
                BrokerPacket::Suback {
                    packet_id: packet.packet_id(),
                    codes: codes.map(|code| code as u8).collect(),
                }
            }
            UNSUBACK => BrokerPacket::Unsuback {
                packet_id: self.whole(v5_0::Unsuback::parse)?.packet_id(),
            },
            PINGRESP => self.empty(BrokerPacket::Pingresp)?,
            DISCONNECT => {
                let packet = self.whole(v5_0::Disconnect::parse)?;
                BrokerPacket::Disconnect {
                    code: packet.reason_code().map_or(0, |code| code as u8),
                }
            }
            kind => return Err(BrokerFault::Unexpected { kind }),
        })
    }

    /// Reads the rest, of which nothing may be left over.
    fn whole<T>(
        &self,
        parse: impl FnOnce(&[u8]) -> Result<(T, usize), MqttError>,
    ) -> Result<T, BrokerFault> {
        let kind = self.kind();
        let (packet, n_read) =
            parse(&self.rest).map_err(|error| BrokerFault::malformed(kind, error))?;
        if n_read != self.rest.len() {
            let n_left = self.rest.len().saturating_sub(n_read);
            let reason = format!("{n_left} octets stand behind its end");
            return Err(BrokerFault::Malformed { kind, reason });
        }
        Ok(packet)
    }

    fn empty(&self, packet: BrokerPacket) -> Result<BrokerPacket, BrokerFault> {
        match self.rest.len() {
            0 => Ok(packet),
            n_left => Err(BrokerFault::Malformed {
                kind: self.kind(),
                reason: format!("{n_left} octets stand behind its end"),
            }),
        }
    }

    /// The reader takes 0 of a PUBLISH, which is no packet identifier.
    fn id_of_publish(&self, packet_id: Option<u16>) -> Result<Option<u16>, BrokerFault> {
        match packet_id {
            Some(0) => Err(BrokerFault::Malformed {
                kind: self.kind(),
                reason: "its packet identifier is 0".to_owned(),
            }),
            packet_id => Ok(packet_id),
        }
    }
}

fn of_v3(packet: &v3_1_1::Connack) -> BrokerGreeting {
    BrokerGreeting {
        has_session: packet.session_present(),
        code: packet.return_code() as u8,
        ..BrokerGreeting::default()
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the packet's reader has refused those that no CONNACK has"
)]
fn of_v5(packet: &v5_0::Connack) -> BrokerGreeting {
    let mut greeting = BrokerGreeting {
        has_session: packet.session_present(),
        code: packet.reason_code() as u8,
        ..BrokerGreeting::default()
    };
    for property in packet.props() {
        match property {
            Property::ReceiveMaximum(one) => greeting.receive_maximum = one.val(),
            Property::MaximumPacketSize(one) => greeting.packet_bytes_max = one.val(),
            Property::TopicAliasMaximum(one) => greeting.topic_aliases_max = one.val(),
            Property::MaximumQos(one) => {
                greeting.qos_max = match one.val() {
                    0 => Qos::AtMostOnce,
                    _ => Qos::AtLeastOnce,
                };
            }
            Property::RetainAvailable(one) => greeting.takes_retained = one.val() != 0,
            Property::ServerKeepAlive(one) => greeting.keep_alive_s = Some(one.val()),
            Property::ReasonString(one) => greeting.reason = Some(one.val().into()),
            _ => {}
        }
    }
    greeting
}

/// What a broker allows that says nothing.
impl Default for BrokerGreeting {
    fn default() -> Self {
        Self {
            has_session: false,
            code: 0,
            reason: None,
            receive_maximum: u16::MAX,
            packet_bytes_max: u32::MAX,
            topic_aliases_max: 0,
            qos_max: Qos::ExactlyOnce,
            takes_retained: true,
            keep_alive_s: None,
        }
    }
}

/// MQTT 5 section 1.5.5.
const LENGTH_BYTES_MAX: usize = 4;
/// Kinds of packets, MQTT 5 section 2.1.2.
const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
const PUBREC: u8 = 5;
const PUBREL: u8 = 6;
const PUBCOMP: u8 = 7;
const SUBACK: u8 = 9;
const UNSUBACK: u8 = 11;
const PINGRESP: u8 = 13;
const DISCONNECT: u8 = 14;

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(octets: &[u8], limit: u32) -> Result<Option<usize>, BrokerFault> {
        let mut input = BytesMut::from(octets);
        let taken = take(&mut input, limit)?;
        Ok(taken.map(|packet| packet.rest.len()))
    }

    fn read(octets: &[u8], version: MqttVersion) -> Result<BrokerPacket, BrokerFault> {
        let mut input = BytesMut::from(octets);
        let packet = take(&mut input, 1000)?.expect("a whole packet");
        packet.read(version)
    }

    #[test]
    fn a_packet_is_taken_once_it_is_whole() {
        let pingresp = [0xd0, 0];
        assert_eq!(taken(&pingresp[..1], 100), Ok(None));
        assert_eq!(taken(&pingresp, 100), Ok(Some(0)));
        let mut long = vec![0x30, 0xc8, 0x01];
        long.extend_from_slice(&[0; 200]);
        assert_eq!(taken(&long, 1000), Ok(Some(200)));
        assert_eq!(taken(&long[..202], 1000), Ok(None));
    }

    #[test]
    fn a_length_is_held_against_the_limit_before_anything_is_waited_for() {
        let huge = [0x30, 0xff, 0xff, 0xff, 0x7f];
        let fault = BrokerFault::TooLong {
            declared: 268_435_460,
            limit: 1000,
        };
        assert_eq!(taken(&huge, 1000), Err(fault));
        assert_eq!(taken(&[0x30, 8], 10), Ok(None));
        let fault = BrokerFault::TooLong {
            declared: 11,
            limit: 10,
        };
        assert_eq!(taken(&[0x30, 9], 10), Err(fault));
    }

    #[test]
    fn a_length_of_five_octets_is_malformed() {
        let fault = taken(&[0x30, 0xff, 0xff, 0xff, 0xff, 0x01], 1000);
        assert!(matches!(fault, Err(BrokerFault::Malformed { kind: 3, .. })));
    }

    #[test]
    fn what_brokers_answer_is_read_in_both_versions() {
        let puback = BrokerPacket::Puback {
            packet_id: 7,
            code: 0,
        };
        assert_eq!(read(&[0x40, 2, 0, 7], MqttVersion::V3), Ok(puback));
        let refused = BrokerPacket::Puback {
            packet_id: 7,
            code: 0x87,
        };
        assert_eq!(read(&[0x40, 3, 0, 7, 0x87], MqttVersion::V5), Ok(refused));
        let suback = BrokerPacket::Suback {
            packet_id: 1,
            codes: vec![1, 0x80],
        };
        let octets = [0x90, 4, 0, 1, 1, 0x80];
        assert_eq!(read(&octets, MqttVersion::V3), Ok(suback));
    }

    #[test]
    fn a_greeting_has_the_limits_of_the_broker() {
        let octets = [0x20, 9, 1, 0, 6, 0x21, 0, 20, 0x22, 0, 10];
        let expected = BrokerGreeting {
            has_session: true,
            receive_maximum: 20,
            topic_aliases_max: 10,
            ..BrokerGreeting::default()
        };
        let read = read(&octets, MqttVersion::V5);
        assert_eq!(read, Ok(BrokerPacket::Connack(expected)));
    }

    #[test]
    fn what_no_broker_may_send_is_refused() {
        for version in [MqttVersion::V3, MqttVersion::V5] {
            for octets in [
                // PINGREQ, reserved kind 0, flags that no PUBACK has, an octet behind PINGRESP.
                &[0xc0, 0][..],
                &[0x00, 0],
                &[0x41, 2, 0, 7],
                &[0xd0, 1, 0],
                // PUBLISH with QoS 3, with packet identifier 0, with a topic longer than the packet.
                &[0x36, 5, 0, 1, b'a', 0, 1],
                &[0x32, 6, 0, 1, b'a', 0, 0, 0],
                &[0x30, 3, 0, 9, b'a'],
                // PUBACK without an identifier, a receive maximum of 0.
                &[0x40, 1, 0],
                &[0x20, 6, 0, 0, 3, 0x21, 0, 0],
            ] {
                let refused = read(octets, version);
                assert!(refused.is_err(), "{octets:02x?} {version:?}: {refused:?}");
            }
        }
        let auth = read(&[0xf0, 0], MqttVersion::V5);
        assert_eq!(auth, Err(BrokerFault::Unexpected { kind: 15 }));
        let disconnect = read(&[0xe0, 0], MqttVersion::V3);
        assert_eq!(disconnect, Err(BrokerFault::Unexpected { kind: 14 }));
    }
}
