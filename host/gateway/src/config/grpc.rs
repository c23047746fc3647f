//! gRPC, gRPC-Web and Connect on listeners of HTTP, and the connections of HTTP/2 that carry them.

use std::time::Duration;

use super::{leaf::word_leaf, section::section, units::Size};

section! {
    /// HTTP: messages of gRPC, gRPC-Web and Connect.
    pub(crate) struct Grpc {
        /// Largest message of a request, unpacked. `calls.body-bytes-max` holds, too.
        pub message_bytes_max: Size = Size::mib(4), within "1KiB" to "1GiB";
        /// Largest message of a reply. `calls.body-bytes-max` holds, too.
        pub reply_bytes_max: Size = Size::mib(1024), within "1KiB" to "1GiB";
        /// Codings that messages of replies are sent in where the client takes them, the preferred first:
        /// "zstd", "gzip". Without any, clients that pack their messages are answered in their coding.
        pub encodings: Vec<MessageCoding> = Vec::new();
        /// Shortest message that is packed.
        pub packed_bytes_min: Size = Size::kib(1), within "0" to "1GiB";
    }
}

section! {
    /// HTTP/2: what keeps connections and what ends them. A change holds for those that come after it.
    pub(crate) struct Http2 {
        /// Silence after which a client is sent a PING; 0s sends none.
        pub ping_interval: Duration = Duration::from_secs(60), within "0s" to "24h";
        /// Time for the answer to a PING; then the client is gone.
        pub ping_timeout: Duration = Duration::from_secs(20), within "10ms" to "1h";
        /// PING and SETTINGS that a client may send within 10 s, while it neither asks for anything nor
        /// is sent any of a reply. One more ends the connection with ENHANCE_YOUR_CALM.
        pub pings_max: u32 = 100, within "1" to "1000000";
        /// Streams that a client may reset within 10 s, beyond as many as are replied to meanwhile. One
        /// more ends the connection with ENHANCE_YOUR_CALM.
        pub resets_max: u32 = 1000, within "1" to "1000000";
    }
}

/// A coding that clients of gRPC know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MessageCoding {
    Zstd,
    Gzip,
}

word_leaf!(MessageCoding { Zstd = "zstd", Gzip = "gzip" });
