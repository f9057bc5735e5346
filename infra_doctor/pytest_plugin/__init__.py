"""The pytest plug-in: a test says what it needs of the machine, and is skipped (or fails) where that is not there.

    @pytest.mark.requires_env("ort-cuda", "gpu.count>=2")

docs/ci/pytest.md tells its users what it does. This module is imported by every pytest run of an environment that has
infra-doctor, so it imports pytest alone; what looks and judges comes with the first test that has the mark. It uses pytest's
documented API as of 7.0: https://docs.pytest.org/en/7.0.x/reference/reference.html

PYTEST_DONT_REWRITE: there is no assertion in here.
"""

import contextlib
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from _pytest.terminal import TerminalReporter

    from infra_doctor.model.report import Report
    from infra_doctor.pytest_plugin.doctor import Doctor

MARK = "requires_env"
MODES = ("skip", "fail", "off")
DEFAULT_TIMEOUT_S = 60.0
SENT = "infra_doctor_report"  # what a worker of pytest-xdist sends to its controller
_SIGNATURE = (
    f"{MARK}(*needs, policy=None, on_missing=None): the test needs this of the machine (infra-doctor). A need is a key, "
    "alone or with what it must be ('ort-cuda', 'driver>=580', 'gpu.count>=2'), or the id of a finding that must not fail; "
    "`policy` is a policy file. `on_missing`: 'skip' or 'fail'."
)
_DOCTOR = pytest.StashKey["Doctor"]()
_TEXTS = pytest.StashKey["list[str]"]()  # of an item: what it lacks
_SENT = pytest.StashKey["dict[str, str]"]()  # of a controller: the reports of its workers
_TROUBLE = pytest.StashKey[str]()  # why the report asked for was not written


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options and their defaults in the configuration file."""
    group = parser.getgroup("infra-doctor", "what tests need of the machine (infra-doctor)")
    group.addoption(
        "--infra-doctor", choices=MODES, dest="infra_doctor",
        help=f"what becomes of a test whose {MARK} is not met: skip (default), fail; off: the mark is not looked at",
    )  # fmt: skip
    group.addoption(
        "--infra-doctor-report", metavar="FILE", dest="infra_doctor_report",
        help="write the report on the machine, as `infra-doctor check --json` does",
    )  # fmt: skip
    parser.addini("infra_doctor", f"{MARK}: skip, fail or off", default="skip")
    parser.addini(
        "infra_doctor_timeout", f"{MARK}: seconds for looking at the machine", default=f"{DEFAULT_TIMEOUT_S:g}"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known; say at once what is wrong in the configuration."""
    config.addinivalue_line("markers", _SIGNATURE)
    _mode(config)
    _timeout_s(config)


def _mode(config: pytest.Config) -> str:
    """What holds for marks that say nothing themselves. Raises UsageError."""
    chosen = config.getoption("infra_doctor") or str(config.getini("infra_doctor")).strip()
    if chosen not in MODES:
        raise pytest.UsageError(f"infra_doctor = {chosen[:60]!r}: one of {', '.join(MODES)} is wanted")
    return chosen


def _timeout_s(config: pytest.Config) -> float:
    """The bound for one look at the machine. Raises UsageError."""
    written = str(config.getini("infra_doctor_timeout")).strip()
    try:
        seconds = float(written)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise pytest.UsageError(f"infra_doctor_timeout = {written[:60]!r}: a number of seconds above 0 is wanted")
    return seconds


@contextlib.contextmanager
def _doctor(config: pytest.Config) -> "Iterator[Doctor]":
    """What looks and judges, made at first need. It is imported past pytest's own importer, which compiles each module of a
    distribution with a plug-in anew, for its assertions: 0.5 s, in every run where no bytecode may be written."""
    importers = [f for f in sys.meta_path if type(f).__module__ == "_pytest.assertion.rewrite"]
    sys.meta_path[:] = [f for f in sys.meta_path if f not in importers]
    try:
        if _DOCTOR not in config.stash:
            from infra_doctor.pytest_plugin.doctor import Doctor

            config.stash[_DOCTOR] = Doctor(root=str(config.rootpath), timeout_s=_timeout_s(config))
        yield config.stash[_DOCTOR]
    finally:
        sys.meta_path[:0] = importers


@pytest.fixture(scope="session")
def infra_doctor(request: pytest.FixtureRequest) -> "Report":
    """What infra-doctor says of this machine and this Python: a report, with its findings and components."""
    try:
        with _doctor(request.config) as doctor:
            return doctor.report(request.session.items)
    except Exception as error:  # noqa: BLE001  whatever it is, it is ours
        pytest.fail(_fault(error), pytrace=False)


def _fault(error: Exception) -> str:
    return f"a fault of infra-doctor, not of this test: {type(error).__name__}: {error}"


