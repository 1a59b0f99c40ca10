"""Names are the field's: words that once stood for them in this project only do not come back."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]

CLASSES = """
    Again Asked AudioDesk Cadence ClaimsAhead Course Depth Ending Finish Form Guard IfThere Incoming JobDesk Kept
    Known Later Looked Manner Many Mark Meaning Outgoing Pace PacedWriter Part Passage Place Renewal Shape Shown
    Speaker Spoken Sums Surroundings Survey Taken Tally Thinning Trouble Turnstile VoiceDesk Wanted Watch Ways Wire
    Wrong WrongPlace
"""
FUNCTIONS = """
    able about around asked came doubt ends find_culprit give_back gone gravest heard hold intend learn look
    nothing_more one pour put_back rests salvage senders_now settle share_descriptors spoken stretch the told
    trouble vouches_for while_waited_for
"""
VARIABLES = """
    able about around asked dice given_back gravest heard house hungry intend most notes_key room settle spoken tallies
    tally told which
"""
LEGACY_CONSTANTS = ("FURTHEST_", "LEAST_", "LONGEST_", "LOOK_", "MOST_", "SHORTEST_")
"""Beginnings of names of limits, which begin with MIN_ or MAX_."""
MODULES = """
    ahead answers asking audio_wait awaited checking copies desk earlier_bodies ending ends fixed holding hops
    intents opening original_bodies outstanding pacing pinned places refusals showing table thinning trying
    turnstile watch wire
"""
LOG_WORDS = (
    "asked begun exits facts few given hurried kept looked moved nobody odd put renewed seen swept taken way whole"
)
"""Words of log events that said too little, or something else than the field's words say."""


def private_words(path: Path) -> Iterator[str]:
    """What a module names with these words, and where."""
    where = path.relative_to(ROOT)
    if {*where.parts[:-1], path.stem} & set(MODULES.split()):
        yield f"{where}: the module or its package"
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Attribute(value=ast.Name(id="shutil")):
                pass  # the standard library's `shutil.which`
            case ast.ClassDef(name=name) if name.lstrip("_") in CLASSES.split():
                yield f"{where}:{node.lineno}: class {name}"
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if name.lstrip("_") in FUNCTIONS.split():
                yield f"{where}:{node.lineno}: def {name}"
            case ast.Name(id=name, ctx=ast.Store()) if name.lstrip("_").startswith(LEGACY_CONSTANTS):
                yield f"{where}:{node.lineno}: {name}"
            case (
                ast.Name(id=name, ctx=ast.Store())
                | ast.arg(arg=name)
                | ast.Attribute(attr=name)
                | ast.keyword(arg=str(name))
            ) if name.lstrip("_") in VARIABLES.split():
                yield f"{where}:{node.lineno}: {name}"


def log_events(path: Path) -> Iterator[tuple[int, str]]:
    """The line and the name of each constant log event."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Call(
                func=ast.Attribute(attr="debug" | "info" | "warning" | "error" | "exception"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield node.lineno, name


def test_no_log_event_has_a_private_word() -> None:
    found = [(path, *line) for path in sorted((ROOT / "receiver").rglob("*.py")) for line in log_events(path)]
    assert len(found) > 80
    assert [line for line in found if set(re.split(r"[._]", line[2])) & set(LOG_WORDS.split())] == []


def test_no_module_class_function_or_variable_has_a_private_word() -> None:
    paths = [path for folder in ("receiver", "handlers", "tests") for path in sorted((ROOT / folder).rglob("*.py"))]
    assert len(paths) > 500
    assert [found for path in paths for found in private_words(path)] == []
