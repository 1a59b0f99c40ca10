"""Providers that installed packages bring: loaded when a source names them, and named by what is wrong with them."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from receiver.errors import ConfigError
from receiver.providers import PROVIDERS, known_providers
from receiver.settings import Settings, load, load_partial

WHOLE = """
from receiver.providers import AudioUrls, Capabilities, Request, completed

class Acme(AudioUrls):
    name = "acme"
    base_url = "https://api.acme.example"
    capabilities = Capabilities(min_poll_seconds=7)

    def status_request(self, account, job_id):
        return Request("GET", account.base_url + "/jobs/" + job_id)

    def read_status(self, account, job_id, response):
        return completed(job_id, [])

ready = Acme()
"""


class Shelf:
    """A folder with installed distributions, and a configuration that names one provider."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        self.packages = folder / "site"
        self.packages.mkdir()

    def module(self, text: str) -> str:
        """An importable module with the name of this test."""
        (self.packages / f"{self.name}.py").write_text(dedent(text))
        return self.name

    def install(self, distribution: str = "acme-voices", **points: str) -> None:
        """An installed distribution with entry points in the providers' group."""
        info = self.packages / f"{distribution.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        lines = [f"{name} = {value}" for name, value in points.items()]
        (info / "entry_points.txt").write_text("[tts_receiver.providers]\n" + "\n".join(lines) + "\n")

    def config(self, provider: str) -> Path:
        """A file with one source."""
        file = self.folder / "receiver.toml"
        file.write_text(
            f'[sources.mine]\nprovider = "{provider}"\napi_key = "a-key"\nsigning_secrets = ["secret_0123456789abc"]\n'
        )
        return file

    def load(self, provider: str = "acme") -> Settings:
        """The settings with one source of this provider."""
        return load(self.config(provider))

    def problem(self, provider: str = "acme") -> str:
        """What is wrong with the source's provider, and that nothing else is."""
        with pytest.raises(ConfigError) as raised:
            self.load(provider)
        [problem] = raised.value.problems
        assert problem.where == "sources.mine.provider"
        return problem.what


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Shelf]:
    name = f"acme_{zlib.crc32(request.node.nodeid.encode())}"
    made = Shelf(tmp_path, name)
    monkeypatch.syspath_prepend(str(made.packages))
    yield made
    sys.modules.pop(name, None)


@pytest.mark.parametrize("attribute", ["Acme", "ready"])
def test_an_installed_provider_is_found_by_its_entry_point_as_a_class_or_an_object(
    shelf: Shelf, attribute: str
) -> None:
    shelf.install(acme=f"{shelf.module(WHOLE)}:{attribute}")
    source = shelf.load().sources["mine"]
    assert (source.provider.name, source.origin, source.scheme) == ("acme", "https://api.acme.example", None)
    assert source.schedule.min_seconds == 7
    assert source.provider.status_request(source.account, "j").url == "https://api.acme.example/jobs/j"
    assert source.provider is source.provider


def test_an_installed_provider_is_listed_without_being_loaded(shelf: Shelf) -> None:
    shelf.install(acme=f"{shelf.module('raise RuntimeError')}:Acme")
    assert set(known_providers()) >= {*PROVIDERS, "acme"}
    assert len(known_providers()) == len(list(known_providers()))
    assert shelf.load("aitts").sources["mine"].provider is PROVIDERS["aitts"]
    assert shelf.name not in sys.modules


