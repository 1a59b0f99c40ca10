"""Handlers are found in three places, checked against their table, and what does not load is named with its reason."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from receiver.assembly.receiver import build_receiver
from receiver.engine.plugins import Registry, load_registry
from receiver.errors import ConfigError
from tests.integration.intake_support import SECRET, configured
from tests.patience import PATIENCE

HANDLER = """
from receiver import Context, JobCompleted, handler

@handler(on=JobCompleted, attempts=3, timeout=20)
async def {name}(event: JobCompleted, ctx: Context) -> None:
    return None
"""

WITH_MODEL = """
from pydantic import BaseModel, ConfigDict, Field
from receiver import Context, JobCompleted, handler

class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")
    bucket: str
    retries: int = Field(default=2, ge=0)

@handler(on=JobCompleted, options=Options)
async def publish(event: JobCompleted, ctx: Context[Options]) -> None:
    return None
"""

WITH_DATACLASS = """
from dataclasses import dataclass, field
from pathlib import Path
from receiver import Context, JobCompleted, handler

@dataclass(frozen=True)
class Options:
    folder: Path
    tags: list[str] = field(default_factory=list)

@handler(on=JobCompleted, options=Options)
def publish(event: JobCompleted, ctx: Context[Options]) -> None:
    return None
"""

BUILT_IN_NAMES = ", ".join(sorted(point.name for point in entry_points(group="tts_receiver.handlers")))


class Site:
    """A folder with a configuration's plugins: importable modules, installed distributions, dropped files."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.packages = folder / "site"
        self.plugins = folder / "plugins"
        self.packages.mkdir()
        self.plugins.mkdir()
        self.name = name
        """A module name that no other test imports."""

    def module(self, text: str) -> str:
        """An importable module; its name."""
        (self.packages / f"{self.name}.py").write_text(dedent(text))
        return self.name

    def drop(self, file: str, text: str) -> Path:
        """A file in the plugins directory."""
        path = self.plugins / file
        path.write_text(dedent(text))
        return path

    def install(self, **points: str) -> None:
        """An installed distribution with entry points in our group."""
        info = self.packages / f"{self.name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {self.name}\nVersion: 1.0\n")
        lines = [f"{name} = {value}" for name, value in points.items()]
        (info / "entry_points.txt").write_text("[tts_receiver.handlers]\n" + "\n".join(lines) + "\n")

    def load(self, directory: str | None = None, **handlers: dict[str, Any]) -> Registry:
        """The registry of a configuration with these `[handlers.NAME]` tables."""
        return load_registry(configured(self.folder, handlers=handlers, plugins={"directory": directory}))

    def problems(self, directory: str | None = None, **handlers: dict[str, Any]) -> dict[str, str]:
        """Where and what the start complains of."""
        with pytest.raises(ConfigError) as raised:
            self.load(directory, **handlers)
        found: dict[str, str] = {}
        for problem in raised.value.problems:
            found[problem.where] = f"{found[problem.where]}\n{problem.what}" if problem.where in found else problem.what
        return found


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Site]:
    name = f"acme_{zlib.crc32(request.node.nodeid.encode())}"
    made = Site(tmp_path, name)
    monkeypatch.syspath_prepend(made.packages)
    yield made
    for loaded in [key for key in sys.modules if key == name or key.startswith("receiver_plugins")]:
        del sys.modules[loaded]


# three places


def test_only_what_the_configuration_names_is_active(site: Site) -> None:
    assert list(site.load().active) == []
    assert list(site.load(log={}).active) == ["log"]
    registry = site.load(save_audio={}, log={})
    assert registry.active["save_audio"].loaded_from == "entry point handlers.save_audio:save_audio"
    assert registry.names_for("job.completed", "aitts", {}) == ("save_audio", "log")
    assert registry.names_for("job.failed", "aitts", {}) == registry.names_for("job.exploded", "aitts", {}) == ("log",)


def test_an_installed_packages_entry_point_is_found_by_its_name(site: Site) -> None:
    site.module(HANDLER.format(name="publish"))
    site.install(publish=f"{site.name}:publish")
    assert list(site.load(log={}).active) == ["log"]
    active = site.load(publish={}).active["publish"]
    assert (active.handler.attempts, active.loaded_from) == (3, f"entry point {site.name}:publish")


