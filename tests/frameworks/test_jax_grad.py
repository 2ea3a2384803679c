"""JAX users' calls as they write them: every right derivative passes, and its wrong twin is named."""

from functools import partial
from typing import NamedTuple

import numpy as np
import pytest

from gradcheck import GradientError, InvalidArgument

jax = pytest.importorskip("jax")
import jax.numpy as jnp  # noqa: E402

from gradcheck.jax import assert_grad, check_grad  # noqa: E402

RNG = np.random.default_rng(0)


def array(*shape, scale=1.0, dtype=np.float32):
    return jnp.asarray(RNG.normal(size=shape) * scale, dtype)


def custom(function, backward):
    """A custom_vjp of one argument that claims ``backward(x, dy)``."""
    made = jax.custom_vjp(function)
    made.defvjp(lambda x: (function(x), x), lambda x, dy: (backward(x, dy),))
    return made


def network(p, x, labels):
    hidden = jax.nn.relu(x @ p["W1"] + p["b1"])
    hidden = (hidden - hidden.mean(0)) / jnp.sqrt(hidden.var(0) + 1e-5)
    return -jnp.mean(jax.nn.log_softmax(hidden @ p["W2"] + p["b2"])[jnp.arange(len(labels)), labels])


P = {"W1": array(6, 9, scale=0.5), "b1": array(9, scale=0.1), "W2": array(9, 4, scale=0.4), "b2": array(4, scale=0.1)}
X, LABELS = array(10, 6), jnp.arange(10) % 4


def test_a_network_in_single_precision():
    report = check_grad(network, P, X, LABELS)
    assert report.ok, str(report)
    assert list(report.parameters) == ["p.W1", "p.b1", "p.W2", "p.b2"]
    largest = max(np.abs(parameter.claimed).max() for parameter in report.parameters.values())
    assert max(parameter.detection_floor for parameter in report.parameters.values()) < 1e-3 * largest
    as_it_is = check_grad(network, P, X, LABELS, reference=None)
    assert as_it_is.verdict != "fail"
    floors = [r.parameters["p.W1"].detection_floor for r in (report, as_it_is)]
    assert floors[0] < floors[1] / 10


@pytest.mark.parametrize("wrong", [1.0, 1.01, -1.0, 0.5])
def test_a_custom_backward_inside_of_a_network(wrong):
    softplus = custom(jax.nn.softplus, lambda x, dy: wrong * dy * jax.nn.sigmoid(x))

    def loss(params, x):
        return jnp.mean(softplus(x @ params["hidden"][0]) @ params["out"])

    params = {"hidden": [array(6, 5)], "out": array(5)}
    report = check_grad(loss, params, X)
    assert report.verdict == ("pass" if wrong == 1.0 else "fail"), str(report)
    assert [name for name, p in report.parameters.items() if p.wrong.any()] == (
        [] if wrong == 1.0 else ["params.hidden[0]"]
    )
    assert any(line.startswith("forward mode: JAX has no rule for the function in it") for line in report.blind_spots)


def test_an_upstream_that_is_ignored():
    f = custom(jnp.tanh, lambda x, dy: 1 - jnp.tanh(x) ** 2)
    report = check_grad(f, array(5))
    assert report.verdict == "fail" and report.findings[0].code == "upstream-ignored"
    assert check_grad(custom(jnp.tanh, lambda x, dy: dy * (1 - jnp.tanh(x) ** 2)), array(5)).ok


def test_an_upstream_that_a_loss_ignores():
    squares = lambda x: jnp.sum(x**2)  # noqa: E731
    assert check_grad(custom(squares, lambda x, dy: 2 * x * dy), array(5)).ok
    report = check_grad(custom(squares, lambda x, dy: 2 * x), array(5))
    assert report.verdict == "fail" and report.findings[0].code == "upstream-ignored"


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "pass"), (2.0, "fail")])
def test_custom_jvp_in_either_mode(factor, verdict):
    @jax.custom_jvp
    def f(x, y):
        return jnp.sin(x) * y

    @f.defjvp
    def _(primals, tangents):
        (x, y), (dx, dy) = primals, tangents
        return f(x, y), factor * jnp.cos(x) * y * dx + jnp.sin(x) * dy

    for modes in (("rev", "fwd"), ("fwd", "rev"), ("rev",), ("fwd",)):
        report = check_grad(f, array(4), array(4), argnums=(0, 1), modes=modes)
        assert report.verdict == verdict, str(report)
        assert [name for name, p in report.parameters.items() if p.wrong.any()] == (["x"] if factor != 1.0 else [])


