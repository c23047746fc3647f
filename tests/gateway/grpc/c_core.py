"""What the C core's clients see of the samples `users` and `user-chat`, and of guests of tests.

Called with an address and, where it is one of TLS, the file of the authority; and with the folder of the schemas.
Prints the name of each case and `ok`, or what is wrong.
"""

import queue
import sys
import time

import grpc
from google.protobuf import descriptor_pool, struct_pb2
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

from http2 import field

TARGET, AUTHORITY = sys.argv[1], sys.argv[2]
sys.path[:0] = sys.argv[3:]
users_pb2, users_grpc = grpc.protos_and_services("user.proto")
chat_pb2, chat_grpc = grpc.protos_and_services("chat.proto")
PATIENCE = 60
# Where no case waits for the end of the time.
OPTIONS = {"timeout": PATIENCE}


def channel():
    if not AUTHORITY:
        return grpc.insecure_channel(TARGET)
    with open(AUTHORITY, "rb") as file:
        return grpc.secure_channel(TARGET, grpc.ssl_channel_credentials(file.read()))


CHANNEL = channel()
USERS, CHAT = users_grpc.UserServiceStub(CHANNEL), chat_grpc.ChatServiceStub(CHANNEL)


def check(claim, found, expected):
    if found != expected:
        raise AssertionError(f"{claim}: {found!r}, not {expected!r}")


def failure(call):
    """The error that a call ends with."""
    try:
        call()
    except grpc.RpcError as error:
        return error
    raise AssertionError("the call has not failed")


def create(name):
    email = f"{name}-{time.time_ns()}@example.org"
    return USERS.CreateUser(users_pb2.CreateUserRequest(name=name, email=email), **OPTIONS)


def unary():
    user = create("Ada")
    check("found", USERS.GetUser(users_pb2.GetUserRequest(id=user.id), **OPTIONS), user)
    changed = USERS.UpdateUser(users_pb2.UpdateUserRequest(id=user.id, name="Ada L."), **OPTIONS)
    check("changed", (changed.name, changed.email), ("Ada L.", user.email))
    listed = USERS.ListUsers(users_pb2.ListUsersRequest(), **OPTIONS)
    check("listed", [one for one in listed.users if one.id == user.id], [changed])
    deleted = USERS.DeleteUser(users_pb2.DeleteUserRequest(id=user.id), **OPTIONS)
    check("deleted", deleted.success, True)


def failures():
    error = failure(lambda: USERS.GetUser(users_pb2.GetUserRequest(id="nobody"), **OPTIONS))
    check("not found", (error.code(), error.details()), (grpc.StatusCode.NOT_FOUND, "no user has id `nobody`"))
    error = failure(lambda: USERS.CreateUser(users_pb2.CreateUserRequest(), **OPTIONS))
    check("invalid", error.code(), grpc.StatusCode.INVALID_ARGUMENT)
    for path in ("/user.UserService/Unknown", "/user.Nobody/GetUser"):
        error = failure(lambda: CHANNEL.unary_unary(path)(b"", **OPTIONS))
        check(path, error.code(), grpc.StatusCode.UNIMPLEMENTED)


def details():
    """A guest without a schema fails as it is told; its details come as messages."""
    fail = CHANNEL.unary_unary("/table-rust/Fail")
    error = failure(lambda: fail(b'{"kind":"aborted","message":"told","details":{"page":9}}', **OPTIONS))
    status = rpc_status.from_call(error)
    value = struct_pb2.Value()
    check("one of JSON", status.details[0].Unpack(value), True)
    check("its value", value.struct_value["page"], 9)
    typed = (
        b'{"kind":"invalid-argument","message":"told","details":[{"@type":"type.googleapis.com/google.rpc.BadRequest",'
        b'"fieldViolations":[{"field":"name","description":"is empty"}]}]}'
    )
    status = rpc_status.from_call(failure(lambda: fail(typed, **OPTIONS)))
    bad_request = error_details_pb2.BadRequest()
    check("one of a type", status.details[0].Unpack(bad_request), True)
    check("its field", bad_request.field_violations[0].field, "name")


def server_streaming():
    for name in ("Ada", "Eve", "Joe"):
        create(name)
    begin, times = time.monotonic(), []
    for response in USERS.ListUsersStream(users_pb2.ListUsersRequest(), **OPTIONS):
        check("a user", bool(response.user.id), True)
        times.append(time.monotonic() - begin)
    # The plugin pauses for 20 ms; what was gathered would come at once.
    check("intervals", times[-1] - times[0] > 0.016 * (len(times) - 1), True)


def client_streaming():
    stamp = time.time_ns()
    requests = (users_pb2.CreateUserRequest(name=f"U{n}", email=f"u{n}-{stamp}@example.org") for n in range(3))
    reply = USERS.CreateUsers(requests, **OPTIONS)
    check("created", [user.name for user in reply.users], ["U0", "U1", "U2"])


