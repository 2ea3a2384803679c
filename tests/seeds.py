"""Seeds of tests that say the same of every seed: the first few in every run, the others in the slow one."""

from __future__ import annotations

from typing import Any

import pytest

__all__ = ["seeds"]


def seeds(count: int, quick: int = 1) -> list[Any]:
    """Return ``range(count)`` as parameters of a test, all but the first few marked as slow."""
    return [*range(quick), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(quick, count))]
