"""Files of one plugins directory share code, those of two do not meet, and an error names the file and line in them."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from receiver.engine.plugins import load_registry
from receiver.errors import ConfigError
from receiver.testing import completed, run_handler
from tests.faults import another_user
from tests.integration.intake_support import SECRET, configured

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "handler-api.md"
HANDLER = """from receiver import JobCompleted, handler
{first}
@handler(on=JobCompleted)
def {name}(event, ctx):
    return {result}
"""

MISSING = "a.py cannot be loaded: ModuleNotFoundError: No module named '"


def load(folder: Path, directory: str = "plugins") -> dict[str, object]:
    registry = load_registry(configured(folder, handlers={}, plugins={"directory": directory}))
    return {name: run_handler(active.handler, completed()).result for name, active in registry.active.items()}


def problem(folder: Path) -> str:
    with pytest.raises(ConfigError) as raised:
        load(folder)
    [found] = raised.value.problems
    assert found.where == "plugins.directory"
    return found.what


def drop(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def test_the_files_that_the_documentation_shows_share_their_helper(tmp_path: Path) -> None:
    section = PAGE.read_text("utf-8").partition("## Code that handlers share")[2].partition("\n## ")[0]
    shown = dict(re.findall(r"```python\n# plugins/(\w+\.py)\n(.*?)```", section, re.DOTALL))
    assert sorted(shown) == ["_helpers.py", "announce.py", "index.py"]
    (tmp_path / "plugins").mkdir()
    for name, text in shown.items():
        (tmp_path / "plugins" / name).write_text(text)
    assert load(tmp_path) == {"announce": {"slug": "job-1"}, "index": {"slug": "job-1"}}


@pytest.mark.parametrize(
    "first", ["from ._helpers import word", "from . import _helpers\nword = _helpers.word", "from .a import word"]
)
def test_files_of_two_directories_with_helpers_of_one_name_do_not_meet(tmp_path: Path, first: str) -> None:
    before = list(sys.path)
    for name in ("one", "two"):
        files = {"_helpers": f"word = {name!r}\n", "z": HANDLER.format(first=first, name="z", result="word")}
        drop(
            tmp_path / name,
            a="from ._helpers import word\n" + HANDLER.format(first="", name="a", result="word"),
            **files,
        )
    assert load(tmp_path, "one") == {"a": "one", "z": "one"}
    assert load(tmp_path, "two") == {"a": "two", "z": "two"}
    assert load(tmp_path, "one") == {"a": "one", "z": "one"}
    assert sys.path == before
    assert "_helpers" not in sys.modules


def test_a_helper_that_was_changed_is_read_again(tmp_path: Path) -> None:
    folder = drop(tmp_path / "plugins", a=HANDLER.format(first="from ._helpers import word", name="a", result="word"))
    drop(folder, _helpers="word = 'first'\n")
    assert load(tmp_path) == {"a": "first"}
    drop(folder, _helpers="word = 'the second'\n")
    assert load(tmp_path) == {"a": "the second"}


def test_a_file_called_like_a_library_shadows_nothing(tmp_path: Path) -> None:
    drop(tmp_path / "plugins", json=HANDLER.format(first="import json", name="a", result="json.dumps({})"))
    assert load(tmp_path) == {"a": "{}"}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a": "\n\n1 / 0\n"}, "a.py cannot be loaded: ZeroDivisionError: division by zero ({}/a.py, line 3)"),
        ({"a": "x = 1\ndef broken(:\n"}, "a.py cannot be loaded: SyntaxError: invalid syntax ({}/a.py, line 2)"),
        (
            {"a": "import json\njson.loads('')\n"},
            "a.py cannot be loaded: JSONDecodeError: Expecting value: line 1 column 1 (char 0) ({}/a.py, line 2)",
        ),
        (
            {"a": "from ._helpers import word\n", "_helpers": "\nraise ValueError('no word')\n"},
            "a.py cannot be loaded: ValueError: no word ({}/_helpers.py, line 2)",
        ),
        (
            {"a": "from ._helpers import word\n", "_helpers": "\n\nword = (\n"},
            "a.py cannot be loaded: SyntaxError: '(' was never closed ({}/_helpers.py, line 3)",
        ),
        (
            {"a": "\nimport no_such_library.part\n"},
            f"{MISSING}no_such_library' ({{}}/a.py, line 2); install the package no_such_library where the receiver is",
        ),
        (
            {"a": "from _helpers import word\n", "_helpers": "word = 1\n"},
            f"{MISSING}_helpers' ({{}}/a.py, line 1); _helpers.py is in the same folder: write `from ._helpers",
        ),
        (
            {"a": "from ._helpers import other\n", "_helpers": "word = 1\n"},
            "a.py cannot be loaded: ImportError: cannot import name 'other' from '._helpers' ({}/_helpers.py) ({}/a.py",
        ),
        ({"a": "from .missing import word\n"}, f"{MISSING}.missing' ({{}}/a.py, line 1)"),
        ({"a": "raise GeneratorExit('x')\n"}, "a.py cannot be loaded: GeneratorExit: x ({}/a.py, line 1)"),
        (
            {"a": "class Stop(BaseException): ...\nraise Stop('now')\n"},
            "a.py cannot be loaded: Stop: now ({}/a.py, line 2)",
        ),
        (
            {"a": "raise BaseExceptionGroup('g', [GeneratorExit()])\n"},
            "a.py cannot be loaded: BaseExceptionGroup: g (1 sub-exception) ({}/a.py, line 1)",
        ),
        ({"a": "assert False\n"}, "a.py cannot be loaded: AssertionError ({}/a.py, line 1)"),
    ],
    ids=[
        "raises", "syntax", "in a library", "in a helper", "syntax of a helper", "library", "absolute", "name",
        "no such helper", "GeneratorExit", "a foreign BaseException", "a group", "no text",
    ],
)  # fmt: skip
def test_an_error_names_the_file_and_the_line_of_the_plugins_own_code(
    tmp_path: Path, files: dict[str, str], said: str
) -> None:
    folder = drop(tmp_path / "plugins", **files)
    found = problem(tmp_path)
    assert found.startswith(f"{folder}/{said.format(*[folder] * said.count('{}'))}")
    assert "\n" not in found


def test_what_is_missing_in_an_installed_package_is_not_to_be_installed(tmp_path: Path) -> None:
    drop(tmp_path / "plugins", a="import json.no_such_part\n")
    assert problem(tmp_path).endswith("a.py, line 1)")


def test_an_interruption_while_a_plugin_is_loaded_ends_the_start(tmp_path: Path) -> None:
    drop(tmp_path / "plugins", a="raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        load(tmp_path)


def test_an_error_of_a_plugin_shows_no_key_of_ours(tmp_path: Path) -> None:
    drop(tmp_path / "plugins", a=f"raise RuntimeError('cannot log in with {SECRET}')\n")
    found = problem(tmp_path)
    assert SECRET not in found
    assert "cannot log in with [redacted]" in found


def test_a_pipe_among_the_plugins_is_named_and_not_waited_for(tmp_path: Path) -> None:
    folder = drop(tmp_path / "plugins")
    os.mkfifo(folder / "a.py")
    assert problem(tmp_path) == f"{folder}/a.py is not a file"


def test_a_directory_that_cannot_be_listed_and_a_file_that_cannot_be_read_are_named() -> None:
    with another_user() as folder:
        file = drop(folder / "plugins", a="x = 1\n") / "a.py"
        file.chmod(0)
        assert problem(folder) == f"{file} cannot be loaded: PermissionError: {file}: Permission denied"
        file.parent.chmod(0)
        assert problem(folder) == f"{folder / 'plugins'} cannot be listed: Permission denied"
