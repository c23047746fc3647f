//! From a captured link-layer packet to the octets that a TCP or UDP socket would have seen.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use etherparse::{EtherType, LaxNetSlice, LaxSlicedPacket, TransportSlice};

/// What one packet carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub carried: Carried,
    pub payload: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carried {
    Tcp { sequence: u32, syn: bool },
    Udp,
}

/// Takes a packet of that link type (<https://www.tcpdump.org/linktypes.html>) apart; `None` when it
/// is neither TCP nor UDP, is a fragment of an IP packet, or is cut short.
pub(super) fn segment(link_type: u32, packet: &Bytes) -> Option<Segment> {
    let sliced = match link_type {
        // NULL and LOOP: four octets of address family, in somebody's byte order.
        0 | 108 => LaxSlicedPacket::from_ip(packet.get(4..)?).ok()?,
        // Ethernet, with VLAN tags.
        1 => LaxSlicedPacket::from_ethernet(packet).ok()?,
        12 | 101 | 228 | 229 => LaxSlicedPacket::from_ip(packet).ok()?,
        // Linux "any", versions 1 and 2.
        113 => LaxSlicedPacket::from_ether_type(ether_type(packet, 14)?, packet.get(16..)?),
        276 => LaxSlicedPacket::from_ether_type(ether_type(packet, 0)?, packet.get(20..)?),
        _ => return None,
    };
    let (from, to): (IpAddr, IpAddr) = match sliced.net? {
        LaxNetSlice::Ipv4(ip) => {
            let head = ip.header();
            (head.source_addr().into(), head.destination_addr().into())
        }
        LaxNetSlice::Ipv6(ip) => {
            let head = ip.header();
            (head.source_addr().into(), head.destination_addr().into())
        }
        LaxNetSlice::Arp(_) => return None,
    };
    let (ports, carried, payload) = match sliced.transport? {
        TransportSlice::Tcp(tcp) => {
            let carried = Carried::Tcp {
                sequence: tcp.sequence_number(),
                syn: tcp.syn(),
            };
            let ports = (tcp.source_port(), tcp.destination_port());
            (ports, carried, tcp.payload())
        }
        TransportSlice::Udp(udp) => {
            let ports = (udp.source_port(), udp.destination_port());
            (ports, Carried::Udp, udp.payload())
        }
        TransportSlice::Icmpv4(_) | TransportSlice::Icmpv6(_) | TransportSlice::Igmp(_) => {
            return None;
        }
    };
    Some(Segment {
        from: SocketAddr::new(from, ports.0),
        to: SocketAddr::new(to, ports.1),
        carried,
        payload: packet.slice_ref(payload),
    })
}

