"""The results as tables in a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from network.job import Results
from network.mutants import Row

__all__ = ["MUTANT_COLUMNS", "mutant_cells", "print_divergence", "print_mutants", "print_pairings"]


def print_divergence(console: Console, results: Results) -> None:
    """Print, per gradient and weight, how far it is from the true one."""
    if not results.checks:
        return
    table = Table(title="Divergence from the true gradient (relative error / cosine / angle / same signs / norm ratio)")
    weights = list(next(iter(results.checks.values()))["weights"])
    shown = [name for name in weights if any(c["weights"][name]["verdict"] != "right" for c in results.checks.values())]
    table.add_column("gradient")
    for name in shown:
        table.add_column(name, justify="right")
    table.add_column("wrong weights")
    for title, found in results.checks.items():
        wrong = [name for name, entry in found["weights"].items() if entry["verdict"] == "wrong"]
        cells = [_cell(found["weights"][name]) for name in shown]
        table.add_row(title, *cells, " ".join(wrong) or found["verdict"])
    console.print(table)
    rest = [name for name in weights if name not in shown]
    console.print(f"{', '.join(rest)}: right in every gradient.", highlight=False)


def _cell(entry: dict[str, Any]) -> str:
    if entry["verdict"] == "right":
        return "[dim]right[/dim]"
    if entry["norm_ratio"] > 1e300:
        return "[red]true is zero[/red]"
    lines = (
        f"{entry['relative_error']:.2g} / {entry['cosine']:.2f}\n{entry['angle']:.0f}° / {entry['sign_agreement']:.2f}"
    )
    return f"[red]{lines}\n{entry['norm_ratio']:.2g}[/red]"


def print_pairings(console: Console, results: Results) -> None:
    """Print the paired experiments."""
    pairings = results.pairings()
    if not pairings:
        return
    table = Table(title="Experiments, baseline / broken, paired by seed")
    for heading in (
        "experiment",
        "networks",
        "broken cheaper",
        "cost ratio",
        "Wilcoxon p",
        "10 images",
        "all test images",
    ):
        table.add_column(heading, justify="left" if heading == "experiment" else "right")
    for name, found in pairings.items():
        table.add_row(
            name,
            str(found.seeds),
            f"{found.wins} of {found.seeds}",
            f"{found.cost_ratio:.3g}",
            "-" if found.p_value is None else f"{found.p_value:.2g}",
            f"{found.accuracy_10[0]:.3f} / {found.accuracy_10[1]:.3f}",
            f"{found.accuracy_all[0]:.3f} / {found.accuracy_all[1]:.3f}",
        )
    console.print(table)
    console.print("good: right against author-broken; published: author-original against author-broken, kernel shared.")


MUTANT_COLUMNS = (
    "gradient",
    "final cost",
    "cost ratio",
    "cheaper",
    "Wilcoxon p",
    "accuracy",
    "worst",
    "better/tied/worse",
    "relative error",
    "angle",
    "gradcheck",
    "images",
    "evaluations",
    "wrong weights",
)


def mutant_cells(row: Row) -> list[str]:
    """Return the cells of one row of the experiment of bugs."""
    return [
        row.name,
        f"{row.cost:.3g}",
        f"{row.cost_ratio:.3g}",
        f"{row.cheaper}/{row.seeds}",
        "-" if row.p_value is None else f"{row.p_value:.2g}",
        f"{row.accuracy:.4f}",
        f"{row.worst:.3f}",
        f"{row.better}/{row.tied}/{row.worse}",
        f"{row.relative_error:.2g}" if row.relative_error < 1e300 else "true is zero",
        f"{row.angle:.1f}°",
        row.verdict,
        str(row.images),
        str(row.evaluations),
        weights(row.wrong),
    ]


def weights(names: tuple[str, ...]) -> str:
    """Return the names of weights in short."""
    return "all" if len(names) == 9 else " ".join(names)


def print_mutants(console: Console, rows: list[Row]) -> None:
    """Print the experiment of bugs as one table."""
    if not rows:
        return
    table = Table(title="Bugs: training with each against the right gradient, seed by seed, and what gradcheck says")
    for heading in MUTANT_COLUMNS:
        is_text = heading in ("gradient", "gradcheck", "wrong weights")
        table.add_column(heading, justify="left" if is_text else "right", no_wrap=heading == "gradient")
    for row in rows:
        table.add_row(*mutant_cells(row))
    console.print(table)
