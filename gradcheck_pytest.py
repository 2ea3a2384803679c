"""The pytest plugin: what a user of pytest can say, and the recorder that does it.

It stands outside the package and imports nothing of it until pytest is configured, and then no NumPy: a run that checks
no gradient does not pay for the plugin.
"""

from types import ModuleType

import pytest

__all__ = ["gradcheck", "pytest_addoption", "pytest_configure"]


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the options and the settings of the ini file."""
    # pytest compiles all modules of a plugin's distribution anew, to explain their asserts; the package has none that a user sees.
    getattr(pluginmanager.rewrite_hook, "_must_rewrite", set()).discard("gradcheck")
    group = parser.getgroup("gradcheck", "gradients")
    group.addoption("--gradcheck-json", metavar="PATH", help="write the reports of all checks as JSON")
    group.addoption("--gradcheck-html", metavar="PATH", help="write the reports of all checks as one page, worst first")
    group.addoption(
        "--gradcheck-summary",
        metavar="PATH",
        nargs="?",
        const="",
        help="write a table of all checks as Markdown; without =PATH append it to $GITHUB_STEP_SUMMARY",
    )
    group.addoption(
        "--gradcheck-mutate",
        metavar="MODULE:FUNCTION",
        help="count the wrong gradients of package.module:function that pass the tests",
    )
    group.addoption(
        "--gradcheck-mutate-seconds", metavar="N", type=float, default=60.0, help="time for --gradcheck-mutate (60)"
    )
    parser.addini("gradcheck_inconclusive", "a check that cannot tell: fail, skip, xfail or pass", default="fail")
    parser.addini("gradcheck_max_evaluations", "bound on the calls of f in each check", default="")
    parser.addini("gradcheck_seed", "seed of every check", default="")
    parser.addini("gradcheck_hypothesis_profile", "load Hypothesis' profile 'gradcheck'", type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker, and record from here on."""
    from gradcheck.testing.recorder import Recorder  # noqa: PLC0415 - coverage of the package can begin before this
    from gradcheck.testing.tracebacks import Hiding  # noqa: PLC0415

    config.addinivalue_line(
        "markers", "gradcheck(rtol, method, max_evaluations, inconclusive): options of every check in a test"
    )
    recorder = Recorder(config)
    config.pluginmanager.register(recorder, "gradcheck-recorder")
    config.pluginmanager.register(Hiding(), "gradcheck-tracebacks")
    target = config.getoption("gradcheck_mutate")
    if target is not None:
        from gradcheck.testing.mutation import Mutation  # noqa: PLC0415 - with NumPy, for those who ask

        seconds = config.getoption("gradcheck_mutate_seconds")
        mutation = Mutation(config, target, seconds, recorder.options.get("rng", 0))
        config.pluginmanager.register(mutation, "gradcheck-mutation")
    chosen = config.getoption("hypothesis_profile", default=None)
    if config.getini("gradcheck_hypothesis_profile") and chosen is None:
        from hypothesis import settings  # noqa: PLC0415

        import gradcheck.strategies  # noqa: F401, PLC0415 - it registers the profile

        settings.load_profile("gradcheck")


@pytest.fixture(name="gradcheck", scope="session")
def gradcheck() -> ModuleType:
    """Return the package: its ``assert_`` functions, with the options of the ini file and of the test's marker.

    They hold for every check of a test, whichever way it is called.
    """
    import gradcheck as package  # noqa: PLC0415

    return package
