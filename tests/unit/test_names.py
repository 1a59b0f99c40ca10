"""Names are the field's: words that once stood for them in this project only do not come back."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]

CLASSES = """
    Again Asked AudioDesk Cadence Course Depth Ending Finish Form Guard IfThere Incoming JobDesk Kept Known Later
    Looked Manner Many Mark Meaning Outgoing Pace Part Passage Place Renewal Shape Shown Speaker Spoken Sums
    Surroundings Survey Taken Tally Trouble Turnstile VoiceDesk Wanted Watch Ways Wire Wrong WrongPlace
"""
FUNCTIONS = """
    able about around asked came ends give_back gone gravest heard hold intend learn look nothing_more one pour
    put_back rests salvage senders_now settle spoken stretch the told trouble while_waited_for
"""
VARIABLES = "given_back hungry most notes_key tallies tally which"
LEGACY_CONSTANTS = ("FURTHEST_", "LEAST_", "LONGEST_", "LOOK_", "MOST_", "SHORTEST_")
"""Beginnings of names of limits, which begin with MIN_ or MAX_."""
MODULES = """
    answers asking awaited checking copies desk earlier_bodies ending ends fixed holding hops intents opening
    outstanding pinned places refusals showing table trying turnstile watch wire
"""


def private_words(path: Path) -> Iterator[str]:
    """What a module names with these words, and where."""
    where = path.relative_to(ROOT)
    if path.stem in MODULES.split():
        yield f"{where}: the module"
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.ClassDef(name=name) if name.lstrip("_") in CLASSES.split():
                yield f"{where}:{node.lineno}: class {name}"
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if name.lstrip("_") in FUNCTIONS.split():
                yield f"{where}:{node.lineno}: def {name}"
            case ast.Name(id=name, ctx=ast.Store()) if name.lstrip("_").startswith(LEGACY_CONSTANTS):
                yield f"{where}:{node.lineno}: {name}"
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name) | ast.Attribute(attr=name) if (
                name.lstrip("_") in VARIABLES.split()
            ):
                yield f"{where}:{node.lineno}: {name}"


def test_no_module_class_function_or_variable_has_a_private_word() -> None:
    paths = [path for package in ("receiver", "handlers") for path in sorted((ROOT / package).rglob("*.py"))]
    assert len(paths) > 100
    assert [found for path in paths for found in private_words(path)] == []
