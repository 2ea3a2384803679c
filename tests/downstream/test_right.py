import numpy as np

from gradcheck import assert_layer
from layer import backward, forward


def test_softplus():
    rng = np.random.default_rng(1)
    assert_layer(forward, backward, rng.normal(size=(5, 3)), rng.normal(size=3))
