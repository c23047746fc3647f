//! Files that fit together, and those that do not.
