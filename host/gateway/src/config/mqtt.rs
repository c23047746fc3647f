//! Section `mqtt`: what clients of MQTT may take up, which topics they may use, and which of their
//! publishes are calls.

use std::{collections::BTreeMap, time::Duration};

use super::{
    mqtt_topics::{MqttRoutes, TopicPermission},
    named::Named,
    pattern::Wildcard,
    section::section,
    security::Effect,
    units::Size,
};

section! {
    /// MQTT 3.1.1 and 5, on listeners that speak it and over WebSocket at "/mqtt". All of them have
    /// the same sessions, retained messages and topics, which are those of events: `orders/created` is
    /// `orders.created`.
    pub(crate) struct Mqtt {
        /// Clients that are known at one time, connected or not. One more is refused.
        pub sessions_max: usize = 100_000, within "1" to "10000000";
        /// The longest that a session is kept after its connection, also for clients of 3.1.1 that do
        /// not ask for a clean one. 0s keeps none.
        pub session_expiry_max: Duration = Duration::from_secs(604_800), within "0s" to "3650d";
        /// The longest that a message is kept for a client that is away, or as retained message; 0s is
        /// for ever. A message that says less is kept for less.
        pub message_expiry_max: Duration = Duration::ZERO, within "0s" to "3650d";
        /// The longest silence that a client may ask for. Clients of version 5 that ask for more, or for
        /// none, are told this; 0s takes what they ask for.
        pub keep_alive_max: Duration = Duration::ZERO, within "0s" to "65535s";
        /// Largest packet, all octets counted. Clients of version 5 are told.
        pub packet_bytes_max: Size = Size::mib(1), within "1KiB" to "256MiB";
        /// Publishes of QoS 1 and 2 that one client may have under way. Clients of version 5 are told; one
        /// that sends more is disconnected.
        pub receive_maximum: u32 = 256, within "1" to "65535";
        /// Messages of QoS 1 and 2 that are under way to one client, where it does not ask for fewer.
        pub in_flight_max: u32 = 256, within "1" to "65535";
        /// Messages that wait for one client, also while it is away; beyond it the oldest is dropped and
        /// counted. Of sessions that are kept in force from the start on.
        pub queue_messages_max: usize = 10_000, within "1" to "1000000";
        /// Octets that wait for one client.
        pub queue_bytes_max: Size = Size::mib(8), within "64KiB" to "3GiB";
        /// Octets of all messages that wait for sessions which are kept, on disk. A publish for which there
        /// is no room is refused. In force from the start on.
        pub kept_bytes_max: Size = Size::mib(1024), within "1MiB" to "64GiB";
        /// Topic aliases that a client may use, and that are used towards one that allows it; 0 is none.
        pub topic_alias_max: u32 = 32, within "0" to "65535";
        /// Longest client identifier, in octets.
        pub client_id_bytes_max: usize = 128, within "23" to "255";
        /// Filters that one client may be subscribed to.
        pub subscriptions_per_session_max: usize = 1_000, within "1" to "1000000";
        /// Highest QoS of publishes; clients of version 5 are told.
        pub qos_max: u32 = 2, within "0" to "2";
        /// Whether messages may be retained.
        pub retain: bool = true;
        /// Retained messages of all topics. One more is refused.
        pub retained_max: usize = 100_000, within "0" to "10000000";
        /// Octets of all retained messages.
        pub retained_bytes_max: Size = Size::mib(64), within "64KiB" to "64GiB";
        /// Whether filters may have `+` and `#`.
        pub wildcards: bool = true;
        /// Whether clients may share a subscription: `$share/GROUP/FILTER`.
        pub shared: bool = true;
        /// How often topics below `$SYS` are published; 0s never.
        pub sys_interval: Duration = Duration::from_secs(10), within "0s" to "1h";
        /// Whether any method may be called by a publish to `$call/SERVICE/METHOD`.
        pub calls: bool = true;
        /// Calls of one client under way at one time. It is not read beyond them.
        pub calls_in_flight_max: usize = 64, within "1" to "65535";
        /// Publishes that are calls: `"devices/+id/cmd/+name" = "devices/Run"`. `+id` stands for one
        /// level and `#rest` for all that follow; those with names become parameters.
        pub routes: MqttRoutes = MqttRoutes::default();
        /// Who may use which topics, by a name of your choice. A deny rule that fits client and topic
        /// refuses it. Else it is allowed where an allow rule fits both, or where there are no rules at
        /// all.
        pub rules: BTreeMap<String, MqttRule> = BTreeMap::new();
    }
}

section! {
    /// One rule. It fits clients who have one of the roles or names, or who are anonymous where it says
    /// so; where it says nothing of clients it fits all.
    pub(crate) struct MqttRule {
        /// "allow" or "deny".
        pub effect: Effect = Effect::Allow;
        /// Roles, any of which is enough.
        pub roles: Vec<String> = Vec::new();
        /// Names of callers, with "*" for any part; "*" alone is everybody who is identified.
        pub principals: Vec<Wildcard> = Vec::new();
        /// Whether it fits clients who are not identified.
        pub anonymous: bool = false;
        /// Filters whose topics they may publish to. A level `%c` stands for the client's identifier, a
        /// level `%u` for the name of the caller.
        pub publish: Vec<TopicPermission> = Vec::new();
        /// Filters that they may subscribe to, and all that are narrower; `%c` and `%u` as above.
        pub subscribe: Vec<TopicPermission> = Vec::new();
    }
}

impl Named for MqttRule {}
