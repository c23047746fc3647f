//! What one client may do, and what both ends of a connection have agreed on.

use std::time::Duration;

use super::{ConnectPacket, MqttVersion, Qos};

/// Bounds of one client. Each field has a config key of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientLimits {
    /// Largest packet that is taken, in octets. Default 1 MiB.
    pub packet_bytes_max: u32,
    /// Publications with QoS 1 and 2 of the client that are not acknowledged. Default 256.
    pub receive_max: u16,
    /// Publications with QoS 1 and 2 to the client that it has not acknowledged; what it asks for
    /// itself counts where it is less. Default 256.
    pub in_flight_max: u16,
    /// Topic aliases in each direction. Default 32.
    pub topic_alias_max: u16,
    /// The highest QoS of publications. Default 2.
    pub qos_max: Qos,
    /// Silence after which a client is cut, where it asks for longer or for none: it is told as "server
    /// keep alive". Default none: what the client asks for.
    pub keep_alive_max: Option<Duration>,
    /// How long a session may outlive its connection. Default 7 days; zero keeps none.
    pub session_expiry_max: Duration,
    /// How long a publication may be kept for those that it goes to, whatever its publisher says. Default
    /// none: for ever, where the publisher says nothing.
    pub message_expiry_max: Option<Duration>,
    /// Subscriptions of one session. Default 1,024.
    pub subscriptions_max: usize,
    /// Publications that wait for a client, and their octets; of what is more, the oldest is lost and
    /// counted. Default 10,000 and 8 MiB.
    pub queue_messages_max: usize,
    pub queue_bytes_max: usize,
    /// Whether messages may be retained. Default yes.
    pub retain: bool,
    /// Whether filters may have wildcards. Default yes.
    pub wildcards: bool,
    /// Whether subscriptions may be shared. Default yes.
    pub shared_subscriptions: bool,
}

/// What holds for one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Negotiated {
    pub version: MqttVersion,
    /// Of packets of the client.
    pub packet_bytes_in_max: u32,
    /// Of packets for it.
    pub packet_bytes_out_max: u32,
    /// Publications of the client that are not acknowledged.
    pub receive_max: u16,
    /// Publications to it that are not acknowledged.
    pub in_flight_max: u16,
    pub topic_alias_in_max: u16,
    pub topic_alias_out_max: u16,
    pub qos_max: Qos,
    pub has_retain: bool,
    /// Whether failures may be explained in every packet.
    pub wants_problems: bool,
    /// None: silence ends nothing.
    pub keep_alive: Option<Duration>,
    /// Whether that is other than what the client asked for.
    pub is_keep_alive_ours: bool,
    /// `u32::MAX` for ever.
    pub session_expiry_s: u32,
    pub is_session_expiry_ours: bool,
}

impl ClientLimits {
    /// How many seconds a publication is kept that asks for `asked`.
    #[must_use]
    pub fn expiry_s(&self, asked: Option<u32>) -> Option<u32> {
        let limit = self.message_expiry_max.map(|limit| limit.as_secs());
        let limit = limit.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX));
        match (asked, limit) {
            (Some(asked), Some(limit)) => Some(asked.min(limit)),
            (asked, limit) => asked.or(limit),
        }
    }
}

impl Negotiated {
    #[must_use]
    pub fn new(connect: &ConnectPacket, limits: &ClientLimits) -> Self {
        let asked =
            (connect.keep_alive_s > 0).then(|| Duration::from_secs(connect.keep_alive_s.into()));
        let keep_alive = match (asked, limits.keep_alive_max) {
            (Some(asked), Some(limit)) => Some(asked.min(limit)),
            (asked, limit) => asked.or(limit),
        };
        let expiry_max = limits.session_expiry_max.as_secs();
        let expiry_max = u32::try_from(expiry_max).unwrap_or(u32::MAX);
        let session_expiry_s = connect.session_expiry_s.min(expiry_max);
        Self {
            version: connect.version,
            packet_bytes_in_max: limits.packet_bytes_max,
            packet_bytes_out_max: connect.packet_bytes_max,
            receive_max: limits.receive_max.max(1),
            in_flight_max: limits.in_flight_max.min(connect.receive_max).max(1),
            topic_alias_in_max: limits.topic_alias_max,
            topic_alias_out_max: limits.topic_alias_max.min(connect.topic_alias_max),
            qos_max: limits.qos_max,
            has_retain: limits.retain,
            wants_problems: connect.wants_problems,
            keep_alive,
            is_keep_alive_ours: keep_alive != asked,
            session_expiry_s,
            is_session_expiry_ours: session_expiry_s != connect.session_expiry_s,
        }
    }
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            packet_bytes_max: 1024 * 1024,
            receive_max: 256,
            in_flight_max: 256,
            topic_alias_max: 32,
            qos_max: Qos::ExactlyOnce,
            keep_alive_max: None,
            session_expiry_max: Duration::from_secs(7 * 24 * 60 * 60),
            message_expiry_max: None,
            subscriptions_max: 1024,
            queue_messages_max: 10_000,
            queue_bytes_max: 8 * 1024 * 1024,
            retain: true,
            wildcards: true,
            shared_subscriptions: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_gets_the_lesser_of_both() {
        let limits = ClientLimits {
            keep_alive_max: Some(Duration::from_secs(60)),
            session_expiry_max: Duration::from_secs(100),
            ..ClientLimits::default()
        };
        let connect = ConnectPacket {
            receive_max: 10,
            topic_alias_max: 5,
            session_expiry_s: u32::MAX,
            ..ConnectPacket::default()
        };
        let found = Negotiated::new(&connect, &limits);
        assert_eq!((found.in_flight_max, found.receive_max), (10, 256));
        assert_eq!(
            (found.topic_alias_out_max, found.topic_alias_in_max),
            (5, 32)
        );
        assert_eq!(found.keep_alive, Some(Duration::from_secs(60)));
        assert!(found.is_keep_alive_ours && found.is_session_expiry_ours);
        assert_eq!(found.session_expiry_s, 100);
        let connect = ConnectPacket {
            keep_alive_s: 30,
            ..connect
        };
        let found = Negotiated::new(&connect, &limits);
        assert_eq!(found.keep_alive, Some(Duration::from_secs(30)));
        assert!(!found.is_keep_alive_ours);
        let found = Negotiated::new(&ConnectPacket::default(), &ClientLimits::default());
        assert_eq!((found.keep_alive, found.session_expiry_s), (None, 0));
    }

    #[test]
    fn publications_are_kept_no_longer_than_the_limit() {
        let check = |limit: Option<u64>, asked, expected| {
            let limits = ClientLimits {
                message_expiry_max: limit.map(Duration::from_secs),
                ..ClientLimits::default()
            };
            assert_eq!(limits.expiry_s(asked), expected);
        };
        check(None, None, None);
        check(None, Some(7), Some(7));
        check(Some(5), None, Some(5));
        check(Some(5), Some(7), Some(5));
        check(Some(5), Some(3), Some(3));
    }
}