fn ether_type(packet: &Bytes, at: usize) -> Option<EtherType> {
    let octets = packet.get(at..)?.first_chunk::<2>()?;
    Some(EtherType(u16::from_be_bytes(*octets)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An IPv4 packet from 10.0.0.1:1000 to 10.0.0.2:9090, without link layer.
    pub(in super::super) fn udp(payload: &[u8]) -> Vec<u8> {
        let mut datagram = [1000u16, 9090, 8 + small(payload.len()), 0]
            .iter()
            .flat_map(|field| field.to_be_bytes())
            .collect::<Vec<_>>();
        datagram.extend(payload);
        ipv4_of(17, &datagram)
    }

    pub(in super::super) fn tcp(sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut segment = [1000u16, 9090]
            .iter()
            .flat_map(|port| port.to_be_bytes())
            .collect::<Vec<_>>();
        segment.extend(sequence.to_be_bytes());
        segment.extend([0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0]);
        segment.extend(payload);
        ipv4_of(6, &segment)
    }

    fn small(length: usize) -> u16 {
        u16::try_from(length).expect("tests use small packets")
    }

    fn ipv4_of(protocol: u8, payload: &[u8]) -> Vec<u8> {
        let total = 20 + small(payload.len());
        let mut packet = vec![0x45, 0];
        packet.extend(total.to_be_bytes());
        packet.extend([0, 0, 0x40, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        packet.extend(payload);
        packet
    }

    #[test]
    fn reads_udp_below_every_link_layer() {
        let ip = udp(b"hello");
        let ethernet = [&[0; 12][..], &[0x08, 0x00], &ip[..], &[0; 7]].concat();
        let tagged = [&[0; 12][..], &[0x81, 0x00, 0, 5, 0x08, 0x00], &ip[..]].concat();
        let loopback = [&[2, 0, 0, 0][..], &ip[..]].concat();
        let any = [&[0; 14][..], &[0x08, 0x00], &ip[..]].concat();
        let any2 = [&[0x08, 0x00][..], &[0; 18], &ip[..]].concat();
        let service = [0x88, 0xa8, 0, 9, 0x81, 0x00, 0, 5, 0x08, 0x00];
        let tagged_twice = [&[0; 12][..], &service, &ip[..]].concat();
        for (link_type, packet) in [
            (12, ip.clone()),
            (101, ip.clone()),
            (228, ip),
            (1, ethernet),
            (1, tagged),
            (1, tagged_twice),
            (0, loopback.clone()),
            (108, loopback),
            (113, any),
            (276, any2),
        ] {
            let segment = segment(link_type, &packet.into()).expect("udp");
            assert_eq!(&segment.payload[..], b"hello", "link type {link_type}");
            assert_eq!(segment.to.to_string(), "10.0.0.2:9090");
            assert_eq!(segment.carried, Carried::Udp);
        }
    }

    #[test]
    fn a_packet_cut_anywhere_is_left_out_or_shorter_and_never_a_panic() {
        let packet = tcp(7, 0x18, b"hello");
        for length in 0..packet.len() {
            let cut = Bytes::copy_from_slice(&packet[..length]);
            if let Some(segment) = segment(101, &cut) {
                assert!(b"hello".starts_with(&segment.payload));
            }
        }
        let whole = segment(101, &packet.into()).expect("tcp");
        assert_eq!(
            whole.carried,
            Carried::Tcp {
                sequence: 7,
                syn: false
            }
        );
        assert_eq!(&whole.payload[..], b"hello");
    }

    #[test]
    fn fragments_of_ip_packets_are_left_out() {
        let mut packet = udp(b"hello");
        packet[6] = 0x20;
        assert_eq!(segment(101, &packet.into()), None);
    }

    /// An IPv6 packet from ::1 to ::2 that carries `datagram` behind `extensions`.
    fn ipv6_of(next: u8, extensions: &[u8], datagram: &[u8]) -> Vec<u8> {
        let length = small(extensions.len() + datagram.len());
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend(length.to_be_bytes());
        packet.extend([next, 64]);
        packet.extend([&[0; 15][..], &[1]].concat());
        packet.extend([&[0; 15][..], &[2]].concat());
        packet.extend(extensions);
        packet.extend(datagram);
        packet
    }

    #[test]
    fn reads_ipv6_with_and_without_extension_headers() {
        let datagram = &udp(b"hello")[20..];
        let plain = ipv6_of(17, &[], datagram);
        // Destination options: next header, length in units of eight octets, padding.
        let extended = ipv6_of(60, &[17, 0, 1, 4, 0, 0, 0, 0], datagram);
        for packet in [plain, extended] {
            for link_type in [101, 229] {
                let segment = segment(link_type, &packet.clone().into()).expect("udp");
                assert_eq!(&segment.payload[..], b"hello");
                assert_eq!(segment.to.to_string(), "[::2]:9090");
            }
        }
    }

    #[test]
    fn a_length_of_zero_is_that_of_an_offloaded_packet() {
        let mut packet = tcp(7, 0x18, b"hello");
        packet[2..4].copy_from_slice(&[0, 0]);
        let segment = segment(101, &packet.into()).expect("tcp");
        assert_eq!(&segment.payload[..], b"hello");
    }

    #[test]
    fn lengths_that_lie_are_never_a_panic_and_never_more_than_there_is() {
        let packet = tcp(7, 0x18, b"hello");
        for at in 0..packet.len() {
            for octet in [0, 1, 0x0f, 0x40, 0x7f, 0x80, 0xf0, 0xff] {
                let mut forged = packet.clone();
                forged[at] = octet;
                for link_type in [0, 1, 12, 101, 108, 113, 228, 229, 276] {
                    let packet = Bytes::from(forged.clone());
                    if let Some(segment) = segment(link_type, &packet) {
                        assert!(segment.payload.len() < packet.len());
                    }
                }
            }
        }
    }
}