def test_every_handler_in_the_directory_is_active_without_a_table(site: Site) -> None:
    site.drop("one.py", HANDLER.format(name="one"))
    site.drop("more.py", HANDLER.format(name="two") + HANDLER.format(name="three"))
    registry = site.load("plugins", log={})
    assert sorted(registry.active) == ["log", "one", "three", "two"]
    assert registry.active["one"].loaded_from == str(site.plugins / "one.py")


def test_a_table_gives_a_dropped_handler_its_bounds(site: Site) -> None:
    site.drop("one.py", HANDLER.format(name="one"))
    found = site.load("plugins", one={"attempts": 9}).active["one"].handler
    assert (found.attempts, found.timeout) == (9, 20)


def test_use_names_any_importable_handler(site: Site) -> None:
    name = site.module(HANDLER.format(name="publish"))
    active = site.load(mine={"use": f"{name}:publish"}).active["mine"]
    assert (active.handler.name, active.handler.attempts, active.loaded_from) == ("mine", 3, f"{name}:publish")


def test_one_function_serves_under_two_names_with_options_of_their_own(site: Site) -> None:
    name = site.module(WITH_MODEL)
    registry = site.load(
        east={"use": f"{name}:publish", "bucket": "east"},
        west={"use": f"{name}:publish", "bucket": "west", "attempts": 2},
    )
    assert [(key, active.options.bucket, active.handler.attempts) for key, active in registry.active.items()] == [
        ("east", "east", 8),
        ("west", "west", 2),
    ]
    assert registry.names_for("job.completed", "aitts", {}) == ("east", "west")


def test_several_tables_use_one_handler_by_its_name_wherever_it_is_from(site: Site) -> None:
    site.module(WITH_MODEL)
    site.install(publish=f"{site.name}:publish")
    site.drop("one.py", HANDLER.format(name="one"))
    registry = site.load(
        "plugins",
        east={"use": "publish", "bucket": "east"},
        west={"use": "publish", "bucket": "west", "attempts": 2},
        again={"use": "one"},
        events={"use": "log"},
    )
    assert {key: (active.handler.name, active.loaded_from) for key, active in registry.active.items()} == {
        "east": ("east", f"entry point {site.name}:publish"),
        "west": ("west", f"entry point {site.name}:publish"),
        "again": ("again", str(site.plugins / "one.py")),
        "events": ("events", "entry point handlers.log:log"),
        "one": ("one", str(site.plugins / "one.py")),
    }
    assert [registry[key].options.bucket for key in ("east", "west")] == ["east", "west"]
    assert registry["west"].handler.attempts == 2


def test_files_with_a_leading_underscore_are_not_plugins(site: Site) -> None:
    site.drop("_notes.py", "raise RuntimeError('not to be loaded')")
    site.drop("one.py", HANDLER.format(name="one"))
    assert list(site.load("plugins").active) == ["one"]


def test_a_dropped_handler_may_define_its_own_classes(site: Site) -> None:
    site.drop("publish.py", WITH_DATACLASS)
    [active] = site.load("plugins", publish={"folder": "/srv"}).active.values()
    assert active.options.folder == Path("/srv")


# conditions


CONDITIONAL = """
    from receiver import JobCompleted, handler

    @handler(on=JobCompleted, where={"metadata": {"kind": "episode"}})
    def publish(event, ctx): ...
"""


def test_a_handler_gets_the_events_that_meet_its_own_conditions_and_those_of_its_table(site: Site) -> None:
    use = f"{site.module(CONDITIONAL)}:publish"
    registry = site.load(all={"use": use}, acme={"use": use, "where": {"metadata": {"customer": "acme"}}}, log={})
    assert [str(condition) for condition in registry["acme"].handler.where] == [
        'metadata.kind = "episode"',
        'metadata.customer = "acme"',
    ]

    def names_for(**metadata: str) -> tuple[str, ...]:
        return registry.names_for("job.completed", "aitts", {"metadata": metadata})

    assert names_for(kind="episode", customer="acme") == ("all", "acme", "log")
    assert names_for(kind="episode", customer="globex") == ("all", "log")
    assert names_for(kind="advert", customer="acme") == ("log",), "the table narrows and does not widen"
    assert registry.names_for("job.failed", "aitts", {}) == ("log",)


