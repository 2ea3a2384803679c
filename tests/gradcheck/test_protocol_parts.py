"""The parts of the protocol, one by one: tables, on stand-ins for a check."""

from types import SimpleNamespace

import numpy as np
import pytest

from gradcheck import check_gradient, check_jvp, check_layer
from gradcheck.checks import protocol
from gradcheck.checks.protocol import (
    LAYOUTS,
    _apart,
    _examine_last_point,
    _is_rounding,
    _lags,
    _pairs,
    _same_steps,
    _sharing,
    examine_linearity,
    examine_repeated_value,
    examine_zero,
)
from gradcheck.functions.blocks import BLOCK
from gradcheck.functions.points import Output, point_of
from gradcheck.reports.claims import Reading


class Stub:
    """What of a check the protocol reads, and the findings it makes."""

    def __init__(self, rtol=1e-6, elsewhere=None, roundoff=None):
        self.rtol, self.roundoff = rtol, roundoff
        self.elsewhere = None if elsewhere is None else SimpleNamespace(rounding=elsewhere)
        self.subject = SimpleNamespace(derivative="backward", seed="its upstream", role="upstream")
        self.value = np.ones(1)
        self.found = []

    def find(self, code, message, *, where="", fatal=False, **evidence):
        self.found.append((code, where, fatal))


def reading(**values):
    names = dict(enumerate(values))
    arrays = {
        leaf: np.atleast_1d(np.array(values[name], float)) for leaf, name in names.items() if values[name] is not None
    }
    return Reading(values=arrays, names=names)


NUMBERS = np.arange(12.0).reshape(3, 4) + 1


@pytest.mark.parametrize("words", LAYOUTS)
def test_a_layout_holds_the_same_numbers_otherwise(words):
    for array in (NUMBERS, NUMBERS.astype(np.float32), NUMBERS[0], np.float64(3.0) * np.ones(())):
        given = array.copy()
        laid_out = LAYOUTS[words](given)
        np.testing.assert_array_equal(laid_out, array)
        assert laid_out.dtype == array.dtype
        np.testing.assert_array_equal(given, array)
    laid_out = LAYOUTS[words](NUMBERS)
    assert not laid_out.flags.c_contiguous and not np.shares_memory(laid_out, NUMBERS)


def test_layouts_differ_in_what_they_say():
    assert LAYOUTS["in Fortran order"](NUMBERS).flags.f_contiguous
    strided = LAYOUTS["with gaps in memory"](NUMBERS)
    assert strided.strides == (64, 16) and strided.base.ravel()[1::2].tolist() == (NUMBERS + 1).ravel().tolist()
    assert LAYOUTS["with negative strides"](NUMBERS).strides == (-32, -8)


NAN, INF = np.nan, np.inf


@pytest.mark.parametrize(
    ("one", "other", "apart", "size"),
    [
        ([1.0, -5.0], [1.5, -5.25], 0.5, 5.0),
        ([], [], 0.0, 0.0),
        ([1.0, NAN], [1.0, NAN], 0.0, 1.0),
        ([1.0, NAN], [2.0, NAN], 1.0, 1.0),
        ([1.0, NAN], [1.0, 3.0], NAN, 1.0),
        ([INF, 2.0], [INF, 1.0], 1.0, 2.0),
        ([INF, 2.0], [-INF, 2.0], INF, 2.0),
        ([-7.0, INF], [-7.0, 3.0], INF, 7.0),
        ([NAN], [NAN], 0.0, 0.0),
    ],
)
def test_how_far_apart_two_claims_are_and_how_large_the_first(one, other, apart, size):
    with np.errstate(all="ignore"):
        found = _apart(np.array(one), np.array(other))
    np.testing.assert_equal(found, (apart, size))


def test_pairs_are_of_one_leaf_and_what_the_other_lacks_is_not_a_number():
    found = list(_pairs([reading(a=[1, 2], b=[3]), reading(c=[4])], [reading(a=[5, 6], b=None), reading(c=[7])]))
    assert [name for name, _, _ in found] == ["a", "b", "c"]
    np.testing.assert_array_equal([*found[0][2], *found[1][2], *found[2][2]], [5, 6, NAN, 7])


@pytest.mark.parametrize(
    ("elsewhere", "apart", "is_rounding"),
    [
        (None, 0.9e-6, True),
        (None, 1e-6, True),
        (None, 1.1e-6, False),
        (1e-8, 0.9e-5, True),  # a thousand roundings of what the gradient is at the second point
        (1e-8, 1.1e-5, False),
        (1e-12, 0.9e-6, True),
    ],
)
def test_what_rounding_may_make_of_a_result_of_size_one(elsewhere, apart, is_rounding):
    assert _is_rounding(Stub(elsewhere=elsewhere), apart, 1.0) is is_rounding
    assert not _is_rounding(Stub(elsewhere=elsewhere), NAN, 1.0)


