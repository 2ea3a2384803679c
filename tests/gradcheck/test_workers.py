"""Checks whose function is called elsewhere: the same report, and nothing passed that was not looked at."""

import functools
import multiprocessing
import os
import subprocess
import sys
import threading
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
import pytest

from gradcheck import (
    GradcheckError,
    InvalidArgument,
    check_adjoint,
    check_chain,
    check_gradient,
    check_hessian,
    check_hvp,
    check_jacobian,
    check_jvp,
    check_layer,
    check_vjp,
    numerical_gradient,
    numerical_jacobian,
)
from gradcheck.functions import workers as workers_module
from tests.gradcheck import worker_functions as functions

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
"""Python from 3.12 on says so of a fork beside threads; here there are threads on purpose."""

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(7)
PARAMS = {"w": RNG.normal(size=(4, 3)), "b": RNG.normal(size=3), "c": 0.7}
X = np.linspace(0.1, 0.9, 24)
X[3] = 0.6999999

KINDS = ["processes", "threads", "process executor", "Pool.map", "Pool.imap_unordered", "ThreadPool.map", "map"]


@pytest.fixture(scope="module")
def pools():
    with (
        ThreadPoolExecutor(3) as threads,
        ProcessPoolExecutor(2) as processes,
        multiprocessing.Pool(2) as pool,
        ThreadPool(2) as thread_pool,
    ):
        yield {
            "processes": 2,
            "threads": threads,
            "process executor": processes,
            "Pool.map": pool.map,
            "Pool.imap_unordered": pool.imap_unordered,
            "ThreadPool.map": thread_pool.map,
            "map": map,
        }


def told(report):
    """Everything in a report but the time it took."""
    data = report.to_dict()
    del data["seconds"]
    return repr(data)


def cosines(x):
    return np.cos(x)


# ---- the same report -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("grad", [functions.gradient, functions.wrong_gradient])
def test_the_report_is_the_same_whatever_the_workers(pools, kind, grad):
    alone = check_gradient(functions.value, grad, PARAMS)
    helped = check_gradient(functions.value, grad, PARAMS, workers=pools[kind])
    assert told(alone) == told(helped)
    assert helped.verdict == ("pass" if grad is functions.gradient else "fail")


def test_the_number_of_workers_does_not_matter():
    reports = [check_gradient(functions.value, functions.wrong_gradient, PARAMS, workers=n) for n in (1, 3)]
    assert told(reports[0]) == told(reports[1])


CHECKS = {
    "value and gradient": lambda **o: check_gradient(functions.value_and_gradient, True, X, **o),
    "vectorized": lambda **o: check_gradient(functions.vectorized, cosines, X, vectorized=True, **o),
    "complex step": lambda **o: check_gradient(functions.vectorized, cosines, X, method="complex-step", **o),
    "complex step, vectorized": lambda **o: check_gradient(
        functions.vectorized, cosines, X, method="complex-step", vectorized=True, **o
    ),
    "layer": lambda **o: check_layer(
        functions.layer_forward, functions.layer_backward, RNG0.normal(size=(2, 3)), RNG0.normal(size=(3, 4)), **o
    ),
    "vjp": lambda **o: check_vjp(np.matmul, lambda dy, a, b: (np.outer(dy, b), a.T @ dy), X.reshape(4, 6), X[:6], **o),
    "jvp": lambda **o: check_jvp(np.sin, lambda tangents, x: np.cos(x) * tangents[0], X, **o),
    "jacobian": lambda **o: check_jacobian(
        functions.product, lambda x: np.array([[x[1], x[0]], [np.cos(x[0]), 0], [0, 2 * x[1]]]), X[:2], **o
    ),
    "hessian": lambda **o: check_hessian(functions.cubes, lambda x: np.diag(6 * x), X[:4], **o),
    "hvp": lambda **o: check_hvp(functions.squares, lambda x, v: x**2 * v, X, **o),
}
RNG0 = np.random.default_rng(3)


