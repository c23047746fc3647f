//! Service `user.UserService` of `user.proto`: the same users under the same rules, for clients that know
//! the protobuf schema. The gateway converts their messages to the JSON of proto3, in which a field of its
//! default value may be absent.

use std::{thread, time::Duration};

use postern_guest::{Failure, Incoming, Outgoing, Result, config};
use serde::{Deserialize, Serialize};

use crate::{
    CreateUser, DeleteUser, GetUser, ListUsers, PAGE_SIZE_MAX, UpdateUser, User, UserPage, Users,
};

/// Users in one message. Finding one takes two host calls, and all of a call take a second at most where
/// the manifest says nothing else. A message of so many stays below the 4 MiB that clients of gRPC receive
/// by default: a user has at most some 700 octets.
const LISTED_MAX: usize = 1000;
/// Key of the manifest's table `config`: milliseconds between two users of `ListUsersStream`; 0 when absent.
const LIST_INTERVAL_MS: &str = "list-interval-ms";

/// The message `User`; `crate::User` has a revision as well.
#[derive(Serialize)]
struct UserMessage {
    id: String,
    name: String,
    email: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GetUserRequest {
    #[serde(default)]
    id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateUserRequest {
    #[serde(default)]
    name: String,
    #[serde(default)]
    email: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UpdateUserRequest {
    #[serde(default)]
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    email: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeleteUserRequest {
    #[serde(default)]
    id: String,
}

#[derive(Serialize)]
struct DeleteUserResponse {
    success: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListUsersRequest {}

#[derive(Serialize)]
struct ListUsersResponse {
    users: Vec<UserMessage>,
}

#[derive(Serialize)]
struct ListUsersStreamResponse {
    user: UserMessage,
}

#[derive(Serialize)]
struct CreateUsersResponse {
    users: Vec<UserMessage>,
}

pub(crate) struct UserService;

/// Keeps users, for clients of gRPC.
#[postern_guest::service(name = "user.UserService", part)]
impl UserService {
    /// Finds a user by its id.
    #[method(idempotent)]
    fn get_user(GetUserRequest { id }: GetUserRequest) -> Result<UserMessage> {
        Users::get_user(GetUser { id }).map(UserMessage::from)
    }

    /// Adds a user; `already-exists` when the address is taken.
    fn create_user(request: CreateUserRequest) -> Result<UserMessage> {
        let CreateUserRequest { name, email } = request;
        Users::create_user(CreateUser { name, email }).map(UserMessage::from)
    }

    /// Lists at most 1,000 users, oldest first.
    #[method(idempotent)]
    fn list_users(_: ListUsersRequest) -> Result<ListUsersResponse> {
        let mut users = Vec::new();
        for_each(|user| take(&mut users, user, "ListUsersStream has no such limit"))?;
        Ok(ListUsersResponse { users })
    }

    /// Changes the fields that are not empty.
    fn update_user(request: UpdateUserRequest) -> Result<UserMessage> {
        let given = |field: String| (!field.is_empty()).then_some(field);
        let change = UpdateUser {
            id: request.id,
            name: given(request.name),
            email: given(request.email),
            revision: None,
        };
        Users::update_user(change).map(UserMessage::from)
    }

    /// Deletes a user and frees its address.
    fn delete_user(DeleteUserRequest { id }: DeleteUserRequest) -> Result<DeleteUserResponse> {
        Users::delete_user(DeleteUser { id })?;
        Ok(DeleteUserResponse { success: true })
    }

    /// Lists all users, one by one.
    fn list_users_stream(
        _: ListUsersRequest,
        mut out: Outgoing<ListUsersStreamResponse>,
    ) -> Result<()> {
        let interval = config::get(LIST_INTERVAL_MS)?.unwrap_or_default();
        let interval = Duration::from_millis(interval);
        let mut is_first = true;
        for_each(|user| {
            if !std::mem::take(&mut is_first) {
                // Blocks this instance only.
                thread::sleep(interval);
            }
            out.send(ListUsersStreamResponse { user })
        })
    }

    /// Adds users as they come. Those before the first that is refused stay.
    fn create_users(requests: Incoming<CreateUserRequest>) -> Result<CreateUsersResponse> {
        let mut users = Vec::new();
        for request in requests {
            let user = Self::create_user(request?)?;
            take(&mut users, user, "call CreateUsers again")?;
        }
        Ok(CreateUsersResponse { users })
    }
}

/// Every user, oldest first, page by page.
fn for_each(mut visit: impl FnMut(UserMessage) -> Result<()>) -> Result<()> {
    let mut page_token = None;
    loop {
        let page_size = Some(PAGE_SIZE_MAX);
        let UserPage {
            users,
            next_page_token,
        } = Users::list_users(ListUsers {
            page_size,
            page_token,
        })?;
        users
            .into_iter()
            .map(UserMessage::from)
            .try_for_each(&mut visit)?;
        if next_page_token.is_none() {
            return Ok(());
        }
        page_token = next_page_token;
    }
}

fn take(users: &mut Vec<UserMessage>, user: UserMessage, remedy: &str) -> Result<()> {
    if users.len() == LISTED_MAX {
        let text = format!("more than {LISTED_MAX} users in one message: {remedy}");
        return Err(Failure::resource_exhausted(text));
    }
    users.push(user);
    Ok(())
}

impl From<User> for UserMessage {
    fn from(
        User {
            id, name, email, ..
        }: User,
    ) -> Self {
        Self { id, name, email }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use postern_guest::{Kind, fake::Host};
    use serde_json::{Value, json};

    use super::*;

    fn call(host: &Host, method: &str, request: &Value) -> Result<Value> {
        let reply = host.call::<UserService>(method, request.to_string().as_str())?;
        Ok(serde_json::from_slice(&reply).expect("replies are JSON"))
    }

    #[track_caller]
    fn create(host: &Host, name: &str) -> Value {
        let email = format!("{name}@example.org");
        call(host, "CreateUser", &json!({ "name": name, "email": email })).unwrap()
    }

    #[test]
    fn a_user_of_one_service_is_a_user_of_the_other() {
        let host = Host::new();
        let user = create(&host, "ada");
        let request = json!({ "id": user["id"] });
        assert_eq!(call(&host, "GetUser", &request), Ok(user.clone()));
        let other = host.call::<Users>("GetUser", request.to_string().as_str());
        let other: Value = serde_json::from_slice(&other.unwrap()).unwrap();
        assert_eq!(
            (&other["email"], &other["revision"]),
            (&user["email"], &json!(1))
        );
    }

    #[test]
    fn a_field_of_its_default_value_is_absent() {
        let host = Host::new();
        let failure = call(&host, "CreateUser", &json!({})).unwrap_err();
        let text = "name of 0 characters is not 1 to 100";
        assert_eq!(
            (failure.kind, &*failure.message),
            (Kind::InvalidArgument, text)
        );
        let failure = call(&host, "GetUser", &json!({})).unwrap_err();
        assert_eq!(failure.kind, Kind::NotFound);
    }

    #[test]
    fn an_update_leaves_empty_fields_as_they_were() {
        let host = Host::new();
        let user = create(&host, "ada");
        let request = json!({ "id": user["id"], "name": "Ada Lovelace" });
        let changed = call(&host, "UpdateUser", &request).unwrap();
        let expected = json!({
            "id": user["id"], "name": "Ada Lovelace", "email": "ada@example.org",
        });
        assert_eq!(changed, expected);
        let request = json!({ "id": user["id"] });
        let failure = call(&host, "UpdateUser", &request).unwrap_err();
        assert_eq!(failure.kind, Kind::InvalidArgument);
    }

    #[test]
    fn a_deleted_user_is_gone() {
        let host = Host::new();
        let request = json!({ "id": create(&host, "ada")["id"] });
        let deleted = call(&host, "DeleteUser", &request);
        assert_eq!(deleted, Ok(json!({ "success": true })));
        let failure = call(&host, "DeleteUser", &request).unwrap_err();
        assert_eq!(failure.kind, Kind::NotFound);
        assert_eq!(
            call(&host, "ListUsers", &json!({})),
            Ok(json!({ "users": [] }))
        );
    }

    #[test]
    fn users_are_listed_over_all_pages_at_once_and_one_by_one() {
        let host = Host::new();
        let mut names: Vec<_> = (0..PAGE_SIZE_MAX + 1)
            .map(|n| create(&host, &format!("user{n}")))
            .collect();
        names.sort_by_key(|user| user["id"].to_string());
        let listed = call(&host, "ListUsers", &json!({})).unwrap();
        assert_eq!(listed["users"], json!(names));
        host.incoming(json!({}));
        let streamed = host.call_stream::<UserService>("ListUsersStream").unwrap();
        let streamed = streamed.iter().map(|message| {
            let message: Value = serde_json::from_slice(message).unwrap();
            message["user"].clone()
        });
        assert_eq!(streamed.collect::<Vec<_>>(), names);
    }

    #[test]
    fn users_come_at_intervals() {
        let host = Host::new();
        host.config(LIST_INTERVAL_MS, "20");
        for name in ["ada", "eve", "joe"] {
            create(&host, name);
        }
        let begin = Instant::now();
        host.incoming(json!({}));
        host.call_stream::<UserService>("ListUsersStream").unwrap();
        assert!(begin.elapsed() >= Duration::from_millis(40));
    }

    #[test]
    fn users_are_created_up_to_the_first_that_is_refused() {
        let host = Host::new();
        host.incoming(json!({ "name": "Ada", "email": "ada@example.org" }));
        host.incoming(json!({ "name": "Eve", "email": "eve@example.org" }));
        let replies = host.call_stream::<UserService>("CreateUsers").unwrap();
        let reply: Value = serde_json::from_slice(&replies[0]).unwrap();
        assert_eq!(reply["users"][1]["name"], "Eve");
        host.incoming(json!({ "name": "Joe", "email": "joe@example.org" }));
        host.incoming(json!({ "name": "Ada", "email": "ada@example.org" }));
        let failure = host.call_stream::<UserService>("CreateUsers").unwrap_err();
        assert_eq!(failure.kind, Kind::AlreadyExists);
        let listed = call(&host, "ListUsers", &json!({})).unwrap();
        assert_eq!(listed["users"].as_array().map(Vec::len), Some(3));
    }

    #[test]
    fn a_message_has_so_many_users_and_no_more() {
        let user = || UserMessage {
            id: String::new(),
            name: String::new(),
            email: String::new(),
        };
        let mut users: Vec<_> = (1..LISTED_MAX).map(|_| user()).collect();
        take(&mut users, user(), "").unwrap();
        let failure = take(&mut users, user(), "do else").unwrap_err();
        let text = "more than 1000 users in one message: do else";
        assert_eq!(
            (failure.kind, &*failure.message),
            (Kind::ResourceExhausted, text)
        );
    }
}
