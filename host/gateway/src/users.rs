//! Users and groups of this machine, by names or numbers. Names are asked of the system, wherever it
//! keeps them; that may block.

use nix::unistd::{Group, Uid, User};
use postern_net::UnixAccess;

use crate::config::UnixFile;

/// Why a name stands for nobody.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UserError {
    #[error("no user is called {0:?}")]
    NoUser(String),
    #[error("no group is called {0:?}")]
    NoGroup(String),
    #[error("{name:?} cannot be looked up: {source}")]
    LookUp { name: String, source: nix::Error },
}

/// # Errors
/// Where nobody has the name.
pub(crate) fn user_id(name: &str) -> Result<u32, UserError> {
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    let found = User::from_name(name).map_err(|source| look_up(name, source))?;
    let user = found.ok_or_else(|| UserError::NoUser(name.to_owned()))?;
    Ok(user.uid.as_raw())
}

/// What the user `id` is called, where the system knows it.
pub(crate) fn user_name(id: u32) -> Option<String> {
    let user = User::from_uid(Uid::from_raw(id)).ok().flatten()?;
    Some(user.name)
}

/// # Errors
/// Where no group has the name.
pub(crate) fn group_id(name: &str) -> Result<u32, UserError> {
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    let found = Group::from_name(name).map_err(|source| look_up(name, source))?;
    let group = found.ok_or_else(|| UserError::NoGroup(name.to_owned()))?;
    Ok(group.gid.as_raw())
}

/// Who may connect to a socket whose file is to be like `file`.
///
/// # Errors
/// Where its owner is nobody.
pub(crate) fn access(file: &UnixFile) -> Result<UnixAccess, UserError> {
    let owner = file.owner.as_ref();
    let user = owner.and_then(|owner| owner.user.as_deref());
    let group = owner.and_then(|owner| owner.group.as_deref());
    Ok(UnixAccess {
        mode: file.mode.0,
        uid: user.map(user_id).transpose()?,
        gid: group.map(group_id).transpose()?,
    })
}

fn look_up(name: &str, source: nix::Error) -> UserError {
    UserError::LookUp {
        name: name.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_stand_for_users_and_groups() {
        assert_eq!(user_id("root").ok(), Some(0));
        assert_eq!(user_id("1234567").ok(), Some(1_234_567));
        assert_eq!(group_id("77").ok(), Some(77));
        assert_eq!(user_name(0).as_deref(), Some("root"));
        assert_eq!(user_name(u32::MAX - 7), None);
        let refused = user_id("nobody-of-that-name").expect_err("nobody");
        assert_eq!(
            refused.to_string(),
            "no user is called \"nobody-of-that-name\""
        );
        let refused = group_id("-1").expect_err("no group");
        assert_eq!(refused.to_string(), "no group is called \"-1\"");
    }
}
