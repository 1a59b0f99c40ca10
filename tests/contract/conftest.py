"""The contract's assertions explain themselves like those of a test module."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.contract.provider_contract")
