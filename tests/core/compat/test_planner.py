"""The search: the shallowest change first, and why nothing fits."""

from collections.abc import Callable

from infra_doctor.compat.planner import Catalogue, Impossible, Solution, search
from infra_doctor.model.planning import Effort, Need, Option, Refused


def need(part: str, accepts: Callable[[Option], bool] = lambda option: True, text: str = "") -> Need:
    return Need(part=part, text=text or part, source="https://example.org", accepts=accepts)


def option(part: str, version: str, effort: Effort = Effort.WHEEL, *needs: Need) -> Option:
    return Option(part=part, version=version, effort=effort, needs=needs)


def at_least(part: str, version: int) -> Need:
    return need(part, lambda o: int(o.version) >= version, f"{part} {version} or newer")


def chosen(found: Solution | Impossible) -> dict[str, str]:
    assert isinstance(found, Solution), found
    return {part: o.version for part, o in found.chosen.items()}


DRIVER = (option("driver", "1", Effort.NONE), option("driver", "2", Effort.DRIVER))


def test_a_wheel_changes_before_the_driver() -> None:
    options = {
        "app": (
            option("app", "9", Effort.WHEEL, at_least("driver", 2)),
            option("app", "8", Effort.WHEEL, at_least("driver", 1)),
        ),
        "driver": DRIVER,
    }
    found = search(Catalogue(lambda p: options[p]), [need("app")], wished=["app"], free=lambda p: p == "driver")
    assert chosen(found) == {"app": "8", "driver": "1"}


def test_the_driver_changes_where_nothing_else_helps() -> None:
    options = {"app": (option("app", "9", Effort.WHEEL, at_least("driver", 2)),), "driver": DRIVER}
    catalogue = Catalogue(lambda p: options[p])
    assert chosen(search(catalogue, [need("app")], wished=["app"], free=lambda p: p == "driver"))["driver"] == "2"
    shallow = search(catalogue, [need("app")], wished=["app"], free=lambda p: p == "driver", deepest=Effort.WHEEL)
    assert isinstance(shallow, Impossible)
    assert shallow.reasons == ("wanted: app", "app 9 needs driver 2 or newer", "here: driver 1")


def test_only_what_stands_in_the_way_moves() -> None:
    exact = need("app", lambda o: o.version == "1", "app==1")
    options = {
        "app": (option("app", "1", Effort.NONE), option("app", "2")),
        "pins": (option("pins", "1", Effort.NONE, exact), option("pins", "2")),
        "bystander": (option("bystander", "1", Effort.NONE), option("bystander", "2")),
    }
    wanted = [need("app", lambda o: o.version == "2"), need("pins"), need("bystander")]
    found = search(Catalogue(lambda p: options[p]), wanted, wished=["app"], free=lambda p: False)
    assert chosen(found) == {"app": "2", "pins": "2", "bystander": "1"}


def test_refused_options_are_said() -> None:
    options = {"app": (Refused(label="app 3", reason="has no code for the device"),)}
    found = search(Catalogue(lambda p: options[p]), [need("app")], wished=["app"], free=lambda p: False)
    assert isinstance(found, Impossible)
    assert "app 3: has no code for the device" in found.reasons


def test_two_that_share_a_third() -> None:
    major = {n: need("major", lambda o, n=n: o.version == n, f"major {n}") for n in "12"}
    options = {
        "a": (option("a", "new", Effort.WHEEL, major["2"]), option("a", "old", Effort.WHEEL, major["1"])),
        "b": (option("b", "only", Effort.WHEEL, major["1"]),),
        "major": (option("major", "2", Effort.NONE), option("major", "1", Effort.NONE)),
    }
    found = search(Catalogue(lambda p: options[p]), [need("a"), need("b")], wished=["a", "b"], free=lambda p: False)
    assert chosen(found) == {"a": "old", "b": "only", "major": "1"}


def test_two_that_pin_a_third_apart_are_seen_at_once() -> None:
    def pins(part: str, version: str, number: int) -> Option:
        return option(part, str(number), Effort.WHEEL, need("lib", lambda o: o.version == version, f"lib=={version}"))

    options = {
        "lib": (option("lib", "1"), option("lib", "2")),
        "a": tuple(pins("a", "1", n) for n in range(40)),
        "b": tuple(pins("b", "2", n) for n in range(40)),
        **{f"other{n}": tuple(option(f"other{n}", str(v)) for v in range(9)) for n in range(9)},
    }
    roots = [need("lib", lambda o: o.version == "2", "lib==2"), need("a"), *(need(f"other{n}") for n in range(9))]
    found = search(Catalogue(lambda p: options[p]), roots, wished=options, free=lambda p: False)
    assert isinstance(found, Impossible)
    assert found.reasons[:3] == ("wanted: lib==2", "wanted: a", "a 0 needs lib==1")
