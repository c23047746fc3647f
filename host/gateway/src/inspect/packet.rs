//! From a captured link-layer packet to the octets that a TCP or UDP socket would have seen.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::{Buf, Bytes};

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
pub(super) fn segment(link_type: u32, packet: Bytes) -> Option<Segment> {
    let (ether_type, packet) = strip_link(link_type, packet)?;
    match ether_type {
        0x0800 => ipv4(packet),
        0x86dd => ipv6(packet),
        _ => None,
    }
}

fn strip_link(link_type: u32, mut packet: Bytes) -> Option<(u16, Bytes)> {
    let by_version = |packet: Bytes| match packet.first()? >> 4 {
        4 => Some((0x0800, packet)),
        6 => Some((0x86dd, packet)),
        _ => None,
    };
    match link_type {
        // NULL and LOOP: four octets of address family, in somebody's byte order.
        0 | 108 => {
            skip(&mut packet, 4)?;
            by_version(packet)
        }
        // Ethernet, with any number of VLAN tags.
        1 => {
            skip(&mut packet, 12)?;
            let mut ether_type = packet.try_get_u16().ok()?;
            while matches!(ether_type, 0x8100 | 0x88a8) {
                skip(&mut packet, 2)?;
                ether_type = packet.try_get_u16().ok()?;
            }
            Some((ether_type, packet))
        }
        12 | 101 | 228 | 229 => by_version(packet),
        // Linux "any", versions 1 and 2.
        113 => {
            skip(&mut packet, 14)?;
            Some((packet.try_get_u16().ok()?, packet))
        }
        276 => {
            let ether_type = packet.try_get_u16().ok()?;
            skip(&mut packet, 18)?;
            Some((ether_type, packet))
        }
        _ => None,
    }
}

fn ipv4(mut packet: Bytes) -> Option<Segment> {
    let head_len = usize::from(packet.first()? & 0x0f) * 4;
    let head = packet.get(..head_len)?;
    let field = |at: usize| Some(u16::from_be_bytes([*head.get(at)?, *head.get(at + 1)?]));
    let total_len = usize::from(field(2)?);
    // "More fragments", or an offset: the rest of the packet is elsewhere.
    if field(6)? & 0x3fff != 0 {
        return None;
    }
    let protocol = *head.get(9)?;
    let address = |at: usize| {
        let octets: [u8; 4] = head.get(at..at + 4)?.try_into().ok()?;
        Some(IpAddr::from(Ipv4Addr::from(octets)))
    };
    let (from, to) = (address(12)?, address(16)?);
    // Short packets are padded on Ethernet; offloaded ones may declare 0.
    if total_len >= head_len {
        packet.truncate(total_len);
    }
    skip(&mut packet, head_len)?;
    transport(protocol, from, to, packet)
}

fn ipv6(mut packet: Bytes) -> Option<Segment> {
    let head = packet.get(..40)?;
    let address = |at: usize| {
        let octets: [u8; 16] = head.get(at..at + 16)?.try_into().ok()?;
        Some(IpAddr::from(Ipv6Addr::from(octets)))
    };
    let (from, to) = (address(8)?, address(24)?);
    let payload_len = usize::from(u16::from_be_bytes([*head.get(4)?, *head.get(5)?]));
    let protocol = *head.get(6)?;
    skip(&mut packet, 40)?;
    if payload_len != 0 {
        packet.truncate(payload_len);
    }
    transport(protocol, from, to, packet)
}

fn transport(protocol: u8, from: IpAddr, to: IpAddr, mut packet: Bytes) -> Option<Segment> {
    let head = packet.clone();
    let from = SocketAddr::new(from, packet.try_get_u16().ok()?);
    let to = SocketAddr::new(to, packet.try_get_u16().ok()?);
    let (carried, head_len) = match protocol {
        6 => {
            let sequence = packet.try_get_u32().ok()?;
            let syn = head.get(13)? & 0x02 != 0;
            (
                Carried::Tcp { sequence, syn },
                usize::from(head.get(12)? >> 4) * 4,
            )
        }
        17 => (Carried::Udp, 8),
        _ => return None,
    };
    let mut payload = head;
    skip(&mut payload, head_len)?;
    Some(Segment {
        from,
        to,
        carried,
        payload,
    })
}

fn skip(octets: &mut Bytes, n: usize) -> Option<()> {
    (octets.len() >= n).then(|| octets.advance(n))
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
        for (link_type, packet) in [
            (101, ip),
            (1, ethernet),
            (1, tagged),
            (0, loopback),
            (113, any),
            (276, any2),
        ] {
            let segment = segment(link_type, packet.into()).expect("udp");
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
            if let Some(segment) = segment(101, cut) {
                assert!(b"hello".starts_with(&segment.payload));
            }
        }
        let whole = segment(101, packet.into()).expect("tcp");
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
        assert_eq!(segment(101, packet.into()), None);
    }
}
