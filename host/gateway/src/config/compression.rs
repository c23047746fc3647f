//! Compression on HTTP listeners.

use super::{leaf::word_leaf, section::section, units::Size};

section! {
    /// HTTP: replies that are compressed, and requests that came so.
    pub(crate) struct Compression {
        /// Codings that replies are sent in where the client accepts them, the preferred first: "zstd",
        /// "br", "gzip". None compresses nothing.
        pub encodings: Vec<ReplyCoding> = Vec::new();
        /// Shortest reply of a known length that is compressed.
        pub bytes_min: Size = Size::kib(1), within "0" to "1GiB";
        /// How many times its length a compressed request may become, beyond 64 KiB that every one may.
        pub ratio_max: u32 = 100, within "1" to "100000";
    }
}

/// A coding that clients agree about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplyCoding {
    Zstd,
    Brotli,
    Gzip,
}

word_leaf!(ReplyCoding { Zstd = "zstd", Brotli = "br", Gzip = "gzip" });
