//! Who is who without credentials, by what its connection proves: `[auth.unix.NAME]` and
//! `[auth.certificates.NAME]`.

use super::{Wildcard, named::Named, section::section};

section! {
    /// Processes of this machine that call over a Unix socket. The system says whose they are, so that
    /// they need no other credentials; those that a call carries count before.
    pub(crate) struct UnixCaller {
        /// Users, by names or numbers.
        pub users: Vec<String> = Vec::new();
        /// Groups, by names or numbers: that of the process, not others that its user is in. Who is
        /// named by its user counts as that.
        pub groups: Vec<String> = Vec::new();
        /// Roles of these callers.
        pub roles: Vec<String> = Vec::new();
    }
}

section! {
    /// Callers that show a certificate which a listener has verified, so that they need no other
    /// credentials; those that a call carries count before. One name, subject or fingerprint that fits
    /// is enough.
    pub(crate) struct CertificateCaller {
        /// Subject alternative names, with their kind and "*" for any part:
        /// "URI:spiffe://example.org/reports", "DNS:*.example.org", "email:...", "IP:...".
        pub names: Vec<Wildcard> = Vec::new();
        /// Subjects as RFC 4514 writes them, with "*" for any part: "CN=reports,O=Example".
        pub subjects: Vec<Wildcard> = Vec::new();
        /// SHA-256 of certificates, 64 hexadecimal digits in lower case.
        pub fingerprints: Vec<String> = Vec::new();
        /// Roles of these callers.
        pub roles: Vec<String> = Vec::new();
    }
}

impl Named for UnixCaller {}
impl Named for CertificateCaller {}
