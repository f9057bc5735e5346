"""The dashboard by Pilot: every key, both screens, runs that fail, hang or find nothing, and a machine that attacks."""

import threading
from dataclasses import replace

import pytest
from textual.widgets import Input, OptionList

from infra_doctor.errors import ExitCode, TargetError
from infra_doctor.model.finding import Command, Remediation, Status
from infra_doctor.model.report import Report
from infra_doctor.runner.events import Emit, ProbeFinished, ProbeStarted, ReportReady, RunPlanned
from infra_doctor.tui.app import Dashboard
from infra_doctor.tui.commands import COMMANDS
from infra_doctor.tui.help import HelpScreen
from infra_doctor.tui.progress import Phase
from tests.core.tui.screens import (
    SIZES,
    Stepped,
    app_of,
    begun,
    browser,
    dashboard,
    detail,
    events,
    footer,
    playing,
    rows,
    selected,
    settled,
    text,
)
from tests.support.sample_report import HOSTILE, empty_report, finding, quiet_report, sample_report

MARKUP = "[red]red[/red] [@click=app.quit]leave[/] [/nothing] [$error on blue"


def row_with(app: Dashboard, words: str) -> str:
    return next((line for line in rows(app) if words in line), "")


# -- the verdict screen -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
async def test_verdict_shows_causes_first_and_what_follows_below(size: tuple[int, int]) -> None:
    async with dashboard().run_test(size=size) as pilot:
        app = await settled(pilot)
        assert text(app, "#verdict").startswith("✖ FAIL")
        assert "2 faults from 1 cause" in text(app, "#verdict")
        assert "✖ 2 fail" in text(app, "#counts")
        assert "✔ 3 pass" in text(app, "#counts")
        assert "1 waived" in text(app, "#counts")
        assert "2 × NVIDIA H200" in text(app, "#stack")
        assert text(app, "#machine") == "machine-1f3a5c · live"
        names = ["CUDNN-MISSING", "ORT-FALLBACK", "PROBE-FAILED", "CUDNN-MIX", "NVCC-MISMATCH"]
        found = [next(n for n, line in enumerate(rows(app)) if name in line) for name in names]
        assert found == sorted(found)
        assert row_with(app, "ORT-FALLBACK").strip().startswith("└ ✖ FAIL")
        assert not row_with(app, "PYNVML"), "a waived finding stands in its closed group"
        assert not row_with(app, "DRV-OLD"), "a passed check stands in its closed group"
        assert "CUDNN-MISSING" in selected(app)


async def test_the_detail_has_remedy_commands_documentation_and_evidence() -> None:
    async with dashboard().run_test(size=(120, 40)) as pilot:
        app = await settled(pilot)
        shown = detail(app)
        assert "Call onnxruntime.preload_dlls() before the first session" in shown
        assert "$ /opt/venv/bin/python -m pip install 'onnxruntime-gpu[cuda,cudnn]==1.30.0'" in shown
        assert "https://onnxruntime.ai/docs/install/" in shown
        assert "/etc/ld.so.cache" in shown
        assert "no entry for libcublasLt.so.13" in shown
        assert "high severity · observed" in shown
        await pilot.press("j")
        await pilot.pause()
        assert "Follows from\nCUDNN-MISSING" in detail(app)


async def test_groups_open_and_close() -> None:
    async with dashboard().run_test(size=(120, 40)) as pilot:
        app = await settled(pilot)
        while "3 checks in order" not in selected(app):
            await pilot.press("j")
        await pilot.press("enter")
        await pilot.pause()
        assert "driver 580.159.04 serves CUDA 13.0" in row_with(app, "DRV-OLD")
        assert "3 checks in order" in selected(app)
        await pilot.press("enter")
        await pilot.pause()
        assert not row_with(app, "DRV-OLD")


async def test_skipped_checks_say_why() -> None:
    async with dashboard().run_test(size=(120, 40)) as pilot:
        app = await settled(pilot)
        while "4 checks do not apply" not in selected(app):
            await pilot.press("j")
        await pilot.pause()
        assert "no Ascend device, driver or CANN was found" in detail(app)
        assert "CANN-DRV, CANN-ENV, TORCH-NPU" in detail(app)


