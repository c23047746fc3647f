"""Services: functions with type hints are methods.

What a method takes and gives is read from its hints: `bytes` is the message as it is, an iterator is
many messages, everything else is JSON.
"""

from __future__ import annotations

import collections.abc
import copy
import inspect
import typing
from dataclasses import field, make_dataclass
from typing import Any, Callable, Iterator

from . import _host, _loop
from ._text import text
from .convert import checker, name_of, read_json, reader, write_json
from .failure import Failure, Internal, NotFound
from .schema import schema

_STREAMS = {
    collections.abc.Iterator,
    collections.abc.Iterable,
    collections.abc.Generator,
    collections.abc.AsyncIterator,
    collections.abc.AsyncIterable,
    collections.abc.AsyncGenerator,
}


class Incoming:
    """The messages of a streaming request, in `for` and in `async for`. Waits for each."""

    def __init__(self, read: Callable[[bytes], Any]) -> None:
        self._read = read

    def __iter__(self) -> Incoming:
        return self

    def __next__(self) -> Any:
        octets = _host.current.next()
        if octets is None:
            raise StopIteration
        return self._read(octets)

    def __aiter__(self) -> Incoming:
        return self

    async def __anext__(self) -> Any:
        octets = _host.current.next()
        if octets is None:
            raise StopAsyncIteration
        return self._read(octets)


class Method:
    """One method: the function, and how messages become its arguments and its results messages."""

    def __init__(self, function: Callable[..., Any], name: str, *, idempotent: bool, is_fallback: bool) -> None:
        self.function = function
        self.name = name
        self.idempotent = idempotent
        self.summary = _summary(function)
        self.is_fallback = is_fallback
        self._bound = False

    def bind(self) -> Method:
        """Reads the hints. Later than the decorator, so that types may be defined below their use."""
        if self._bound:
            return self
        function = self.function
        hints = typing.get_type_hints(function, include_extras=True)
        parameters = list(inspect.signature(function).parameters.values())
        self.takes_name = self.is_fallback and bool(parameters)
        if self.takes_name:
            parameters = parameters[1:]
        self.request, self.takes_stream = _element(self._request_hint(parameters, hints))
        self.n_parameters = len(parameters)
        response, gives_stream = _element(hints.get("return", Any))
        yields = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
        self.gives_stream = gives_stream or yields
        self.response = Any if yields and not gives_stream else response
        self.is_async = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
        if self.is_async:
            _loop.prepare()
        self.read = _message_reader(self.request)
        self.write = _message_writer(self.response, self.name)
        self.call = self._unary()
        self._bound = True
        return self

    def _request_hint(self, parameters: list[inspect.Parameter], hints: dict[str, Any]) -> Any:
        """One parameter is the message itself, several are the members of an object."""
        for parameter in parameters:
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise TypeError(f"method {self.name}: `*{parameter.name}` is no parameter of a method")
        if not parameters:
            return None
        if len(parameters) == 1:
            return hints.get(parameters[0].name, Any)
        fields = [self._field(parameter, hints.get(parameter.name, Any)) for parameter in parameters]
        return make_dataclass(f"{self.name}Request", fields, kw_only=True)

    def _field(self, parameter: inspect.Parameter, hint: Any) -> tuple[str, Any, Any]:
        if hint is bytes or _element(hint)[1]:
            raise TypeError(
                f"method {self.name}: `{parameter.name}` is a whole message or a stream of them, and stands alone"
            )
        if parameter.default is parameter.empty:
            return parameter.name, hint, field()
        return parameter.name, hint, field(default_factory=lambda: copy.deepcopy(parameter.default))

    @property
    def kind(self) -> str:
        names = {
            (False, False): "unary",
            (True, False): "client-stream",
            (False, True): "server-stream",
            (True, True): "bidirectional",
        }
        return names[self.takes_stream, self.gives_stream]

    def arguments(self, name: str, message: Any) -> list[Any]:
        """What the function is called with."""
        first = [name] if self.takes_name else []
        if self.n_parameters == 0:
            return first
        if self.n_parameters == 1:
            return [*first, message]
        parameters = list(inspect.signature(self.function).parameters)[len(first) :]
        return [*first, *(getattr(message, parameter) for parameter in parameters)]

    def _unary(self) -> Callable[[str, bytes], bytes]:
        """What answers a unary call: one message in, one out. Made once, so that a call takes few steps."""
        function, read, write = self.function, self.read, self.write
        takes_message = self.n_parameters == 1 and not self.takes_name and not self.is_async

        def any_method(name: str, body: bytes) -> bytes:
            message = read(body) if self.n_parameters else None
            result = function(*self.arguments(name, message))
            octets = write(_loop.run(result) if self.is_async else result)
            return octets.encode() if type(octets) is str else octets

        def of_message(name: str, body: bytes) -> bytes:
            octets = write(function(read(body)))
            return octets.encode() if type(octets) is str else octets

        def of_octets(name: str, body: bytes) -> bytes:
            result = function(body)
            if type(result) is bytes:
                return result
            octets = write(result)
            return octets.encode() if type(octets) is str else octets

        if not takes_message:
            return any_method
        return of_octets if self.request is bytes and self.response is bytes else of_message

    def call_stream(self, name: str) -> None:
        """Messages from and to the host."""
        host = _host.current
        if self.takes_stream:
            message: Any = Incoming(self.read)
        else:
            body = host.next()
            message = self.read(b"" if body is None else body) if self.n_parameters else None
        result = self.function(*self.arguments(name, message))
        if not self.gives_stream:
            host.send(self.write(_loop.run(result) if self.is_async else result))
            return
        replies = _loop.iterate(result) if self.is_async else iter(result)
        try:
            for reply in replies:
                try:
                    host.send(self.write(reply))
                except Failure as failure:
                    _tell(replies, failure)
                    raise
        finally:
            close = getattr(replies, "close", None)
            if close:
                close()


