"""The process in which sympy compares two expressions: a line of JSON in, a line of JSON out, until its input ends.

Run as a program by `rewards/maths/sympy_parent.py`, never imported. It gets trees that `rewards/maths/expressions.py`
has read, builds numbers from a closed list of node kinds, and never parses text with sympy, whose parsers evaluate
code. An alarm and a memory limit end it if its parent cannot.
"""

import json
import resource
import signal
import sys
from typing import Any

MAX_BYTES = 2 << 30
ALARM_SECONDS = 20
DIGITS = 40


def number_of(tree: list[Any], sympy: Any) -> Any:
    """The sympy number of a tree. Raises ValueError for a node kind that does not exist."""
    kind = tree[0]
    if kind == "number":
        return sympy.Rational(tree[1])
    if kind == "pi":
        return sympy.pi
    if kind == "call":
        inner = number_of(tree[2], sympy)
        calls = {
            "sqrt": sympy.sqrt,
            "cbrt": sympy.cbrt,
            "exp": sympy.exp,
            "ln": sympy.log,
            "log": lambda x: sympy.log(x, 10),
        }
        return calls[tree[1]](inner)
    left, right = (number_of(part, sympy) for part in tree[1:])
    if kind == "+":
        return left + right
    if kind == "-":
        return left - right
    if kind == "*":
        return left * right
    if kind == "/":
        return left / right
    if kind == "^":
        return left**right
    raise ValueError(f"unknown node {kind!r}")


def equal(request: dict[str, Any], sympy: Any) -> bool:
    """True if the two numbers, each times its factor, differ by at most tolerance x |right|; tolerance 0: not at all
    (to 40 digits)."""
    left = number_of(request["left"], sympy) * sympy.Rational(request["left_factor"])
    right = number_of(request["right"], sympy) * sympy.Rational(request["right_factor"])
    values = [sympy.N(value, DIGITS) for value in (left, right)]
    if not all(value.is_real and value.is_finite for value in values):
        return False
    size = abs(values[1])
    room = sympy.Float(str(request["tolerance"]), DIGITS) * size + size * sympy.Float("1e-30", DIGITS)
    return bool(abs(values[0] - values[1]) <= room)


def main() -> None:
    """Answer until standard input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES, MAX_BYTES))
    import sympy

    print(json.dumps({"ready": sympy.__version__}), flush=True)
    for line in sys.stdin:
        signal.alarm(ALARM_SECONDS)
        try:
            reply: dict[str, Any] = {"equal": equal(json.loads(line), sympy)}
        except OverflowError:
            reply = {"equal": False}  # a number beyond all that can be written down is no gold answer
        except Exception as error:  # the parent decides; one bad request must not end the process
            reply = {"error": f"{type(error).__name__}: {error}"[:300]}
        signal.alarm(0)
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
