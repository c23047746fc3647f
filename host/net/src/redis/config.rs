//! What is configured of a Redis, its channels and its streams.

use std::{fmt, time::Duration};

use postern_core::{Text, event::TopicPattern, redis::RedisLocation};

/// How a Redis is reached, and what it may be asked for. All keys of `[stores.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisConfig {
    /// The configuration's name of it.
    pub name: Text,
    pub location: RedisLocation,
    /// For the servers that hold data.
    pub credentials: RedisCredentials,
    /// For the sentinels, where there are any.
    pub sentinel_credentials: RedisCredentials,
    /// Connections of all kinds, to all nodes. Default 50, at least 2: a half is for commands, the other
    /// for whoever waits on a connection of its own.
    pub connections_max: usize,
    /// Default 2 s: name, connection, TLS and greeting together.
    pub connect_timeout: Duration,
    /// Default 2 s: from a command to its reply.
    pub response_timeout: Duration,
    /// Default 50 ms and 2 s: pause after the first failure to connect, and the longest.
    pub reconnect_min: Duration,
    pub reconnect_max: Duration,
    /// Default `postern:`: how all keys begin that are written.
    pub key_prefix: String,
    /// Default 1,000,000: keys that one listing may look through, those of others included.
    pub scan_keys_max: u64,
    pub channels: RedisChannelsConfig,
}

/// What stands before a topic in the name of its channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RedisChannelsConfig {
    /// Of events that are published there.
    pub out_prefix: String,
    /// Of events that come from there.
    pub in_prefix: String,
}

/// A stream as a log of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisLogConfig {
    /// Its name, which the stream's key ends with.
    pub name: Text,
    /// Topics that it keeps.
    pub patterns: Vec<TopicPattern>,
    /// Entries that it keeps, about; no bound where there is none.
    pub events_max: Option<u64>,
    /// For how long it keeps them, about.
    pub age_max: Option<Duration>,
    /// Dead letters that it keeps, about. Default 10,000.
    pub dead_letters_max: u64,
    /// Default 30 s: how long an entry may lie with a gateway that gives no sign of life before another
    /// takes it over.
    pub claim_idle: Duration,
}

/// An ACL user and its password, or a password alone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RedisCredentials {
    pub username: Option<String>,
    pub password: Option<String>,
}

impl RedisConfig {
    /// The defaults for `location`.
    #[must_use]
    pub fn new(name: impl Into<Text>, location: RedisLocation) -> Self {
        Self {
            name: name.into(),
            location,
            credentials: RedisCredentials::default(),
            sentinel_credentials: RedisCredentials::default(),
            connections_max: 50,
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(2),
            reconnect_min: Duration::from_millis(50),
            reconnect_max: Duration::from_secs(2),
            key_prefix: "postern:".to_owned(),
            scan_keys_max: 1_000_000,
            channels: RedisChannelsConfig::default(),
        }
    }

    /// What one operation takes at most.
    #[must_use]
    pub fn operation_max(&self) -> Duration {
        self.connect_timeout.saturating_add(self.response_timeout)
    }
}

impl RedisLogConfig {
    /// The defaults for the log `name` of `patterns`.
    #[must_use]
    pub fn new(name: impl Into<Text>, patterns: Vec<TopicPattern>) -> Self {
        Self {
            name: name.into(),
            patterns,
            events_max: None,
            age_max: None,
            dead_letters_max: 10_000,
            claim_idle: Duration::from_secs(30),
        }
    }
}

impl fmt::Debug for RedisCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = self.password.as_ref().map(|_| "hidden");
        f.debug_struct("RedisCredentials")
            .field("username", &self.username)
            .field("password", &password)
            .finish()
    }
}