def test_modes_are_compared_with_each_other_without_a_step():
    def with_transpose(matrix):
        def f(x):
            solve = partial(jax.custom_derivatives.linear_call, lambda m, v: m @ v, lambda m, v: matrix @ v)
            return solve(A, jnp.sin(x))

        return f

    A, x = array(4, 4), array(4)
    assert check_grad(with_transpose(A.T), x).ok
    report = check_grad(with_transpose(A), x, modes=("fwd", "rev"))
    assert report.verdict == "fail" and report.findings[0].code == "modes-differ", str(report)
    assert not report.parameters["x"].wrong.any()
    assert check_grad(with_transpose(A), x).parameters["x"].wrong.any()


def test_loops_have_no_reverse_mode():
    def power(x, n):
        return jax.lax.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, s[1] * x), (0, jnp.ones_like(x)))[1]

    report = check_grad(power, array(3), 4)
    assert report.ok, str(report)
    assert any(line.startswith("reverse mode:") for line in report.blind_spots)
    with pytest.raises(ValueError, match="Reverse-mode differentiation does not work"):
        check_grad(power, array(3), 4, modes=("rev",))


def test_auxiliary_output_and_static_arguments():
    def f(x, name, power=2, dtype=None):
        assert name == "cube"
        return jnp.sum(x**power), {"x": x, "name": name}

    x = array(5)
    assert check_grad(f, x, "cube", 3, jnp.float32, has_aux=True, static_argnums=(1, 2, 3)).ok
    wrong = custom(lambda x: x**3, lambda x, dy: 2 * x**2 * dy)
    assert check_grad(lambda x, n: (jnp.sum(wrong(x)), n), x, "a", has_aux=True, static_argnums=1).verdict == "fail"
    assert check_grad(lambda x, n: (wrong(x), n), x, 3, has_aux=True, static_argnums=-1).verdict == "fail"


def test_functions_and_text_among_arguments_and_outputs():
    @partial(jax.custom_vjp, nondiff_argnums=(0,))
    def applied(function, x):
        return function(x)

    applied.defvjp(lambda f, x: (applied(f, x), x), lambda f, x, dy: (dy * jnp.cos(x),))
    report = check_grad(applied, jnp.sin, array(3), argnums=1, modes="rev")
    assert report.ok and list(report.parameters) == ["x"]
    assert check_grad(lambda x: (jnp.sum(x**2), "a note"), array(3)).ok


def test_second_order():
    assert check_grad(network, P, X, LABELS, order=2, argnums=0, max_evaluations=3000).ok
    log1p_exp = custom(lambda x: jnp.log1p(jnp.exp(x)), lambda x, dy: dy * jax.nn.sigmoid(jax.lax.stop_gradient(x)))
    report = check_grad(log1p_exp, array(4), order=2)
    assert report.verdict == "fail"
    assert not report.parameters["x"].wrong.any() and report.parameters["x (order 2)"].wrong.all()
    right = custom(lambda x: jnp.log1p(jnp.exp(x)), lambda x, dy: dy * jax.nn.sigmoid(x))
    assert check_grad(right, array(4), order=2).ok


class State(NamedTuple):
    position: object
    steps: object


@jax.tree_util.register_pytree_with_keys_class
class Line:
    def __init__(self, slope, offset):
        self.slope, self.offset = slope, offset

    def tree_flatten_with_keys(self):
        key = jax.tree_util.GetAttrKey
        return ((key("slope"), self.slope), (key("offset"), self.offset)), None

    @classmethod
    def tree_unflatten(cls, _, children):
        return cls(*children)


def test_trees_integers_keys_and_registered_classes():
    def f(model, state, key):
        noise = jax.random.normal(key, state.position.shape)
        y = model["lines"][0].slope * state.position + model["lines"][0].offset * noise
        return {"y": jnp.tanh(y), "n": state.steps + 1}

    model = {"lines": [Line(array(3), jnp.float32(0.3))], "count": jnp.arange(3)}
    state = State(array(3), jnp.int32(4))
    report = check_grad(f, model, state, jax.random.key(3), argnums=(0, 1))
    assert report.ok, str(report)
    assert list(report.parameters) == ["model.lines[0].slope", "model.lines[0].offset", "state.position"]


@pytest.mark.parametrize(("dtype", "make"), [(jnp.float32, jax.random.PRNGKey), (jnp.bfloat16, jax.random.key)])
def test_the_same_numbers_are_drawn_in_double_precision(dtype, make):
    key = make(2)

    def f(square):
        def drop(x):
            x = x.astype(dtype)
            kept = jax.random.bernoulli(key, 0.5, x.shape) / 0.5
            return jnp.sum(square(x) * kept + jnp.sin(x) * jax.random.normal(key, x.shape, dtype)).astype(jnp.float32)

        return drop

    codes = ["coarse-dtype"] if dtype is jnp.bfloat16 else []
    report = check_grad(jax.jit(f(jnp.square)), array(9))
    assert report.ok and [finding.code for finding in report.findings] == codes, str(report)
    report = check_grad(f(custom(jnp.square, lambda x, dy: x * dy)), array(9))
    assert report.verdict == "fail" and "reference-unavailable" not in {finding.code for finding in report.findings}


