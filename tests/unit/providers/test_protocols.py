"""What a provider can do shows in its methods: whole protocols, and nothing that only refuses."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import receiver.providers
from receiver.providers import PROVIDERS, VersionedProvider
from receiver.providers.conformance import find_problems
from receiver.providers.protocols import PROTOCOLS

ROOT = Path(__file__).parents[3]
MODULES = sorted((ROOT / "receiver" / "providers").glob("*.py"))


def only_refuses(function: ast.FunctionDef) -> bool:
    """Whether a function's body is a docstring and a raise."""
    body = [step for step in function.body if not (isinstance(step, ast.Expr) and isinstance(step.value, ast.Constant))]
    return len(body) == 1 and isinstance(body[0], ast.Raise)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_no_class_has_a_method_that_only_refuses(module: Path) -> None:
    refusing = [
        f"{parent.name}.{item.name}"
        for parent in ast.walk(ast.parse(module.read_text()))
        if isinstance(parent, ast.ClassDef)
        for item in parent.body
        if isinstance(item, ast.FunctionDef) and only_refuses(item)
    ]
    assert refusing == []


def test_each_provider_implements_whole_protocols() -> None:
    versions = [of for one in PROVIDERS.values() if isinstance(one, VersionedProvider) for of in one.versions.values()]
    assert {provider.name: find_problems(provider) for provider in (*PROVIDERS.values(), *versions)} == {
        name: [] for name in PROVIDERS
    }
    words = {
        name: {word for word, protocol in PROTOCOLS.items() if isinstance(provider, protocol)}
        for name, provider in PROVIDERS.items()
    }
    assert words == {
        "aitts": {"webhooks", "polling", "submit", "tasks", "streaming", "voices", "registers_webhooks"},
        "audixa": {"polling", "submit", "tasks", "voices"},
        "finevoice": {"polling", "submit", "tasks"},
        "miragic": {"polling", "submit", "tasks"},
    }


def test_what_the_how_to_about_providers_imports_is_exported() -> None:
    page = (ROOT / "docs" / "how-to" / "write-a-provider.md").read_text()
    modules = {
        node.module: {alias.name for alias in node.names}
        for block in re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("receiver")
    }
    assert set(modules) == {"receiver.providers", "receiver.contract"}
    assert modules["receiver.providers"] <= set(receiver.providers.__all__)
    assert all(hasattr(receiver.providers, name) for name in receiver.providers.__all__)
