"""Commands: bounded in time and output, ended as a group, never a fault of ours."""

from infra_doctor.machine.forms import live_machine


def test_a_command_answers() -> None:
    found = live_machine().run("sh", "-c", "echo out; echo err >&2; exit 3")
    assert (found.rc, found.stdout, found.stderr, found.timed_out) == (3, "out\n", "err\n", False)


def test_a_command_that_is_not_there() -> None:
    found = live_machine().run("no-such-command-anywhere")
    assert (found.rc, found.error) == (None, "not found")


def test_a_command_that_hangs_is_ended_with_its_children() -> None:
    found = live_machine().run("sh", "-c", "echo begun; sleep 60 & sleep 60", timeout_s=0.3)
    assert (found.rc, found.stdout, found.timed_out) == (None, "begun\n", True)


def test_output_is_bounded() -> None:
    found = live_machine().run("sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x")
    assert found.rc == 0
    assert 0 < len(found.stdout) <= 1 << 20