# -- collecting ---------------------------------------------------------------------------------------------------


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> "Generator[None, Any, None]":
    """A mark that cannot be read is an error of the file or class that holds it, as an unknown mark is."""
    outcome = yield
    if outcome.excinfo is not None:
        return
    report: pytest.CollectReport = outcome.get_result()
    marked = [node for node in report.result or () if isinstance(node, pytest.Item) and MARK in node.keywords]
    if not marked or _mode(collector.config) == "off":
        return
    wrong: dict[str, str] = {}
    for item in marked:
        try:
            with _doctor(collector.config) as doctor:
                doctor.read(item)
        except pytest.UsageError as error:
            wrong.setdefault(str(error), item.nodeid)
        except Exception:  # noqa: BLE001  a fault of ours is told where the test would run; the others go on
            continue
    if wrong:
        report.outcome = "failed"
        report.longrepr = "\n".join(f"{nodeid}: {message}" for message, nodeid in wrong.items())
        report.result = []


# -- running ------------------------------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Give the test a skip mark before pytest looks at those: reasons to skip that the test has of its own come first, and
    its place is the test's. Nothing of the test has been set up."""
    if MARK not in item.keywords or _mode(item.config) == "off":
        return
    try:
        with _doctor(item.config) as doctor:
            lacking = doctor.lacking(item, _mode(item.config))
    except Exception:  # noqa: BLE001  told below, unless the test is skipped for another reason
        return
    if lacking.texts and not lacking.fails:
        item.stash[_TEXTS] = lacking.texts
        item.add_marker(pytest.mark.skip(reason="; ".join(lacking.texts)))


@pytest.hookimpl(specname="pytest_runtest_setup")
def pytest_runtest_setup_of_what_is_not_skipped(item: pytest.Item) -> None:
    """Fail the test; skip it where pytest's own plug-in for skipping is turned off."""
    if MARK not in item.keywords or _mode(item.config) == "off":
        return
    try:
        with _doctor(item.config) as doctor:
            lacking = doctor.lacking(item, _mode(item.config))
    except pytest.UsageError as error:  # of a mark that was added after collection
        pytest.fail(str(error), pytrace=False)
    except Exception as error:  # noqa: BLE001  whatever it is, it is ours, and the other tests go on
        pytest.fail(_fault(error), pytrace=False)
    if not lacking.texts:
        return
    item.stash[_TEXTS] = lacking.texts
    if not lacking.fails:
        pytest.skip("; ".join(lacking.texts))
    pytest.fail("not what this test needs: " + "\n".join(lacking.texts), pytrace=False)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: "pytest.CallInfo[None]") -> "Generator[None, Any, None]":
    """Note in the report what the test lacked: it travels with it from a worker to the summary."""
    outcome = yield
    if call.when != "setup" or _TEXTS not in item.stash or outcome.excinfo is not None:
        return
    texts, report = item.stash[_TEXTS], outcome.get_result()
    said = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""  # of a skip: (file, line, reason)
    if report.failed or texts[0] in said:  # else it was skipped for a reason of its own
        vars(report)[MARK] = list(texts)


# -- the end ------------------------------------------------------------------------------------------------------


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """A worker of pytest-xdist has ended: keep the report that it sent."""
    sent = getattr(node, "workeroutput", {}).get(SENT)
    if sent:
        node.config.stash.setdefault(_SENT, {})[str(node.gateway.id)] = sent


def pytest_sessionfinish(session: pytest.Session, exitstatus: int | pytest.ExitCode) -> None:
    """Write the report that was asked for; a worker sends it."""
    config = session.config
    path = config.getoption("infra_doctor_report")
    if not path or config.getoption("collectonly"):
        return
    made = _DOCTOR in config.stash and config.stash[_DOCTOR].whole is not None
    to_controller: dict[str, str] | None = getattr(config, "workeroutput", None)
    if to_controller is not None:
        if made:
            # Where no worker could send a report, the controller looks itself.
            with contextlib.suppress(Exception), _doctor(config) as doctor:
                to_controller[SENT] = doctor.text(())
        return
    sent = config.stash.get(_SENT, {})
    wanted = exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED}
    if not (sent or made or wanted):
        return
    try:
        with _doctor(config) as doctor:
            from infra_doctor.cli.output import write_file

            write_file(str(path), sent[min(sent)] if sent else doctor.text(session.items))
    except Exception as error:  # noqa: BLE001  the tests have run: their results must still be told
        config.stash[_TROUBLE] = f"infra-doctor: no report: {error}"
        if exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR


def pytest_terminal_summary(terminalreporter: "TerminalReporter", config: pytest.Config) -> None:
    """How many tests did not run for the environment, and each cause once, the most frequent first."""
    counts = {"skipped": 0, "failed": 0}
    causes: dict[str, int] = {}
    for category in ("skipped", "error"):
        for report in terminalreporter.stats.get(category, ()):
            texts = vars(report).get(MARK)
            if texts:
                counts["skipped" if report.skipped else "failed"] += 1
                for text in texts:
                    causes[text] = causes.get(text, 0) + 1
    if causes:
        said = " and ".join(f"{number} {word}" for word, number in counts.items() if number)
        terminalreporter.section(f"{said} for the environment (infra-doctor)")
        for text, number in sorted(causes.items(), key=lambda pair: (-pair[1], pair[0])):
            terminalreporter.write_line(f"{number} × {text}")
    if _TROUBLE in config.stash:
        terminalreporter.write_line(config.stash[_TROUBLE], red=True)
