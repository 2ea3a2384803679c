"""Chains of stages: a planted fault is found in its stage and no other; faults between stages; hostile input."""

import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from gradcheck import GradientError, InvalidArgument, assert_chain, check_chain


def dense(x, w, b):
    return x @ w + b, (x, w)


def dense_backward(dy, cache):
    x, w = cache
    return dy @ w.T, x.T @ dy, dy.sum(axis=0)


def tanh(x):
    y = np.tanh(x)
    return y, y


def tanh_backward(dy, y):
    return dy * (1 - y**2)


def relu(x):
    return np.maximum(x, 0), x


def relu_backward(dy, x):
    return dy * (x > 0)


def residual(x):
    return x + np.sin(x), x


def residual_backward(dy, x):
    return dy * (1 + np.cos(x))


def normalise(x, axis):
    mean, scale = x.mean(axis, keepdims=True), 1 / np.sqrt(x.var(axis, keepdims=True) + 1e-5)
    return (x - mean) * scale, scale


def pull_normalised(dn, n, scale, axis):
    return scale * (dn - dn.mean(axis, keepdims=True) - n * (dn * n).mean(axis, keepdims=True))


def norm_pair(axis):
    def forward(x, g, b):
        n, scale = normalise(x, axis)
        return g * n + b, (n, scale, g)

    def backward(dy, cache):
        n, scale, g = cache
        return pull_normalised(dy * g, n, scale, axis), (dy * n).sum(axis=0), dy.sum(axis=0)

    return forward, backward


LABELS = np.array([0, 2, 1, 2, 0, 1])


