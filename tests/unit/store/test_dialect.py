"""What differs between kinds of databases is behind the seam; what does not is right on all of them."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex

import receiver
from receiver.model.rate_limit import RateLimit
from receiver.store import jobs, rate_buckets, throttle_state
from receiver.store.database import Database
from receiver.store.dialect import DIALECTS, Dialect
from receiver.store.jobs import NewJob
from receiver.store.schema import metadata
from tests.unit.store.conftest import NOW
from tests.unit.store.plans import plans_of

INDEXES = sorted(
    (index for table in metadata.tables.values() for index in table.indexes), key=lambda one: str(one.name)
)


ROOT = Path(receiver.__file__).parent
OF_ONE_KIND = ("store/sqlite/", "store/postgresql/", "store/migrations/versions/")
"""The package of each; and the migrations, of which each was written for the stores that existed then."""
PAST_SQLALCHEMY = {"exec_driver_sql", "run_statement"}
"""What passes a statement to the driver as it is, with the driver's placeholders."""
DRIVERS = re.compile(r"sqlite3|psycopg|sqlalchemy\.dialects\b")
MARKED = re.compile(r"pytest\.mark\.(sqlite|postgresql)\b")
SPECIAL_WORDS = re.compile(
    r"\b(PRAGMA|INDEXED BY|rowid|sqlite_master|BEGIN IMMEDIATE|INSERT OR|SET LOCAL|FOR UPDATE|unnest|pg_[a-z_]+)\b"
)


def of_one_kind(tree: ast.Module) -> Iterator[ast.AST]:
    """The nodes of tests that are marked as those of one database."""
    for node in tree.body:
        if isinstance(node, ast.Assign):
            marks = [ast.unparse(node.value)] if ast.unparse(node.targets[0]) == "pytestmark" else []
            marked: ast.AST = tree
        else:
            marks = [ast.unparse(decorator) for decorator in getattr(node, "decorator_list", [])]
            marked = node
        if any(MARKED.search(mark) for mark in marks):
            yield from ast.walk(marked)


def special(path: Path, root: Path) -> Iterator[str]:
    """What a module of ours has that only one database, or only one driver, understands."""
    tree = ast.parse(path.read_text())
    marked = set(of_one_kind(tree))
    nodes = [node for node in ast.walk(tree) if node not in marked]
    comments = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        found = ""
        if isinstance(node, ast.Import):
            found = ", ".join(alias.name for alias in node.names if DRIVERS.match(alias.name))
        elif isinstance(node, ast.ImportFrom) and DRIVERS.match(node.module or ""):
            found = str(node.module)
        elif isinstance(node, ast.Attribute) and node.attr in PAST_SQLALCHEMY:
            found = node.attr
        elif isinstance(node, ast.Name) and node.id in PAST_SQLALCHEMY:
            found = node.id
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in comments:
            found = ", ".join(SPECIAL_WORDS.findall(node.value))
        if found:
            yield f"{path.relative_to(root)}:{node.lineno}: {found}"  # type: ignore[attr-defined]


def test_only_the_packages_of_databases_are_special_to_one() -> None:
    found = {path: list(special(path, ROOT)) for path in sorted(ROOT.rglob("*.py"))}
    ours = {path: lines for path, lines in found.items() if str(path.relative_to(ROOT)).startswith(OF_ONE_KIND)}
    assert sum(map(len, ours.values())) > 20, "the search finds what it is for"
    assert [line for path, lines in found.items() if path not in ours for line in lines] == []


TESTS = ROOT.parent / "tests"
SPECIAL_TESTS = {
    "stores.py", "faults.py", "postgresql_server.py", "debian_postgresql.py", "server_folder.py", "pgbouncer.py",
    "unit/store/plans.py",
    "acceptance/test_copy.py", "acceptance/test_rolling_upgrade.py", "unit/store/interleaving.py",
    "unit/store/test_dialect.py", "unit/store/test_feed_positions.py", "unit/store/test_migrate.py",
    "unit/store/test_pooled.py",
}  # fmt: skip
"""What the other tests use instead of a driver; and files of which most tests are about one database."""


def test_only_tests_of_one_database_are_special_to_it() -> None:
    """All others see and change a store through tests/stores.py, and can be run on every database.

    A test of one database has its marker, `sqlite` or `postgresql`, or its module has.
    """
    files = {str(path.relative_to(TESTS)): path for path in sorted(TESTS.rglob("*.py"))}
    found = {name: list(special(path, TESTS)) for name, path in files.items()}
    assert any(found[name] for name in SPECIAL_TESTS), "the search finds what it is for"
    assert [line for name, lines in found.items() if name not in SPECIAL_TESTS for line in lines] == []


@pytest.mark.parametrize("field", [field.name for field in fields(Dialect) if field.name != "insert"])
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_each_database_has_the_statements_that_every_one_must_have(kind: str, field: str) -> None:
    module = getattr(DIALECTS[kind], field)
    functions = inspect.getmembers(module, inspect.isfunction)
    public = {name for name, function in functions if function.__module__ == module.__name__ and name[0] != "_"}
    protocol = get_type_hints(Dialect)[field]
    assert public == {name for name in vars(protocol) if name[0] != "_"}


@pytest.mark.parametrize("index", INDEXES, ids=lambda index: str(index.name))
def test_an_index_has_the_same_condition_in_every_database(index: Any) -> None:
    def condition(dialect: Any) -> str:
        return str(CreateIndex(index).compile(dialect=dialect)).partition(" WHERE ")[2].replace('"', "")

    assert condition(postgresql.dialect()) == condition(sqlite.dialect())


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (throttle_state.pause, ("aitts", NOW + 60, "why", NOW)),
        (throttle_state.reserve_times, ("aitts", 3, NOW, 0.5)),
        (throttle_state.record_response, ("aitts", NOW)),
        (rate_buckets.record, ("aitts", RateLimit(10, 3, NOW + 60, "account"), NOW)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_throttle_is_changed_by_one_statement(
    database: Database, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    """What one process reads, another could change before it is written."""
    assert len(plans_of(database, function, *arguments)) == 1


@pytest.mark.sqlite
def test_a_job_is_stored_before_its_key_is_looked_for(database: Database) -> None:
    """Two requests with the same key may come at once: the constraint decides, not what was read before."""
    values: dict[str, Any] = {"source": "aitts", "submit_key": "s", "client_key": "c", "now": NOW, "deadline_at": NOW}
    first = NewJob(id="job_1", request={"text": "Hello"}, **values)
    again = NewJob(id="job_2", request={"text": "Hello"}, **values)
    assert [plan.statement.split()[0] for plan in plans_of(database, jobs.enqueue, first)] == ["INSERT"]
    database.transact(jobs.enqueue, first)
    row, new = database.transact(jobs.enqueue, again)
    assert (row["id"], new) == ("job_1", False)
    assert database.query(jobs.get, "job_2") is None
