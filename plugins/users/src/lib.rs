//! Users: a name and an address that belongs to nobody else, kept in the plugin's own store. Service `users`
//! has JSON; service `user.UserService` is what `user.proto` says.

mod id;
mod rules;
mod store;
mod user_service;

use postern_guest::{Failure, info};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{store::Page, user_service::UserService};

/// Users on one page, unless the caller wants fewer or more.
const PAGE_SIZE_DEFAULT: u32 = 50;
/// Reading a page takes two host calls per user.
const PAGE_SIZE_MAX: u32 = 100;

/// A user as callers see it and as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
struct User {
    /// 28 hex digits; later users have greater ones.
    id: String,
    name: String,
    /// As it was given. Addresses that differ only in case are the same address.
    email: String,
    /// 1 at first, one more with every change.
    revision: u64,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CreateUser {
    #[schemars(length(min = 1, max = 100))]
    name: String,
    #[schemars(length(min = 3, max = 254))]
    email: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GetUser {
    id: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListUsers {
    /// 1 to 100; 50 when absent.
    #[schemars(range(min = 1, max = 100))]
    page_size: Option<u32>,
    /// `next_page_token` of the page before; the first page when absent.
    page_token: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct UserPage {
    users: Vec<User>,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct UpdateUser {
    id: String,
    #[schemars(length(min = 1, max = 100))]
    name: Option<String>,
    #[schemars(length(min = 3, max = 254))]
    email: Option<String>,
    /// Change the user only if it is at this revision.
    revision: Option<u64>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DeleteUser {
    id: String,
}

struct Users;

/// Keeps users, each with an address of its own.
#[postern_guest::service(part)]
impl Users {
    /// Adds a user; `already-exists` when the address is taken.
    fn create_user(CreateUser { name, email }: CreateUser) -> Result<User, Failure> {
        let user = User {
            id: id::next(),
            name: rules::name(&name)?,
            email: rules::email(&email)?,
            revision: 1,
        };
        store::create(&user)?;
        info!(user = user.id, "created");
        Ok(user)
    }

    /// Finds a user by its id.
    #[method(idempotent)]
    fn get_user(GetUser { id }: GetUser) -> Result<User, Failure> {
        store::find(&id)?.ok_or_else(|| store::no_user(&id))
    }

    /// Lists users page by page, oldest first.
    #[method(idempotent)]
    fn list_users(request: ListUsers) -> Result<UserPage, Failure> {
        let page_size = request.page_size.unwrap_or(PAGE_SIZE_DEFAULT);
        if !(1..=PAGE_SIZE_MAX).contains(&page_size) {
            let text = format!("page_size {page_size} is not 1 to {PAGE_SIZE_MAX}");
            return Err(Failure::invalid_argument(text));
        }
        let Page { users, next } = store::list(request.page_token.as_deref(), page_size)?;
        Ok(UserPage {
            users,
            next_page_token: next,
        })
    }

    /// Changes name, address or both; `aborted` when the user is at another revision.
    fn update_user(request: UpdateUser) -> Result<User, Failure> {
        let UpdateUser {
            id,
            name,
            email,
            revision,
        } = request;
        if name.is_none() && email.is_none() {
            return Err(Failure::invalid_argument(
                "nothing to change: give `name` or `email`",
            ));
        }
        let name = name.as_deref().map(rules::name).transpose()?;
        let email = email.as_deref().map(rules::email).transpose()?;
        let user = store::change(&id, |user| {
            if let Some(expected) = revision.filter(|&expected| expected != user.revision) {
                let text = format!(
                    "user `{id}` is at revision {}, not {expected}",
                    user.revision
                );
                return Err(Failure::aborted(text));
            }
            Ok(User {
                id: user.id.clone(),
                name: name.clone().unwrap_or_else(|| user.name.clone()),
                email: email.clone().unwrap_or_else(|| user.email.clone()),
                revision: user.revision + 1,
            })
        })?;
        info!(user = user.id, revision = user.revision, "updated");
        Ok(user)
    }

    /// Deletes a user and frees its address; returns the user as it was.
    fn delete_user(DeleteUser { id }: DeleteUser) -> Result<User, Failure> {
        let user = store::remove(&id)?;
        info!(user = user.id, "deleted");
        Ok(user)
    }
}

postern_guest::services!(Users, UserService);

#[cfg(test)]
mod tests;