def test_a_loop_that_draws_is_checked_as_it_is():
    def f(x):
        step = lambda h, key: (jnp.tanh(h * x) + jax.random.bernoulli(key, 0.5, x.shape), None)  # noqa: E731
        return jax.lax.scan(step, jnp.ones(x.shape, x.dtype), jax.random.split(jax.random.key(1), 3))[0]

    assert check_grad(jax.jit(f), array(4)).ok
    wrong = jax.jit(lambda x: f(custom(jnp.sin, lambda x, dy: dy)(x)))
    assert check_grad(wrong, array(4)).verdict == "fail"


def test_python_numbers_and_control_flow():
    def f(x, y):
        return np.float32(2) * x * y if float(y) > 0 else x + y  # cannot be compiled

    assert check_grad(lambda x: f(x, 3.0), 1.5).ok
    assert check_grad(f, array(4), 2.0).ok
    assert check_grad(jax.jit(lambda x, y: x * y), 1.5, 2.5, argnums=(0, 1)).ok


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision(dtype):
    w, x = array(6, 5, dtype=dtype, scale=0.5), array(8, 6, dtype=dtype)
    assert check_grad(lambda w, x: jnp.sum(jnp.tanh(x @ w) ** 2), w, x).ok
    wrong = custom(jnp.tanh, lambda x, dy: -dy * (1 - jnp.tanh(x) ** 2))
    assert check_grad(lambda w, x: jnp.sum(wrong(x @ w) ** 2), w, x).verdict == "fail"


