"""A bench of functions of named leaves, as screening finds it: noise and steps are known, nothing is measured yet."""

from dataclasses import replace

import numpy as np

from gradcheck.acceptance.bench import Bench
from gradcheck.acceptance.judgement import Claim
from gradcheck.acceptance.ledger import Estimate
from gradcheck.functions.points import Output, point_of
from gradcheck.functions.probe import Budget, Probe


def bench_of(f, params, claims, *, noise=1e-15, step=1e-4, rtol=1e-6, seed=0, budget=None):
    """Make one; ``f`` gives K values, ``claims`` has for each leaf an array of its shape, or one more axis of length K."""
    point = point_of(params, "params")
    output = Output.of(f(params), "f")
    probe = Probe(f, point, output, np.eye(output.size), Budget() if budget is None else Budget(budget))
    value = probe.read(f(params))
    made = {
        i: Claim(np.asarray(claims[leaf.name], float).reshape(-1, len(value)), np.zeros(len(value)), 2.0**-52)
        for i, leaf in enumerate(point.leaves)
    }
    bench = Bench(probe, value, made, rtol, np.random.default_rng(seed))
    bench.noise, bench.steps = np.broadcast_to(np.array(noise, float), value.shape).copy(), dict.fromkeys(made, step)
    return bench


def enter(bench, values, noise, *, leaf=0, indices=None, typical=None, limited=False):
    """Enter plain differences of elements of a leaf, one function, each measured by itself."""
    values = np.atleast_1d(np.asarray(values, float))
    noise = np.broadcast_to(np.asarray(noise, float), values.shape)
    for i, value, own in zip(range(len(values)) if indices is None else indices, values, noise, strict=True):
        shown = np.array([[own if typical is None else typical]])
        one = Estimate.difference(np.array([i]), np.array([[value]]), shown, np.zeros((1, 1)), limited=limited)
        bench.ledgers[leaf].add(replace(one, noise=np.array([[own]]), bound=np.array([[own]])))


def calls(bench):
    """Return the calls so far."""
    return bench.probe.budget.used
