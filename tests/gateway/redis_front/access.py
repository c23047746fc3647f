"""Passwords by redis-py: access.py PORT USER PASSWORD"""

import sys

import redis
from cases import case, client, equal, refused, run

PORT, USER, PASSWORD = sys.argv[1:]


@case
def user_and_password(port, version):
    r = client(port, version, username=USER, password=PASSWORD)
    equal(r.set("access", "1"), True)
    equal(r.get("access"), b"1")
    equal(r.client_info()["user"], USER)


@case
def password_alone(port, version):
    equal(client(port, version, password=PASSWORD).ping(), True)


@case
def wrong_passwords(port, version):
    refused("invalid username-password pair", client(port, version, password="wrong").ping)
    other = client(port, version, username="other", password=PASSWORD)
    refused("invalid username-password pair", other.ping)


@case
def nobody(port, version):
    refused("Authentication required", client(port, 2).ping)
    try:
        client(port, 3).ping()
    except redis.exceptions.RedisError as error:
        equal("HELLO must be called" in str(error) or "Authentication" in str(error), True)


if __name__ == "__main__":
    run(int(PORT))