@pytest.mark.parametrize(
    ("values", "same"),
    [
        (([1, 0], [3, 1], [5, 2]), True),
        (([1, 0], [3, 1], [5, 1.0001]), False),
        (([1, 0], [3, 1], [5, 2.0019]), True),  # to a thousandth of the largest step
        (([1, 0], [3, 1], [5, 2.0021]), False),
        (([0, 0], [1000, 0], [2001, 0]), True),
        (([1, 0], [1, 0], [1, 0]), False),  # no step
        (([1, 0], [1, 1], [1, 2]), True),  # in one element
        (([1, 0], [3, 1], [1, 0]), False),
    ],
)
def test_three_results_at_equal_distances_are_of_what_adds_up(values, same):
    assert _same_steps(*(np.array(value, float) for value in values)) is same


def test_memory_that_overlaps():
    base = np.arange(10.0)
    assert _sharing([base, base]) == [{1}, {0}] and _sharing([base[:5], base[4:]]) == [{1}, {0}]
    assert _sharing([base[:5], base[5:]]) == _sharing([base[::2], base[1::2]]) == [set(), set()]
    assert _sharing([None, base]) == _sharing([base[:0], base]) == [set(), set()]
    apart = np.arange(3.0)
    assert _sharing([base[6:], apart, base[::-1], base[:2], None, base[7:8]]) == [
        {2, 5},
        set(),
        {0, 3, 5},
        {2},
        set(),
        {0, 2},
    ]


def test_zeros_must_give_zeros_and_what_ignores_the_seed_is_named():
    check = Stub()
    first = reading(a=[1, 2], b=[3, 4], c=[5], d=None)
    assert examine_zero(check, reading(a=[0, 0], b=[3, 4], c=[1], d=[2]), first) == {"b"}
    assert check.found == [("upstream-ignored", "b", True), ("zero-upstream", "c", True), ("zero-upstream", "d", True)]
    assert examine_zero(Stub(), reading(a=[0.0, NAN]), first) == set()


def linearity(
    values,
    *,
    own=0.0,
    nearby=0.0,
    least=0.0,
    rtol=1e-6,
    ignored=(),
    eps=2.0**-52,
    parts=(([1.0, 2.0],), ([3.0, -1.0],)),
):
    check = Stub(rtol=rtol, roundoff={0: SimpleNamespace(own=np.array([own, own / 2]))})
    combined = reading(x=values)
    combined.eps = eps
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protocol, "changes_by_rounding", lambda *_: {"x": nearby})
        patch.setattr(protocol, "residues", lambda *_: {0: np.array([least])})
        examine_linearity(
            check,
            np.zeros((2, 1)),
            combined,
            [reading(x=part[0]) for part in parts],
            np.array([2.0, -1.0]),
            set(ignored),
        )
    return check.found


def test_a_combination_of_seeds_gives_the_combination_of_what_they_give():
    """Twice the first less the second: (-1, 5); the largest of what they give is three."""
    wrong = [("not-linear", "x", True)]
    assert linearity([-1.0, 5.0]) == []
    assert linearity([-1.0, 5.0 + 2.9e-6]) == []
    assert linearity([-1.0, 5.0 + 3.1e-6]) == wrong
    assert linearity([-1.0 - 3.1e-6, 5.0]) == wrong
    assert linearity([1.0, 3.0]) == wrong
    assert linearity([1.0, 3.0], ignored=["x"]) == []
    assert linearity([-1.0, 5.1], parts=(([1.0, 2.0],), (None,))) == []
    assert linearity([-1e-9, 5.1e-9], parts=(([1e-9, 2e-9],), ([3e-9, -1e-9],))) == wrong


