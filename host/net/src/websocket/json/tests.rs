//! The forms of messages.
