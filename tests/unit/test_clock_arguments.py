"""Time, waiting and chance are passed in one shape each: `receiver.clock.Clock` and `random.Random`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]

CLOCKS = {
    "clock", "delay", "dice", "get_time", "monotonic", "now", "random", "rng", "sleep", "time", "timer", "wait_for",
    "wall",
}  # fmt: skip
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


MACHINES_CLOCK = {
    "asyncio.sleep", "datetime.now", "datetime.utcnow", "time.monotonic", "time.monotonic_ns", "time.perf_counter",
    "time.perf_counter_ns", "time.sleep", "time.time", "time.time_ns",
}  # fmt: skip

DIRECT = {
    "receiver/assembly/engine.py: random.Random",
    "receiver/clock.py: time.monotonic",
    "receiver/clock.py: time.time",
    # When a signed address that is made now expires, for the application.
    "handlers/_message.py: datetime.now",
    # Lets other threads run.
    "receiver/outbound/containers/reader.py: time.sleep",
    # A public function: its argument is a time, by default the present.
    "receiver/signing.py: time.time",
    # The time of a line, and how long a delivery took: they decide nothing.
    "receiver/logs/rendering.py: time.time_ns",
    "receiver/telemetry/metrics.py: time.perf_counter",
    # Threads of the store, and short waits of listeners and streams: tests run them with real files and sockets.
    "receiver/engine/readiness.py: time.monotonic",
    "receiver/store/health.py: time.monotonic",
    "receiver/store/readers.py: time.sleep",
    "receiver/store/postgresql/listener.py: time.monotonic",
    "receiver/store/sqlite/engine.py: time.time_ns",
    "receiver/store/sqlite/engine.py: time.monotonic",
    "receiver/store/sqlite/engine.py: time.sleep",
    "receiver/web/api/feed.py: asyncio.sleep",
    "receiver/web/api/stream.py: asyncio.sleep",
    "receiver/web/http/server.py: asyncio.sleep",
}


def machine_uses(tree: ast.AST) -> Iterator[str]:
    """Where a module uses the machine's clock or random numbers: as a call, a value, or under another name."""
    annotations = {
        id(inner)
        for node in ast.walk(tree)
        for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None))
        if isinstance(annotation, ast.AST)
        for inner in ast.walk(annotation)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (f"{it.name} as {it.asname}" for it in names if it.name in ("time", "random") and it.asname)
            case ast.ImportFrom(module="time" | "random" as module):
                yield f"from {module}"
            case ast.Attribute(value=ast.Name(id="random"), attr=name) if id(node) not in annotations:
                yield f"random.{name}"
            case ast.Attribute() if ast.unparse(node) in MACHINES_CLOCK:
                yield ast.unparse(node)


def test_the_machines_clock_and_random_numbers_are_used_at_the_edge_only() -> None:
    """Commands and the simulator are the edge: each is a process of its own."""
    found = set()
    for path in sorted(path for top in ("receiver", "handlers") for path in (ROOT / top).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(("receiver/cli/", "receiver/simulator/")):
            found |= {f"{name}: {use}" for use in machine_uses(ast.parse(path.read_text()))}
    assert found == DIRECT
