"""What holds of every layer, as assertions that the test of a layer calls."""

import numpy as np


def as_tuple(gradients):
    return gradients if isinstance(gradients, tuple) else (gradients,)


def arrays_of(cache):
    return [entry for entry in cache if isinstance(entry, np.ndarray)]


def assert_close(actual, desired, dtype=np.float64):
    """Equal up to the rounding of a sum in this dtype."""
    desired = np.asarray(desired)
    scale = float(np.max(np.abs(desired), initial=1))
    np.testing.assert_allclose(actual, desired, rtol=0, atol=64 * np.finfo(dtype).eps * scale)


def assert_pure(forward, backward, operands, rng):
    """Arguments and cache keep their bytes, results share no memory, and a cache can be used twice."""
    before = [operand.tobytes() for operand in operands]
    y, cache = forward(*operands)
    dy = rng.normal(size=np.shape(y)).astype(y.dtype)
    cached = [entry.tobytes() for entry in arrays_of(cache)]
    first, second = as_tuple(backward(dy, cache)), as_tuple(backward(dy.copy(), cache))
    assert [operand.tobytes() for operand in operands] == before
    assert [entry.tobytes() for entry in arrays_of(cache)] == cached
    for once, again in zip(first, second, strict=True):
        np.testing.assert_array_equal(once, again)
    given = [*operands, *arrays_of(cache), dy]
    results = [y, *first, *second]
    for index, result in enumerate(results):
        for other in [*given, *results[:index]]:
            assert not np.shares_memory(result, other)


def assert_shapes_and_dtypes(y, gradients, operands):
    """Y has the operands' common dtype, each gradient shape and dtype of its operand."""
    assert y.dtype == np.result_type(*operands)
    assert [gradient.shape for gradient in gradients] == [operand.shape for operand in operands]
    assert [gradient.dtype for gradient in gradients] == [operand.dtype for operand in operands]


def assert_broadcasts(forward, backward, operands, cores, rng):
    """One call with leading axes is a call for each of their indices, gradients summed where an operand was shared.

    ``cores`` says how many axes of each operand are not leading ones.
    """
    y, cache = forward(*operands)
    dy = rng.normal(size=np.shape(y)).astype(y.dtype)
    gradients = as_tuple(backward(dy, cache))
    leadings = [operand.shape[: operand.ndim - core] for operand, core in zip(operands, cores, strict=True)]
    leading = np.broadcast_shapes(*leadings)
    sums = [np.zeros(operand.shape) for operand in operands]
    assert y.shape[: len(leading)] == leading
    for index in np.ndindex(*leading):
        at = [
            tuple(0 if size == 1 else i for i, size in zip(index[len(index) - len(own) :], own, strict=True))
            for own in leadings
        ]
        one, cache_of_one = forward(*(operand[i] for operand, i in zip(operands, at, strict=True)))
        assert_close(y[index], one, y.dtype)
        for total, i, gradient in zip(sums, at, as_tuple(backward(dy[index], cache_of_one)), strict=True):
            total[i] += gradient
    for gradient, total in zip(gradients, sums, strict=True):
        assert_close(gradient, total, y.dtype)


def assert_adjoint(forward, backward, operands, which, rng):
    """In an operand y is linear in: <dy, J v> = <J^T dy, v>, with J v as the exact difference that linearity gives."""
    y, cache = forward(*operands)
    dy = rng.normal(size=np.shape(y)).astype(y.dtype)
    gradient = as_tuple(backward(dy, cache))[which]
    tangent = rng.normal(size=operands[which].shape).astype(operands[which].dtype)
    moved = list(operands)
    moved[which] = tangent
    moved[2:] = [np.zeros_like(operand) for operand in operands[2:]] if which < 2 else moved[2:]
    image, _ = forward(*moved)
    assert_close(np.vdot(dy, image), np.vdot(gradient, tangent), y.dtype)