def cross_entropy(x):
    p = np.exp(x - x.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    return -np.mean(np.log(p[np.arange(len(x)), LABELS])), p


def cross_entropy_backward(dy, p):
    d = p.copy()
    d[np.arange(len(p)), LABELS] -= 1
    return dy * d / len(p)


def embed(ids, table):
    return table[ids], (ids, table)


def embed_backward(dy, cache):
    ids, table = cache
    d = np.zeros_like(table)
    np.add.at(d, ids, dy)
    return None, d


IDS = np.array([1, 4, 4, 7, 0, 8])
MASK = np.where(np.random.default_rng(7).random((6, 5)) < 0.3, 0.0, 1 / 0.7)


def network(dtype=np.float64):
    """Embedding, dense, batch norm, ReLU, dropout with a fixed mask, residual, layer norm, dense, cross-entropy."""
    rng = np.random.default_rng(3)

    def drawn(*shape):
        return (0.7 * rng.normal(size=shape)).astype(dtype)

    mask = MASK.astype(dtype)
    return [
        ("embed", embed, embed_backward, (drawn(9, 4),)),
        ("fc1", dense, dense_backward, (drawn(4, 5), drawn(5))),
        ("bn", *norm_pair(0), (drawn(5) + 1, drawn(5))),
        ("relu", relu, relu_backward, ()),
        ("drop", lambda x: (x * mask, None), lambda dy, _: dy * mask, ()),
        ("skip", residual, residual_backward, ()),
        ("ln", *norm_pair(1), (drawn(5) + 1, drawn(5))),
        ("fc2", dense, dense_backward, (drawn(5, 3), drawn(3))),
        ("loss", cross_entropy, cross_entropy_backward, ()),
    ]


NAMES = [stage[0] for stage in network()]


def scaled(backward, which, factor):
    def wrong(dy, cache):
        given = backward(dy, cache)
        parts = list(given) if isinstance(given, tuple) else [given]
        parts[which] = parts[which] * parts[which].dtype.type(factor)
        return tuple(parts)

    return wrong


def with_fault(stages, name, which=-1, factor=1.01):
    return [
        (stage, forward, scaled(backward, which, factor) if stage == name else backward, params)
        for stage, forward, backward, params in stages
    ]


def wrong_stages(report):
    return [finding.where for finding in report.findings if finding.code == "wrong-stage"]


X = np.random.default_rng(1).normal(size=(4, 5))
P = np.random.default_rng(2)
FC = ("fc", dense, dense_backward, (P.normal(size=(5, 6)), P.normal(size=6)))
OUT = ("out", dense, dense_backward, (P.normal(size=(6, 3)), P.normal(size=3)))
ACT = ("act", tanh, tanh_backward, ())


# ---- a fault inside a stage -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "seed"), [(np.float64, 0), (np.float32, 1), (np.float32, 2)])
def test_a_right_chain_passes(dtype, seed):
    report = check_chain(network(dtype), IDS, rng=seed)
    assert report.ok, str(report)
    assert report.stage is None
    assert wrong_stages(report) == []


DTYPES = [(np.float32, np.float64)[number % 2] for number in range(len(NAMES))]


@pytest.mark.parametrize(("name", "dtype"), list(zip(NAMES, DTYPES, strict=True)))
def test_the_wrong_stage_is_named_and_no_other(name, dtype):
    report = check_chain(with_fault(network(dtype), name, factor=1.05), IDS)
    assert (report.verdict, report.stage, wrong_stages(report)) == ("fail", name, [name])
    assert report.findings[0].where == name
    assert name in report.findings[0].message
    assert report.findings[0].evidence["from_output"] == len(NAMES) - NAMES.index(name)
    wrong = [parameter.name for parameter in report.parameters.values() if parameter.wrong.any()]
    assert len(wrong) == 1
    assert wrong[0].startswith(f"{name}.")


def test_of_several_wrong_stages_the_one_nearest_the_output_comes_first():
    stages = with_fault(with_fault(with_fault(network(), "fc1", 0), "skip"), "ln", 1)
    report = check_chain(stages, IDS)
    assert report.stage == "ln"
    assert wrong_stages(report) == ["ln", "skip", "fc1"]


def test_a_fault_is_seen_where_no_upstream_arrives():
    blocked = ("block", lambda x: (0 * x, None), lambda dy, _: 0 * dy, ())
    assert check_chain([FC, ACT, blocked, OUT], X).ok
    report = check_chain([FC, ("act", tanh, lambda dy, y: dy * (1 - y), ()), blocked, OUT], X)
    assert wrong_stages(report) == ["act"]


def test_parameters_are_named_after_stage_and_signature_in_order():
    report = check_chain([FC, ACT, OUT], X)
    assert list(report.parameters) == ["fc.x", "fc.w", "fc.b", "act.x", "out.x", "out.w", "out.b"]
    unnamed = ("fc", lambda h, *weights: dense(h, *weights), dense_backward, FC[3])
    assert list(check_chain([unnamed], X).parameters) == ["fc.x", "fc.x1", "fc.x2"]


def test_names_stay_apart_whatever_the_stages_are_called():
    inner = ("a.w", lambda t: (t["b"] * 2, None), lambda dy, _: {"b": 2 * dy}, ())
    outer = (
        "a",
        lambda x, w: ({"b": x * w["x"]["b"]}, (x, w)),
        lambda dy, c: _outer(dy["b"], *c),
        ({"x": {"b": 2.0}},),
    )
    report = check_chain([outer, inner], X)
    assert len(report.parameters) == 3
    assert report.ok, str(report)


def _outer(dy, x, w):
    return dy * w["x"]["b"], {"x": {"b": float(np.sum(dy * x))}}


def test_values_between_stages_may_be_trees():
    split = ("split", lambda x: ((x, 2 * x), None), lambda dy, _: dy[0] + 2 * dy[1], ())
    join = (
        "join",
        lambda t: (t[0] * np.sin(t[1]), t),
        lambda dy, t: ((dy * np.sin(t[1]), dy * t[0] * np.cos(t[1])),),
        (),
    )
    assert check_chain([split, join, FC], X).ok
    wrong = ("join", join[1], lambda dy, t: ((dy * np.sin(t[1]), dy * np.cos(t[1])),), ())
    assert wrong_stages(check_chain([split, wrong, FC], X)) == ["join"]


def test_integer_inputs_are_held_fixed():
    one_hot = ("one_hot", lambda ids: (np.eye(5)[ids], None), lambda _dy, _cache: None, ())
    report = check_chain([one_hot, FC], np.array([0, 3, 1]))
    assert report.ok
    assert any("one_hot" in spot for spot in report.blind_spots)


@pytest.mark.parametrize(
    "backward",
    [
        lambda dy, y: None,
        lambda dy, y: (None,),
    ],
)
def test_none_is_not_differentiated_and_a_blind_spot(backward):
    report = check_chain([FC, ("act", tanh, backward, ()), OUT], X)
    assert report.ok
    assert any("act.x: not differentiated" in spot for spot in report.blind_spots)
    assert not any("nothing was checked" in spot for spot in report.blind_spots)
    assert check_chain([("act", tanh, backward, ())], X).verdict == "inconclusive"


def test_a_list_of_gradients_is_as_good_as_a_tuple():
    out = ("out", dense, lambda dy, cache: list(dense_backward(dy, cache)), OUT[3])
    assert check_chain([FC, ACT, out], X)


@pytest.mark.parametrize(
    "backward",
    [
        lambda dy, cache: dense_backward(dy, cache)[:2],
        lambda dy, cache: dense_backward(dy, cache)[0],
        lambda dy, cache: (*dense_backward(dy, cache), dy),
        lambda dy, cache: (dense_backward(dy, cache)[0][:1], *dense_backward(dy, cache)[1:]),
        lambda dy, cache: tuple(np.nan * part for part in dense_backward(dy, cache)),
        lambda dy, cache: tuple(np.ones_like(part) for part in dense_backward(dy, cache)),
        lambda dy, cache: ("dx", *dense_backward(dy, cache)[1:]),
    ],
)
@pytest.mark.parametrize("after", [(), (("out2", tanh, tanh_backward, ()),)])
def test_gradients_of_a_wrong_form_are_a_fault_of_their_stage(backward, after):
    report = check_chain([FC, ACT, ("out", dense, backward, OUT[3]), *after], X)
    assert (report.verdict, report.stage, wrong_stages(report)) == ("fail", "out", ["out"])


# ---- a fault between stages -------------------------------------------------------------------------------------------


def doubled_in_place(x):
    x *= 2
    return x, None


def test_who_writes_into_what_another_kept_is_wrong():
    doubling = ("double", doubled_in_place, lambda dy, _: 2 * dy, ())
    report = check_chain([FC, ACT, doubling, OUT], X)
    assert (report.verdict, report.stage, wrong_stages(report)) == ("fail", "double", ["double"])
    assert "act" in report.findings[0].message


def test_writing_in_place_where_nobody_kept_it_does_no_harm():
    report = check_chain([FC, ("double", doubled_in_place, lambda dy, _: 2 * dy, ()), OUT], X)
    assert report.ok, str(report)


def test_a_returned_gradient_that_another_stage_overwrites():
    buffers = [np.zeros((6, 6)), np.zeros((6, 6))]
    turn = [0]

    def backward(dy, cache):
        x, w = cache
        turn[0] += 1
        return dy @ w.T, np.matmul(x.T, dy, out=buffers[turn[0] % 2]), dy.sum(axis=0)

    def second(dy, cache):
        buffers[0][:] = buffers[1][:] = 1.0
        return dense_backward(dy, cache)

    square = (P.normal(size=(6, 6)), P.normal(size=6))
    report = check_chain([FC, ("one", dense, second, square), ("two", dense, backward, square)], X)
    assert "one" in wrong_stages(report)


class Shared:
    """A layer that keeps its cache in itself, and is used twice."""

    def forward(self, x):
        self.y = np.tanh(x)
        return self.y, None

    def backward(self, dy, _):
        return dy * (1 - self.y**2)


def test_state_shared_by_two_stages_is_seen_in_the_one_whose_gradient_is_wrong():
    act = Shared()
    stages = [FC, ("act1", act.forward, act.backward, ()), ("act2", act.forward, act.backward, ()), OUT]
    report = check_chain(stages, X)
    assert (report.verdict, report.stage) == ("fail", "act1")
    assert "shares state" in report.findings[0].message
    apart = [Shared(), Shared()]
    stages = [FC, *((f"act{i}", act.forward, act.backward, ()) for i, act in enumerate(apart)), OUT]
    assert check_chain(stages, X).ok


def test_what_goes_past_the_stages_is_seen_in_the_whole():
    store = {}

    def save(x):
        store["x"] = x.copy()
        return 2 * x, None

    stages = [
        FC,
        ("save", save, lambda dy, _: 2 * dy, ()),
        ACT,
        ("add", lambda x: (x + np.sin(store["x"]), None), lambda dy, _: dy.copy(), ()),
        OUT,
    ]
    report = check_chain(stages, X)
    assert (report.verdict, report.stage) == ("fail", "save")
    assert "each stage is right alone" in report.findings[0].message


# ---- options, costs and what does not fit -----------------------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 2, 3, 4, 10, 60, 200])
def test_max_evaluations_bounds_all_forwards_together(most):
    calls = [0]

    def counted(forward):
        def run(*inputs):
            calls[0] += 1
            return forward(*inputs)

        return run

    stages = [(name, counted(forward), backward, params) for name, forward, backward, params in [FC, ACT, OUT]]
    report = check_chain(stages, X, max_evaluations=most)
    assert calls[0] == report.evaluations <= most
    assert report.verdict == "inconclusive"


def test_evaluations_are_exact_and_few():
    calls = [0, 0]

    def forward(*inputs):
        calls[0] += 1
        return dense(*inputs)

    def backward(dy, cache):
        calls[1] += 1
        return dense_backward(dy, cache)

    report = check_chain([("one", forward, backward, FC[3]), ("two", forward, backward, OUT[3])], X)
    assert (report.evaluations, report.gradient_evaluations) == tuple(calls)
    elements = sum(parameter.claimed.size for parameter in report.parameters.values())
    assert report.evaluations <= 2 * elements + 2 * 200


def test_progress_rises_to_its_total():
    seen = []
    check_chain([FC, ACT, OUT], X, progress=lambda done, total: seen.append((done, total)))
    done = [entry[0] for entry in seen]
    assert done == sorted(set(done))
    assert len({total for _, total in seen}) == 1
    assert seen[-1][0] == seen[-1][1]


def test_the_same_seed_gives_the_same_report_and_nothing_of_the_users_changes():
    stages, x = with_fault(network(), "skip"), IDS.copy()
    copies = [[np.copy(param) for param in stage[3]] for stage in stages]
    one, other = (replace(check_chain(stages, x, rng=5), seconds=0.0).to_json() for _ in range(2))
    assert one == other
    for stage, before in zip(stages, copies, strict=True):
        for param, copy in zip(stage[3], before, strict=True):
            np.testing.assert_array_equal(param, copy)
    np.testing.assert_array_equal(x, IDS)


def test_the_report_is_data_and_text():
    report = check_chain(with_fault([FC, ACT, OUT], "act"), X)
    assert json.loads(report.to_json())["stage"] == "act"
    assert pickle.loads(pickle.dumps(report)).stage == "act"  # noqa: S301
    assert "stage act" in str(report).splitlines()[0]
    with pytest.raises(GradientError, match="stage act"):
        assert_chain(with_fault([FC, ACT, OUT], "act"), X)
    assert assert_chain([FC, ACT, OUT], X).ok


def test_complex_step():
    assert check_chain([FC, ACT, OUT], X, method="complex-step").ok
    assert wrong_stages(check_chain(with_fault([FC, ACT, OUT], "act"), X, method="complex-step")) == ["act"]


def test_workers_give_the_same_report():
    stages = with_fault([FC, ACT, OUT], "act")
    with ThreadPoolExecutor(2) as executor:
        one, other = (
            replace(check_chain(stages, X, workers=workers), seconds=0.0).to_json() for workers in (None, executor)
        )
    assert one == other


def test_an_interrupt_carries_what_was_found_so_far():
    calls = [0]

    def interrupted(x):
        calls[0] += 1
        if calls[0] > 30:
            raise KeyboardInterrupt
        return tanh(x)

    with pytest.raises(KeyboardInterrupt) as caught:
        check_chain([FC, ("act", interrupted, tanh_backward, ()), OUT], X)
    assert caught.value.report.verdict == "inconclusive"
    assert set(caught.value.report.parameters) >= {"fc.x", "fc.w", "fc.b"}


def test_values_that_are_not_finite_end_the_chain():
    log = ("log", lambda x: (np.log(x), x), lambda dy, x: dy / x, ())
    with np.errstate(invalid="ignore"):
        report = check_chain([FC, log, OUT], X)
    assert report.verdict == "inconclusive"
    assert any(finding.where == "out" for finding in report.findings)


@pytest.mark.parametrize(
    ("stages", "says"),
    [
        ([], "stages is empty"),
        (None, "stages is None"),
        ("conv", "stages is a str"),
        ({"fc": FC}, "stages is a dict"),
        ([FC[:3]], "tuple of 3"),
        (["conv"], "stages[0] is a str"),
        ([FC, FC], "'fc'"),
        ([(1, *FC[1:])], "name=1"),
        ([("", *FC[1:])], "name=''"),
        ([("fc", None, *FC[2:])], "forward=None"),
        ([("fc", dense, 3, FC[3])], "backward=3"),
        ([(*FC[:3], FC[3][0])], "write (w,)"),
        ([(*FC[:3], {"w": FC[3][0]})], "params is a dict"),
        ([(*FC[:3], None)], "params is None"),
        ([FC, ("act", np.tanh, tanh_backward, ())], "act's forward must return (y, cache)"),
        ([FC, ("act", lambda x: (x, x, x), tanh_backward, ())], "tuple of 3"),
        ([FC, ("out", *OUT[1:3], (np.nan * OUT[3][0], OUT[3][1]))], "stage 'out': w holds NaN"),
        ([FC, ("out", *OUT[1:3], (1j * OUT[3][0], OUT[3][1]))], "stage 'out': w is complex"),
    ],
)
def test_what_is_no_chain_is_refused(stages, says):
    with pytest.raises(InvalidArgument) as caught:
        check_chain(stages, X)
    assert says in str(caught.value)


def test_nothing_to_differentiate_is_refused():
    with pytest.raises(InvalidArgument, match="nothing to check"):
        check_chain([("add", lambda x: (x + 1, None), lambda dy, _: dy, ())], np.arange(3))
    with pytest.raises(InvalidArgument, match="x holds NaN"):
        check_chain([FC], np.nan * X)
    with pytest.raises(InvalidArgument, match="vectorized"):
        check_chain([FC], X, vectorized=True)


def test_an_exception_names_the_stage():
    def fails(*_):
        raise ZeroDivisionError

    for stage in (("boom", fails, tanh_backward, ()), ("boom", tanh, fails, ())):
        with pytest.raises(ZeroDivisionError) as caught:
            check_chain([FC, stage], X)
        assert "boom" in caught.value.__notes__[0]


@pytest.mark.parametrize("name", ["", "a\nb", "a\u2028b", 3])
def test_the_name_of_a_stage_is_a_line(name):
    """It stands in lines of the report."""
    with pytest.raises(InvalidArgument, match="must be a string of one line"):
        check_chain([(name, lambda x: (x, None), lambda dy, cache: dy, ())], np.ones(2))
