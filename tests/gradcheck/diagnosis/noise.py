"""Errors that have no explanation: noise of many sorts on gradients of many sorts, and of those nothing may be said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

import gradcheck
from gradcheck import Report

Array = np.ndarray

SHAPES = [*((n,) for n in range(1, 11)), (3, 3), (4, 6), (5, 5), (8, 3), (4, 2, 3, 3), (2, 5, 4)]


@dataclass(frozen=True)
class Noise:
    """A true gradient and a claim that differs from it by chance."""

    name: str
    true: Array
    claimed: Array

    def report(self) -> Report:
        """Check the claim as the gradient of a function that has the true one at a random point."""
        x = np.random.default_rng(7).normal(size=self.true.shape)
        bend = np.cos(np.arange(self.true.size)).reshape(self.true.shape)

        def f(v: Array) -> float:
            return float(np.sum(self.true * v) + np.sum(bend * (v - x) ** 2))

        return gradcheck.check_gradient(f, lambda v: self.claimed + 0 * v, x)


def gradients(shape: tuple[int, ...], rng: np.random.Generator) -> Iterator[tuple[str, Array]]:
    """Give true gradients: dense, sparse, of low rank, positive, heavy-tailed, symmetric, integer, one-hot."""
    g = rng.normal(size=shape)
    yield "normal", g
    yield "sparse", np.where(rng.random(shape) < 0.3, g, 0.0)
    yield "positive", np.abs(g)
    yield "heavy", rng.standard_cauchy(size=shape)
    yield "integers", rng.integers(-3, 4, size=shape).astype(float)
    yield "constant", np.full(shape, 1.7)
    yield "one-hot", np.where(np.arange(g.size).reshape(shape) == g.size // 2, 2.5, 0.0)
    if len(shape) > 1:
        yield "low-rank", g.sum(axis=-1, keepdims=True) * rng.normal(size=shape[-1])
        yield "sum of slices", np.broadcast_to(g[:1], shape).copy()
    if len(shape) > 1 and shape[-1] == shape[-2]:
        yield "symmetric", g + np.swapaxes(g, -1, -2)


def errors(g: Array, rng: np.random.Generator) -> Iterator[tuple[str, Array]]:
    """Give claims: the gradient with noise of many sorts, as it is or scaled."""
    noise, size = rng.normal(size=g.shape), float(np.sqrt(np.mean(g**2))) + 0.1
    yield "something else", noise
    yield "as large", g + size * noise
    yield "small", g + 0.01 * size * noise
    yield "sparse", g + size * np.where(rng.random(g.shape) < 0.3, noise, 0.0)
    yield "heavy", g + size * rng.standard_cauchy(size=g.shape)
    yield "positive", g + size * np.abs(noise)
    yield "proportional", g * (1 + 0.2 * noise)
    yield "scaled", 2 * g + 0.01 * size * noise
    yield "negated", -g + 0.03 * size * noise
    yield "rotated", np.flip(g) + 0.02 * size * noise
    if g.ndim > 1:
        yield "low-rank", g + size * noise.sum(axis=-1, keepdims=True) * rng.normal(size=g.shape[-1])


def residuals(seed: int) -> Iterator[Noise]:
    """Give every kind of error on every kind of gradient, in every shape."""
    for shape in SHAPES:
        rng = np.random.default_rng([seed, *shape])
        for kind, g in gradients(shape, rng):
            for error, claimed in errors(g, rng):
                if not np.array_equal(claimed, g):
                    yield Noise(f"{error} on {kind} {shape} {seed}", g, claimed)


def layers(seed: int) -> Iterator[tuple[str, Report]]:
    """Give checks of layers whose backward is right but for a random linear map of the upstream."""
    for shape in ((4,), (3, 3), (4, 3), (2, 2, 4, 4)):
        rng = np.random.default_rng([seed, *shape])
        size = int(np.prod(shape))
        x, scale = rng.normal(size=shape), rng.normal(size=shape)
        disturbance = rng.normal(size=(size, size))
        for name, strength, sparse in (("dense", 1.0, 1.0), ("weak", 0.01, 1.0), ("sparse", 1.0, 0.1)):
            errors_of = strength * np.where(rng.random((size, size)) < sparse, disturbance, 0.0)

            def backward(dy: Array, x: Array, m: Array = errors_of, s: Array = scale) -> tuple[Array, Array]:
                return dy * s * np.cos(x) + (m @ dy.ravel()).reshape(dy.shape), (dy * np.sin(x))

            yield (
                f"{name} {shape} {seed}",
                gradcheck.check_layer(lambda x, scale: (np.sin(x) * scale, x), backward, x, scale),
            )
