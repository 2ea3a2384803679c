"""Executors of joblib and Dask: real processes, one of which is killed during a check."""

import os
import signal
import threading

import numpy as np
import pytest

from gradcheck import InvalidArgument, check_gradient
from tests.distributed import functions

X = np.linspace(0.1, 0.9, 60)


def told(report):
    data = report.to_dict()
    del data["seconds"]
    return repr(data)


def wrong(x):
    right = np.cos(x)
    right[5] *= -1
    return right


# ---- joblib ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def loky():
    joblib_loky = pytest.importorskip("joblib.externals.loky")
    with joblib_loky.get_reusable_executor(max_workers=2, kill_workers=True) as executor:
        yield executor


def test_loky_gives_the_same_report(loky):
    for grad in (np.cos, wrong):
        assert told(check_gradient(functions.sines, grad, X, workers=loky)) == told(
            check_gradient(functions.sines, grad, X)
        )


def test_loky_takes_a_closure(loky):
    y = np.arange(60.0)
    assert check_gradient(lambda x: float(x @ y), lambda x: y.copy(), X, workers=loky)


def test_a_worker_of_loky_that_is_killed_is_said(loky):
    report = check_gradient(functions.Dies(os.getpid()), np.cos, X, workers=loky)
    assert report.verdict == "inconclusive" and any(f.code == "workers-lost" for f in report.findings)


# ---- Dask ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("dask.distributed")
    with (
        # Workers are started again by processes of their own: in this one, closing while a start goes on would raise.
        distributed.SubprocessCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.wait_for_workers(2)
        yield client


@pytest.mark.filterwarnings("default")
def test_dask_gives_the_same_report(client):
    executor = client.get_executor()
    for grad in (np.cos, wrong):
        assert told(check_gradient(functions.sines, grad, X, workers=executor)) == told(
            check_gradient(functions.sines, grad, X)
        )


@pytest.mark.filterwarnings("default")
def test_dask_takes_a_closure(client):
    y = np.arange(60.0)
    assert check_gradient(lambda x: float(x @ y), lambda x: y.copy(), X, workers=client.get_executor())


@pytest.mark.filterwarnings("default")
def test_what_the_function_raises_comes_through_dask(client):
    with pytest.raises(IndexError) as caught:
        check_gradient(functions.divides, np.cos, X, workers=client.get_executor())
    assert any("gradcheck was calling f" in note for note in caught.value.__notes__)


@pytest.mark.filterwarnings("default")
def test_a_worker_of_dask_that_is_killed_does_not_change_the_report(client):
    pids = list(client.run(os.getpid).values())
    killed = []

    def progress(done, total):
        if done > 20 and not killed:
            killed.append(pids[0])
            os.kill(pids[0], signal.SIGKILL)

    report = check_gradient(functions.slow_sines, wrong, X, workers=client.get_executor(), progress=progress)
    assert killed and told(report) == told(check_gradient(functions.sines, wrong, X))


@pytest.mark.filterwarnings("default")
def test_a_function_that_kills_every_worker_of_dask_ends_the_check(client):
    report = check_gradient(functions.Dies(os.getpid()), np.cos, X, workers=client.get_executor())
    assert report.verdict == "inconclusive" and any(f.code == "workers-lost" for f in report.findings)


@pytest.mark.filterwarnings("default")
def test_what_dask_cannot_send_gets_the_remedy(client):
    lock = threading.Lock()

    def f(x):
        with lock:
            return float(np.sum(np.sin(x)))

    with pytest.raises(InvalidArgument, match="cannot be sent"):
        check_gradient(f, np.cos, X, workers=client.get_executor())
