"""vectorized=True: the same verdicts from few calls, little memory, and no trust in what the function does with its axis."""

import tracemalloc

import numpy as np
import pytest

from gradcheck import InvalidArgument, check_gradient, check_hessian, numerical_gradient
from gradcheck.functions.probe import CHUNK_LENGTH
from network import article
from tests.gradcheck.corpus import smooth

X = np.linspace(0.2, 0.9, 12)


def sines(x):
    return np.sum(np.sin(x), axis=-1)


# ---- right functions --------------------------------------------------------------------------------------------------


def tree_value(p):
    """Leaves of several shapes, each with or without one more axis in front."""
    hidden = np.tanh(np.matmul(p["x"], p["w"]) + p["b"][..., None, :])
    return np.sum(hidden**2, axis=(-2, -1)) * np.asarray(p["c"]) ** 2


def tree_gradient(p):
    hidden = np.tanh(p["x"] @ p["w"] + p["b"])
    d = 2 * hidden * (1 - hidden**2) * p["c"] ** 2
    return {"x": d @ p["w"].T, "w": p["x"].T @ d, "b": d.sum(axis=0), "c": 2 * p["c"] * np.sum(hidden**2)}


@pytest.fixture
def params():
    rng = np.random.default_rng(5)
    return {"x": rng.normal(size=(4, 3)), "w": rng.normal(size=(3, 200)), "b": rng.normal(size=200), "c": 0.8}


@pytest.mark.parametrize("wrong", [None, ("w", (2, 150)), ("b", (7,))])
def test_it_finds_what_single_calls_find(params, wrong):
    def grad(p):
        right = tree_gradient(p)
        if wrong:
            right[wrong[0]][wrong[1]] *= 1.001
        return right

    one, many = check_gradient(tree_value, grad, params), check_gradient(tree_value, grad, params, vectorized=True)
    assert one.verdict == many.verdict == ("fail" if wrong else "pass")
    for name, single in one.parameters.items():
        np.testing.assert_array_equal(single.wrong, many.parameters[name].wrong)
    assert many.evaluations < one.evaluations / 7


def test_single_precision_inside_is_no_mixing():
    """Rounding differs from batch to batch: that is noise, and noise is measured."""
    matrix = np.random.default_rng(0).normal(size=(300, 300)).astype(np.float32)

    def f(x):
        return np.sum(np.tanh(x.astype(np.float32) @ matrix), axis=-1).astype(np.float64)

    x = np.random.default_rng(1).normal(size=300) / 20
    report = check_gradient(f, lambda x: (1 - np.tanh(x @ matrix) ** 2) @ matrix.T, x, vectorized=True)
    assert report.verdict != "fail" and not any(p.wrong.any() for p in report.parameters.values())


def test_the_article_network_takes_few_calls():
    images, labels = article.load_digits01()
    images, labels, weights = images[:3] / 16, labels[:3], article.init_params(1)
    report = check_gradient(
        lambda p: article.loss(p, images, labels),
        lambda p: article.gradient(p, images, labels),
        weights,
        vectorized=True,
    )
    assert report.verdict == "pass" and report.evaluations < 120


def test_blocks_of_networks_change_nothing():
    images, labels = article.load_digits01()
    weights = article.init_params(1)
    many = weights | {"W3": weights["W3"] * np.linspace(0.5, 1.5, 150)[:, None, None]}
    together = article.loss(many, images[:64], labels[:64])
    alone = [article.loss(weights | {"W3": w}, images[:64], labels[:64]) for w in many["W3"]]
    np.testing.assert_allclose(together, alone, rtol=1e-13)


# ---- memory -------------------------------------------------------------------------------------------------------------


def test_memory_stays_bounded():
    x = np.full(200_000, 0.5)
    chunks = []

    def f(x):
        chunks.append(x.shape)
        return np.zeros(len(x)) if x.ndim > 1 else 0.0

    numerical = check_gradient(f, np.zeros_like, x[:100], vectorized=True)
    assert numerical.evaluations == len(chunks) and max(shape[0] for shape in chunks if len(shape) > 1) <= CHUNK_LENGTH
    tracemalloc.start()
    check_gradient(f, np.zeros_like, x, vectorized=True, max_evaluations=60)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**28


# ---- wrong use of the axis ----------------------------------------------------------------------------------------------


def rows(x):
    return np.sum(np.sin(np.atleast_2d(x)), axis=-1)


def as_given(values, x):
    return values if x.ndim > 1 else values[0]


