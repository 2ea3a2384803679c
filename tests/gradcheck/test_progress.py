"""How far a check is: told to a function, or on stderr; never on stdout."""

import subprocess
import sys

import numpy as np
import pytest

from gradcheck import check_adjoint, check_gradient, check_hessian, numerical_gradient, numerical_jacobian

X = np.linspace(0.1, 0.9, 40)


def sines(x):
    return float(np.sum(np.sin(x)))


CHECKS = {
    "gradient": lambda progress: check_gradient(sines, np.cos, X, progress=progress),
    "wrong gradient": lambda progress: check_gradient(sines, lambda x: -np.cos(x), X, progress=progress),
    "vectorized": lambda progress: check_gradient(
        lambda x: np.sum(np.sin(x), axis=-1), np.cos, X, vectorized=True, progress=progress
    ),
    "workers": lambda progress: check_gradient(sines, np.cos, X, workers=map, progress=progress),
    "exhausted": lambda progress: check_gradient(sines, np.cos, X, max_evaluations=9, progress=progress),
    "hessian": lambda progress: check_hessian(
        lambda x: float(np.sum(x**3)), lambda x: np.diag(6 * x), X[:3], progress=progress
    ),
    "adjoint": lambda progress: check_adjoint(np.cumsum, lambda y: np.cumsum(y[::-1])[::-1], X, X, progress=progress),
    "numerical gradient": lambda progress: numerical_gradient(sines, X, progress=progress),
    "numerical jacobian": lambda progress: numerical_jacobian(np.sin, X, progress=progress),
}


@pytest.mark.parametrize("name", CHECKS)
def test_it_rises_and_ends_with_everything_done(name, capsys):
    seen = []
    CHECKS[name](lambda done, total: seen.append((done, total)))
    done, totals = zip(*seen, strict=True)
    assert list(done) == sorted(set(done)) and len(set(totals)) == 1
    assert seen[-1][0] == seen[-1][1] and all(done < total for done, total in seen[:-1])
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("has_rich", [True, False])
def test_true_writes_to_stderr_alone(has_rich, capsys, monkeypatch):
    if has_rich:
        pytest.importorskip("rich")
    else:
        monkeypatch.setitem(sys.modules, "rich.console", None)
    stdout = sys.stdout
    assert check_gradient(sines, np.cos, X, progress=True)
    told = capsys.readouterr()
    assert told.out == "" and sys.stdout is stdout
    if not has_rich:
        first, *_, last = told.err.splitlines()
        assert "evaluations" in first and last.startswith("gradcheck: ")
        done, total = (int(part.replace(",", "")) for part in last.split(" evaluations")[0][11:].split(" of "))
        assert done == total


def test_a_forecast_is_shown(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    check_gradient(sines, np.cos, X, progress=True)
    line = capsys.readouterr().err.splitlines()[-1]
    assert "about 140 evaluations of " in line and "one after another" in line


def test_it_says_nothing_where_the_check_is_interrupted():
    seen = []

    def f(x):
        if len(seen) > 30:
            raise KeyboardInterrupt
        return sines(x)

    with pytest.raises(KeyboardInterrupt):
        check_gradient(f, np.cos, X, progress=lambda done, total: seen.append((done, total)))
    assert all(done < total for done, total in seen)


def test_what_the_users_function_raises_comes_through():
    def progress(done, total):
        raise ZeroDivisionError

    for workers in (None, map):
        with pytest.raises(ZeroDivisionError):
            check_gradient(sines, np.cos, X, progress=progress, workers=workers)


def test_a_check_in_a_pipe_prints_nothing():
    code = (
        "import numpy as np, gradcheck\n"
        "gradcheck.check_gradient(lambda x: float(np.sum(np.sin(x))), np.cos, np.ones(5), progress=True)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout == ""
