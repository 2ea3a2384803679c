"""Hypothesis profiles and the one source of random numbers."""

import os

import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("dev", max_examples=30, deadline=None)
settings.register_profile("ci", max_examples=300, deadline=None, derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Leave the tests out of ``pytest --benchmark-only``; named on the command line they are collected."""
    if config.args_source is pytest.Config.ArgsSource.ARGS:
        return None
    return True if config.getoption("benchmark_only", default=False) else None


@pytest.fixture
def rng() -> np.random.Generator:
    """The same random numbers for every test."""
    return np.random.default_rng(20181123)
