"""PyTorch models in float32 through `gradcheck.torch.check_module`: right ones, and the faults that are planted in them.

``python -m benchmarks.torch_models mnist | block | gpt2``; it needs PyTorch.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from gradcheck import Report
from gradcheck.torch import check_module

WORDS = 50257
"""Size of GPT-2's vocabulary."""

SIZES = ("width", "depth", "words")


class Passed(torch.autograd.Function):
    """The identity, with a backward that multiplies by a factor: what is behind it gets that much of its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Any, factor: float) -> Any:  # noqa: D102 - autograd's own names, here and below
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:  # noqa: D102
        return dy * ctx.factor, None


class Attention(nn.Module):
    """Causal self-attention, as in GPT-2; ``fault`` is what arrives of the gradient of its keys."""

    def __init__(self, width: int, heads: int, fault: float = 1.0) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.heads, self.fault = heads, fault

    def forward(self, x: Any) -> Any:  # noqa: D102
        parts = self.qkv(x).chunk(3, dim=-1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(-2, -3) for part in parts)
        k = Passed.apply(k, self.fault)
        mask = torch.full((x.shape[-2], x.shape[-2]), float("-inf"), dtype=x.dtype).triu(1)
        weights = functional.softmax(q @ k.transpose(-1, -2) / k.shape[-1] ** 0.5 + mask, dim=-1)
        return self.out((weights @ v).transpose(-2, -3).flatten(-2))


class Block(nn.Module):
    """Attention and a perceptron, each behind a layer normalisation and beside a residual connection."""

    def __init__(self, width: int, heads: int, fault: float = 1.0) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, heads, fault)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Any) -> Any:  # noqa: D102
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """A language model, by default of the size of GPT-2 (124,439,808 weights), its embedding tied to its head."""

    def __init__(
        self, *, width: int = 768, depth: int = 12, words: int = WORDS, faulty: int | None = None, fault: float = 1.0
    ) -> None:
        super().__init__()
        heads, length = 12, 1024
        self.words, self.places = nn.Embedding(words, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(Block(width, heads, fault if i == faulty else 1.0) for i in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, words, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02 / (2 * depth) ** 0.5 if name.endswith("out.weight") else 0.02)
        self.head.weight = self.words.weight

    def forward(self, tokens: Any) -> Any:  # noqa: D102
        x = self.words(tokens) + self.places.weight[: tokens.shape[-1]]
        return self.head(self.norm(self.blocks(x)))


def tell(label: str, report: Report, seconds: float) -> None:
    """Print one row: verdict, cost, what is wrong, and how large an error of one element shows in the largest leaf."""
    largest = max(float(abs(parameter.claimed).max()) for parameter in report.parameters.values())
    floor = max(report.parameters.values(), key=lambda parameter: parameter.wrong.size).detection_floor
    wrong = {name: int(parameter.wrong.sum()) for name, parameter in report.parameters.items() if parameter.wrong.any()}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{label:28s} {report.verdict:12s} {report.evaluations:5d} evaluations {seconds:6.1f} s  peak {memory:4.1f} GiB  "
        f"floor in the largest leaf {floor / largest:.1e} of the largest entry  wrong {wrong or 'none'}",
        flush=True,
    )
    if wrong or not report.ok:
        print("   ", report.findings[0].message[:200], flush=True)


def check(label: str, *args: Any, **options: Any) -> Report:
    """Make a check and print its row."""
    started = time.perf_counter()
    report = check_module(*args, **options)
    tell(label, report, time.perf_counter() - started)
    return report


def mnist(seeds: int) -> None:
    """Check a perceptron of 784, 128 and 10 units (101,770 weights), as PyTorch initialises it; one element off by 1 %."""
    for seed in range(seeds):
        torch.manual_seed(seed)
        module = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
        x, labels = torch.rand(64, 784), torch.randint(10, (64,))
        loss = lambda y, labels=labels: functional.cross_entropy(y, labels)  # noqa: E731
        check(f"mnist {seed}, right", module, x, loss=loss)

        def off(gradient: Any) -> Any:
            changed = gradient.clone()
            changed.view(-1)[gradient.abs().argmax()] *= 1.01
            return changed

        module[0].weight.register_hook(off)
        report = check(f"mnist {seed}, one 1 % off", module, x, loss=loss)
        print("    element", report.parameters["0.weight"].worst())


def block(**options: Any) -> None:
    """Check a transformer block of 300 units and 1,084,200 weights."""
    for fault in (1.0, 0.5):
        torch.manual_seed(0)
        module, x = Block(300, 6, fault), torch.randn(2, 16, 300)
        loss = partial(functional.mse_loss, target=torch.randn(2, 16, 300))
        check(f"block, {'right' if fault == 1 else 'keys halved'}", module, x, loss=loss, **options)


def gpt2(length: int, which: str, size: dict[str, int], **options: Any) -> None:
    """Check a model like GPT-2 and one short sequence: right, and with half of the gradient of one block's keys."""
    for faulty in {"right": (None,), "wrong": (5,), "both": (None, 5)}[which]:
        torch.manual_seed(0)
        tokens = torch.randint(size.get("words", WORDS), (1, length + 1))
        module = Transformer(faulty=faulty, fault=0.5, **size)
        label = "right" if faulty is None else f"keys of block {faulty} halved"
        check(f"gpt2, {label}", module, tokens[:, :-1], loss=partial(next_token, tokens=tokens), **options)


def next_token(y: Any, tokens: Any) -> Any:
    """Return the loss of a language model."""
    return functional.cross_entropy(y.flatten(0, 1), tokens[0, 1:])


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=["mnist", "block", "gpt2"])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--length", type=int, default=8)
    parser.add_argument("--which", choices=["right", "wrong", "both"], default="both")
    for name in SIZES:
        parser.add_argument(f"--{name}", type=int, help="of a model smaller than GPT-2")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--max-evaluations", type=int)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    options = {"max_evaluations": given.max_evaluations}
    size = {name: getattr(given, name) for name in SIZES if getattr(given, name)}
    runs: dict[str, Callable[[], None]] = {
        "mnist": lambda: mnist(given.seeds), "block": lambda: block(**options), "gpt2": lambda: gpt2(given.length, given.which, size, **options),
    }  # fmt: skip
    runs[given.model]()


if __name__ == "__main__":
    main()
