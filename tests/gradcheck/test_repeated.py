"""Functions that give something else at the same points."""

import numpy as np
import pytest

from gradcheck.functions.repeated import NotRepeatableError, require_same


def test_equal_values_are_the_same_whatever_the_noise():
    values = np.array([[1.0, -2.0], [0.0, np.inf]])
    with np.errstate(invalid="ignore"):
        require_same(values, values.copy(), np.zeros(2))


def test_rounding_is_no_difference_and_more_is_one():
    jitter = np.array([1e-15, 1e-3])
    before = np.ones((3, 2))
    require_same(before + np.array([2e-15, 2e-3]), before, jitter)
    with pytest.raises(NotRepeatableError):
        require_same(before + np.array([1e-13, 0.0]), before, jitter)
    with pytest.raises(NotRepeatableError):
        require_same(before + np.array([0.0, 0.1]), before, jitter)