MIXING = {
    "mean over the axis": lambda x: as_given(np.full(len(np.atleast_2d(x)), rows(x).mean()), x),
    "sum over the axis": lambda x: as_given(np.full(len(np.atleast_2d(x)), rows(x).sum()), x),
    "first of the axis": lambda x: as_given(np.full(len(np.atleast_2d(x)), rows(x)[0]), x),
    "last of the axis": lambda x: as_given(np.full(len(np.atleast_2d(x)), rows(x)[-1]), x),
    "normalised over the axis": lambda x: as_given(rows(x) / np.sum(rows(x)), x) * 1.0,
    "standardised": lambda x: as_given(rows(x) - rows(x).mean(), x) + 1.0,
    "batch normalisation": lambda x: as_given(
        np.sum(np.sin(np.atleast_2d(x) - (np.atleast_2d(x).mean(axis=0) if x.ndim > 1 else 0)), axis=-1), x
    ),
    "cumulative": lambda x: as_given(np.cumsum(rows(x)), x),
    "cumulative from the end": lambda x: as_given(np.cumsum(rows(x)[::-1])[::-1], x),
    "running maximum": lambda x: as_given(np.maximum.accumulate(rows(x)) + np.minimum.accumulate(rows(x)), x),
    "shifted by one": lambda x: as_given(np.roll(rows(x), 1), x),
    "reversed": lambda x: as_given(rows(x)[::-1], x),
    "sorted": lambda x: as_given(np.sort(rows(x)), x),
    "ignores the perturbation": lambda x: np.full(len(x), sines(X)) if x.ndim > 1 else sines(x),
    "minds how many there are": lambda x: (
        rows(x)[0] + 0 * rows(x) if x.ndim > 1 and len(x) > 5 else as_given(rows(x), x)
    ),
    "reversed where there are many": lambda x: as_given(rows(x)[::-1] if len(x) > 5 else rows(x), x),
    "no axis is reduced but the first": lambda x: as_given(
        np.resize(np.sum(np.sin(x), axis=0), len(np.atleast_2d(x))), x
    ),
}


@pytest.mark.parametrize("name", MIXING)
@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e6])
def test_a_function_that_mixes_along_the_axis_is_refused(name, scale):
    with pytest.raises(InvalidArgument, match=r"vectorized=True.*params") as caught:
        check_gradient(lambda x: scale * MIXING[name](x), lambda x: scale * np.cos(x), X, vectorized=True)
    assert "leave vectorized out" in str(caught.value)


HARMED = {
    "numerical gradient": lambda f: numerical_gradient(f, X, vectorized=True),
    "hessian": lambda f: check_hessian(f, lambda x: np.diag(-np.sin(x)), X[:3], vectorized=True),
    "second leaf": lambda f: check_gradient(
        lambda p: sines(p["a"]) + f(p["b"]),
        lambda p: {"a": np.cos(p["a"]), "b": np.cos(p["b"])},
        {"a": X, "b": X},
        vectorized=True,
    ),
    "tenth leaf": lambda f: check_gradient(
        lambda p: sum(sines(p[f"a{i}"]) for i in range(12)) + f(p["b"]),
        lambda p: {name: np.cos(x) for name, x in p.items()},
        {f"a{i}": X for i in range(12)} | {"b": X[:5]},
        vectorized=True,
    ),
}


@pytest.mark.parametrize("name", HARMED)
def test_it_is_refused_wherever_it_could_do_harm(name):
    with pytest.raises(InvalidArgument, match="vectorized=True"):
        HARMED[name](MIXING["cumulative"])


@pytest.mark.parametrize("shape", [(), (1,), (3, 1)])
def test_a_wrong_length_names_the_leaf_and_the_remedy(shape):
    def f(x):
        return np.zeros(shape) if x.ndim > 1 else sines(x)

    with pytest.raises(InvalidArgument, match=r"params.*leave vectorized out"):
        check_gradient(f, np.cos, X, vectorized=True)


def test_what_it_raises_for_the_axis_comes_through_with_a_note():
    with pytest.raises(ZeroDivisionError) as caught:
        check_gradient(lambda x: 1 / 0 if x.ndim > 1 else sines(x), np.cos, X, vectorized=True)
    assert any("vectorized=True" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("edge", [1e-3, 1e-5])
def test_the_edge_of_a_domain_is_no_mixing(edge):
    def f(x):
        return np.sum(np.log(x), axis=-1)

    assert check_gradient(f, lambda x: 1 / x, np.array([edge, 1.0, 2.0]), vectorized=True)


@pytest.mark.parametrize(
    "case", [case for case in smooth.cases(31) if isinstance(case.x, np.ndarray)], ids=lambda c: c.name
)
def test_functions_of_the_corpus_row_by_row(case):
    """Stacked calls of a right function are right, whatever it is."""
    x = case.x

    def f(given):
        return np.array([case.f(row) for row in given]) if given.ndim > x.ndim else case.f(given)

    assert check_gradient(f, case.right, x, vectorized=True).verdict == check_gradient(case.f, case.right, x).verdict
