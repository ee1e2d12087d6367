"""The tree at the top of shared/errors.py is the tree of its classes."""

from __future__ import annotations

import inspect
import re

from shared import errors
from shared.errors import CitywatchError


def test_the_tree_that_is_drawn_is_the_one_that_is() -> None:
    assert errors.__doc__ is not None
    drawn: dict[str, str] = {}
    stack = [(0, "CitywatchError")]
    for line in errors.__doc__.splitlines():
        match = re.match(r"([\s│├└─]*[├└]── )(\w+)", line)
        if match:
            depth = len(match[1])
            while stack[-1][0] >= depth:
                stack.pop()
            drawn[match[2]] = stack[-1][1]
            stack.append((depth, match[2]))
    real = {
        name: kind.__bases__[0].__name__
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, CitywatchError) and kind is not CitywatchError
    }
    assert drawn == real


def test_exit_codes() -> None:
    codes = {
        name: kind.exit_code
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, CitywatchError)
    }
    assert codes["InvalidSettings"] == codes["InvalidBundle"] == codes["InvalidInput"] == 2
    assert codes["Unavailable"] == 3
    assert codes["TooManyDeadLetters"] == codes["Fatal"] == 4
    assert all(code > 0 for code in codes.values())
