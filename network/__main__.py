"""``python -m network`` checks the article's network and repeats its experiments; ``mutants`` trains it with bugs."""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from gradcheck import Report
    from network.job import Plan, Results, Task
    from network.mutants import Trained

INTERRUPTED = 130

EXAMPLES = """\
examples:
  python -m network                     everything, in half a minute; writes article-report/index.html
  python -m network --quick             the same in small, in a few seconds
  python -m network --seeds 40          more networks for every experiment
  python -m network mutants             25 bugs, 40 networks each: what accuracy says, and what a gradient check says
  python -m network --published         the article's own 500 epochs with 20 seeds and all three sizes (minutes)
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the main job and return the exit code."""
    options = _parser().parse_args(arguments)
    needed = ["rich", "scipy", "sklearn", "threadpoolctl"] + ["matplotlib"] * (not options.no_plots)
    missing = ", ".join(name for name in needed if importlib.util.find_spec(name) is None)
    if missing:  # asked for before anything is computed
        print(f'not installed: {missing}; run python -m pip install -e ".[network]" in the checkout.', file=sys.stderr)
        return 2
    try:
        options.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(f"--output {options.output}: {error.strerror}; name a folder that can be written.", file=sys.stderr)
        return 2
    return _run_mutants(options) if options.job == "mutants" else _run(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m network",
        description=(
            "Check all nine weights of the article's network on real digits, measure how far every broken gradient is "
            "from the true one, repeat the article's experiments, and write a folder with the results."
        ),
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "job",
        nargs="?",
        choices=("article", "mutants"),
        default="article",
        help="article (default), or mutants: train the network with each of 25 bugs in its backward pass",
    )
    parser.add_argument(
        "--seeds", type=_count, default=None, metavar="N", help="networks per experiment (default 10, of mutants 40)"
    )
    parser.add_argument("--epochs", type=_count, default=None, metavar="N", help="epochs per experiment (default 50)")
    parser.add_argument("--quick", action="store_true", help="everything in small: 3 networks, few epochs and images")
    parser.add_argument("--published", action="store_true", help="the published regime in full: 500 epochs, 20 seeds")
    parser.add_argument(
        "--output", type=Path, default=Path("article-report"), metavar="DIR", help="folder (default article-report)"
    )
    parser.add_argument("--no-plots", action="store_true", help="write no pictures")
    return parser


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number, at least 1")
    return number


def _plan(options: argparse.Namespace) -> Plan:
    from network.experiments import HIDDEN_SIZES, PUBLISHED  # noqa: PLC0415
    from network.job import AUTHOR_SEED, PUBLISHED_SIZE, Plan  # noqa: PLC0415

    seeds = options.seeds or (3 if options.quick else 10)
    published_epochs = options.epochs or PUBLISHED.epochs
    return Plan(
        seeds=seeds,
        epochs=options.epochs or (5 if options.quick else None),
        published_epochs=10 if options.quick and not options.epochs else published_epochs,
        published_seeds=tuple(range(options.seeds or 20)) if options.published else (AUTHOR_SEED,),
        published_sizes=HIDDEN_SIZES if options.published else (PUBLISHED_SIZE,),
        images=10 if options.quick else 100,
        right_images=40 if options.quick else 350,
    )


def _run(options: argparse.Namespace) -> int:
    from rich.console import Console  # noqa: PLC0415

    from network.job import Results, conclusion  # noqa: PLC0415
    from network.tables import print_divergence, print_pairings  # noqa: PLC0415

    started = time.perf_counter()
    console, plan, results = Console(width=None if sys.stdout.isatty() else 120), _plan(options), Results()
    interrupted = False
    try:
        _compute(options, plan, results, console)
        results.complete = True
    except KeyboardInterrupt:
        interrupted = True
        console.print("Interrupted; what is done is kept.")
    print_divergence(console, results)
    print_pairings(console, results)
    console.print(conclusion(results), highlight=False)
    _write(options, results)
    seconds = time.perf_counter() - started
    console.print(f"Written to {options.output}/ after {seconds:.0f} s: {', '.join(_files(options.output))}")
    return INTERRUPTED if interrupted else 0


def _print_right(console: Console, report: Report, images: int) -> None:
    console.print(f"The right gradient, all nine weights, on {images} training images", style="bold")
    console.print(str(report), highlight=False, markup=False)


def _run_mutants(options: argparse.Namespace) -> int:
    """Train with each bug, check each, and write one table and one picture."""
    from rich.console import Console  # noqa: PLC0415

    from gradcheck.reports.page import document  # noqa: PLC0415
    from network.mutants import conclusion, rows_of  # noqa: PLC0415
    from network.page import write_mutants  # noqa: PLC0415
    from network.tables import print_mutants  # noqa: PLC0415

    started = time.perf_counter()
    console = Console(width=None if sys.stdout.isatty() else 200)
    trained: Trained = {}
    checks: dict[str, Any] = {}
    interrupted = False
    try:
        _compute_mutants(options, trained, checks)
    except KeyboardInterrupt:
        interrupted = True
        console.print("Interrupted; what is done is kept.")
    rows = rows_of(trained, checks)
    print_mutants(console, rows)
    console.print(conclusion(rows), highlight=False)
    if not options.no_plots and rows:
        from network.pictures import draw_mutants  # noqa: PLC0415

        draw_mutants(rows, options.output / "mutants.png")
    write_mutants(rows, conclusion(rows), options.output, document)
    seconds = time.perf_counter() - started
    files = [name for name in ("mutants.html", "mutants.json", "mutants.png") if (options.output / name).exists()]
    console.print(f"Written to {options.output}/ after {seconds:.0f} s: {', '.join(files)}")
    return INTERRUPTED if interrupted else 0


