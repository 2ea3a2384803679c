import importlib.util

import numpy as np
import pytest

from network import article

from .fixtures import NAMES


def test_the_package_exports_exactly_its_contract():
    assert sorted(article.__all__) == sorted(
        [
            "load_digits01",
            "load_four_images",
            "init_params",
            "draw",
            "forward",
            "predict",
            "loss",
            "gradient",
            "stages",
            "train",
            "BACKWARDS",
        ]
    )


def test_digits_are_zeros_then_ones():
    images, labels = article.load_digits01()
    assert images.shape == (360, 8, 8)
    assert images.dtype == np.float64
    assert (images.min(), images.max()) == (0, 16)
    assert labels.tolist() == [0] * 178 + [1] * 182


def test_digits_are_those_that_scikit_learn_loads():
    """Its file is read without it, which must be noticed should another release keep it elsewhere."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - slow to import, in every worker that collects this file

    images, labels = load_digits(n_class=2, return_X_y=True)
    order = np.argsort(labels, kind="stable")
    for loaded, known in zip(article.load_digits01(), (images[order].reshape(-1, 8, 8), labels[order]), strict=True):
        np.testing.assert_array_equal(loaded, known)


def test_without_scikit_learn_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ModuleNotFoundError, match="scikit-learn is not installed"):
        article.load_digits01()


def test_each_load_is_a_fresh_copy():
    images, labels = article.load_digits01()
    images[:], labels[:] = -1, -1
    assert article.load_digits01()[0].min() == 0
    assert article.load_digits01()[1].min() == 0


def test_published_draw():
    params, order = article.draw(12747)
    _, labels = article.load_digits01()
    assert params["W1a"][0, 0] == pytest.approx(0.382336854973, abs=1e-12)
    assert params["W5"][35, 0] == pytest.approx(-0.070868519704, abs=1e-12)
    assert labels[order[:10]].tolist() == [0, 1, 0, 1, 1, 1, 0, 0, 1, 0]
    assert labels[order[10:15]].tolist() == [0, 0, 0, 0, 1]
    assert labels[order[10:]].sum() == 177
    assert sorted(order) == list(range(360))


def test_four_images_are_a_zero_two_ones_and_a_zero():
    images, labels = article.load_four_images()
    assert images.shape == (4, 8, 8)
    assert labels.tolist() == [0, 1, 1, 0]


def test_init_is_the_weights_of_the_draw():
    params, drawn = article.init_params(3, (18, 20), 0.2), article.draw(3, (18, 20), 0.2)[0]
    assert tuple(params) == NAMES
    for name, array in params.items():
        np.testing.assert_array_equal(array, drawn[name])


def test_scale_and_hidden():
    params, large = article.init_params(0, (18, 20), 0.2), article.init_params(0, (18, 20))
    assert [params[name].shape for name in ("W1a", "W3", "W4", "W5")] == [(3, 3), (16, 18), (18, 20), (20, 1)]
    np.testing.assert_allclose(params["W4"], 0.2 * large["W4"])


def test_the_global_generator_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    article.draw(5)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("hidden", [(0, 3), (3,), 28, (1, 2, 3), "ab", None])
def test_hidden_must_be_two_whole_numbers(hidden):
    with pytest.raises(ValueError, match="hidden"):
        article.init_params(0, hidden)
