//! Who calls, by what the connection proves: whose process is at the far end of a Unix socket, or which
//! certificate the listener has verified. Such a caller needs no credentials; those that a call carries
//! count before.

use std::{collections::HashMap, sync::Arc};

use postern_core::{Origin, Peer, Principal, tls::ClientCertificate};

use super::error::GuardError;
use crate::{
    config::{Auth, CertificateCaller},
    users::{UserError, group_id, user_id},
};

/// Callers by their users, groups and certificates.
#[derive(Debug)]
pub(super) struct Connections {
    users: Callers,
    groups: Callers,
    /// In the order of their names.
    certificates: Vec<(CertificateCaller, Arc<Principal>)>,
}

type Callers = HashMap<u32, Arc<Principal>>;

impl Connections {
    /// Looks names of users and groups up, which may block.
    ///
    /// # Errors
    /// Who is unknown, or named twice.
    pub(super) fn open(settings: &Auth) -> Result<Self, GuardError> {
        let (mut users, mut groups) = (Callers::new(), Callers::new());
        for (name, caller) in &settings.unix {
            let principal = principal(name, &caller.roles);
            put(&mut users, &principal, "user", &caller.users, user_id)?;
            put(&mut groups, &principal, "group", &caller.groups, group_id)?;
        }
        let certificates = settings.certificates.iter();
        let certificates =
            certificates.map(|(name, caller)| (caller.clone(), principal(name, &caller.roles)));
        Ok(Self {
            users,
            groups,
            certificates: certificates.collect(),
        })
    }

    /// Who is at the far end, if it is somebody who is named.
    pub(super) fn find(&self, peer: &Peer) -> Option<Arc<Principal>> {
        if let Origin::Unix(process) = &peer.origin {
            let by_group = || self.groups.get(&process.gid);
            return self.users.get(&process.uid).or_else(by_group).cloned();
        }
        let shown = peer.tls.as_ref()?.client.as_ref()?;
        let mut certificates = self.certificates.iter();
        let found = certificates.find(|(caller, _)| fits(caller, shown));
        found.map(|(_, principal)| Arc::clone(principal))
    }
}

fn principal(name: &str, roles: &[String]) -> Arc<Principal> {
    Arc::new(Principal {
        name: name.into(),
        roles: roles.iter().map(|role| role.as_str().into()).collect(),
        claims: Vec::new(),
    })
}

fn fits(caller: &CertificateCaller, shown: &ClientCertificate) -> bool {
    let has_name = || {
        let mut names = shown.names.iter().map(ToString::to_string);
        names.any(|name| caller.names.iter().any(|wanted| wanted.matches(&name)))
    };
    let has_fingerprint = || {
        let fingerprint = shown.fingerprint.to_string();
        caller.fingerprints.contains(&fingerprint)
    };
    let mut subjects = caller.subjects.iter();
    subjects.any(|wanted| wanted.matches(&shown.subject))
        || (!caller.names.is_empty() && has_name())
        || (!caller.fingerprints.is_empty() && has_fingerprint())
}

