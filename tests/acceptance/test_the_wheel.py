"""The wheel as a plugin's author gets it: built, installed beside its dependencies, and checked against."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs/how-to").glob("*.md"))]
CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SOURCES = ["receiver", "handlers", "pyproject.toml", "README.md", "LICENSE"]
PLUGIN = """\
from receiver import Context, JobCompleted, handler


@handler(on=JobCompleted)
async def hand_over(event: JobCompleted, ctx: Context[None]) -> dict[str, object]:
    reveal_type(event.job_id)
    reveal_type(ctx.audio)
    return {"file": (await ctx.audio()).adress}
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: a build leaves nothing behind in the checkout."""
    copy = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        where, ignored = ROOT / name, shutil.ignore_patterns("__pycache__")
        shutil.copytree(where, copy / name, ignore=ignored) if where.is_dir() else shutil.copy(where, copy / name)
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel"],
        cwd=copy,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert built.returncode == 0, built.stderr
    [found] = (copy / "dist").glob("*.whl")
    return found


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter whose receiver is the wheel's; the libraries are those of the tests."""
    venv = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True, timeout=PATIENCE)
    purelib = Path(sysconfig.get_path("purelib", "venv", {"base": str(venv), "platbase": str(venv)}))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(purelib)
    (purelib / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return venv / "bin" / "python"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mypy")


def strict(python: Path, folder: Path, cache: Path) -> str:
    """What `mypy --strict` says of the files in a folder."""
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", python, "--cache-dir", cache, "."]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=500)
    return done.stdout + done.stderr


def test_the_wheel_has_the_files_of_the_console(wheel: Path) -> None:
    folder = ROOT / "receiver" / "web" / "console"
    wanted = {str(path.relative_to(ROOT)) for path in folder.rglob("*.*") if path.suffix != ".pyc" and path.is_file()}
    assert {".html", ".css", ".js", ".svg"} <= {Path(name).suffix for name in wanted}
    assert wanted <= set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_says_that_it_is_typed(wheel: Path) -> None:
    assert {"receiver/py.typed", "handlers/py.typed"} <= set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.timeout(600)
def test_mypy_knows_the_types_of_the_face(python: Path, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "hand_over.py").write_text(PLUGIN)
    said = strict(python, tmp_path, cache)
    assert 'Revealed type is "str"' in said
    assert "Coroutine[Any, Any, receiver.engine.context.Artifact]" in said
    assert '"Artifact" has no attribute "adress"' in said
    assert said.endswith("Found 1 error in 1 file (checked 1 source file)\n")


@pytest.mark.timeout(600)
def test_the_plugins_that_the_pages_show_are_strictly_typed(python: Path, cache: Path, tmp_path: Path) -> None:
    for page in PAGES:
        for number, block in enumerate(CODE.findall(page.read_text())):
            if re.search(r"^(@handler|class .*AudioUrls)", block, re.MULTILINE) and "def test_" not in block:
                (tmp_path / f"{page.stem.replace('-', '_').lower()}_{number}.py").write_text(block)
    shutil.copytree(ROOT / "handlers", tmp_path / "built_in", ignore=shutil.ignore_patterns("__pycache__", "py.typed"))
    names = sorted(path.name for path in tmp_path.rglob("*.py"))
    assert {"readme_0.py", "save_audio.py", "write_a_provider_0.py"} <= set(names)
    assert strict(python, tmp_path, cache) == f"Success: no issues found in {len(names)} source files\n"
