//! Two connections over a stream that is cut anywhere. What must hold for every seed: every message
//! arrives once, in order and as it was sent, and both ends close for the same reason.
