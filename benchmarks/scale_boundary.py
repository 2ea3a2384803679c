"""What a call costs at the boundary: a parameter given in the user's own kind, and the value of the function read.

All of it is beyond what a list of NumPy's arrays and a number made a vector take. NumPy's are given as they are: for them it is what
finds this out, beside a whole evaluation. PyTorch and JAX are measured where they are installed, beside their own conversions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from gradcheck import check_gradient
from gradcheck.functions.points import Output, point_of

SIZE, CALLS, ROUNDS = 1_000, 500, 30


def main() -> None:
    """Print one row for each library."""
    print(f"a call at the boundary, one parameter of {SIZE:,} elements and one number, in CPU time")
    x = np.linspace(0.1, 0.9, SIZE)
    for name, array, number, own in _kinds(x):
        cost, its_own, evaluation = _costs(array, number, own)
        beside = f"of which {its_own * 1e6:.1f} us are its own"
        if name == "NumPy":
            beside = f"{cost / evaluation:.1%} of an evaluation of x @ x in a check"
        print(f"  {name:8s}{cost * 1e6:6.1f} us, {beside}")


def _kinds(x: np.ndarray) -> Iterator[tuple[str, Any, Any, Callable[[], Any]]]:
    """Give the name of each library that is there, an array and a number of it, and what it takes to convert them."""
    yield "NumPy", x, np.float64(1.5), lambda: None
    if find_spec("torch"):
        torch = import_module("torch")
        one = torch.tensor(1.5)
        yield "PyTorch", torch.from_numpy(x), one, lambda: (torch.from_numpy(x), one.numpy())
    if find_spec("jax"):
        jnp = import_module("jax.numpy")
        number, single = jnp.asarray(1.5), x.astype(np.float32)
        yield "JAX", jnp.asarray(single), number, lambda: (jnp.asarray(single), np.asarray(number))


def _costs(array: Any, number: Any, own: Callable[[], Any]) -> tuple[float, float, float]:
    """Return three times in seconds.

    What it takes to give an array of this kind and to read a number, beyond what NumPy takes for it; the library's own
    conversions; and an evaluation, of a cheap function of NumPy's, in a whole check.
    """
    point, output = point_of(array, "x"), Output.of(number, "f")
    numbers, plain = point.copies()[0], np.float64(1.5)

    def check() -> int:
        return check_gradient(lambda p: p @ p, lambda p: 2 * p, np.linspace(0.1, 0.9, SIZE)).evaluations

    def conversions() -> tuple[Any, Any]:
        return point.tree({0: numbers}), output.read(number)

    def without() -> tuple[Any, Any]:
        replaced = {0: numbers}
        return [replaced[i] for i in range(1)], np.asarray(plain).astype(np.float64).ravel()

    given, before, its_own = _best((conversions, without, own), calls=CALLS)
    (checked,) = _best((check,), calls=1)
    return given - before, its_own, checked / check()


def _best(functions: Sequence[Callable[[], Any]], calls: int) -> list[float]:
    """Return the seconds that a call of each function takes, the least of several rounds in which they take turns."""
    best = [np.inf] * len(functions)
    for _ in range(ROUNDS):
        for number, function in enumerate(functions):
            started = time.process_time()
            for _ in range(calls):
                function()
            best[number] = min(best[number], (time.process_time() - started) / calls)
    return best
