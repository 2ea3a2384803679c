"""Functions that compute in half precision: what noise hides of an element at usual steps, longer ones show."""

import numpy as np
import pytest

from gradcheck import check_gradient
from tests.seeds import seeds

FORMS = {
    "softplus": (lambda z: np.log1p(np.exp(z)).sum(), lambda z: 1 / (1 + np.exp(-z))),
    "log of a sum": (lambda z: np.log(np.exp(z).sum()), lambda z: np.exp(z) / np.exp(z).sum()),
    "squares": (lambda z: (z * z).mean(), lambda z: 2 * z / z.size),
    "tanh": (lambda z: np.tanh(z).sum(), lambda z: 1 - np.tanh(z) ** 2),
    "kinks": (lambda z: np.maximum(z, 0).sum(), lambda z: (z > 0).astype(float)),
}
"""Functions of a vector with their gradients."""


class Half:
    """A function of ``A x`` whose arithmetic is rounded to half precision, and its gradient with one element times a factor."""

    def __init__(self, name, seed):
        rng = np.random.default_rng(seed)
        self.form, self.slope = FORMS[name]
        self.matrix = rng.normal(size=(6, 5)).astype(np.float16)
        self.x = rng.normal(size=5).astype(np.float16)

    def value(self, x):
        z = (self.matrix * x).sum(axis=1, dtype=np.float16)
        return np.float16(self.form(z))

    def gradient(self, x):
        matrix = self.matrix.astype(float)
        return self.slope(matrix @ x.astype(float)) @ matrix

    def check(self, factor=1.0):
        largest = int(np.abs(self.gradient(self.x)).argmax())
        factors = np.where(np.arange(5) == largest, factor, 1.0)
        return check_gradient(self.value, lambda x: (factors * self.gradient(x)).astype(np.float16), self.x, rng=0)


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("seed", seeds(12, quick=3))
def test_right_gradients_pass(name, seed):
    verdict = Half(name, seed).check().verdict
    assert verdict == "pass" or (name == "kinks" and verdict == "inconclusive")


@pytest.mark.parametrize("name", ["softplus", "log of a sum", "squares", "tanh"])
@pytest.mark.parametrize("seed", seeds(12, quick=3))
def test_gross_errors_of_one_element_fail(name, seed):
    half = Half(name, seed)
    for factor in (-1.0, 0.0, 2.0):
        assert half.check(factor).verdict == "fail"
    for factor in (0.5, 1.5):
        assert half.check(factor).verdict != "pass"


def test_longer_steps_show_errors_that_noise_hides_at_usual_ones():
    smooth = [Half(name, seed) for name in FORMS if name != "kinks" for seed in range(12)]
    verdicts = [half.check(factor).verdict for half in smooth for factor in (0.7, 1.3)]
    assert verdicts.count("fail") >= 2 / 3 * len(verdicts) and verdicts.count("pass") <= len(verdicts) / 20
