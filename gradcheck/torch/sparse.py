"""Sparse tensors as points: what is differentiated are the values of their specified elements."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["filled", "is_sparse", "specified", "with_values"]

BLOCKED = (torch.sparse_bsr, torch.sparse_bsc)
BY_ROWS = (torch.sparse_csr, torch.sparse_bsr)


def is_sparse(thing: Any) -> bool:
    """Tell whether something is a sparse tensor of any layout."""
    return isinstance(thing, torch.Tensor) and thing.layout in {torch.sparse_coo, *BY_ROWS, torch.sparse_csc, *BLOCKED}


def specified(tensor: Any) -> Any:
    """Return the values of the specified elements of a sparse tensor, detached."""
    tensor = tensor.detach()
    return tensor.coalesce().values() if tensor.layout is torch.sparse_coo else tensor.values()


def with_values(original: Any, values: Any) -> Any:
    """Return a sparse tensor like the original with other values, through which gradients flow to them."""
    tensor = original.detach()
    if tensor.layout is torch.sparse_coo:
        return torch.sparse_coo_tensor(
            tensor.coalesce().indices(), values, tensor.shape, is_coalesced=True, check_invariants=False
        )
    places = (
        (tensor.crow_indices(), tensor.col_indices())
        if tensor.layout in BY_ROWS
        else (tensor.ccol_indices(), tensor.row_indices())
    )
    return torch.sparse_compressed_tensor(*places, values, tensor.shape, layout=tensor.layout, check_invariants=False)


def filled(thing: Any) -> Any:
    """Return a sparse tensor with every element specified, as zero where it was not; anything else as it is."""
    if not is_sparse(thing):
        return thing
    tensor = thing.detach()
    dense = tensor.to_dense()
    size = tensor.values().shape[1:3] if tensor.layout in BLOCKED else None
    places = torch.arange(1, dense.numel() + 1, device=dense.device).reshape(dense.shape)
    whole = places.to_sparse(layout=tensor.layout, blocksize=size)
    values = dense.reshape(-1)[specified(whole) - 1]
    return with_values(whole, values).requires_grad_(thing.requires_grad)