# -- the versions screen ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
async def test_versions_names_every_copy_who_loads_it_and_what_does_not_fit(size: tuple[int, int]) -> None:
    async with dashboard().run_test(size=size) as pilot:
        app = await settled(pilot)
        await pilot.press("2")
        await pilot.pause()
        copies = [line for line in rows(app) if line.split()[1:2] == ["libcudnn"]]
        assert ["9.19.0" in copies[0], "9.14.0" in copies[1]] == [True, True]
        assert "loaded by torch, onnxruntime-gpu" in copies[0]
        assert "does not fit" in copies[0]
        assert "INCOMPATIBLE" in rows(app)[1]
        assert "one-cudnn-per-process" in rows(app)[1]
        assert "7 pairs fit" in "\n".join(rows(app))
        for heading in ("System", "Driver and devices", "Libraries", "Python environment /opt/venv"):
            assert heading in rows(app)


async def test_a_copy_says_why_it_loads() -> None:
    async with dashboard().run_test(size=(120, 40)) as pilot:
        app = await settled(pilot)
        await pilot.press("2")
        while "libcudnn" not in selected(app) or "9.19.0" not in selected(app) or "↔" in selected(app):
            await pilot.press("j")
        await pilot.pause()
        shown = detail(app)
        assert "RUNPATH $ORIGIN/../../nvidia/cudnn/lib of libtorch_cuda.so" in shown
        assert "import order: torch; torch, onnxruntime; onnxruntime, torch" in shown
        assert "wheel nvidia-cudnn-cu13 9.19.0.56" in shown
        assert "✖ INCOMPATIBLE libcudnn 9.14.0" in shown
        assert "elf: DT_SONAME libcudnn.so.9" in shown


async def test_a_pair_shows_its_rule_and_source() -> None:
    async with dashboard().run_test(size=(120, 40)) as pilot:
        app = await settled(pilot)
        await pilot.press("2")
        await pilot.pause()
        assert "9.14.0 and 9.19.0 meet in one process." in detail(app)
        assert "https://docs.nvidia.com/deeplearning/cudnn/backend/latest/" in detail(app)
        await pilot.press("c")
        assert app.clipboard == "https://docs.nvidia.com/deeplearning/cudnn/backend/latest/"


async def test_versions_fill_while_probes_end() -> None:
    run, report = Stepped(), sample_report()
    app = Dashboard(run.look, clock=lambda: 0.0)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("2")
        await run.emit(pilot, *events(report)[:6])
        assert "the probes are looking" in rows(app)[0]
        driver = next(c for c in report.components if c.kind == "driver")
        await run.emit(pilot, ProbeFinished(outcome=report.probes[0], components=(driver,)))
        assert "580.159.04" in row_with(app, "nvidia")
        assert "No accelerator" not in "\n".join(rows(app)), "not before every probe has ended"
        run.end()


# -- keys ---------------------------------------------------------------------------------------------------------


async def test_moving() -> None:
    async with dashboard().run_test(size=(120, 40)) as pilot:
        app = await settled(pilot)
        first = selected(app)
        for down, up in (("j", "k"), ("down", "up")):
            await pilot.press(down)
            assert "ORT-FALLBACK" in selected(app)
            await pilot.press(up)
            assert selected(app) == first
        for last, home in (("G", "g"), ("end", "home")):
            await pilot.press(last)
            assert "4 probes" in selected(app)
            await pilot.press(home)
            assert selected(app) == first
        await pilot.press("pagedown")
        assert selected(app) != first
        await pilot.press("pageup")
        assert selected(app) == first


async def test_enter_reads_the_details_and_esc_goes_back() -> None:
    async with dashboard().run_test(size=(80, 24)) as pilot:
        app = await settled(pilot)
        assert browser(app).query_one("#rows").display
        await pilot.press("enter")
        await pilot.pause()
        assert not browser(app).query_one("#rows").display, "a narrow window gives the details all its room"
        pane = browser(app).query_one("#detail")
        assert pane.has_focus
        await pilot.press("G")
        await pilot.pause()
        assert pane.scroll_offset.y == pane.max_scroll_y > 0
        await pilot.press("g", "j")
        await pilot.pause()
        assert pane.scroll_offset.y == 1
        await pilot.press("escape")
        await pilot.pause()
        assert browser(app).query_one("#rows").display
        assert browser(app).query_one("#rows").has_focus


