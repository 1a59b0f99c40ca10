"""The meaning of a path in a setting."""

from __future__ import annotations

import os
import pwd
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.outbound.storage import open_storage
from receiver.paths import setting_path
from receiver.store.sqlite.backend import sqlite_path

BASE = Path("/etc/tts")


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("data", "/etc/tts/data"),
        ("/srv/audio", "/srv/audio"),
        ("~", "/home/me"),
        ("~/audio", "/home/me/audio"),
        ("./~/audio", "/etc/tts/~/audio"),
        ("a~b", "/etc/tts/a~b"),
    ],
)
def test_a_tilde_is_a_home_folder_only_at_the_beginning(text: str, path: str) -> None:
    assert os.path.normpath(setting_path(text, BASE)) == path


def test_another_users_home_folder_can_be_named() -> None:
    me = pwd.getpwuid(0)
    assert setting_path(f"~{me.pw_name}/x", BASE) == Path(me.pw_dir, "x")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("~nobody_here/x", "~nobody_here is no user"),
        ("", "is empty"),
        (" ", "is empty"),
        ("a\0b", "NUL"),
        ("/~/x", "at the beginning"),
    ],
)
def test_what_is_no_path_is_said(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        setting_path(text, BASE)


def test_a_user_without_a_home_folder_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 3_999_999_999)
    with pytest.raises(ValueError, match="~ has no home folder"):
        setting_path("~/x", BASE)


def test_store_and_audio_mean_the_same_by_it() -> None:
    assert sqlite_path("sqlite:///~/tts.db", BASE) == Path("/home/me/tts.db")
    assert open_storage("~/audio", BASE).folder == Path("/home/me/audio")


@pytest.mark.parametrize("url", ["file:///~/audio", "file:///%7E/audio", "file:///srv/a%00b", "~nobody_here/audio"])
def test_an_audio_folder_that_cannot_be_meant_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"home folder|NUL"):
        open_storage(url, BASE)


def test_a_store_that_cannot_be_meant_is_refused() -> None:
    with pytest.raises(ValueError, match="home folder"):
        sqlite_path("sqlite:////~/tts.db", BASE)


@given(st.text(max_size=20))
def test_any_text_is_a_path_or_refused(text: str) -> None:
    with suppress(ValueError):
        assert setting_path(text, BASE).is_absolute()