@pytest.mark.parametrize("name", CHECKS)
def test_every_check_takes_workers(pools, name):
    state = RNG0.bit_generator.state
    alone = CHECKS[name]()
    RNG0.bit_generator.state = state
    helped = CHECKS[name](workers=pools["process executor"])
    assert told(alone) == told(helped) and helped.verdict == "pass"


def stages(wrong=None):
    rng = np.random.default_rng(2)
    return [
        ("one", functions.matrix_forward, functions.matrix_backward, (rng.normal(size=(3, 4)),)),
        ("act", functions.tanh_forward, wrong or functions.tanh_backward, ()),
        ("two", functions.matrix_forward, functions.matrix_backward, (rng.normal(size=(4, 1)),)),
    ]


@pytest.mark.parametrize("wrong", [None, lambda dy, x: dy * (1 - x**2)])
def test_a_chain_takes_workers(pools, wrong):
    x = np.random.default_rng(4).normal(size=(2, 3))
    alone = check_chain(stages(wrong), x)
    for workers in (2, pools["threads"], pools["process executor"]):
        assert told(check_chain(stages(wrong), x, workers=workers)) == told(alone)
    assert alone.verdict == ("fail" if wrong else "pass")


def test_directions_take_workers(pools):
    for grad in (functions.gradient, functions.wrong_gradient):
        alone = check_gradient(functions.value, grad, PARAMS, method="directional")
        helped = check_gradient(functions.value, grad, PARAMS, method="directional", workers=pools["process executor"])
        assert told(alone) == told(helped)


def test_an_interrupted_chain_keeps_the_stages_that_were_checked():
    calls = []

    def tanh(x):
        calls.append(1)
        if len(calls) > 20:
            raise KeyboardInterrupt
        return np.tanh(x), x

    one, (_, _, backward, _), two = stages()
    with pytest.raises(KeyboardInterrupt) as caught:
        check_chain([one, ("act", tanh, backward, ()), two], np.ones((2, 3)) / 3)
    report = caught.value.report
    assert (
        report.verdict == "inconclusive" and {"one.x", "one.w"} <= set(report.parameters)
    ) or "two.x" in report.parameters
    assert [f.code for f in report.findings].count("interrupted") == 1
    assert any(f.code == "interrupted" and "act" in f.message for f in report.findings)


@pytest.mark.parametrize("last", [1, 2, 5, 12, 30])
def test_an_interrupted_chain_has_counted_every_call(last):
    calls = []

    def double(x):
        calls.append(1)
        if len(calls) == last:
            raise KeyboardInterrupt
        return 2 * x, None

    with pytest.raises(KeyboardInterrupt) as caught:
        check_chain([(name, double, lambda dy, _: 2 * dy, ()) for name in ("a.one", "b")], np.ones(8) / 3)
    report = caught.value.report
    assert report.verdict == "inconclusive" and report.evaluations == last
    assert "not checked to the end: a.one, b" in report.findings[-1].message


def test_a_chain_whose_workers_are_lost_does_not_pass():
    x = np.random.default_rng(4).normal(size=(2, 3))
    report = check_chain(stages(), x, workers=lambda f, xs: [f(x) for x in xs][1:])
    assert report.verdict == "inconclusive" and any(f.code == "workers-lost" for f in report.findings)


def test_numerical_derivatives_take_workers(pools):
    for find in (
        functools.partial(numerical_gradient, functions.cubes, X),
        functools.partial(numerical_jacobian, functions.product, X[:2]),
    ):
        alone, helped = find(), find(workers=pools["process executor"])
        np.testing.assert_array_equal(alone.value, helped.value)
        np.testing.assert_array_equal(alone.error_bound, helped.error_bound)
        assert alone.evaluations == helped.evaluations


@pytest.mark.parametrize("limit", [1, 3, 11, 12, 20, 37, 60])
def test_the_budget_is_exact_with_workers(pools, limit):
    count = []

    def f(params):
        count.append(1)
        return functions.value(params)

    alone = check_gradient(functions.value, functions.gradient, PARAMS, max_evaluations=limit)
    helped = check_gradient(f, functions.gradient, PARAMS, max_evaluations=limit, workers=pools["threads"])
    assert told(alone) == told(helped)
    assert helped.evaluations == len(count) <= limit


