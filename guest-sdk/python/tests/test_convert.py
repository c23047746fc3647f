"""Types that JSON values are read as and written from."""

import datetime
import decimal
import enum
import uuid
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, NotRequired, Optional, TypedDict

import pytest

from postern.convert import Mismatch, checker, name_of, reader, write_json
from postern.failure import Internal
from postern.schema import schema


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Point(NamedTuple):
    x: int
    y: int = 0


class Options(TypedDict):
    name: str
    size: NotRequired[int]


@dataclass
class Tree:
    name: str
    children: list["Tree"] = field(default_factory=list)
    tags: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        if not self.name:
            raise ValueError("name is empty")


@pytest.mark.parametrize(
    ("hint", "value", "expected"),
    [
        (int, 3.0, 3),
        (float, 3, 3.0),
        (Any, {"a": [1]}, {"a": [1]}),
        (None, None, None),
        (Optional[int], None, None),
        (int | str, "a", "a"),
        (Literal["a", 1], 1, 1),
        (Colour, "red", Colour.RED),
        (Point, {"x": 1}, Point(1, 0)),
        (Options, {"name": "n", "size": 2}, {"name": "n", "size": 2}),
        (Options, {"name": "n", "more": 2}, {"name": "n"}),
        (Tree, {"name": "a", "children": [{"name": "b"}]}, Tree("a", [Tree("b")])),
        (tuple[int, str], [1, "a"], (1, "a")),
        (tuple[int, ...], [1, 2], (1, 2)),
        (set[int], [1, 1], {1}),
        (dict[str, int], {"a": 1}, {"a": 1}),
        (datetime.datetime, "2026-11-30T08:00:00Z", datetime.datetime(2026, 11, 30, 8, tzinfo=datetime.UTC)),
        (datetime.date, "2026-11-30", datetime.date(2026, 11, 30)),
        (uuid.UUID, str(uuid.UUID(int=7)), uuid.UUID(int=7)),
        (decimal.Decimal, "1.10", decimal.Decimal("1.10")),
    ],
)
def test_is_read(hint, value, expected):
    read = reader(hint)(value)
    assert read == expected and type(read) is type(expected)


@pytest.mark.parametrize(
    ("hint", "value", "fault"),
    [
        (int, True, "expected an integer, found a boolean"),
        (int, 1.5, "expected an integer, found 1.5"),
        (str, None, "expected a string, found null"),
        (float, "1", "expected a number, found a string"),
        (bool, 0, "expected a boolean, found a number"),
        (int | str, [], "expected one of integer, string, found a list"),
        (Literal["a", 1], True, "`True` is none of `a`, `1`"),
        (Colour, "green", "`green` is none of `red`, `blue`"),
        (tuple[int, str], [1], "expected 2 values, found 1"),
        (dict[str, int], {"a": "b"}, "`a`: expected an integer, found a string"),
        (Options, {}, "field `name` is missing"),
        (Tree, {"name": "a", "children": [{"name": ""}]}, "`children[0]`: name is empty"),
        (uuid.UUID, "7", "`7` is not a UUID"),
    ],
)
def test_is_refused(hint, value, fault):
    with pytest.raises(Mismatch) as raised:
        reader(hint)(value)
    assert str(raised.value) == fault


@pytest.mark.parametrize("hint", [object(), int.__class__, dict[int, str], type("Plain", (), {})])
def test_a_type_without_a_form_in_json_is_told_when_it_is_declared(hint):
    with pytest.raises(TypeError):
        reader(hint)


def test_is_written():
    assert write_json({"a": Tree("t"), "b": Colour.RED, "c": {1}}) == '{"a":{"name":"t","children":[],"tags":{}},"b":"red","c":[1]}'
    assert write_json([datetime.date(2026, 1, 2), uuid.UUID(int=1), decimal.Decimal("1.10"), Point(1)]) == (
        '["2026-01-02","00000000-0000-0000-0000-000000000001","1.10",[1,0]]'
    )
    for value in (object(), float("nan"), b"octets"):
        with pytest.raises(Internal, match="the value has no form in JSON"):
            write_json(value)


@pytest.mark.parametrize(
    ("hint", "good", "bad"),
    [
        (int, 1, True),
        (float, 1, "1"),
        (Optional[Tree], None, {}),
        (list[int], ["unseen"], ()),
        (Options, {"name": 1}, {}),
        (None, None, 0),
        (Literal["a"], "a", "b"),
    ],
)
def test_results_are_looked_at_from_outside(hint, good, bad):
    assert checker(hint)(good) and not checker(hint)(bad)


def test_schemas_name_themselves():
    found = schema(Tree)
    assert found["properties"]["children"] == {"type": "array", "items": {"$ref": "#/$defs/Tree"}}
    assert found["required"] == ["name"] and found["$defs"]["Tree"]["type"] == "object"
    assert found["properties"]["tags"] == {"type": "object", "additionalProperties": {}}
    assert schema(Colour)["enum"] == ["red", "blue"]
    assert schema(Options)["required"] == ["name"]
    assert schema(tuple[int, str])["prefixItems"] == [{"type": "integer"}, {"type": "string"}]
    assert schema(dict[str, int])["additionalProperties"] == {"type": "integer"}
    assert name_of(dict[str, list[Tree]]) == "DictOfStringAndListOfTree"
