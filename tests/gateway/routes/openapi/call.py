"""Calls `users` by a client that was generated from the document: folder, base URL."""

import sys

sys.path.insert(0, sys.argv[1])

from client import Client
from client.api.users import user_create, user_get, user_list, users_get_user
from client.models import Error, UsersCreateUser, UsersGetUser

client = Client(base_url=sys.argv[2])
ada = user_create.sync(client=client, body=UsersCreateUser(name="Ada", email="ada@example.org"))
print("created", ada.name, ada.revision)
print("found", user_get.sync(client=client, id=ada.id) == ada)
page = user_list.sync(client=client, page_size=1)
print("listed", len(page.users), page.users[0].email)
print("by its method", users_get_user.sync(client=client, body=UsersGetUser(id=ada.id)) == ada)
refused = user_create.sync_detailed(client=client, body=UsersCreateUser(name="", email="x"))
print("refused", int(refused.status_code), sorted(fault.pointer for fault in refused.parsed.errors))
