//! Routes over real sockets.
