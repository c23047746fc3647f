//! What this host offers, for who has no more than the name of an import: a report on a component.

use crate::{
    exports::{self, Misfit},
    linking,
    offered_wasi::shown_version,
};

/// Why a component finds no such import here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ImportFault {
    #[error("this host offers version {} of it", shown_version(offered))]
    OtherVersion { offered: &'static str },
    #[error("this host does not offer it")]
    NotOffered,
}

/// Whether a component that imports the interface `name` (`postern:gateway/kv@0.1.0`) finds it here.
///
/// # Errors
/// Why not.
pub fn check_import(name: &str) -> Result<(), ImportFault> {
    exports::check_import(name, &linking::offered()).map_err(|misfit| match misfit {
        Misfit::ImportVersion { offered, .. } => ImportFault::OtherVersion { offered },
        Misfit::UnknownImport { .. }
        | Misfit::NoRole { .. }
        | Misfit::RoleVersion { .. }
        | Misfit::NoFunction { .. }
        | Misfit::Shape { .. } => ImportFault::NotOffered,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_is_judged_as_a_deploy_judges_it() {
        assert_eq!(check_import("postern:gateway/kv@0.1.0"), Ok(()));
        assert_eq!(check_import("wasi:io/streams@0.2.9"), Ok(()));
        let other = ImportFault::OtherVersion { offered: "0.1" };
        assert_eq!(check_import("postern:gateway/kv@0.9.0"), Err(other));
        let unknown = Err(ImportFault::NotOffered);
        assert_eq!(check_import("acme:db/query@1.0.0"), unknown);
    }
}
