"""Settings become objects in one place: nothing else in the receiver builds the parts that run."""

from __future__ import annotations

import ast
import dataclasses
from collections import Counter
from pathlib import Path

import receiver
from receiver.app import Receiver
from receiver.assembly.engine import EngineParts
from receiver.assembly.speech import SpeechParts

ROOT = Path(receiver.__file__).parent
NOT_BUILT_HERE = {
    "Registry",  # load_registry makes it, for commands that run nothing, too
    "Redactor",  # a pure function of secrets
    "ClockTrust",  # has a default in the parts that take one
    "Telemetry",  # combine makes one of the classes that report
}
HARNESS = "testing.py"
"""Runs one attempt of a handler in a test, on nothing real."""


def constructed(tree: ast.AST) -> list[str]:
    """Names of everything that is called by its bare name."""
    return [node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]


def part_names() -> set[str]:
    """The classes of the parts, as the fields of what is assembled name them."""
    defined = {
        node.name
        for file in ROOT.rglob("*.py")
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.ClassDef)
    }
    fields = [field for parts in (Receiver, SpeechParts, EngineParts) for field in dataclasses.fields(parts)]
    return {str(field.type) for field in fields} & defined - NOT_BUILT_HERE - {"Settings", "Storage", "JobSource"}


def test_each_part_is_built_once_and_only_in_the_assembly() -> None:
    parts, inside, outside = part_names(), Counter[str](), dict[str, list[str]]()
    for file in ROOT.rglob("*.py"):
        where = str(file.relative_to(ROOT))
        for name in constructed(ast.parse(file.read_text())):
            if name in parts and where.startswith("assembly/"):
                inside[name] += 1
            elif name in parts and where != HARNESS:
                outside.setdefault(where, []).append(name)
    assert outside == {}
    assert len(parts) > 15
    assert inside == dict.fromkeys(parts, 1)
