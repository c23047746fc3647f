//! Users on a key/value store that changes one key at a time.
//!
//! ```text
//! user/ID        the user
//! email/ADDRESS  the claim of whoever has the address; ADDRESS in lower case
//! ```
//!
//! **Invariant:** a user is there exactly when it is stored and the claim on its address is its own.
//! Every change is one `swap` that makes it true or false, so that a call cut off half-way (by its
//! deadline, say) leaves either the state before or the state after:
//!
//! | change | before it counts | what makes it count | after it |
//! | --- | --- | --- | --- |
//! | create | the user is stored | its address is claimed | |
//! | new address | the new address is claimed | the user is swapped | the old claim is removed |
//! | delete | | the claim is removed | the user is removed |
//!
//! What a change that was cut off leaves behind is a claim of a user who is gone, which anybody may
//! take over, or who has another address, which only that user may. A claim is written anew whenever
//! it is taken, so that nobody removes a claim other than the one that was read.

use postern_guest::{Failure, kv};

use serde::{Deserialize, Serialize};

use crate::{User, id};

const USER: &str = "user/";
const EMAIL: &str = "email/";

/// Changes of address, by others, that a deletion sits out.
const REMOVE_ATTEMPTS_MAX: usize = 16;

/// Who has an address.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Claim {
    /// The user.
    id: String,
    /// Another one each time, so that a claim that was renewed is not taken for the one before.
    token: String,
}

/// Some users, and where the next ones begin.
pub(crate) struct Page {
    pub(crate) users: Vec<User>,
    /// `None` on the last page.
    pub(crate) next: Option<String>,
}

/// Adds a user with an id that nobody has had before.
pub(crate) fn create(user: &User) -> Result<(), Failure> {
    if !kv::insert(&user_key(&user.id), user)? {
        return Err(Failure::aborted(format!(
            "id `{}` was chosen twice",
            user.id
        )));
    }
    claim(&user.email, &user.id).inspect_err(|_| {
        // Invisible without its address, so that failing here does no harm.
        let _ = kv::delete(&user_key(&user.id));
    })
}

pub(crate) fn find(id: &str) -> Result<Option<User>, Failure> {
    Ok(find_claimed(id)?.map(|(user, _)| user))
}

/// Up to `limit` users after the one with id `after`, in the order of their ids.
pub(crate) fn list(after: Option<&str>, limit: u32) -> Result<Page, Failure> {
    let after = after.map(user_key);
    let keys = kv::keys(USER, after.as_deref(), limit)?;
    let full = keys.len() == limit as usize;
    let ids: Vec<&str> = keys
        .iter()
        .filter_map(|key| key.strip_prefix(USER))
        .collect();
    let next = ids.last().filter(|_| full).map(|&id| id.to_owned());
    let users = ids
        .into_iter()
        .filter_map(|id| find(id).transpose())
        .collect::<Result<_, _>>()?;
    Ok(Page { users, next })
}

/// Changes a user in one step. `change` is asked again when somebody else was faster.
pub(crate) fn change(
    id: &str,
    change: impl Fn(&User) -> Result<User, Failure>,
) -> Result<User, Failure> {
    let mut left = None;
    let stored = kv::update(&user_key(id), |_: Option<User>| {
        let (user, old) = find_claimed(id)?.ok_or_else(|| no_user(id))?;
        let changed = change(&user)?;
        left = None;
        if !same_address(&changed.email, &user.email) {
            claim(&changed.email, id)?;
            left = Some((user.email, old));
        }
        Ok(Some(changed))
    })?;
    if let Some((email, old)) = left {
        release(&email, &old)?;
    }
    stored.ok_or_else(|| no_user(id))
}

/// Deletes a user.
pub(crate) fn remove(id: &str) -> Result<User, Failure> {
    for _ in 0..REMOVE_ATTEMPTS_MAX {
        let (user, claim) = find_claimed(id)?.ok_or_else(|| no_user(id))?;
        if release(&user.email, &claim)? {
            kv::delete(&user_key(id))?;
            return Ok(user);
        }
    }
    Err(Failure::aborted(format!(
        "user `{id}` changed its address {REMOVE_ATTEMPTS_MAX} times"
    )))
}

pub(crate) fn no_user(id: &str) -> Failure {
    Failure::not_found(format!("no user has id `{id}`"))
}

/// A user and the claim that makes it count.
fn find_claimed(id: &str) -> Result<Option<(User, Claim)>, Failure> {
    let Some(user) = record(id)? else {
        return Ok(None);
    };
    let claim: Option<Claim> = kv::get(&email_key(&user.email))?;
    Ok(claim
        .filter(|claim| claim.id == id)
        .map(|claim| (user, claim)))
}

/// Takes an address for a user.
fn claim(email: &str, id: &str) -> Result<(), Failure> {
    let key = email_key(email);
    let claim = Claim {
        id: id.to_owned(),
        token: id::next(),
    };
    if kv::insert(&key, &claim)? {
        return Ok(());
    }
    let current: Option<Claim> = kv::get(&key)?;
    let free = match &current {
        Some(current) if current.id != id => record(&current.id)?.is_none(),
        Some(_) | None => true,
    };
    if free && kv::swap(&key, current.as_ref(), Some(&claim))? {
        return Ok(());
    }
    Err(Failure::already_exists(format!(
        "email `{email}` belongs to another user"
    )))
}

/// Frees an address if the claim on it is still this one. Says whether it was.
fn release(email: &str, claim: &Claim) -> Result<bool, Failure> {
    kv::swap(&email_key(email), Some(claim), None)
}

/// A user as stored, whether it counts or not. What is no id has none.
fn record(id: &str) -> Result<Option<User>, Failure> {
    if id.len() != id::LENGTH || !id.bytes().all(|octet| octet.is_ascii_hexdigit()) {
        return Ok(None);
    }
    kv::get(&user_key(id))
}

fn same_address(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

fn user_key(id: &str) -> String {
    format!("{USER}{id}")
}

fn email_key(email: &str) -> String {
    format!("{EMAIL}{}", email.to_lowercase())
}