def test_linear_is_meant_to_a_hundred_roundings_of_the_dtype_and_sixteen_deviations_of_the_round_off():
    wrong = [("not-linear", "x", True)]
    assert linearity([-1.0, 5.0 + 299e-5], eps=1e-5) == [] and linearity([-1.0, 5.0 + 301e-5], eps=1e-5) == wrong
    assert linearity([-1.0, 5.47], own=0.01) == [] and linearity([-1.0, 5.49], own=0.01) == wrong
    assert linearity([-1.0, 5.47], nearby=0.01) == [] and linearity([-1.0, 5.49], nearby=0.01) == wrong
    assert linearity([-1.0, 5.47], least=0.01) == [] and linearity([-1.0, 5.49], least=0.01) == wrong


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(3))
def test_a_backward_whose_terms_all_cancel_is_linear(dtype, seed):
    """The mean is taken away, so the bias moves nothing; its gradient is what rounding leaves, and the point has no part in it."""
    rng = np.random.default_rng(seed)
    x, w, b = (rng.normal(size=shape).astype(dtype) for shape in ((7, 3), (3, 4), (4,)))
    x *= dtype(1e-3)

    def centred(z):
        return z - z.mean(axis=0)

    def backward(dy, cache):
        dz = centred(dy)
        return dz @ w.T, x.T @ dz, dz.sum(axis=0)

    def not_linear(dy, cache):
        return *backward(dy, cache)[:2], dtype(1e-3) * (dy**2).sum(axis=0)

    def forward(x, w, b):
        return centred(x @ w + b), None

    report = check_layer(forward, backward, x, w, b, rng=seed)
    assert report.verdict != "fail" and not any(f.code == "not-linear" for f in report.findings), report
    wrong = check_layer(forward, not_linear, x, w, b, rng=seed)
    assert wrong.verdict == "fail" and any(f.code == "not-linear" and f.where == "b" for f in wrong.findings)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(3))
def test_a_forward_mode_whose_terms_all_cancel_is_linear(dtype, seed):
    rng = np.random.default_rng(seed)
    x, b = (rng.normal(size=shape).astype(dtype) for shape in ((7, 4), (4,)))

    def centred(z):
        return z - z.mean(axis=0)

    def jvp(tangents, x, b):
        dx, db = tangents
        return centred(dx + db)

    def not_linear(tangents, x, b):
        return jvp(tangents, x, b) + dtype(1e-3) * tangents[1] ** 2

    def f(x, b):
        return centred(x + b)

    report = check_jvp(f, jvp, x, b, rng=seed)
    assert report.verdict != "fail" and not any(f.code == "not-linear" for f in report.findings), report
    wrong = check_jvp(f, not_linear, x, b, rng=seed)
    assert wrong.verdict == "fail" and any(f.code == "not-linear" for f in wrong.findings)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(8))
def test_what_is_left_of_a_saturated_softmax_is_linear_as_far_as_its_terms_are(dtype, seed):
    """Its largest probability is next to one: what is left of its terms is the same for all seeds and points an ulp away."""
    x = (100 * np.random.default_rng(seed).normal(size=(3, 4))).astype(dtype)

    def softmax(x):
        powers = np.exp(x - x.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)

    def moved(y, t):
        return y * (t - (t * y).sum(axis=-1, keepdims=True))

    def layer_of(backward):
        return check_layer(lambda x: (softmax(x), softmax(x)), backward, x, rng=seed)

    def mode_of(jvp):
        return check_jvp(softmax, jvp, x, rng=seed)

    for report in layer_of(lambda dy, y: moved(y, dy)), mode_of(lambda t, x: moved(softmax(x), t[0])):
        assert report.verdict != "fail", report
    for report in (
        layer_of(lambda dy, y: moved(y, dy) + dtype(1e-3) * dy**2),
        mode_of(lambda t, x: moved(softmax(x), t[0]) + dtype(1e-3) * t[0] ** 2),
    ):
        assert report.verdict == "fail" and any(f.code == "not-linear" for f in report.findings), report


class Wavering:
    """A sum whose value differs from call to call, at one point, by so many roundings."""

    def __init__(self, roundings, period=1):
        self.calls, self.roundings, self.period = 0, roundings, period

    def __call__(self, x):
        self.calls += 1
        return float(np.sum(x)) * (1 + self.roundings * 2.0**-52 * (self.calls % (self.period + 1) == 0))


@pytest.mark.parametrize("size", [1.0, 1e-9])
@pytest.mark.parametrize(("roundings", "is_random"), [(900, False), (1100, True)])
def test_a_thousand_roundings_between_two_calls_are_another_function(roundings, is_random, size):
    point = size * np.array([0.3, 0.9])
    report = check_gradient(Wavering(roundings), np.ones_like, point)
    assert ("f-not-deterministic" in {finding.code for finding in report.findings}) is is_random