def _compute_mutants(options: argparse.Namespace, trained: Trained, checks: dict[str, Any]) -> None:
    """Perform all tasks in worker processes; add to the results as they come."""
    from rich.progress import Progress  # noqa: PLC0415

    from network import verification  # noqa: PLC0415
    from network.article.bugs import ALL  # noqa: PLC0415
    from network.job import perform  # noqa: PLC0415
    from network.mutants import merged, training_tasks  # noqa: PLC0415

    seeds = options.seeds or (3 if options.quick else 40)
    trainings = training_tasks(seeds, options.epochs or (5 if options.quick else None))
    examinations = {f"check {bug.name}": bug.name for bug in ALL}
    checking = [(key, verification.examine, (i,)) for i, key in enumerate(examinations)]
    parts: dict[str, Any] = {}
    with Progress(console=_stderr(), transient=True) as bar:
        task = bar.add_task("training and checking", total=len(trainings) + len(checking))
        shares: dict[str, float] = {}

        def show(key: str, share: float) -> None:
            shares[key] = share
            bar.update(task, completed=sum(shares.values()))

        for key, found in perform([*trainings, *checking], show, partial(_import_what_follows, options)):
            show(key, 1.0)
            if key in examinations:
                checks[examinations[key]] = found
            else:
                parts[key] = found
                trained.clear()
                trained.update(merged([parts.get(name) for name, _, _ in trainings]))


def _import_what_follows(options: argparse.Namespace) -> None:
    """Import what is needed when the workers are done: it takes seconds."""
    importlib.import_module("scipy.stats")
    if not options.no_plots:
        importlib.import_module("network.pictures")


def _stderr() -> Console:
    from rich.console import Console  # noqa: PLC0415

    return Console(stderr=True)


def _compute(options: argparse.Namespace, plan: Plan, results: Results, console: Console) -> None:
    """Perform all tasks in worker processes, with a progress bar; print what the check of the right gradient says.

    The longest training comes first, since nothing else can be done sooner than that; the check of the right gradient second.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    from network import verification  # noqa: PLC0415
    from network.job import by_key, gradients_of, perform, training_tasks  # noqa: PLC0415

    right = "check of all weights"
    titles = {f"check {title}": title for title, _, _ in gradients_of()}
    checks = [
        (f"check {title}", verification.weigh, (backward, plan.images, shared))
        for title, backward, shared in gradients_of()
    ]
    longest, *others = training_tasks(plan)
    tasks: list[Task] = [longest, (right, verification.check_right, (plan.right_images,)), *others, *checks]
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=_stderr(), transient=True) as bar:
        trainings = bar.add_task("training", total=1 + len(others))
        checking = bar.add_task("checking", total=1 + len(checks))
        shares: dict[str, float] = {}
        trained: dict[str, tuple[Any, ...]] = {}

        def show(key: str, share: float) -> None:
            shares[key] = share
            is_check = key.startswith("check ")
            done = sum(part for other, part in shares.items() if other.startswith("check ") == is_check)
            bar.update(checking if is_check else trainings, completed=done)

        for key, found in perform(tasks, show, partial(_import_what_follows, options)):
            show(key, 1.0)
            if key == right:
                results.right = found
                _print_right(console, found, plan.right_images)
            elif key in titles:
                results.checks[titles[key]] = found
            else:
                trained[key] = found
                in_order = [outcome for name, _, _ in training_tasks(plan) for outcome in trained.get(name, ())]
                results.outcomes = by_key(in_order)
    results.checks = {title: results.checks[title] for title in titles.values() if title in results.checks}


def _write(options: argparse.Namespace, results: Results) -> None:
    from gradcheck.reports.page import document, section  # noqa: PLC0415
    from network.job import experiments_of  # noqa: PLC0415
    from network.page import write_page, write_results  # noqa: PLC0415

    write_results(results, options.output)
    if not options.no_plots:
        from network.pictures import draw_costs, draw_divergence  # noqa: PLC0415

        experiments = list(experiments_of(results.outcomes))
        if experiments:
            draw_costs(experiments, options.output / "costs.png")
        if results.checks:
            errors = {
                title: {n: 0.0 if e["verdict"] == "right" else e["relative_error"] for n, e in found["weights"].items()}
                for title, found in results.checks.items()
            }
            draw_divergence(errors, options.output / "divergence.png")
    write_page(results, section(results.right, 3) if results.right else "<p>not finished</p>", options.output, document)


def _files(folder: Path) -> list[str]:
    names = ("index.html", "results.json", "costs.png", "divergence.png")
    return [name for name in names if (folder / name).exists()]


if __name__ == "__main__":
    sys.exit(main())
