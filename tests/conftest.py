"""Hypothesis profiles and the one source of random numbers."""

import os

import numpy as np
import pytest
from hypothesis import settings

# The same examples in every run, so that a red suite means a change; `explore` looks for new ones.
settings.register_profile("same", max_examples=10, deadline=None, derandomize=True)
settings.register_profile("explore", max_examples=150, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


@pytest.fixture
def rng() -> np.random.Generator:
    """The same random numbers for every test."""
    return np.random.default_rng(20181123)