async def test_a_wide_window_shows_rows_and_details_beside_each_other() -> None:
    async with dashboard().run_test(size=(120, 40)) as pilot:
        app = await settled(pilot)
        await pilot.press("enter")
        await pilot.pause()
        left, right = browser(app).query_one("#rows").region, browser(app).query_one("#detail").region
        assert left.width > 50
        assert right.x >= left.right
        assert right.right == 120


async def test_filter_shows_matching_rows_opens_groups_and_esc_ends_it() -> None:
    async with dashboard().run_test(size=(80, 24)) as pilot:
        app = await settled(pilot)
        await pilot.press("slash", *"glibc")
        await pilot.pause()
        assert "glibc 2.39 serves every wheel" in row_with(app, "GLIBC")
        assert not row_with(app, "CUDNN-MISSING")
        assert footer(app) == ["Back"]
        await pilot.press("enter")
        assert browser(app).query_one("#rows").has_focus
        assert row_with(app, "GLIBC"), "enter keeps the filter"
        await pilot.press("escape")
        await pilot.pause()
        assert row_with(app, "CUDNN-MISSING")
        assert not browser(app).query_one("#filter", Input).display


async def test_a_filter_without_matches_explains_itself() -> None:
    async with dashboard().run_test(size=(80, 24)) as pilot:
        app = await settled(pilot)
        await pilot.press("slash", *"qrc")
        await pilot.pause()
        assert rows(app) == ["No row holds “qrc”. esc ends the filter."]
        assert browser(app).query_one("#filter", Input).value == "qrc", "q, r and c are letters here"


async def test_copy_the_fix() -> None:
    async with dashboard().run_test(size=(80, 24)) as pilot:
        app = await settled(pilot)
        await pilot.press("c")
        assert app.clipboard == "/opt/venv/bin/python -m pip install 'onnxruntime-gpu[cuda,cudnn]==1.30.0'"
        await pilot.press("j", "c")
        assert "pip install" in app.clipboard, "ORT-FALLBACK has no command: nothing new is copied"
        assert any("No command repairs this" in n.message for n in app._notifications)


async def test_a_copied_command_works_though_the_home_has_an_alias() -> None:
    report = sample_report()
    fix = Command(argv=("/home/user1/p/venv/bin/python", "-m", "pip", "install", "x"))
    broken = finding("X", Status.FAIL, "x", remediation=Remediation(text="Install x.", commands=(fix,)))
    shown = replace(report, findings=(broken,), diagnoses=())
    app = Dashboard(playing([ReportReady(report=shown)]))
    async with app.run_test() as pilot:
        await settled(pilot)
        assert "$ ~/p/venv/bin/python" in detail(app)
        await pilot.press("c")
        assert app.clipboard == "~/p/venv/bin/python -m pip install x"


async def test_tabs_by_key_and_by_mouse() -> None:
    async with dashboard().run_test(size=(80, 24)) as pilot:
        app = await settled(pilot)
        await pilot.press("2")
        assert app.current_mode == "versions"
        await pilot.press("1")
        assert app.current_mode == "verdict"
        await pilot.click(app.screen.query("Tab").last())
        await pilot.pause()
        assert app.current_mode == "versions"


async def test_the_mouse_selects_a_row_and_opens_a_group() -> None:
    async with dashboard().run_test(size=(120, 40)) as pilot:
        app = await settled(pilot)
        line = next(n for n, words in enumerate(rows(app)) if "3 checks in order" in words)
        await pilot.click("#rows", offset=(10, line))
        await pilot.pause()
        assert "3 checks in order" in selected(app)
        assert row_with(app, "DRV-OLD")


@pytest.mark.parametrize("key", ["question_mark", "f1"])
async def test_help_lists_every_command_and_sign(key: str) -> None:
    async with dashboard().run_test(size=(80, 24)) as pilot:
        app = await settled(pilot)
        await pilot.press(key)
        await pilot.pause()
        assert isinstance(app.screen, HelpScreen)
        shown = str(app.screen.query_one("Static").content)  # type: ignore[attr-defined]
        assert all(command.help in shown and command.shown in shown for command in COMMANDS)
        assert "UNKNOWN" in shown
        await pilot.press("j", "k", "escape")
        await pilot.pause()
        assert not isinstance(app.screen, HelpScreen)
        assert app.is_running


