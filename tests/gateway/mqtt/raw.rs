//! Packets of every type that are wrong, each by itself, as octets.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::Broker;
use crate::{figure, share};

/// CONNECT of version 5 and of 3.1.1: clean, 60 s, without an identifier.
const CONNECT: [(&str, &str); 2] = [
    ("3", "10 0c 00 04 4d 51 54 54 04 02 00 3c 00 00"),
    ("5", "10 0d 00 04 4d 51 54 54 05 02 00 3c 00 00 00"),
];
const PINGREQ: [u8; 2] = [0xc0, 0];
const PINGRESP: [u8; 2] = [0xd0, 0];

/// One line of `raw.txt`.
struct Case<'t> {
    name: &'t str,
    version: &'t str,
    octets: Vec<u8>,
    expected: &'t str,
}

impl<'t> Case<'t> {
    fn parse(line: &'t str) -> Self {
        let parts: Vec<_> = line.split('|').map(str::trim).collect();
        let [name, version, octets, expected] = parts[..] else {
            panic!("four parts: {line}");
        };
        Self {
            name,
            version,
            octets: hex(octets),
            expected,
        }
    }

    async fn run(&self, address: SocketAddr) -> Result<(), String> {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        if let Some((_, connect)) = CONNECT.iter().find(|(version, _)| *version == self.version) {
            stream.write_all(&hex(connect)).await.expect("sent");
            let connack = packet(&mut stream).await.ok_or("no CONNACK")?;
            assert_eq!(connack[0], 0x20, "{connack:02x?}");
        }
        stream.write_all(&self.octets).await.expect("sent");
        if self.expected == "kept" {
            stream.write_all(&PINGREQ).await.expect("sent");
        }
        let mut seen = Vec::new();
        while let Some(packet) = packet(&mut stream).await {
            let is_ping = packet == PINGRESP;
            seen.push(packet);
            if is_ping && self.expected == "kept" {
                return Ok(());
            }
        }
        let is_good = match self.expected.split_once(' ') {
            None => self.expected == "closed" && seen.is_empty(),
            Some(("reason", code)) => seen == [disconnect(code, &seen)],
            Some(("connack", code)) => {
                let code = hex(code);
                seen.len() == 1 && seen[0].first() == Some(&0x20) && seen[0].get(3) == code.first()
            }
            Some(_) => panic!("{}", self.expected),
        };
        let told = format!("{seen:02x?} and the end in the place of {}", self.expected);
        if is_good { Ok(()) } else { Err(told) }
    }
}

/// DISCONNECT with a reason; what else it says is the server's to choose.
fn disconnect(code: &str, seen: &[Vec<u8>]) -> Vec<u8> {
    match seen.first() {
        Some(first) if first.first() == Some(&0xe0) && first.get(2) == hex(code).first() => {
            first.clone()
        }
        Some(_) | None => Vec::new(),
    }
}

fn hex(text: &str) -> Vec<u8> {
    let octets = text.split_whitespace();
    let octets = octets.map(|octet| u8::from_str_radix(octet, 16).expect("an octet"));
    octets.collect()
}

/// The next packet; none at the end.
async fn packet(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let read = async {
        let mut packet = vec![stream.read_u8().await.ok()?];
        let mut length = 0;
        for shift in [0, 7, 14, 21] {
            let octet = stream.read_u8().await.ok()?;
            packet.push(octet);
            length |= usize::from(octet & 0x7f) << shift;
            if octet & 0x80 == 0 {
                break;
            }
        }
        let head = packet.len();
        packet.resize(head + length, 0);
        stream.read_exact(&mut packet[head..]).await.ok()?;
        Some(packet)
    };
    timeout(Duration::from_secs(20), read)
        .await
        .expect("a packet or the end within 20 s")
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_that_are_wrong_are_answered_as_the_specification_says() {
    let _machine = share().await;
    let gateway = Broker::start("").await;
    let lines = include_str!("raw.txt").lines();
    let cases: Vec<_> = lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(Case::parse)
        .collect();
    let mut faults = Vec::new();
    for case in &cases {
        if let Err(fault) = case.run(gateway.address).await {
            faults.push(format!("{} ({}): {fault}", case.name, case.version));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}\n{}", gateway.log());
    figure(&format!(
        "packets of MQTT that are wrong: {} answered",
        cases.len()
    ));
}

/// Each packet cut at every octet, and the connection closed there: nothing but that connection ends.
#[tokio::test(flavor = "multi_thread")]
async fn packets_that_are_cut_short_harm_nobody_else() {
    let _machine = share().await;
    let gateway = Broker::start("").await;
    let address = gateway.address;
    let lines = include_str!("raw.txt").lines();
    let cases: Vec<_> = lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(Case::parse)
        .collect();
    for case in &cases {
        for end in 0..case.octets.len() {
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            if let Some((_, connect)) = CONNECT.iter().find(|(version, _)| *version == case.version)
            {
                stream.write_all(&hex(connect)).await.expect("sent");
            }
            // Whoever has been refused already closes first.
            let _ = stream.write_all(&case.octets[..end]).await;
        }
    }
    let whole = Case::parse("PINGREQ | 5 | c0 00 | kept");
    whole.run(address).await.expect("it serves on");
}