def test_an_executor_stays_open(pools):
    for kind in ("threads", "process executor"):
        check_gradient(functions.value, functions.gradient, PARAMS, workers=pools[kind])
        assert pools[kind].submit(int, "3").result() == 3


def test_threads_take_any_function(pools):
    y = np.arange(3.0)
    assert check_gradient(lambda x: float(x @ y), lambda x: y.copy(), np.ones(3), workers=pools["threads"])


def test_nothing_is_left_behind():
    before = threading.active_count(), set(multiprocessing.active_children())
    method = multiprocessing.get_start_method(allow_none=True)
    check_gradient(functions.value, functions.gradient, PARAMS, workers=2)
    assert (threading.active_count(), set(multiprocessing.active_children())) == before
    assert multiprocessing.get_start_method(allow_none=True) == method


# ---- what cannot be -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "workers", [0, -2, True, False, 1.5, "two", object(), ThreadPoolExecutor, multiprocessing.pool.ThreadPool]
)
def test_other_workers_are_refused(workers):
    if workers is multiprocessing.pool.ThreadPool:
        with ThreadPool(1) as pool, pytest.raises(InvalidArgument, match="map"):
            check_gradient(functions.value, functions.gradient, PARAMS, workers=pool)
        return
    with pytest.raises(InvalidArgument, match="workers"):
        check_gradient(functions.value, functions.gradient, PARAMS, workers=workers)


@pytest.mark.parametrize("kind", ["processes", "process executor", "Pool.map"])
def test_a_function_that_cannot_be_pickled_gets_the_remedy(pools, kind):
    y = np.arange(3.0)
    with pytest.raises(InvalidArgument, match=r"top level of a module.*ThreadPoolExecutor.*loky"):
        check_gradient(lambda x: float(x @ y), lambda x: y, np.ones(3), workers=pools[kind])


def test_the_gradient_need_not_be_pickled():
    assert check_gradient(functions.cubes, lambda x: 3 * x**2, X, workers=2)


def test_something_unlike_map_is_refused():
    with pytest.raises(InvalidArgument, match="like map"):
        check_gradient(functions.cubes, lambda x: 3 * x**2, X, workers=lambda: None)


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_function_raises_comes_through(pools, kind):
    with pytest.raises(IndexError, match="on purpose") as caught:
        check_gradient(functions.RaisesAfter("zero"), cosines, X, workers=pools[kind])
    assert any("gradcheck was calling f with params slightly displaced" in note for note in caught.value.__notes__)


def test_what_the_function_raises_leaves_nothing_behind(monkeypatch):
    fallen = []
    monkeypatch.setattr(threading, "excepthook", fallen.append)
    before = threading.active_count()
    for _ in range(8):  # which thread comes first is chance
        with pytest.raises(IndexError):
            check_gradient(functions.RaisesAfter("zero"), cosines, X, workers=2)
    assert not fallen and threading.active_count() == before


@pytest.mark.parametrize("kind", ["processes", "process executor", "Pool.map"])
def test_an_exception_that_cannot_be_pickled_is_told_all_the_same(pools, kind):
    with pytest.raises(RuntimeError, match="Custom: no") as caught:
        check_gradient(functions.RaisesAfter("custom"), cosines, X, workers=pools[kind])
    assert any("gradcheck was calling f" in note for note in caught.value.__notes__)


# ---- what gets lost --------------------------------------------------------------------------------------------------


def is_inconclusive_and_says_why(report):
    """Nothing passed: what is missing is undecided, and said."""
    lost = [finding for finding in report.findings if finding.code == "workers-lost"]
    undecided = report.parameters["params"].undecided
    return report.verdict == "inconclusive" and len(lost) == 1 and undecided.any() and "lost" in str(report)


