"""What to do where PyTorch is asked for what it does not allow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gradcheck.errors import InvalidArgument

__all__ = ["REMEDY", "explaining"]

REMEDY = (
    "inputs follow the function or module one by one; targets belong to the loss: "
    "loss=lambda output: criterion(output, targets)"
)
"""What to do where the arguments of a call do not fit."""

FORBIDDEN = {
    "leaf Variable that requires grad": "writes into an input, which autograd does not record; let it write into a copy: lambda x: fn(x.clone())",
    "Can't call numpy()": "calls NumPy, which autograd does not record; use PyTorch's functions, or check a gradient of your own by check_vjp",
    "backward through the graph a second time": "calls backward() itself, which the check does; leave it out",
}
"""What PyTorch says -> what the function does, and what to do."""


@contextmanager
def explaining(name: str) -> Iterator[None]:
    """Raise `InvalidArgument`, with a remedy, where a function does what autograd does not allow."""
    try:
        yield
    except RuntimeError as error:
        remedy = next((remedy for words, remedy in FORBIDDEN.items() if words in str(error)), "")
        if not remedy:
            raise
        raise InvalidArgument(f"{name} {remedy}.") from error