class Service:
    """A service of the plugin. `summary` is one sentence for people, `version` a semantic version."""

    def __init__(self, name: str, *, version: str | None = None, summary: str = "") -> None:
        self.name = name
        self.version = version
        self.summary = summary
        self.methods: dict[str, Method] = {}
        self.fallback_method: Method | None = None
        _registered.append(self)

    def method(self, function: Any = None, *, name: str | None = None, idempotent: bool = False) -> Any:
        """Makes a function a method: `get_user` is `GetUser` unless `name` says otherwise.

        `idempotent`: a second identical call changes nothing more, so that it may be retried.
        """

        def decorate(function: Any) -> Any:
            called = name or "".join(part[:1].upper() + part[1:] for part in function.__name__.split("_"))
            if called in self.methods:
                raise ValueError(f"service `{self.name}` has two methods `{called}`")
            self.methods[called] = Method(function, called, idempotent=idempotent, is_fallback=False)
            return function

        return decorate(function) if function else decorate

    def fallback(self, function: Any) -> Any:
        """Makes a function answer every method without a function of its own; it gets the method's name
        first."""
        if self.fallback_method:
            raise ValueError(f"service `{self.name}` has two fallbacks")
        self.fallback_method = Method(function, "*", idempotent=False, is_fallback=True)
        return function

    def find(self, method: str) -> Method:
        """The method of that name, ready to be called. Raises NotFound that names those that there are."""
        found = self.methods.get(method) or self.fallback_method
        if found is None:
            known = ", ".join(f"`{name}`" for name in self.methods)
            raise NotFound(f"service `{self.name}` has no method `{method}`; it has {known or 'none'}")
        return found if found._bound else found.bind()

    def all_methods(self) -> list[Method]:
        """Every method, bound, the fallback last."""
        fallback = [self.fallback_method] if self.fallback_method else []
        return [method.bind() for method in [*self.methods.values(), *fallback]]

    def schemas(self) -> dict[str, str]:
        """Name and JSON Schema of the types that its methods name."""
        hints = [hint for method in self.all_methods() for hint in (method.request, method.response)]
        return {type_name(hint): write_json(schema(hint)) for hint in hints if type_name(hint)}


def services() -> list[Service]:
    """Those that were made so far."""
    return list(_registered)


def find_service(name: str | Service) -> Service:
    """The service of that name; a test gives the service itself. A plugin with one answers under any name
    that the manifest gives it."""
    if isinstance(name, Service):
        return name
    if len(_registered) == 1:
        return _registered[0]
    for service in _registered:
        if service.name == name:
            return service
    raise NotFound(f"there is no service `{name}` in this plugin")


def type_name(hint: Any) -> str:
    """How `describe` calls the type; empty for octets, for anything and for nothing."""
    return "" if hint is bytes or hint is Any or hint is object else name_of(hint)


_registered: list[Service] = []


def _element(hint: Any) -> tuple[Any, bool]:
    """What a stream is made of, and whether it is one."""
    origin = typing.get_origin(hint)
    if origin in _STREAMS:
        args = typing.get_args(hint)
        return (args[0] if args else Any), True
    return (Any, True) if hint in _STREAMS else (hint, False)


def _message_reader(hint: Any) -> Callable[[bytes], Any]:
    if hint is bytes:
        return bytes
    read = reader(hint)
    return lambda octets: read_json(octets, read)


def _message_writer(hint: Any, name: str) -> Callable[[Any], bytes | str]:
    if hint is bytes:

        def write_octets(value: Any) -> bytes | str:
            if isinstance(value, bytes):
                return value
            if isinstance(value, str):
                return text(value)
            if isinstance(value, (bytearray, memoryview)):
                return bytes(value)
            raise Internal(f"method {name} gave {type(value).__name__}, declared is bytes")

        return write_octets
    reader(hint)  # a type without a form in JSON is told when the plugin is built
    check = checker(hint)

    def write(value: Any) -> str:
        if check is not None and not check(value):
            raise Internal(f"method {name} gave {type(value).__name__}, declared is {name_of(hint) or 'None'}")
        return write_json(value)

    return write


def _tell(replies: Iterator[Any], failure: Failure) -> None:
    """Raises a failure of sending where the function yields, so that it can clean up."""
    throw = getattr(replies, "throw", None)
    if throw:
        try:
            throw(failure)
        except StopIteration:
            pass


def _summary(function: Any) -> str:
    """The first paragraph of the docstring, in one line."""
    doc = inspect.getdoc(function) or ""
    return " ".join(doc.split("\n\n")[0].split())