def test_a_process_that_dies_once_is_replaced(tmp_path):
    f = functions.LeavesAfter(os.getpid(), tmp_path / "died")
    report = check_gradient(f, cosines, X, workers=2)
    assert (tmp_path / "died").exists() and told(report) == told(check_gradient(f, cosines, X))


def test_a_process_that_always_dies_ends_the_check():
    before = set(multiprocessing.active_children())
    report = check_gradient(functions.LeavesAfter(os.getpid()), cosines, X, workers=2)
    assert is_inconclusive_and_says_why(report) and set(multiprocessing.active_children()) == before


def test_a_broken_executor_ends_the_check():
    with ProcessPoolExecutor(2) as pool:
        assert is_inconclusive_and_says_why(
            check_gradient(functions.LeavesAfter(os.getpid()), cosines, X, workers=pool)
        )
        assert is_inconclusive_and_says_why(check_gradient(functions.cubes, lambda x: 3 * x**2, X, workers=pool))


def test_a_closed_executor_ends_the_check():
    for pool in (ThreadPoolExecutor(1), ProcessPoolExecutor(1)):
        pool.shutdown()
        assert is_inconclusive_and_says_why(check_gradient(functions.cubes, lambda x: 3 * x**2, X, workers=pool))


def test_a_closed_pool_ends_the_check():
    pool = multiprocessing.Pool(1)
    pool.terminate()
    pool.join()
    assert is_inconclusive_and_says_why(check_gradient(functions.cubes, lambda x: 3 * x**2, X, workers=pool.map))


@pytest.mark.parametrize("always", [False, True])
def test_a_pool_whose_process_dies_does_not_hang(tmp_path, always):
    f = functions.LeavesAfter(os.getpid(), None if always else tmp_path / "died")
    with multiprocessing.Pool(2) as pool:
        report = check_gradient(f, cosines, X, workers=pool.map)
    assert is_inconclusive_and_says_why(report) if always else report.verdict == "pass"


def test_results_that_a_map_drops_are_missed():
    assert is_inconclusive_and_says_why(
        check_gradient(functions.cubes, lambda x: 3 * x**2, X, workers=lambda f, xs: [f(x) for x in xs][1:])
    )
    assert is_inconclusive_and_says_why(
        check_gradient(functions.cubes, lambda x: 3 * x**2, X, workers=lambda f, xs: [None for _ in xs])
    )


class Forgetful(Executor):
    """Never does its third task, and says nothing."""

    def __init__(self):
        self.number = 0

    def submit(self, fn, /, *args, **kwargs):
        self.number += 1
        future = Future()
        if self.number != 3:
            future.set_result(fn(*args, **kwargs))
        return future


def test_a_task_that_never_comes_back_is_given_up(monkeypatch):
    monkeypatch.setattr(workers_module, "SILENCE", 0.2)
    assert is_inconclusive_and_says_why(check_gradient(functions.cubes, lambda x: 3 * x**2, X, workers=Forgetful()))


def test_a_derivative_with_missing_evaluations_is_an_error():
    with pytest.raises(GradcheckError, match="not complete"):
        numerical_gradient(functions.LeavesAfter(os.getpid()), X, workers=2)


def test_a_wrong_element_found_before_the_loss_is_still_wrong():
    def grad(x):
        right = np.cos(x)
        right[0] *= 2
        return right

    class LosesLate(Executor):
        """Breaks after so many tasks."""

        def __init__(self):
            self.left = 60

        def submit(self, fn, /, *args, **kwargs):
            self.left -= 1
            if self.left < 0:
                raise RuntimeError("gone")
            future = Future()
            future.set_result(fn(*args, **kwargs))
            return future

    report = check_gradient(functions.RaisesAfter("never at X"), grad, X * 0.5, workers=LosesLate())
    assert report.verdict in {"inconclusive", "fail"} and any(f.code == "workers-lost" for f in report.findings)


# ---- ctrl-c ----------------------------------------------------------------------------------------------------------

