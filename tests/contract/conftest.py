"""The contract's assertions explain themselves like those of a test module."""

from __future__ import annotations

import pytest

for module in ("checks", "provider_contract", "status_contract", "submit_contract"):
    pytest.register_assert_rewrite(f"tests.contract.{module}")
