"""Whether an answer is what a step expects of it."""

import math
from typing import Any

Json = Any

# What floating point may add to a number of milliseconds.
SLACK = 1e-3


def mismatches(expected: Json, actual: Json, path: str = "") -> list[str]:
    """What is not as expected, in words; empty where all is.

    An object is matched as a subset and a list element by element. `null` expects a field to be absent or an empty
    text, and 0 is also what an absent number is. Numbers are equal up to what floating point makes of them.
    `{"at_least": x}`, `{"at_most": x}` and `{"between": [x, y]}` stand for numbers, `{"one_of": […]}` for anything.
    """
    where = path or "answer"
    if isinstance(expected, dict):
        if set(expected) <= set(BOUNDS) and expected:
            return [
                f"{where}: expected {name} {bound}, got {actual!r}"
                for name, bound in expected.items()
                if not BOUNDS[name](bound, actual)
            ]
        if not isinstance(actual, dict):
            return [f"{where}: expected an object, got {actual!r}"]
        return [
            problem
            for name, value in expected.items()
            for problem in mismatches(value, actual.get(name), f"{path}.{name}" if path else name)
        ]
    if isinstance(expected, list):
        if not isinstance(actual, list):
            return [f"{where}: expected a list, got {actual!r}"]
        if len(expected) != len(actual):
            return [f"{where}: expected {len(expected)} elements, got {len(actual)}: {actual!r}"]
        return [
            problem
            for at, (value, found) in enumerate(zip(expected, actual, strict=True))
            for problem in mismatches(value, found, f"{path}[{at}]")
        ]
    if _same(expected, actual):
        return []
    return [f"{where}: expected {expected!r}, got {actual!r}"]


def _same(expected: Json, actual: Json) -> bool:
    if actual is None or actual == "":
        return expected is None or expected == actual or (actual is None and _is_number(expected) and expected == 0)
    if _is_number(expected) and _is_number(actual):
        return math.isclose(expected, actual, abs_tol=SLACK)
    return type(expected) is type(actual) and bool(expected == actual)


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Json) -> float:
    """An absent number is 0; what is none is never within bounds."""
    if value is None:
        return 0.0
    return float(value) if _is_number(value) else float("nan")


BOUNDS = {
    "at_least": lambda bound, actual: _number(actual) >= bound - SLACK,
    "at_most": lambda bound, actual: _number(actual) <= bound + SLACK,
    "between": lambda bound, actual: bound[0] - SLACK <= _number(actual) <= bound[1] + SLACK,
    "one_of": lambda bound, actual: any(not mismatches(choice, actual) for choice in bound),
}