def test_without_conditions_names_are_looked_up_by_type_alone(site: Site) -> None:
    registry = site.load(save_audio={}, log={"where": {"type": "test"}})
    assert registry.names_for("test", "aitts", {}) == ("log",)
    unconditional = site.load(save_audio={}, log={})
    found = unconditional.names_for("job.completed", "aitts", {})
    assert unconditional.names_for("job.completed", "other", {"metadata": {}}) is found


def test_conditions_that_no_event_can_meet_are_problems_of_the_start(site: Site) -> None:
    use = f"{site.module(CONDITIONAL)}:publish"
    assert site.problems(
        a={"use": use, "where": {"source": ["aits", "aitts"], "type": "*"}},
        b={"use": use, "where": {"source": "other-*"}},
        c={"use": use, "where": {"type": ["job.completed", "job.failed"]}},
        d={"use": use, "where": {"metdata": {"customer": "acme"}, "source": 7}},
        e={"use": use, "where": {}},
    ) == {
        "handlers.a.where.source": "there is no source 'aits'; did you mean 'aitts'?",
        "handlers.b.where.source": "no source matches 'other-*'; there is: aitts",
        "handlers.c.where.type": "the handler never gets 'job.failed': it subscribes to JobCompleted",
        "handlers.d.where.metdata": "is not a condition; there is: source, type, metadata",
        "handlers.d.where.source": "must be a text, or a list of texts",
        "handlers.e.where": "has no condition; remove it to match every event",
    }


# bounds and options


def test_the_table_overrides_the_handlers_own_bounds(site: Site) -> None:
    name = site.module(HANDLER.format(name="publish"))
    table = {"use": f"{name}:publish", "attempts": 1, "timeout": 1.5, "concurrency": 4}
    found = site.load(publish=table).active["publish"].handler
    assert (found.attempts, found.timeout, found.concurrency) == (1, 1.5, 4)


def test_a_pydantic_model_checks_the_options(site: Site) -> None:
    use = f"{site.module(WITH_MODEL)}:publish"
    options = site.load(publish={"use": use, "bucket": "b", "retries": 5}).active["publish"].options
    assert (options.bucket, options.retries) == ("b", 5)
    assert site.problems(publish={"use": use}) == {"handlers.publish": "bucket: Field required"}
    wrong = site.problems(publish={"use": use, "bucket": 7, "retries": -1})["handlers.publish"]
    assert "bucket: Input should be a valid string" in wrong
    assert "retries: Input should be greater than or equal to 0" in wrong


def test_a_dataclass_checks_the_options(site: Site) -> None:
    use = f"{site.module(WITH_DATACLASS)}:publish"
    options = site.load(publish={"use": use, "folder": "/srv", "tags": ["a"]}).active["publish"].options
    assert (options.folder, options.tags) == (Path("/srv"), ["a"])
    wrong = site.problems(publish={"use": use, "folder": "/srv", "tags": "a"})
    assert wrong == {"handlers.publish": "tags: must be a list"}


@pytest.mark.parametrize("text", [WITH_MODEL, WITH_DATACLASS], ids=["model", "dataclass"])
def test_an_unknown_option_names_the_nearest_known_one(site: Site, text: str) -> None:
    use = f"{site.module(text)}:publish"
    wrong = site.problems(publish={"use": use, "bucket": "b", "folder": "f", "timout": 3})["handlers.publish"]
    known, unknown = ("bucket", "folder") if text is WITH_MODEL else ("folder", "bucket")
    assert wrong.startswith(f"{unknown} is not an option of it")
    wrong = site.problems(publish={"use": use, known: "b", "timout": 3})["handlers.publish"]
    assert wrong == "timout is not an option of it; did you mean 'timeout'?"
    wrong = site.problems(publish={"use": use, known[:-1]: "b"})["handlers.publish"]
    assert wrong == f"{known[:-1]} is not an option of it; did you mean {known!r}?"


