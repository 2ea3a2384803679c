"""PyTorch: its own database of operators, with its own sample inputs (needs `expecttest`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice

import torch
from torch.testing._internal.common_methods_invocations import op_db

from gradcheck import InvalidArgument, Report
from gradcheck.torch import check_function

SAMPLES = 2
"""Sample inputs of each operator."""

LARGEST = 500
"""Elements of all inputs of a sample; larger ones tell nothing more here."""

EVALUATIONS = 3000
"""Calls of one operator: what stays undecided then is said to be."""


def cases() -> Iterator[tuple[str, Callable[[], Report]]]:
    """Yield a name and a check of every sample."""
    for operator in op_db:
        if not operator.supports_autograd or torch.float64 not in operator.supported_dtypes("cpu"):
            continue
        name = ".".join(filter(None, (operator.name, operator.variant_test_name)))
        for number in range(SAMPLES):
            yield f"{name}[{number}]", partial(_sample, operator, number)


def _sample(operator: object, number: int) -> Report:
    torch.manual_seed(0)
    samples = operator.sample_inputs("cpu", torch.float64, requires_grad=True)
    sample = next(islice(filter(_is_small, samples), number, None), None)
    if sample is None:
        raise InvalidArgument("no further sample of few elements")

    def function(*tensors: object) -> object:
        y = operator.gradcheck_wrapper(operator.op, *tensors, **sample.kwargs)  # makes symmetric what has to be
        return sample.output_process_fn_grad(y)

    def differentiable(*tensors: object) -> object:
        y = function(*tensors)
        return y if kept is None else [part for part, is_kept in zip(y, kept, strict=True) if is_kept]

    y = function(sample.input, *sample.args)
    kept = None if isinstance(y, torch.Tensor) else [part.requires_grad for part in y]  # saved statistics are not
    return check_function(differentiable, sample.input, *sample.args, max_evaluations=EVALUATIONS)


def _is_small(sample: object) -> bool:
    tensors = [t for t in (sample.input, *sample.args) if isinstance(t, torch.Tensor)]
    return 0 < sum(t.numel() for t in tensors) <= LARGEST