def bidirectional():
    """Each message is sent once the one before has been answered."""
    messages = queue.SimpleQueue()
    replies = CHAT.Chat(iter(messages.get, None), **OPTIONS)
    for number in range(1, 6):
        messages.put(chat_pb2.ChatMessage(user_id="1", text=f"line {number}"))
        reply = next(replies)
        check("reply", (reply.number, reply.text), (number, f"line {number} to you, 1"))
    messages.put(None)
    check("end", list(replies), [])
    check("trailer", ("x-messages", "5") in replies.trailing_metadata(), True)


def metadata():
    octets = bytes(range(256))
    sent = [("x-grpc-test-echo-initial", "first"), ("x-grpc-test-echo-trailing-bin", octets)]
    unary = CHANNEL.unary_unary("/grpc.testing.TestService/UnaryCall")
    _, call = unary.with_call(b"", metadata=sent, **OPTIONS)
    check("initial", dict(call.initial_metadata()).get("x-grpc-test-echo-initial"), "first")
    check("trailing", dict(call.trailing_metadata()).get("x-grpc-test-echo-trailing-bin"), octets)


def deadline():
    begin = time.monotonic()
    # Asks for an answer after ten seconds.
    late = field(2, field(2, 10_000_000))
    call = CHANNEL.unary_stream("/grpc.testing.TestService/StreamingOutputCall")
    error = failure(lambda: list(call(late, timeout=0.5)))
    check("status", error.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
    check("in time", time.monotonic() - begin < 8, True)


def cancellation():
    for name in ("Ada", "Eve"):
        create(name)
    responses = USERS.ListUsersStream(users_pb2.ListUsersRequest(), **OPTIONS)
    next(responses)
    responses.cancel()
    error = failure(lambda: list(responses))
    check("status", error.code(), grpc.StatusCode.CANCELLED)


def compression():
    reply = USERS.ListUsers(users_pb2.ListUsersRequest(), compression=grpc.Compression.Gzip, **OPTIONS)
    check("listed", len(reply.users) > 0, True)
    long = users_pb2.CreateUserRequest(name="x" * 100, email=f"long-{time.time_ns()}@example.org")
    check("created", USERS.CreateUser(long, compression=grpc.Compression.Deflate, **OPTIONS).name, "x" * 100)


def limit():
    payload = field(1, field(2, bytes(4 << 20)))
    call = CHANNEL.stream_unary("/grpc.testing.TestService/StreamingInputCall")
    error = failure(lambda: call(iter([payload]), **OPTIONS))
    check("more than 4 MiB", error.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)


def health():
    stub = health_pb2_grpc.HealthStub(CHANNEL)
    serving = health_pb2.HealthCheckResponse.SERVING
    for service in ("", "user.UserService", "user.ChatService"):
        check(service, stub.Check(health_pb2.HealthCheckRequest(service=service), **OPTIONS).status, serving)
    error = failure(lambda: stub.Check(health_pb2.HealthCheckRequest(service="user.Nobody"), **OPTIONS))
    check("unknown", error.code(), grpc.StatusCode.NOT_FOUND)
    listed = stub.List(health_pb2.HealthListRequest(), **OPTIONS).statuses
    check("listed", listed["user.UserService"].status, serving)


def watch():
    """The first status comes at once, and nothing more while it stays."""
    stub = health_pb2_grpc.HealthStub(CHANNEL)
    for service, expected in (("", 1), ("user.UserService", 1), ("user.Nobody", 3)):
        seen, begin = [], time.monotonic()
        try:
            for response in stub.Watch(health_pb2.HealthCheckRequest(service=service), timeout=2):
                seen.append((response.status, time.monotonic() - begin < 1.5))
        except grpc.RpcError as error:
            check("the end", error.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        check(f"seen of {service!r}", seen, [(expected, True)])


def reflection():
    database = ProtoReflectionDescriptorDatabase(CHANNEL)
    services = set(database.get_services())
    expected = {"user.UserService", "user.ChatService", "grpc.testing.TestService", "grpc.health.v1.Health"}
    check("listed", expected - services, set())
    pool = descriptor_pool.DescriptorPool(database)
    service = pool.FindServiceByName("user.UserService")
    check("methods", len(service.methods), 7)
    check("file", pool.FindFileByName("grpc/testing/test.proto").services_by_name.keys(), ["TestService"])
    check("message", pool.FindMessageTypeByName("user.User").fields_by_name.keys(), ["id", "name", "email"])


CASES = (
    unary,
    failures,
    details,
    server_streaming,
    client_streaming,
    bidirectional,
    metadata,
    deadline,
    cancellation,
    compression,
    limit,
    health,
    watch,
    reflection,
)

if __name__ == "__main__":
    for case in CASES:
        try:
            case()
            print(f"{case.__name__}: ok", flush=True)
        except Exception as error:
            print(f"{case.__name__}: {' '.join(repr(error).split())}", flush=True)