fn put(
    callers: &mut Callers,
    principal: &Arc<Principal>,
    kind: &'static str,
    names: &[String],
    look_up: fn(&str) -> Result<u32, UserError>,
) -> Result<(), GuardError> {
    for name in names {
        let owner = || principal.name.to_string();
        let id = look_up(name).map_err(|source| GuardError::User {
            owner: owner(),
            source,
        })?;
        let before = callers.insert(id, Arc::clone(principal));
        if let Some(other) = before.filter(|before| !Arc::ptr_eq(before, principal)) {
            return Err(GuardError::SameUser {
                kind,
                id,
                owners: [other.name.to_string(), owner()],
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use postern_core::{
        Transport,
        origin::UnixPeer,
        tls::{Fingerprint, SubjectName, TlsFacts},
    };

    use super::*;
    use crate::config;

    fn open(text: &str) -> Result<Connections, GuardError> {
        let parsed = config::parse("t", text, &Default::default());
        let (config, _) = parsed.unwrap_or_else(|faults| panic!("{faults}"));
        Connections::open(&config.auth)
    }

    fn found(connections: &Connections, uid: u32, gid: u32) -> Option<String> {
        let process = UnixPeer {
            uid,
            gid,
            pid: None,
            path: None,
        };
        let peer = Peer::new(Transport::Unix, Origin::Unix(process));
        let found = connections.find(&peer);
        found.map(|principal| principal.name.to_string())
    }

    #[test]
    fn users_count_before_groups_and_all_others_are_nobody() {
        let connections = open(
            "[auth.unix.backup]\nusers = [\"2001\", \"2002\"]\nroles = [\"reader\"]\n\
             [auth.unix.staff]\ngroups = [\"50\"]\nusers = [\"root\", \"0\"]",
        );
        let connections = connections.expect("good");
        for (uid, gid, expected) in [
            (2001, 9, Some("backup")),
            (2002, 50, Some("backup")),
            (2003, 50, Some("staff")),
            (0, 0, Some("staff")),
            (50, 2001, None),
        ] {
            assert_eq!(found(&connections, uid, gid).as_deref(), expected);
        }
        let address = Origin::Ip(([127, 0, 0, 1], 2001).into());
        let elsewhere = Peer::new(Transport::Tcp, address);
        assert_eq!(connections.find(&elsewhere), None);
    }

    #[test]
    fn a_certificate_is_known_by_a_name_a_subject_or_a_fingerprint() {
        let print = "ab".repeat(32);
        let connections = open(&format!(
            "[listeners.vstp.tls]\ncertificate-file = \"a\"\nkey-file = \"a\"\n\
             client-certificates = \"optional\"\nclient-ca-files = [\"a\"]\n\
             [auth.certificates.a-print]\nfingerprints = [\"{print}\"]\n\
             [auth.certificates.reports]\nnames = [\"URI:spiffe://e/*\"]\nroles = [\"reader\"]\n\
             [auth.certificates.subject]\nsubjects = [\"CN=old,*\"]\n"
        ));
        let connections = connections.expect("good");
        let found = |subject: &str, name: &str, octet| {
            let facts = TlsFacts {
                client: Some(ClientCertificate {
                    der: bytes::Bytes::new(),
                    subject: subject.into(),
                    names: vec![SubjectName::Uri(name.into())],
                    fingerprint: Fingerprint([octet; 32]),
                }),
                ..TlsFacts::default()
            };
            let peer = Peer {
                tls: Some(Arc::new(facts)),
                ..Peer::new(Transport::Tls, Origin::Ip(([127, 0, 0, 1], 1).into()))
            };
            let found = connections.find(&peer);
            found.map(|principal| (principal.name.to_string(), principal.roles.len()))
        };
        let named = |name: &str, n_roles| Some((name.to_owned(), n_roles));
        assert_eq!(found("", "spiffe://e/x", 1), named("reports", 1));
        assert_eq!(found("CN=old,O=e", "x", 1), named("subject", 0));
        assert_eq!(found("CN=old", "spiffe://other/x", 1), None);
        assert_eq!(
            found("CN=old,O=e", "spiffe://e/x", 0xab),
            named("a-print", 0)
        );
    }

    #[test]
    fn who_is_nobody_or_somebody_twice_is_refused() {
        let refused = |text: &str| open(text).expect_err("refused").to_string();
        assert_eq!(
            refused("[auth.unix.a]\nusers = [\"nobody-of-that-name\"]"),
            "auth.unix.a: no user is called \"nobody-of-that-name\""
        );
        assert_eq!(
            refused("[auth.unix.a]\ngroups = [\"7\"]\n[auth.unix.b]\ngroups = [\"7\"]"),
            "group 7 is named by auth.unix.a and by auth.unix.b"
        );
    }
}
