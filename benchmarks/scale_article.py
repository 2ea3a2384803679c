"""The article's network: evaluations, and the time of a vectorised check beside PyTorch's own.

Both run in turn in one thread; what counts is CPU time, so that neighbours disturb less.
"""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import gradcheck
from network import article

ROUNDS = 7


def main() -> None:
    params, images, labels = problem(1)
    report = gradcheck.check_gradient(*functions(images, labels), params)
    weights = sum(array.size for array in params.values())
    print(f"article network, {weights} weights, right gradient")
    print(f"  black box: {report.verdict}, {report.evaluations / weights:.3f} evaluations a weight")
    if not importlib.util.find_spec("torch"):
        print("  PyTorch is not installed: nothing to compare with")
        return
    for count in (1, 64):
        params, images, labels = problem(count)
        f, grad = functions(images, labels)
        theirs = torch_check(params, images, labels)
        assert gradcheck.check_gradient(f, grad, params, vectorized=True).ok
        theirs()
        seconds = interleaved(lambda: gradcheck.check_gradient(f, grad, params, vectorized=True), theirs)  # noqa: B023
        ours, peer = (np.min(column) for column in seconds.T)
        middle = np.median(seconds[:, 1] / seconds[:, 0])
        print(
            f"  {count:2} images: vectorised {ours * 1e3:6.1f} ms, torch.autograd.gradcheck {peer * 1e3:7.1f} ms, "
            f"ratio of minima {peer / ours:5.1f}, median ratio {middle:5.1f}"
        )


def problem(count: int) -> tuple[dict[str, Any], Any, Any]:
    """Return weights, images and labels."""
    images, labels = article.load_digits01()
    return article.init_params(0), images[:count] / 16, labels[:count].astype(float)


def functions(images: Any, labels: Any) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """Return the loss as a function of the weights, and its gradient."""
    return lambda p: article.loss(p, images, labels), lambda p: article.gradient(p, images, labels)


def interleaved(*calls: Callable[[], object]) -> np.ndarray:
    """Return the seconds of each call, one row a round."""
    rows = []
    for _ in range(ROUNDS):
        row = []
        for call in calls:
            started = time.process_time()
            call()
            row.append(time.process_time() - started)
        rows.append(row)
    return np.array(rows)


def torch_check(params: Mapping[str, Any], images: Any, labels: Any) -> Callable[[], object]:
    """Return PyTorch's gradient check, in its slow mode, of the same network built of its own functions."""
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(1)
    functional = torch.nn.functional
    x, y = torch.tensor(images)[:, None], torch.tensor(labels)
    weights = [torch.tensor(array, requires_grad=True) for array in params.values()]

    def layer(maps: Any, kernels: list[Any], activations: list[Any]) -> Any:
        stacked = torch.stack(kernels)[:, None].flip(-1, -2)
        z = functional.conv2d(maps, stacked, padding=1, groups=maps.shape[1])
        active = [phi(z[:, channel]) for channel, phi in enumerate(activations)]
        return functional.max_pool2d(torch.stack(active, dim=1), 2)

    def loss(*given: Any) -> Any:
        p = dict(zip(params, given, strict=True))
        maps = layer(x, [p["W1a"], p["W1b"]], [torch.relu, torch.arctan])
        second = [p[name] for name in ("W2a", "W2b", "W2c", "W2d")]
        maps = layer(maps, second, [torch.arctan, torch.relu, torch.arctan, torch.tanh])
        units = torch.tanh(torch.arctan(maps.flatten(1) @ p["W3"]) @ p["W4"])
        return ((torch.sigmoid(units @ p["W5"])[:, 0] - y) ** 2).sum() / 2

    assert np.isclose(loss(*weights).item(), article.loss(params, images, labels), rtol=1e-12)
    return lambda: torch.autograd.gradcheck(loss, weights)