def test_a_word_that_nobody_brings_is_answered_with_the_nearest_that_somebody_does(shelf: Shelf) -> None:
    shelf.install(acme=f"{shelf.module(WHOLE)}:Acme")
    assert "did you mean 'acme'?" in shelf.problem("acne")
    with pytest.raises(KeyError):
        known_providers()["acne"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("import no_such_module_at_all", "cannot be imported: ModuleNotFoundError"),
        ("raise SystemExit(3)", "cannot be imported: SystemExit"),
        ("raise GeneratorExit", "cannot be imported: GeneratorExit"),
        ("def broken(:", "cannot be imported: SyntaxError"),
        ("other = 1", "cannot be imported: AttributeError"),
        ("class Acme:\n    def __init__(self, key): pass", "cannot be instantiated without arguments: TypeError"),
        (
            "class Acme:\n    def __init__(self): raise SystemExit(1)",
            "cannot be instantiated without arguments: SystemExit",
        ),
        ("Acme = 5", "is not a provider: lacks name, base_url, capabilities, audio_requests"),
        (f"{WHOLE}\nAcme.read_status = None", "read_status is not a method"),
        (f"{WHOLE}\nAcme.capabilities = {{}}", "capabilities is not a Capabilities"),
        (f"{WHOLE}\ndel Acme.read_status", "has status_request and lacks read_status"),
        (f"{WHOLE}\nAcme.history_request = print", "has history_request and lacks read_history"),
        (f"{WHOLE}\nAcme.scheme = 'md5'", "scheme is not one of"),
        (f"{WHOLE}\nAcme.scheme = 'tts'", "has scheme and lacks kept_headers, retry_window_seconds, parse_delivery"),
        (f"{WHOLE}\nAcme.versions = {{'v2': 5}}", "versions is not a mapping from api_version to provider"),
        (f"{WHOLE}\nAcme.kept_headers = ('X-A',)", "kept_headers is not a tuple of lower-case"),
        (f"{WHOLE}\ndel Acme.base_url", "is not a provider: lacks base_url"),
        (f"{WHOLE}\nAcme.name = 'ace'", "its name is 'ace', and its entry point's 'acme'"),
        (f"{WHOLE}\nAcme.name = 'aitts'", "its name is 'aitts', which is a built-in provider's"),
        (f"{WHOLE}\nAcme.base_url = property(lambda self: 1 / 0)", "cannot be inspected: ZeroDivisionError"),
    ],
)
def test_a_provider_that_cannot_be_used_is_named_with_its_distribution_and_what_is_wrong(
    shelf: Shelf, text: str, what: str
) -> None:
    name = shelf.module(text)
    shelf.install(acme=f"{name}:Acme")
    said = shelf.problem()
    assert said.startswith(f"the entry point acme = {name}:Acme of acme-voices 1.2 ")
    assert what in said


def test_a_provider_that_breaks_when_it_is_asked_is_a_problem_and_no_crash(shelf: Shelf) -> None:
    name = shelf.module(f"{WHOLE}\nAcme.status_request = lambda *_: 1 / 0\n")
    shelf.install(acme=f"{name}:Acme")
    assert shelf.problem() == "acme is broken: ZeroDivisionError when it is asked for a status request"


def test_two_packages_with_one_name_are_both_named(shelf: Shelf) -> None:
    name = shelf.module(WHOLE)
    shelf.install(acme=f"{name}:Acme")
    shelf.install("ace-voices", acme=f"{name}:ready")
    said = shelf.problem()
    assert "of acme-voices 1.2" in said
    assert "of ace-voices 1.2" in said


@pytest.mark.parametrize("taken", ["aitts", "generic"])
def test_the_name_of_a_built_in_provider_cannot_be_taken(shelf: Shelf, taken: str) -> None:
    shelf.install(**{taken: f"{shelf.module('raise RuntimeError')}:Acme"})
    assert taken not in set(known_providers()) - set(PROVIDERS)
    _, problems = load_partial(shelf.config(taken))
    said = next(problem.what for problem in problems if problem.where == "sources.mine.provider")
    assert f"the entry point {taken} = {shelf.name}:Acme of acme-voices 1.2 has the name" in said
    assert shelf.name not in sys.modules


def test_a_built_in_provider_wins_over_a_packages_of_the_same_name(shelf: Shelf) -> None:
    shelf.install(aitts=f"{shelf.module(WHOLE)}:Acme")
    settings, problems = load_partial(shelf.config("aitts"))
    assert settings.sources["mine"].provider is known_providers()["aitts"] is PROVIDERS["aitts"]
    assert len(problems) == 1
    assert shelf.load("audixa").sources["mine"].provider is PROVIDERS["audixa"]