def test_who_shares_memory_is_told_once_with_the_first_it_is_shared_with():
    def backward(dy, cache):
        both = 1.0 * dy
        return both, both, dy

    report = check_layer(lambda a, b, c: (a + b + c, None), backward, NUMBERS, NUMBERS + 1, NUMBERS + 2)
    told = [
        (finding.where, finding.message.split(":")[0]) for finding in report.findings if finding.code == "shares-memory"
    ]
    assert told == [
        ("b", "its gradient is the same memory as the gradient of a"),
        ("c", "its gradient is the same memory as its upstream"),
    ]


def test_each_layout_is_tried_and_the_first_that_changes_a_value_is_told():
    tried = []

    def f(x):
        tried.append(x.strides)
        return float(np.sum(x * np.arange(12.0).reshape(3, 4)) if x.flags.c_contiguous else np.sum(x))

    report = check_gradient(f, lambda x: np.arange(12.0).reshape(3, 4), NUMBERS)
    assert [finding.code for finding in report.findings] == ["layout-dependent"] and report.ok
    assert "in Fortran order" in report.findings[0].message and report.findings[0].where == ""
    assert (8, 24) in tried and (64, 16) not in tried


def softmaxed(x):
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(4))
def test_what_is_left_where_terms_cancel_may_depend_on_the_layout(dtype, seed):
    """The probabilities add up to 1, but for rounding, which hangs on the order of the terms in memory."""
    x = np.random.default_rng(seed).normal(size=(7, 40)).astype(dtype)

    def gradient(x):
        p = softmaxed(x)
        return 3 * p * (1 - p.sum(axis=-1, keepdims=True))

    report = check_gradient(lambda x: 3 * softmaxed(x).sum(), gradient, x)
    assert np.any(gradient(x) != gradient(np.asfortranarray(x)))
    assert report.verdict != "fail" and not any(f.code == "layout-dependent" for f in report.findings)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_in_the_order_of_memory_are_no_rounding(dtype):
    """Wrong by little beside f, and by much beside the gradient."""
    x = np.random.default_rng(0).normal(size=(7, 40)).astype(dtype)

    def gradient(x):
        p = softmaxed(x)
        return dtype(1e-3) * (x if x.flags.c_contiguous else x[:, ::-1]) + 3 * p * (1 - p.sum(axis=-1, keepdims=True))

    report = check_gradient(lambda x: 3 * softmaxed(x).sum() + dtype(5e-4) * (x**2).sum(), gradient, x)
    assert report.verdict == "fail" and any(f.code == "layout-dependent" for f in report.findings)


def test_a_value_is_asked_for_twice_more():
    """Two in a row tell a function that alternates; more would only cost."""
    check, calls = Stub(), []
    check.budget = SimpleNamespace(spend=lambda: None)
    point = point_of(np.array([0.3, 0.9]), "x")
    examine_repeated_value(
        check, Output.of(1.2, "f"), lambda x: calls.append(x) or float(np.sum(x)), point, np.array([1.2])
    )
    assert len(calls) == 2 and not check.found


def test_by_how_much_two_calls_differ_at_most_is_told():
    check = Stub()
    check.budget = SimpleNamespace(spend=lambda: None)
    told = []
    check.find = lambda code, message, **evidence: told.append((code, evidence["difference"]))
    value = np.array([1.0, -2.0, 0.5])
    again = value + np.array([0.001, -0.25, 1e-20])
    examine_repeated_value(check, Output.of(value, "f"), lambda x: again, point_of(np.ones(3), "x"), value)
    assert told == [("f-not-deterministic", 0.25)]


def test_of_a_gradient_that_does_not_repeat_no_more_is_asked():
    """It also depends on the layout, which is not looked at."""
    rng = np.random.default_rng(0)

    def gradient(x):
        return 3.0 * x**2 * (1 + 0.01 * rng.normal()) if x.flags.c_contiguous else x

    report = check_gradient(lambda x: float(np.sum(x**3)), gradient, NUMBERS)
    codes = {finding.code for finding in report.findings}
    assert "second-call-differs" in codes and "layout-dependent" not in codes


def test_a_layout_is_tried_where_one_array_of_several_can_have_it():
    def gradient(p):
        w = p["w"]
        return {"w": 3.0 * w**2 if w.flags.c_contiguous else w, "b": 2.0 * p["b"]}

    point = {"b": NUMBERS[0].copy(), "w": NUMBERS}
    report = check_gradient(lambda p: float(np.sum(p["w"] ** 3) + np.sum(p["b"] ** 2)), gradient, point)
    assert any(f.code == "layout-dependent" and f.where == "w" and "Fortran" in f.message for f in report.findings)


