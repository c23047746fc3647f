"""Which host answers: that of the component, the fake one of a test, or none.

A host is an object with one function for each function of the WIT imports; `_component.py` and
`testing.py` have one each. Octets are `bytes`; what is sent may be `str` as well.
"""

from __future__ import annotations

from typing import Any


class _Absent:
    """Stands where no host is: while a module is loaded, which for a component is at build time."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(
            f"the host is asked for `{name}` outside of a call: a module is loaded when the component "
            "is built; ask within a method or in a function marked with @on_start, and in a test "
            "within `with Host()`"
        )


ABSENT = _Absent()
current: Any = ABSENT


def put(host: Any) -> Any:
    """Puts a host in place and gives the one before."""
    global current
    before, current = current, host
    return before
