"""Jacobians and Hessians of trees, in blocks as JAX gives them; closed forms."""

import numpy as np
import pytest

from gradcheck import InvalidArgument, check_hessian, check_jacobian

RNG = np.random.default_rng(5)
POINT = {"a": RNG.normal(size=(2, 2)), "b": RNG.normal(size=3), "n": 3, "mode": "train"}


def f(p):
    return np.outer(p["a"].sum(0), p["b"] ** 2)


def jacobian(p):
    a, b = p["a"], p["b"]
    by_a = np.einsum("ik,j,l->ijlk", np.eye(2), b**2, np.ones(2))
    return {"a": by_a, "b": np.einsum("i,jk->ijk", a.sum(0), np.diag(2 * b))}


def value(p):
    return p["a"].sum() ** 2 * (p["b"] ** 2).sum()


def hessian(p):
    s, b = p["a"].sum(), p["b"]
    return {
        "a": {"a": np.full((2, 2, 2, 2), 2 * (b**2).sum()), "b": np.broadcast_to(4 * s * b, (2, 2, 3))},
        "b": {"a": np.broadcast_to((4 * s * b)[:, None, None], (3, 2, 2)), "b": 2 * s**2 * np.eye(3)},
    }


def off(matrix, path):
    """The same with one entry of one block off by 1 %."""

    def wrong(p):
        made = matrix(p)
        inner = made
        for key in path[:-1]:
            inner = inner[key]
        block = np.array(inner[path[-1]])
        block.flat[0] += 0.01
        inner[path[-1]] = block
        return made

    return wrong


def test_a_jacobian_of_a_tree():
    report = check_jacobian(f, jacobian, POINT)
    assert report and {name: p.shape for name, p in report.parameters.items()} == {"a": (2, 3, 2, 2), "b": (2, 3, 3)}
    for name in ("a", "b"):
        report = check_jacobian(f, off(jacobian, [name]), POINT)
        assert report.verdict == "fail" and np.flatnonzero(report.parameters[name].wrong).tolist() == [0]
        assert not any(p.wrong.any() for other, p in report.parameters.items() if other != name)
    assert check_jacobian(f, lambda p: {"a": jacobian(p)["a"]}, POINT).verdict == "fail"
    assert check_jacobian(f, lambda p: {"a": jacobian(p)["a"]}, POINT, wrt="a")
    assert check_jacobian(lambda p: p[0] * p[1], lambda p: (p[1] * np.eye(2), p[0]), (np.ones(2), 2.0))


def test_a_hessian_of_a_tree():
    report = check_hessian(value, hessian, POINT)
    shapes = {"a.a": (2, 2, 2, 2), "a.b": (2, 2, 3), "b.a": (3, 2, 2), "b.b": (3, 3)}
    assert report and {name: p.shape for name, p in report.parameters.items()} == shapes
    report = check_hessian(value, off(hessian, ["b", "b"]), POINT)
    assert report.verdict == "fail" and np.argwhere(report.parameters["b.b"].wrong).tolist() == [[0, 0]]
    report = check_hessian(value, off(hessian, ["a", "b"]), POINT)
    assert report.verdict == "fail" and report.findings[0].code == "not-symmetric"
    assert "0 of a and 0 of b" in report.findings[0].message


def test_blocks_that_are_missing_and_those_that_nobody_asked_for():
    def of_b(p):
        return {"b": {"b": hessian(p)["b"]["b"]}}

    report = check_hessian(value, of_b, POINT)
    assert report.verdict == "fail" and {"a.a", "a.b", "b.a"} <= {finding.where for finding in report.findings}
    report = check_hessian(value, of_b, POINT, wrt="b")
    assert report and list(report.parameters) == ["b.b"]
    assert check_hessian(value, off(of_b, ["b", "b"]), POINT, wrt="b").verdict == "fail"


def test_keyword_arguments():
    scaled = lambda x, s=1.0: s * x**3  # noqa: E731
    assert check_jacobian(scaled, lambda x, s=1.0: np.diag(3 * s * x**2), np.ones(3), kwargs={"s": 2.0})
    assert check_jacobian(scaled, lambda x, s=1.0: np.diag(3 * x**2), np.ones(3), kwargs={"s": 2.0}).verdict == "fail"
    summed = lambda x, s=1.0: s * (x**3).sum()  # noqa: E731
    assert check_hessian(summed, lambda x, s=1.0: np.diag(6 * s * x), np.ones(2), kwargs={"s": 2.0})
    for check in (check_jacobian, check_hessian):
        with pytest.raises(InvalidArgument, match="kwargs="):
            check(summed, summed, np.ones(2), 2.0)


@pytest.mark.parametrize("mean", [0.5, 20.0, 170.0, 1e5])
def test_a_function_that_overflows_far_from_the_point_hides_nothing_near_by(mean):
    """A normal log likelihood by mean and log of the scale: one vector, whose elements are decades apart."""
    y = np.random.default_rng(0).normal(size=30) * 5 + mean

    def f(q):
        return float(np.sum(0.5 * ((y - q[0]) / np.exp(q[1])) ** 2 + q[1]))

    def right(q):
        r, precision = y - q[0], np.exp(-2 * q[1])
        return precision * np.array([[y.size, 2 * r.sum()], [2 * r.sum(), 2 * (r**2).sum()]])

    x = np.array([mean, 1.6])
    assert check_hessian(f, right, x).ok
    for i, j in ((0, 0), (0, 1), (1, 1)):
        for factor in (-1.0, 0.0, 1.01):
            claim = right(x)
            claim[i, j] *= factor
            claim[j, i] = claim[i, j]
            report = check_hessian(f, lambda q, claim=claim: claim.copy(), x)
            assert report.verdict == "fail" and report.parameters["params"].wrong[i, j], f"{i}, {j}, {factor}: {report}"
