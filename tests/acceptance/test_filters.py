"""Filters of the command line: a name that means nothing is an error with the nearest one, and never an empty list."""

from __future__ import annotations

import pytest

from tests.acceptance.support import SOURCE, Site, completed, deliver, signed_headers

PICKY = "from receiver import Event, handler\n\n\n@handler(on=Event)\ndef picky(event, ctx):\n    return None\n"
PLUGINS = '[plugins]\ndirectory = "plugins"'


@pytest.fixture
def stocked(site: Site) -> Site:
    """A store with one event of the source `aitts`; the configuration then calls the source `renamed`."""
    site.plugin("picky", PICKY)
    server = site.configure(PLUGINS).start()
    body = completed("job-1")
    assert deliver(server.public, body, signed_headers(body))[0] == 202  # type: ignore[index]
    assert server.stop() == 0
    site.config.write_text(site.config.read_text().replace(f"[sources.{SOURCE}]", "[sources.renamed]"))
    return site


def test_a_name_that_means_nothing_is_told_with_the_nearest(stocked: Site) -> None:
    cases = {
        ("events", "list", "--source", "renmed"): "There is no source 'renmed'; did you mean 'renamed'?",
        ("events", "replay", "--source", "aits"): "There is no source 'aits'; did you mean 'aitts'?",
        ("events", "list", "--type", "job.complet"): "no event type 'job.complet'; did you mean 'job.completed'?",
        (
            "events",
            "replay",
            "--type",
            "job.completed",
            "--handler",
            "picki",
        ): "'picki' is active; did you mean 'picky'?",
        ("runs", "list", "--source", "renmed"): "There is no source 'renmed'; did you mean 'renamed'?",
        ("runs", "list", "--handler", "lgo"): "No handler 'lgo' is active; did you mean 'log'?",
        ("runs", "replay", "--handler", "picki"): "No handler 'picki' is active; did you mean 'picky'?",
        ("runs", "cancel", "--type", "job.fail"): "no event type 'job.fail'; did you mean 'job.failed'?",
        ("jobs", "list", "--source", "renmed"): "There is no source 'renmed'; did you mean 'renamed'?",
        ("jobs", "show", "job-1", "--source", "renmed"): "There is no source 'renmed'; did you mean 'renamed'?",
    }
    for answer, (case, words) in zip(stocked.together(*map(list, cases)), cases.items(), strict=True):
        assert answer.returncode == 1, (case, answer.stdout + answer.stderr)
        assert words in answer.stderr, (case, answer.stderr)
        assert answer.stdout == "", case

    wrong_state = stocked.command("runs", "list", "--state", "ded")
    assert wrong_state.returncode == 2
    assert "Did you mean 'dead'?" in wrong_state.stderr


def test_names_of_the_past_and_words_of_others_are_known(stocked: Site) -> None:
    stocked.config.write_text(stocked.config.read_text().replace(PLUGINS, ""))
    for case, count in {
        ("events", "list", "--source", SOURCE): 1,
        ("events", "list", "--source", SOURCE, "--state", "quarantined"): 0,
        ("events", "list", "--source", "renamed"): 0,
        ("events", "list", "--type", "voice.created"): 0,
        ("runs", "list", "--handler", "picky"): 1,
        ("runs", "list", "--handler", "log", "--state", "dead"): 0,
    }.items():
        done = stocked.command(*case)
        assert (done.returncode, done.stderr) == (0, f"{case[0].title()}: {count}\n"), case
        assert len(done.stdout.splitlines()) == (1 + count if count else 0), case


def test_release_and_replay_want_to_know_which_events(stocked: Site) -> None:
    for verb in ("replay", "release"):
        every = stocked.command("events", verb, "--yes")
        assert every.returncode == 2, every.stdout
        assert f"`events {verb} --since 365d` selects all of them" in every.stderr
        both = stocked.command("events", verb, "evt_0", "--source", SOURCE)
        assert both.returncode == 2
        assert "not both" in both.stderr
