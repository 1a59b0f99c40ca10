"""Settings become objects in one place: nothing else in the receiver builds the parts that run."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections import Counter
from functools import cache
from pathlib import Path

import receiver
from receiver.app import Receiver
from receiver.assembly.engine import EngineParts
from receiver.assembly.speech import SpeechParts

ROOT = Path(receiver.__file__).parent
NOT_BUILT_HERE = {
    "Registry",  # load_registry makes it, for commands that run nothing, too
    "Redactor",  # a pure function of secrets
    "Role",  # a word
    "ClockTrust",  # has a default in the parts that take one
    "Telemetry",  # combine makes one of the classes that report
}
WITHOUT_A_RECEIVER = ("testing/", "cli/mcp/")
"""One attempt of a handler in a test, on nothing real; a listener of its own, which asks a receiver's API."""


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def constructed(tree: ast.AST) -> list[str]:
    """Names of everything that is called, by its bare name or as an attribute of a module."""
    called = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return [
        function.id if isinstance(function, ast.Name) else function.attr
        for function in called
        if isinstance(function, ast.Name | ast.Attribute)
    ]


def part_names() -> set[str]:
    """The classes of the parts, as the fields of what is assembled name them, also within a `Mapping` or `dict`."""
    defined = {
        node.name for file in ROOT.rglob("*.py") for node in tree_of(file).body if isinstance(node, ast.ClassDef)
    }
    fields = [field for parts in (Receiver, SpeechParts, EngineParts) for field in dataclasses.fields(parts)]
    named = {word for field in fields for word in re.findall(r"\w+", str(field.type))}
    return named & defined - NOT_BUILT_HERE - {"Settings", "Storage", "JobSource", "Processes"}


def test_each_part_is_built_once_and_only_in_the_assembly() -> None:
    parts, inside, outside = part_names(), Counter[str](), dict[str, list[str]]()
    for file in ROOT.rglob("*.py"):
        where = str(file.relative_to(ROOT))
        for name in constructed(tree_of(file)):
            if name in parts and where.startswith("assembly/"):
                inside[name] += 1
            elif name in parts and not where.startswith(WITHOUT_A_RECEIVER):
                outside.setdefault(where, []).append(name)
    assert outside == {}
    assert len(parts) > 15
    assert inside == dict.fromkeys(parts, 1)


MADE_BY = {"RateLimiter": {"engine/throttle.py"}}
"""Parts of a part: another one would not be bounded together with the first."""
ASSEMBLED_BY = {
    "build_receiver": {"asgi.py", "cli/serve.py"},
    "build_speech": {"speech/client.py"},
    "build_feed": {"cli/event_tail.py"},
}
"""Who assembles, beside the assembly itself."""


def test_only_these_modules_make_a_part_of_a_part_or_assemble() -> None:
    assembling = {
        node.name
        for file in (ROOT / "assembly").glob("*.py")
        for node in tree_of(file).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("build_")
    }
    found: dict[str, set[str]] = {}
    for file in ROOT.rglob("*.py"):
        where = file.relative_to(ROOT).as_posix()
        if not where.startswith("assembly/"):
            for name in {*constructed(tree_of(file))} & {*assembling, *MADE_BY}:
                found.setdefault(name, set()).add(where)
    assert found == MADE_BY | ASSEMBLED_BY
