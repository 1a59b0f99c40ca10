"""A PostgreSQL that checks a password by SCRAM, and a receiver that has a wrong one: at its start and while it runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import make_url

from tests.acceptance.support import Site, completed, deliver, get, until
from tests.postgresql_server import ROLE_WITH_PASSWORD, PostgresqlServer

pytestmark = pytest.mark.postgresql

RIGHT, WRONG, CHANGED = "correct-horse-battery", "wrong-donkey-battery", "changed-mule-battery"


class Guarded:
    """A database whose owner needs a password."""

    def __init__(self, server: PostgresqlServer) -> None:
        self._server = server
        self._server.execute(f"CREATE ROLE {ROLE_WITH_PASSWORD} LOGIN PASSWORD '{RIGHT}'")
        self.name = server.create()
        self._server.execute(f"ALTER DATABASE {self.name} OWNER TO {ROLE_WITH_PASSWORD}")

    def url(self, password: str) -> str:
        """The address with this password."""
        address = make_url(self._server.url(self.name, password)).set(username=ROLE_WITH_PASSWORD)
        return address.render_as_string(hide_password=False)

    def change_password(self, password: str) -> None:
        """Give the owner another password, and end its sessions."""
        self._server.execute(f"ALTER ROLE {ROLE_WITH_PASSWORD} PASSWORD '{password}'")
        sessions = f"FROM pg_stat_activity WHERE usename = '{ROLE_WITH_PASSWORD}'"
        self._server.execute(f"SELECT pg_terminate_backend(pid) {sessions}")

    def drop(self) -> None:
        """Remove both."""
        self._server.drop(self.name)
        self._server.execute(f"DROP ROLE {ROLE_WITH_PASSWORD}")


@pytest.fixture
def guarded(postgresql: PostgresqlServer) -> Iterator[Guarded]:
    made = Guarded(postgresql)
    yield made
    made.drop()


def configure(site: Site, url: str) -> None:
    site.configure(f'[store]\nurl = "{url}"')


def require_advice(text: str, guarded: Guarded) -> None:
    """What happened, where, and what to do; without a password."""
    words = " ".join(text.split())
    assert "password authentication failed" in words
    assert f"/{guarded.name} refuses the login" in words
    assert "correct the user and the password of the address" in words
    assert not [password for password in (RIGHT, WRONG, CHANGED) if password in words]


def test_a_wrong_password_is_named_by_every_command_until_it_is_right(site: Site, guarded: Guarded) -> None:
    configure(site, guarded.url(WRONG))
    commands = [["serve"], ["check"], ["db", "upgrade"], ["db", "copy", str(site.config), "sqlite:///copied.db"]]
    for done in site.together(*commands):
        assert done.returncode == 1, done
        require_advice(done.stdout + done.stderr, guarded)
    configure(site, guarded.url(RIGHT))
    receiver = site.start()
    answer = deliver(receiver.public, completed("job_1"))
    assert answer is not None
    assert answer[0] == 202
    assert site.command("check").returncode == 0


def test_a_receiver_whose_password_was_changed_recovers_when_it_is_right_again(site: Site, guarded: Guarded) -> None:
    configure(site, guarded.url(RIGHT))
    receiver = site.start()
    guarded.change_password(CHANGED)

    def status(job: str) -> int | None:
        answer = deliver(receiver.public, completed(job))
        return answer[0] if answer is not None else None

    until("it accepts no more", lambda: status("job_1") == 503)
    assert get(f"{receiver.private}/readyz")[0] == 503
    refused = until("it says why", lambda: [line for line in receiver.text().splitlines() if "authentication" in line])
    require_advice(refused[0], guarded)
    guarded.change_password(RIGHT)
    until("it accepts again", lambda: status("job_2") == 202)
    until("it is ready", lambda: get(f"{receiver.private}/readyz")[0] == 200)
    assert receiver.stop() == 0
    assert RIGHT not in site.everything_written()