async def test_the_palette_offers_the_table_and_themes() -> None:
    async with dashboard().run_test(size=(80, 24)) as pilot:
        app = await settled(pilot)
        titles = {command.title for command in app.get_system_commands(app.screen)}
        assert titles == {command.label for command in COMMANDS if command.palette} | {"Theme"}
        await pilot.press("ctrl+p")
        await pilot.pause()
        assert type(app.screen).__name__ == "CommandPalette"
        await pilot.press(*"versi")
        await app.workers.wait_for_complete()
        await pilot.press("enter")
        await pilot.pause()
        await pilot.pause()
        assert app.current_mode == "versions"


async def test_the_footer_is_short() -> None:
    async with dashboard().run_test(size=(80, 24)) as pilot:
        app = await settled(pilot)
        assert footer(app) == ["Open", "Filter", "Copy", "Run again", "Help", "Quit"]
        await pilot.press("enter")
        await pilot.pause()
        await pilot.pause()
        assert footer(app) == ["Back", "Filter", "Copy", "Run again", "Help", "Quit"]


@pytest.mark.parametrize("key", ["q", "ctrl+q"])
async def test_quit_is_exit_code_0(key: str) -> None:
    async with dashboard().run_test() as pilot:
        app = await settled(pilot)
        await pilot.press(key)
        assert not app.is_running
        assert app.exit_code == ExitCode.OK


async def test_run_again_shows_the_new_run() -> None:
    reports = [sample_report(), quiet_report()]

    def look(emit: Emit) -> None:
        emit(ReportReady(report=reports.pop(0)))

    app = Dashboard(look)
    async with app.run_test() as pilot:
        await settled(pilot)
        assert "FAIL" in text(app, "#verdict")
        await pilot.press("r")
        await settled(pilot)
        assert "PASS" in text(app, "#verdict")


async def test_run_again_waits_for_the_run_under_way() -> None:
    run = Stepped()
    app = Dashboard(run.look)
    async with app.run_test() as pilot:
        await run.emit(pilot, RunPlanned(probes=(("a", "A"),)))
        thread = app.thread
        await pilot.press("r")
        assert app.thread is thread
        assert any("still under way" in n.message for n in app._notifications)
        run.end()


async def test_what_an_earlier_run_says_late_is_dropped() -> None:
    emits: list[Emit] = []

    def look(emit: Emit) -> None:
        emits.append(emit)
        emit(ReportReady(report=quiet_report()))

    app = Dashboard(look)
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press("r")
        await settled(pilot)
        emits[0](ReportReady(report=sample_report()))
        await pilot.pause()
        assert app.progress.report == quiet_report()


# -- the course of a run ------------------------------------------------------------------------------------------


async def test_the_first_frame_is_there_before_the_run_begins() -> None:
    seen: list[tuple[str, int]] = []

    def look(emit: Emit) -> None:
        seen.append((text(app, "#verdict"), app.screen.query_one("#verdict").region.width))

    app = Dashboard(look)
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        words, width = seen[0]
        assert words.startswith("Starting")
        assert width > 70


async def test_probes_go_from_queued_over_looking_to_done() -> None:
    run, report = Stepped(), sample_report()
    app = Dashboard(run.look, clock=lambda: 0.0)
    async with app.run_test(size=(80, 24)) as pilot:
        await run.emit(pilot, RunPlanned(probes=(("a", "Alpha"), ("b", "Beta"), ("c", "Gamma"))))
        assert "QUEUED" in row_with(app, "Alpha")
        assert "0 of 3 probes done" in text(app, "#verdict")
        await run.emit(pilot, ProbeStarted(id="a"), ProbeStarted(id="b"), ProbeStarted(id="c"))
        assert "LOOKING" in row_with(app, "Alpha")
        outcome = replace(report.probes[0], id="a", title="Alpha")
        await run.emit(pilot, ProbeFinished(outcome=outcome, components=report.components[:3]))
        assert "✔ DONE" in row_with(app, "Alpha")
        assert "3 components" in row_with(app, "Alpha")
        skip = replace(outcome, id="b", title="Beta", status=Status.SKIP, reason="not visible: kernel_state")
        await run.emit(pilot, ProbeFinished(outcome=skip))
        assert "not visible: kernel_state" in row_with(app, "Beta")
        assert "looking 2/3" in text(app, "#machine")
        assert "now Gamma" in text(app, "#verdict")
        run.end()