INTERRUPTED = """
import os, signal, sys, threading, time
import numpy as np
from concurrent.futures import ThreadPoolExecutor
import gradcheck
from tests.gradcheck.worker_functions import Slowly

def interrupt(calls):
    while not os.path.exists(calls) or os.path.getsize(calls) < 12:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)

if __name__ == "__main__":
    workers = {"none": None, "processes": 2, "threads": ThreadPoolExecutor(2)}[sys.argv[1]]
    threading.Thread(target=interrupt, args=sys.argv[2:], daemon=True).start()
    try:
        gradcheck.check_gradient(Slowly(sys.argv[2]), np.cos, np.linspace(0.1, 0.9, 2000), workers=workers)
    except KeyboardInterrupt as interrupt:
        report = interrupt.report
        print(report.verdict, report.parameters["params"].undecided.sum())
        print([finding.code for finding in report.findings])
        import multiprocessing
        print(multiprocessing.active_children())
"""


def interrupted_check(tmp_path, workers, way="SIGINT"):
    """Run a check, in a process of its own, that sends itself a signal when it has begun, however long that takes."""
    script = tmp_path / "interrupted.py"
    script.write_text(INTERRUPTED.replace("SIGINT", way))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    command = [sys.executable, script, workers, tmp_path / "calls"]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)  # noqa: S603


@pytest.mark.parametrize("workers", ["none", "processes", "threads"])
def test_ctrl_c_gives_the_report_so_far(tmp_path, workers):
    done = interrupted_check(tmp_path, workers)
    assert done.returncode == 0, done.stderr
    first, codes, children = done.stdout.splitlines()
    verdict, undecided = first.split()
    assert verdict == "inconclusive" and int(undecided) == 2000 and "interrupted" in codes and children == "[]"
    assert not done.stderr


def test_an_interrupted_dot_test_says_so():
    def matvec(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        check_adjoint(matvec, lambda y: y, np.ones(3), np.ones(3))
    assert caught.value.report.verdict == "inconclusive" and caught.value.report.findings[0].code == "interrupted"


def test_an_interrupted_check_keeps_what_was_confirmed():
    calls = []

    def f(x):
        calls.append(1)
        if len(calls) > 1000:
            raise KeyboardInterrupt
        return float(np.sum(np.sin(x)))

    def grad(x):
        return np.cos(x) * np.where(np.arange(x.size) == 3, 2.0, 1.0)

    evaluations = check_gradient(lambda x: float(np.sum(np.sin(x))), grad, X).evaluations
    for spent in [*range(1, evaluations - 1, 6), evaluations - 1]:
        calls[:] = [1] * (1000 - spent)
        with pytest.raises(KeyboardInterrupt) as caught:
            check_gradient(f, grad, X)
        report = caught.value.report
        assert report.verdict in {"inconclusive", "fail"} and report.evaluations == spent + 1
        assert any(finding.code == "interrupted" for finding in report.findings)
    assert report.verdict == "fail" and report.parameters["params"].wrong.nonzero()[0].tolist() == [3]


def test_processes_end_with_a_parent_that_is_killed(tmp_path):
    done = interrupted_check(tmp_path, "processes", "SIGKILL")
    # The pipes of the output are closed when the last process that inherited them ends: run() would not return before.
    assert done.returncode < 0


def test_one_worker_is_this_process_as_in_scipy():
    """So f need not pickle, and `in_place` is possible."""
    x = np.array([0.5, -1.5])
    serial = check_gradient(lambda v: (v**2).sum(), lambda v: 2 * v, x)
    assert (
        str(check_gradient(lambda v: (v**2).sum(), lambda v: 2 * v, x, workers=1)).split(" s;")[0][:60]
        == str(serial)[:60]
    )
    assert check_gradient(lambda v: (x**2).sum(), lambda v: 2 * x, x, workers=1, in_place=True).verdict == "pass"
    with pytest.raises(InvalidArgument, match="workers=True"):
        check_gradient(lambda v: (v**2).sum(), lambda v: 2 * v, x, workers=True)
