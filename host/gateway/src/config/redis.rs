//! What a listener gives to clients of Redis.

use super::{pattern::Wildcard, section::section, units::Size};

section! {
    /// Redis: what clients may use and take up.
    pub(crate) struct RedisSettings {
        /// Stores that clients may use, by the names under which plugins share them: the first is database
        /// 0. Without one there are no keys.
        pub stores: Vec<String> = Vec::new();
        /// Roles, any of which is enough to use the stores. With neither roles nor principals, whoever may
        /// send the command may use them.
        pub roles: Vec<String> = Vec::new();
        /// Names of callers who may use the stores, with "*" for any part.
        pub principals: Vec<Wildcard> = Vec::new();
        /// Longest string of a request.
        pub bulk_bytes_max: Size = Size::mib(8), within "1KiB" to "512MiB";
        /// Strings of one request, its name included.
        pub arguments_max: usize = 65_536, within "16" to "1048576";
        /// Octets that may wait for one client: of answers before it is not read, of events before it is
        /// closed as a slow reader.
        pub output_bytes_max: Size = Size::mib(32), within "64KiB" to "3GiB";
        /// Channels and patterns that one client may be subscribed to.
        pub subscriptions_max: usize = 1024, within "1" to "1000000";
        /// Entries of a group that are with its consumers at one time, not acknowledged.
        pub pending_max: usize = 10_000, within "1" to "1000000";
        /// Entries of a stream in one answer.
        pub entries_max: usize = 10_000, within "1" to "1000000";
        /// Keys that KEYS and DBSIZE look at; with more they are refused.
        pub keys_max: usize = 100_000, within "1" to "10000000";
        /// Messages of a streamed reply that CALL answers with.
        pub call_items_max: usize = 1000, within "1" to "1000000";
    }
}