async def test_a_probe_that_hangs_blocks_nothing() -> None:
    never = threading.Event()

    def look(emit: Emit) -> None:
        emit(RunPlanned(probes=(("hang", "A driver that never answers"),)))
        emit(ProbeStarted(id="hang"))
        never.wait()

    app = Dashboard(look, clock=lambda: 0.0)
    async with app.run_test(size=(80, 24)) as pilot:
        await begun(pilot)
        while not row_with(app, "never answers").strip().startswith("◌ LOOKING"):
            await pilot.pause()
        await pilot.press("2", "1", "j", "question_mark", "escape")
        assert "LOOKING" in row_with(app, "never answers")
        await pilot.press("q")
        assert not app.is_running
        assert app.exit_code == ExitCode.OK
    assert app.thread is not None
    assert app.thread.is_alive()
    assert app.thread.daemon
    never.set()


async def test_the_time_of_a_long_run_is_shown() -> None:
    run = Stepped()
    now = [0.0]
    app = Dashboard(run.look, clock=lambda: now[0])
    async with app.run_test(size=(80, 24)) as pilot:
        await run.emit(pilot, RunPlanned(probes=(("a", "Alpha"),)))
        now[0] = 7.2
        app._tick()
        await pilot.pause()
        assert "0 of 1 probe done, 7 s" in text(app, "#verdict")
        run.end()


@pytest.mark.parametrize("size", SIZES)
async def test_an_error_shows_its_message_and_the_way_out(size: tuple[int, int]) -> None:
    def look(emit: Emit) -> None:
        emit(RunPlanned(probes=(("a", "Alpha"),)))
        raise TargetError("/nope: no such [bold]Python[/bold]", help="Give the path of an executable.")

    app = Dashboard(look)
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        assert app.progress.phase is Phase.FAILED
        assert "The run could not go on: /nope: no such [bold]Python[/bold]" in text(app, "#verdict")
        assert "Give the path of an executable." in detail(app)
        assert "Nothing was judged." in text(app, "#counts")
        await pilot.press("2")
        await pilot.pause()
        assert "the run could not go on" in rows(app)[0]
        await pilot.press("q")
    assert app.exit_code == ExitCode.USAGE


async def test_a_fault_of_our_own_shows_no_traceback() -> None:
    def look(emit: Emit) -> None:
        raise ZeroDivisionError

    app = Dashboard(look)
    async with app.run_test() as pilot:
        await settled(pilot)
        assert "a fault of our own: ZeroDivisionError" in text(app, "#verdict")
        assert "infra-doctor check --debug" in detail(app)
        assert "Traceback" not in detail(app)
    assert app.exit_code == ExitCode.FAULT


# -- machines -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
async def test_an_empty_report_explains_itself(size: tuple[int, int]) -> None:
    async with dashboard(empty_report()).run_test(size=size) as pilot:
        app = await settled(pilot)
        assert "Nothing was judged: no check ran." in text(app, "#verdict")
        assert "No accelerator found\nno probe ran" in detail(app)
        assert "--python PATH" in detail(app)
        await pilot.press("2")
        await pilot.pause()
        assert "No accelerator found" in "\n".join(rows(app))


@pytest.mark.parametrize("size", SIZES)
async def test_without_an_accelerator_the_reasons_are_given(size: tuple[int, int]) -> None:
    async with dashboard(quiet_report()).run_test(size=size) as pilot:
        app = await settled(pilot)
        assert "No accelerator device was found." in text(app, "#verdict")
        assert "dcmi: no libdcmi.so on the loader path" in detail(app)
        assert "nvml: the child did not answer in 5 s" in detail(app)
        assert "2 probes looked and reported no device" in detail(app)
        await pilot.press("2", *"jjjj")
        await pilot.pause()
        assert "No accelerator found" in selected(app)
        assert "no libdcmi.so on the loader path" in detail(app)


