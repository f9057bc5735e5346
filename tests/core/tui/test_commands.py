"""The one table of commands."""

from infra_doctor.tui.commands import COMMANDS, bindings
from infra_doctor.tui.help import help_text


def test_every_binding_has_an_id_of_its_own_and_a_tooltip() -> None:
    ids = [binding.id for binding in bindings()]
    assert all(ids)
    assert len(set(ids)) == len(ids)
    assert all(binding.tooltip for binding in bindings())


def test_no_key_is_bound_twice() -> None:
    keys = [binding.key for binding in bindings()]
    assert len(set(keys)) == len(keys)


def test_the_keys_that_were_promised() -> None:
    keys = {binding.key: binding.action for binding in bindings()}
    for key in ("1", "2", "j", "k", "g", "G", "up", "down", "enter", "escape", "slash", "r", "c", "q", "ctrl+q", "f1"):
        assert key in keys
    assert keys["q"] == keys["ctrl+q"] == "quit"
    assert keys["question_mark"] == keys["f1"] == "help"
    assert keys["ctrl+p"] == "command_palette"


def test_control_keys_work_above_dialogues() -> None:
    assert {binding.key for binding in bindings() if binding.priority} == {"ctrl+q", "ctrl+p"}


def test_help_is_made_from_the_table() -> None:
    for command in COMMANDS:
        assert f"{command.shown:<12}{command.help}" in help_text().plain
