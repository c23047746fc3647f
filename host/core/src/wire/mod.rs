//! The VSTP wire.
