//! What every test from outside needs: a gateway process, plugins, callers, peers and bad links.
