"""TLS and Unix sockets by redis-py: transports.py PORT TLS-PORT CA CERTIFICATE KEY SOCKET"""

import sys

import redis
from cases import case, client, equal, refused, run

PORT, TLS, CA, CERTIFICATE, KEY, SOCKET = sys.argv[1:]
OF_TLS = {"port": int(TLS), "ssl": True, "ssl_ca_certs": CA, "ssl_check_hostname": False}


@case
def plain(port, version):
    r = client(port, version)
    equal(r.get("nothing"), None)
    refused("Authentication required", r.set, "a", "b")


@case
def over_tls(port, version):
    r = redis.Redis(protocol=version, **OF_TLS)
    equal(r.ping(), True)
    refused("Authentication required", r.set, "a", "b")


@case
def with_a_certificate(port, version):
    r = redis.Redis(protocol=version, ssl_certfile=CERTIFICATE, ssl_keyfile=KEY, **OF_TLS)
    equal(r.set("a", "b"), True)
    equal(r.get("a"), b"b")


@case
def over_a_unix_socket(port, version):
    r = redis.Redis(unix_socket_path=SOCKET, protocol=version)
    equal(r.ping(), True)
    equal(r.echo("a"), b"a")


if __name__ == "__main__":
    run(int(PORT))
