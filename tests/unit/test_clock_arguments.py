"""Time, waiting and chance are passed in one shape each: `receiver.clock.Clock` and `random.Random`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]

CLOCKS = {"clock", "dice", "monotonic", "now", "random", "rng", "sleep", "time", "timer", "wall"}
"""Names under which a function that tells the time, waits or draws a number would be passed."""

FUNCTIONS_OF_A_CLOCK = {
    "receiver/clock.py: SteadyClock.__init__(wall)",
    "receiver/clock.py: SteadyClock.__init__(monotonic)",
}
"""A `SteadyClock` is made of the machine's functions, and a test of its steps passes others."""


def callables(node: ast.AST, scope: str) -> Iterator[str]:
    """Parameters and annotated attributes beneath the node that are callables with a clock's name."""
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.FunctionDef(name=name, args=args) | ast.AsyncFunctionDef(name=name, args=args):
                inner = f"{scope}{name}"
                for argument in (*args.posonlyargs, *args.args, *args.kwonlyargs):
                    if is_clock(argument.arg, argument.annotation):
                        yield f"{inner}({argument.arg})"
                yield from callables(child, f"{inner}.")
            case ast.ClassDef(name=name):
                yield from callables(child, f"{scope}{name}.")
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation) if is_clock(name, annotation):
                yield f"{scope}{name}"
            case _:
                yield from callables(child, scope)


def is_clock(name: str, annotation: ast.expr | None) -> bool:
    return name.lstrip("_") in CLOCKS and annotation is not None and "Callable" in ast.unparse(annotation)


def test_a_clock_is_passed_as_a_clock_and_not_as_single_functions() -> None:
    paths = sorted((ROOT / "receiver").rglob("*.py"))
    assert len(paths) > 100
    found = {
        f"{path.relative_to(ROOT)}: {place}" for path in paths for place in callables(ast.parse(path.read_text()), "")
    }
    assert found == FUNCTIONS_OF_A_CLOCK


MACHINES_CLOCK = {"asyncio.sleep", "time.monotonic", "time.time"}

DIRECT = {
    "receiver/clock.py",
    # A public function: its argument is a time, by default the present.
    "receiver/signing.py",
    # Threads of the store, and short waits of listeners and streams: tests run them with real files and sockets.
    "receiver/engine/readiness.py",
    "receiver/store/health.py",
    "receiver/store/sqlite/engine.py",
    "receiver/web/api/feed.py",
    "receiver/web/api/stream.py",
    "receiver/web/http/server.py",
}


def test_the_machines_clock_is_read_at_the_edge_only() -> None:
    """Commands and the simulator are the edge: each is a process of its own."""
    found = set()
    for path in sorted((ROOT / "receiver").rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(("receiver/cli/", "receiver/simulator/")):
            calls = (node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
            if any(ast.unparse(call) in MACHINES_CLOCK for call in calls):
                found.add(name)
    assert found == DIRECT
