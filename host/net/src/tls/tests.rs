//! TLS between real ends.