def test_an_option_that_resembles_no_known_one_lists_them(site: Site) -> None:
    table = {"use": "forward", "url": "https://app.example", "secrets": ["a-secret-of-twenty"], "retries": 3}
    wrong = site.problems(shop=table)["handlers.shop"]
    assert "did you mean" not in wrong
    assert wrong.startswith("retries is not an option of it; there is: across, allow_private_addresses, attempts, ")


def test_a_handler_without_options_takes_none(site: Site) -> None:
    assert site.problems(log={"atempts": 3, "colour": "red"}) == {
        "handlers.log": "takes no options, but has atempts, colour; did you mean 'attempts'?"
    }


def test_an_options_secret_is_not_shown_in_the_complaint(site: Site) -> None:
    use = f"{site.module(WITH_MODEL)}:publish"
    assert "hunter2" not in str(site.problems(publish={"use": use, "bucket": ["hunter2"]}))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("dict[str, int]", None),
        ("object()", "its options cannot be checked: "),
        ("Picky", "its options cannot be checked: RuntimeError: no network"),
    ],
)
def test_options_that_are_neither_model_nor_dataclass_are_an_error_and_no_crash(
    site: Site, options: str, words: str | None
) -> None:
    name = site.module(f"""
        from dataclasses import dataclass
        from receiver import JobCompleted, handler

        @dataclass
        class Picky:
            size: int
            def __post_init__(self):
                raise RuntimeError("no network")

        @handler(on=JobCompleted, options={options})
        async def publish(event, ctx): ...
    """)
    table = {"use": f"{name}:publish", "size": 3}
    if words is None:
        assert site.load(publish=table).active["publish"].options == {"size": 3}
    else:
        assert words in site.problems(publish=table)["handlers.publish"]


# what does not load


def test_a_name_that_is_not_there_is_answered_with_the_nearest(site: Site) -> None:
    assert site.problems(save_audo={}) == {
        "handlers.save_audo": "there is no handler of this name; did you mean 'save_audio'? "
        '(or say use = "module:name")'
    }
    far = site.problems(quartz={})["handlers.quartz"]
    assert f"there is: {BUILT_IN_NAMES} (or say" in far