@pytest.mark.parametrize(
    ("wrap", "dtype"), [(lambda f: f, jnp.bfloat16), (jax.jit, jnp.float16), (jax.checkpoint, jnp.float16)]
)
def test_what_is_computed_in_half_precision_inside_is_judged_at_its_accuracy(wrap, dtype):
    def network(w, x, activation=jnp.tanh):
        return jnp.mean(activation(x.astype(dtype) @ w.astype(dtype)).astype(jnp.float32) ** 2)

    w, x = (jnp.linspace(-1.3, 1.5, n).reshape(n // 3, 3) for n in (9, 15))
    report = check_grad(wrap(network), w, x.T.reshape(5, 3), modes="rev")
    assert report.ok and [finding.code for finding in report.findings] == ["coarse-dtype"], str(report)
    wrong = custom(jnp.tanh, lambda x, dy: -dy * (1 - jnp.tanh(x) ** 2))
    report = check_grad(wrap(lambda w, x: network(w, x, wrong)), w, x, max_evaluations=200)
    assert report.verdict == "fail"


def test_a_loop_whose_body_casts_has_no_better_reference_and_does_not_fail():
    def looped(x):
        return jax.lax.scan(lambda s, _: ((s * x).astype(jnp.bfloat16).astype(jnp.float32), None), x, length=3)[0].sum()

    report = check_grad(looped, array(1) + 2, modes="rev", max_evaluations=60)
    assert report.verdict != "fail" and "reference-unavailable" in {finding.code for finding in report.findings}


def test_double_precision_needs_no_reference():
    with jax.enable_x64(True):
        x = jnp.asarray(RNG.normal(size=4))
        report = check_grad(lambda x: jnp.sum(jnp.sin(x)), x)
        assert report.ok and report.parameters["x"].dtype == np.float64
        assert check_grad(custom(jnp.sin, lambda x, dy: dy * jnp.cos(x) * (1 + 3e-6)), x).verdict == "fail"


def test_what_knows_only_single_precision_is_checked_as_it_is():
    def f(x):
        if x.dtype != jnp.float32:
            raise TypeError("float32 only")
        return jnp.sum(jnp.sin(x))

    report = check_grad(f, array(5))
    assert report.ok, str(report)
    assert [finding.code for finding in report.findings] == ["reference-unavailable"]

    def other(x):
        return jnp.sum(jnp.sin(x)) * (1.0 if x.dtype == jnp.float32 else 2.0)

    report = check_grad(other, array(5))
    assert report.ok and [finding.code for finding in report.findings] == ["reference-unavailable"]


def test_nothing_of_jaxs_settings_changes():
    before = jax.config.jax_enable_x64
    check_grad(lambda x: jnp.sum(x**2), array(3))
    assert jax.config.jax_enable_x64 == before


def test_errors_say_what_was_required():
    for given in (2, "x", 1.5):
        with pytest.raises(InvalidArgument, match=r"argnums=.*, but there are 1 arguments; positions from -1 to 0 are"):
            check_grad(jnp.sum, array(3), argnums=given)
    for args in [((array(3), array(3)),), (array(3), array(3), 2)]:
        with pytest.raises(TypeError) as raised:
            check_grad(lambda x, y: jnp.sum(x * y), *args)
        assert "arguments follow the function one by one: check_grad(f, x, y)" in raised.value.__notes__
    with pytest.raises(InvalidArgument, match="needs at least one"):
        check_grad(jnp.sum)
    with pytest.raises(InvalidArgument, match="modes="):
        check_grad(jnp.sum, array(3), modes=("both",))
    with pytest.raises(InvalidArgument, match="order=3"):
        check_grad(jnp.sum, array(3), order=3)
    with pytest.raises(InvalidArgument, match="both in argnums and in static_argnums"):
        check_grad(jnp.sum, array(3), static_argnums=0)
    with pytest.raises(InvalidArgument, match="nothing to differentiate"):
        check_grad(jnp.argmax, array(3))
    with pytest.raises(InvalidArgument, match=r"train= is not an option; .* functools.partial\(f, train=\.\.\.\)"):
        check_grad(lambda x, train: x, array(3), train=True)
    with pytest.raises(GradientError):
        assert_grad(custom(jnp.sin, lambda x, dy: dy), array(3))
    assert assert_grad(jnp.sin, array(3)).ok


def test_a_nan_is_named_before_the_modes_that_it_makes_differ():
    report = check_grad(jnp.linalg.norm, jnp.zeros(3))
    assert report.verdict == "fail" and [finding.code for finding in report.findings] == ["not-finite"]
    assert str(report).startswith("FAIL: x: its gradient is NaN")
    one = check_grad(lambda x: jax.scipy.special.spence(x).sum(), jnp.array([0.5, 1.2]))
    assert [finding.code for finding in one.findings] == ["not-finite", "modes-differ"]


def test_a_nan_in_one_leaf_is_no_difference_of_modes_in_another():
    at = jnp.array([0.3, 1.04])
    report = check_grad(lambda p: jnp.sum(jax.scipy.stats.beta.pdf(at, p["a"], p["b"])), {"a": 2.5, "b": 1.5})
    assert {finding.where for finding in report.findings} == {"p.b"}


@pytest.mark.parametrize("seed", range(4))
def test_modes_may_differ_by_the_round_off_of_values_where_the_derivative_is_zero(seed):
    x = jnp.asarray(np.random.default_rng(seed).normal(size=2) - 0.5, jnp.float32)
    report = check_grad(lambda x: jnp.sum(jax.nn.softmax(x)), x)
    assert report.verdict != "fail" and "modes-differ" not in {finding.code for finding in report.findings}, str(report)


@pytest.mark.parametrize("modes", ["rev", "fwd"])
def test_empty_arrays_pass_and_it_is_said(modes):
    report = check_grad(jnp.sin, jnp.zeros((0, 3)), modes=modes)
    assert report.ok and "every array is empty" in report.blind_spots[0]
    report = check_grad(lambda x: x[:0], jnp.linspace(1.0, 2.0, 3), modes=modes)
    assert report.ok and "f returned no numbers" in report.blind_spots[0]


def test_a_loop_is_compiled_once_where_differences_are_of_the_function_itself():
    bodies = []

    def f(x):
        def body(h, x):  # a new function in every call, which JAX compiles anew
            bodies.append(1)
            return jnp.tanh(h + x), h

        return jax.lax.scan(body, 0.1, x)[0]

    report = check_grad(f, jnp.linspace(-1.0, 1.0, 4), reference=None)
    assert report.ok and len(bodies) < report.evaluations / 2


def test_a_function_that_changes_is_called_anew_each_time():
    calls = []

    def f(x):
        calls.append(1)
        return jnp.sum(x**2) * (1 + len(calls))

    assert check_grad(f, jnp.linspace(-1.0, 1.0, 4), reference=None).verdict != "pass"


def test_a_gradient_that_is_passed_is_told():
    f = lambda x, y: jnp.sum(x * y)  # noqa: E731
    with pytest.raises(InvalidArgument, match="none is passed"):
        check_grad(f, jax.grad(f), jnp.ones(3), jnp.ones(3))


@pytest.mark.parametrize("element", [None, *range(6)])
def test_no_element_hides_behind_larger_ones_in_single_precision(element):
    def weights(x):
        return jnp.logspace(-4, 6, x.size, dtype=x.dtype)

    factors = np.ones(6, np.float32)
    if element is not None:
        factors[element] = -1
    f = custom(lambda x: (weights(x) * jnp.sin(x)).sum(), lambda x, dy: dy * factors * weights(x) * jnp.cos(x))
    report = check_grad(f, jnp.linspace(0.3, 1.4, 6, dtype=jnp.float32), modes="rev")
    found = report.parameters["x"].wrong
    assert report.ok if element is None else np.flatnonzero(found).tolist() == [element], str(report)