class Asked:
    """A check whose function and derivative give what a list says, call by call; both are noted."""

    def __init__(self, claims, *, stands_alone=True, elsewhere=True):
        self.calls, claims = [], iter(claims)

        def sample(check, handed, cotangents):
            self.calls.append("derivative")
            return [next(claims)]

        def value(tree):
            self.calls.append("function")
            return float(np.sum(tree))

        self.subject = SimpleNamespace(
            derivative="grad", name="f", stands_alone=stands_alone, sample=sample, value=value
        )
        self.point, self.output = point_of(np.array([0.3, 0.9]), "x"), Output.of(1.2, "f")
        self.elsewhere = SimpleNamespace(arrays=[np.array([0.4, 0.8])], rounding=0.0) if elsewhere else None
        self.settings, self.rtol, self.found = SimpleNamespace(key=0), 1e-6, []
        self.budget = SimpleNamespace(spend=lambda: None)

    def find(self, code, message, **evidence):
        self.found.append((code, evidence["parameters"]))
        self.told = message


def test_a_claim_lags_where_all_of_it_comes_again_at_the_second_point():
    """The second of two calls there tells: the first still gives that of the point before."""
    here = [reading(a=[1, 2], b=[3])]
    other, same, half = reading(a=[5, 5], b=[5]), reading(a=[1, 2], b=[3]), reading(a=[1, 2], b=[5])
    for there, lags in (((other, same), True), ((same, other), False), ((same, half), False)):
        check = Asked(there)
        assert _lags(check, np.ones((1, 1)), here) is lags
        assert check.calls == ["derivative"] * 2
    assert not _lags(Asked([], elsewhere=False), np.ones((1, 1)), here)


def test_a_claim_of_the_last_point_is_told_where_calling_the_function_mends_all_of_it():
    here = [reading(a=[1, 2], b=[3])]
    moved, half, right = reading(a=[1, 9], b=[4]), reading(a=[1, 2], b=[4]), reading(a=[1, 2], b=[3])
    for claims, found in (
        ([right], []),
        ([moved, right], [("last-point-gradient", ["a", "b"])]),
        ([half, right], [("last-point-gradient", ["b"])]),
        ([moved, half], []),
        ([moved, moved], []),
    ):
        check = Asked(claims)
        _examine_last_point(check, np.ones((1, 1)), here)
        assert check.found == found and check.calls == ["function", "derivative"] * len(claims)
        assert not found or f"up to {7 if claims[0] is moved else 1};" in check.told


@pytest.mark.parametrize("options", [{"stands_alone": False}, {"elsewhere": False}])
def test_no_last_point_is_looked_at_where_the_function_is_called_anyway_or_there_is_no_second_one(options):
    check = Asked([], **options)
    _examine_last_point(check, np.ones((1, 1)), [reading(a=[1])])
    assert not check.calls


def test_of_a_gradient_that_changes_its_argument_no_more_is_asked():
    """It also depends on the layout, which is not looked at."""

    def gradient(x):
        right = 3.0 * x**2 if x.flags.c_contiguous else x
        x *= 1.001
        return right

    report = check_gradient(lambda x: float(np.sum(x**3)), gradient, NUMBERS)
    assert [finding.code for finding in report.findings if finding.code != "wrong-gradient"] == ["inputs-changed"]


def test_without_a_second_point_nothing_is_said_of_another_one():
    """Too few calls for one are allowed."""
    rng = np.random.default_rng(0)
    report = check_gradient(
        lambda x: float(np.sum(x**3)), lambda x: 3 * x**2 * (1 + 0.01 * rng.normal()), NUMBERS, max_evaluations=40
    )
    codes = {finding.code for finding in report.findings}
    assert "second-call-differs" in codes and "stale-gradient" not in codes


@pytest.mark.parametrize("place", [0, -1])
def test_large_claims_are_as_far_apart_as_their_farthest_elements(place):
    one, other = np.zeros(BLOCK + 5), np.zeros(BLOCK + 5)
    one[place], other[place], other[BLOCK // 2] = -7.0, -4.0, 1.0
    assert _apart(one, other) == (3.0, 7.0)


@pytest.mark.parametrize(("error", "verdict"), [(1e-12, "pass"), (1e-3, "fail")])
def test_a_second_call_that_differs_by_rounding_is_a_remark(error, verdict):
    rng = np.random.default_rng(0)
    report = check_gradient(lambda x: float(np.sum(x**3)), lambda x: 3 * x**2 * (1 + error * rng.normal()), NUMBERS)
    assert report.verdict == verdict and "second-call-differs" in {finding.code for finding in report.findings}
