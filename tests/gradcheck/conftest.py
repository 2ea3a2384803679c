"""Floating-point errors as inside of a check, for tests of what runs only there."""

from collections.abc import Iterator
from contextlib import nullcontext

import numpy as np
import pytest

INSIDE = {"acceptance", "differences", "nonsmooth", "diagnosis"}


@pytest.fixture(autouse=True)
def float_errors(request: pytest.FixtureRequest) -> Iterator[None]:
    """Silent in these directories, as they are elsewhere."""
    with np.errstate(all="ignore") if request.path.parent.name in INSIDE else nullcontext():
        yield
