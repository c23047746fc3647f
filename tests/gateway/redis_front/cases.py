"""Cases that are told by name, for scripts of redis-py."""

import sys
import time
import traceback

import redis

PATIENCE = 20
CASES = []


def case(function):
    """A function of a port and a version of the protocol: it is run for both."""
    CASES.append(function)
    return function


def client(port, version=3, **options):
    return redis.Redis(port=port, protocol=version, **options)


def equal(found, expected):
    if found != expected:
        raise AssertionError(f"{found!r} in the place of {expected!r}")


def refused(text, function, *arguments, **options):
    """The answer is an error that says `text`."""
    try:
        found = function(*arguments, **options)
    except redis.exceptions.RedisError as error:
        if text not in str(error):
            raise AssertionError(f"{error} in the place of {text}") from error
        return
    raise AssertionError(f"{found!r} in the place of {text}")


def eventually(what, patience=PATIENCE):
    end = time.monotonic() + patience
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.02)
    raise TimeoutError("it has not come to that")


def run(port, chosen=()):
    """Runs the cases and prints `name: ok`, or why not."""
    for function in CASES:
        for version in (2, 3):
            name = f"{function.__name__}-{version}"
            if chosen and not any(word in name for word in chosen):
                continue
            try:
                function(port, version)
                print(f"{name}: ok", flush=True)
            except Exception as error:  # noqa: BLE001
                where = traceback.extract_tb(error.__traceback__)
                lines = [f"{frame.name} {frame.lineno}" for frame in where[1:4]]
                text = f"{type(error).__name__} {error} ({', '.join(lines)})"
                print(f"{name}: {text}".replace("\n", " "), flush=True)
    sys.stdout.flush()