def attacked() -> Report:
    """Hostile strings, markup of the screen's own language among them, in every field that a machine fills."""
    report = sample_report(hostile=True)
    fix = Remediation(text=MARKUP, commands=(Command(argv=("ls", MARKUP)),), docs=(MARKUP,))
    bad = finding("MARKUP", Status.FAIL, MARKUP, MARKUP, detail=MARKUP, remediation=fix)
    probe = replace(report.probes[1], title=MARKUP, reason=MARKUP)
    machine = replace(report.machine, name=MARKUP)
    return replace(report, findings=(bad, *report.findings), probes=(*report.probes, probe), machine=machine)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("screen", ["1", "2"])
async def test_hostile_strings_are_shown_and_never_obeyed(screen: str, size: tuple[int, int]) -> None:
    async with dashboard(attacked()).run_test(size=size) as pilot:
        app = await settled(pilot)
        await pilot.press(screen, "slash", "a", "escape")
        await pilot.pause()
        here = browser(app)
        here._opened = frozenset(row.id for section in here._sections for row in section.rows)
        here._refresh()
        listing = here.query_one("#rows", OptionList)
        everything = ""
        for index, option in enumerate(listing.options):
            if not option.disabled:
                listing.highlighted = index
                await pilot.pause()
                everything += rows(app)[index] + "\n" + detail(app) + "\n"
        everything += text(app, "#machine")
        assert everything.replace("\n", "").isprintable()
        assert "\\x1b[2J" in everything
        assert "\\u202e" in everything
        for harmless in (HOSTILE[0], HOSTILE[1]):
            assert harmless in everything
        if screen == "1":
            assert everything.count(MARKUP) > 5
        assert MARKUP in text(app, "#machine")
        assert app.is_running


async def test_a_command_that_is_unsafe_to_paste_is_not_copied() -> None:
    report = sample_report()
    fix = Remediation(text="Do.", commands=(Command(argv=("rm", "a\nsudo reboot")),))
    shown = replace(report, findings=(finding("X", Status.FAIL, "x", remediation=fix),), diagnoses=())
    async with dashboard(shown).run_test() as pilot:
        app = await settled(pilot)
        await pilot.press("c")
        assert app.clipboard == ""
        assert any("not safe to paste" in n.message for n in app._notifications)


async def test_findings_with_one_fingerprint_are_both_shown() -> None:
    report = sample_report()
    twins = (finding("TWIN", Status.WARN, "one"), finding("TWIN", Status.WARN, "two"))
    async with dashboard(replace(report, findings=twins, diagnoses=())).run_test() as pilot:
        app = await settled(pilot)
        assert len([line for line in rows(app) if "TWIN" in line]) == 2


# -- the terminal's wishes ----------------------------------------------------------------------------------------


async def test_no_color_hides_the_themes_that_it_would_blacken(monkeypatch: pytest.MonkeyPatch) -> None:
    coloured = Dashboard(playing([]))
    assert any(theme.ansi for theme in coloured.available_themes.values())
    monkeypatch.setenv("NO_COLOR", "1")
    app = Dashboard(playing(events(sample_report())))
    assert app.no_color
    assert not any(theme.ansi for theme in app.available_themes.values())
    async with app.run_test() as pilot:
        await settled(pilot)
        assert "✖ FAIL" in text(app, "#verdict"), "sign and word speak without colour"


async def test_a_resize_keeps_the_selection() -> None:
    async with dashboard().run_test(size=(120, 40)) as pilot:
        app = await settled(pilot)
        await pilot.press("j", "j")
        before = selected(app)
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        assert selected(app) == before
        assert browser(app).query_one("#detail").region.y > browser(app).query_one("#rows").region.y


async def test_every_action_of_the_table_exists() -> None:
    async with dashboard().run_test() as pilot:
        app = app_of(pilot)
        await settled(pilot)
        for command in COMMANDS:
            name = command.action.partition("(")[0]
            assert callable(getattr(app, f"action_{name}", None)), command.id