@pytest.mark.parametrize(
    ("use", "words"),
    [
        ("no_such_module:x", "the module no_such_module cannot be imported: ModuleNotFoundError"),
        ("no_such_module:x", "or let the variable PYTHONPATH name the folder it is in"),
        ("{name}:missing", "{name}:missing is not there"),
        ("{name}:plain", "{name}:plain is not a handler; put @handler(on=…) above the function"),
        ("{name}", f"use: there is no handler '{{name}}'; there is: {BUILT_IN_NAMES} (or module:name)"),
        ("save_audo", "use: there is no handler 'save_audo'; did you mean 'save_audio'? (or module:name)"),
        ("", "use: there is no handler ''"),
        (":x", "':x' is not module:name"),
        ("{name}:", "'{name}:' is not module:name"),
        (".relative:x", "the module .relative cannot be imported: TypeError"),
    ],
)
def test_a_use_that_leads_nowhere_says_why(site: Site, use: str, words: str) -> None:
    name = site.module("def plain(event, ctx): ...\n")
    assert words.format(name=name) in site.problems(mine={"use": use.format(name=name)})["handlers.mine"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def broken(:\n", "SyntaxError"),
        ("import no_such_library\n", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("1 / 0\n", "ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit('usage: …')\n", "SystemExit: usage: …"),
        ("x = 1\n", "has no handler; name it with a leading underscore if it is none"),
        ("", "has no handler"),
        (HANDLER.format(name="Publish"), "PluginError: The handler 'Publish': a name is lower-case letters"),
        ("from receiver import handler\n@handler(on=int)\ndef a(event, ctx): ...\n", "on= takes event classes"),
        (
            "from receiver import handler, Event\n@handler(on=Event)\ndef a(event): ...\n",
            "must take (event, ctx)",
        ),
        (
            "from receiver import handler, Event\n@handler(on=Event, attempts=0)\ndef a(event, ctx): ...\n",
            "at least 1",
        ),
    ],
    ids=["syntax", "import", "raises", "exits", "none", "empty", "name", "on", "signature", "attempts"],
)
def test_a_bad_file_stops_the_start_with_its_name_and_the_reason(site: Site, text: str, words: str) -> None:
    file = site.drop("bad.py", text)
    site.drop("good.py", HANDLER.format(name="good"))
    complaint = site.problems("plugins")["plugins.directory"]
    assert complaint.startswith(f"{file} ")
    assert words in complaint


def test_a_package_that_breaks_when_it_is_imported_is_named(site: Site) -> None:
    site.module("raise RuntimeError('no licence')\n")
    site.install(publish=f"{site.name}:publish")
    place = f"({site.packages / site.name}.py, line 1)"
    assert site.problems(publish={}) == {
        "handlers.publish": f"the module {site.name} cannot be imported: RuntimeError: no licence {place}"
    }


def test_a_module_that_exits_when_it_is_imported_is_named(site: Site) -> None:
    name = site.module("import sys\nsys.exit(3)\n")
    said = site.problems(mine={"use": f"{name}:x"})["handlers.mine"]
    assert said.endswith(f"cannot be imported: SystemExit: 3 ({site.packages / name}.py, line 2)")


def test_a_module_that_raises_what_is_no_exception_is_named(site: Site) -> None:
    name = site.module("raise GeneratorExit('no')\n")
    said = site.problems(mine={"use": f"{name}:x"})["handlers.mine"]
    assert said.endswith(f"cannot be imported: GeneratorExit: no ({site.packages / name}.py, line 1)")


def test_the_same_name_in_two_files_is_an_error_that_names_both(site: Site) -> None:
    first, second = (site.drop(file, HANDLER.format(name="twice")) for file in ("a.py", "b.py"))
    assert site.problems("plugins") == {"plugins.directory": f"{second} and {first} both have a handler 'twice'"}


def test_a_directory_that_is_not_there_is_an_error(site: Site) -> None:
    assert site.problems("nowhere") == {"plugins.directory": f"{site.folder / 'nowhere'} is not a folder"}


def test_every_problem_is_told_at_once(site: Site) -> None:
    site.drop("a.py", "1 / 0\n")
    site.drop("b.py", "x = 1\n")
    found = site.problems("plugins", save_audo={}, log={"colour": 1}, mine={"use": "no_such_module:x"})
    assert sorted(found) == ["handlers.log", "handlers.mine", "handlers.save_audo", "plugins.directory"]
    assert len(found["plugins.directory"].splitlines()) == 2


def test_the_receiver_does_not_start_with_a_plugin_that_does_not_load(site: Site) -> None:
    site.drop("bad.py", "1 / 0\n")
    with pytest.raises(ConfigError, match=r"bad\.py cannot be loaded: ZeroDivisionError"):
        build_receiver(configured(site.folder, handlers={}, plugins={"directory": "plugins"}))
    assert not (site.folder / "data").exists()


# a user's own `handlers`


@pytest.mark.parametrize("shadow", ["handlers/__init__.py", "handlers.py", "handlers/log.py"])
def test_a_users_own_handlers_in_the_working_directory_neither_shadows_ours_nor_breaks_the_start(
    tmp_path: Path, shadow: str
) -> None:
    (tmp_path / "handlers").mkdir()
    (tmp_path / shadow).write_text("raise RuntimeError('the wrong handlers')\n")
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "mine.py").write_text(HANDLER.format(name="mine"))
    config = tmp_path / "receiver.toml"
    config.write_text(
        f'[sources.aitts]\nprovider = "aitts"\nsigning_secrets = ["{SECRET}"]\n'
        '[plugins]\ndirectory = "plugins"\n[handlers.log]\n[handlers.save_audio]\n'
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TTS_RECEIVER_")}
    command = [sys.executable, "-m", "receiver", "handlers", "list", "--json", "--config", str(config)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, "")
    assert [(row["name"], row["kind"]) for row in json.loads(done.stdout)["items"]] == [
        ("log", "async"),
        ("save_audio", "async"),
        ("mine", "async"),
    ]
