"""Records: dataclasses in all but the price of defining one."""

import copy
from dataclasses import FrozenInstanceError, field, fields, is_dataclass, replace

import msgspec
import pytest

from infra_doctor.model.record import record


@record
class Link:
    """A PCIe link."""

    width: int
    speed: str = "unknown"


@record
class Card:
    """A card, with every kind of field."""

    name: str
    links: tuple[Link, ...] = ()
    notes: dict[str, str] = field(default_factory=dict)
    slot: int | None = None

    @property
    def widest(self) -> int:
        """The widest link."""
        return max(link.width for link in self.links)


CARD = Card(name="a", links=(Link(width=16),))


def test_defaults_and_factories_are_given_to_each_instance() -> None:
    other = Card(name="b")
    assert (other.links, other.notes, other.slot) == ((), {}, None)
    assert other.notes is not Card(name="b").notes
    assert CARD.widest == 16
    assert not hasattr(Link, "speed")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "Link needs 'width'"),
        ({"width": 1, "lanes": 2}, "Link knows no 'lanes'"),
        ({"lanes": 2, "gen": 4}, "Link needs 'width' and knows no 'gen', 'lanes'"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(TypeError) as caught:
        Link(**arguments)  # type: ignore[arg-type]
    assert str(caught.value) == message
    with pytest.raises(TypeError):
        Link(16)  # type: ignore[call-arg, misc]  # pyright: ignore[reportCallIssue]


def test_nothing_can_be_changed() -> None:
    with pytest.raises(FrozenInstanceError, match="'width' cannot be changed"):
        CARD.links[0].width = 8  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(FrozenInstanceError):
        CARD.unheard = 8  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(FrozenInstanceError):
        del CARD.name
    assert CARD.links[0].width == 16


def test_equal_and_hashed_by_the_fields() -> None:
    assert Link(width=8) == Link(width=8, speed="unknown")
    assert Link(width=8) != Link(width=4)
    assert Link(width=8) != (8, "unknown")
    assert len({Link(width=8), Link(width=8), Link(width=4)}) == 2
    with pytest.raises(TypeError, match="unhashable"):
        hash(CARD)  # a mapping among the fields


def test_it_is_a_dataclass_to_everybody() -> None:
    assert is_dataclass(CARD)
    assert [f.name for f in fields(Card)] == ["name", "links", "notes", "slot"]
    assert replace(CARD, name="c") == Card(name="c", links=CARD.links)
    assert copy.deepcopy(CARD) == CARD
    assert repr(CARD) == "Card(name='a', links=(Link(width=16, speed='unknown'),), notes={}, slot=None)"


def test_json_there_and_back() -> None:
    plain = {"name": "a", "links": [{"width": 16, "speed": "unknown"}], "notes": {}, "slot": None}
    assert msgspec.json.decode(msgspec.json.encode(CARD)) == plain
    short = msgspec.convert({"name": "a", "links": [{"width": 16}]}, Card, strict=True)
    assert short == CARD
    assert msgspec.to_builtins(short, order="deterministic") == {**plain, "links": ({"width": 16, "speed": "unknown"},)}
    with pytest.raises(msgspec.ValidationError, match="missing required field `width`"):
        msgspec.convert({"name": "a", "links": [{}]}, Card, strict=True)
