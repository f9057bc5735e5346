"""Hand-built components for the rules, by the conventions of the probes."""

from collections.abc import Iterable
from datetime import date
from typing import Any

from infra_doctor.model.compatibility import Compatibility, Verdict
from infra_doctor.model.component import Component, LoadedBy, Target
from infra_doctor.model.plugins import CheckContext, CompatibilityRule
from infra_doctor_probes.detect.wheel_metadata import WheelMetadata

PREFIX = "/opt/venv"
TARGET = f"target:{PREFIX}"


def context(*components: Component, facts: Iterable[Any] = ()) -> CheckContext:
    """A check context of these components; their keys must differ."""
    keys = [c.key for c in components]
    assert len(keys) == len(set(keys))
    target = Target(key=TARGET, prefix=PREFIX, executable=f"{PREFIX}/bin/python", kind="venv")
    return CheckContext(targets=(target,), components=components, facts=facts, today=date(2026, 11, 21))


def judged(
    rules: Iterable[CompatibilityRule], *components: Component, facts: Iterable[Any] = ()
) -> list[Compatibility]:
    """All rows of these rules, in order."""
    ctx = context(*components, facts=facts)
    return [row for rule in rules for row in rule.judge(ctx)]


def only(rows: Iterable[Compatibility], rule: str) -> Compatibility:
    """The one row of this rule."""
    found = [r for r in rows if r.rule == rule]
    assert len(found) == 1, found
    return found[0]


def verdicts(rows: Iterable[Compatibility]) -> set[tuple[str, Verdict]]:
    """(rule, verdict) of every row."""
    return {(r.rule, r.verdict) for r in rows}


def driver(version: str, **attributes: Any) -> Component:
    return Component(key="driver:nvidia", kind="driver", name="nvidia", version=version, attributes=attributes)


def gpu(name: str, cc: str | None, *, address: str = "0000:00:06.0", **attributes: Any) -> Component:
    given = {"vendor": "nvidia", "seen_by": "proc", **({"compute_capability": cc} if cc else {}), **attributes}
    return Component(key=f"gpu:{address}", kind="gpu", name=name, attributes=given)


def wheel(name: str, version: str, **attributes: Any) -> Component:
    return Component(
        key=f"wheel:{name}@{PREFIX}", kind="wheel", name=name, version=version, target=TARGET, attributes=attributes
    )


def torch(version: str, tag: str) -> Component:
    return wheel("torch", version, build="cuda", cuda=f"{tag[2:-1]}.{tag[-1]}", tag=tag)


def ort(version: str, cuda: str | None = None, **attributes: Any) -> Component:
    return wheel("onnxruntime-gpu", version, build="cuda", **({"cuda": cuda} if cuda else {}), **attributes)


def library(
    kind: str, version: str | None, *, cuda: int | None = None, loaded_by: Iterable[Component] = (), path: str = "",
    inside: bool = True, order: str = "torch",
) -> Component:  # fmt: skip
    where = path or (f"{PREFIX}/lib/lib{kind}.so" if inside else f"/usr/lib/lib{kind}.so")
    return Component(
        key=f"{kind}:{where}", kind=kind, name=f"lib{kind}", version=version, location=where,
        target=TARGET if inside else None, attributes={"cuda_major": cuda} if cuda else {},
        loaded_by=tuple(LoadedBy(consumer=c.key, via="RUNPATH", order=order) for c in loaded_by),
    )  # fmt: skip


def toolkit(version: str) -> Component:
    path = f"/usr/local/cuda-{version}"
    return Component(
        key=f"cuda-toolkit:{path}", kind="cuda-toolkit", name="cuda-toolkit", version=version, location=path
    )


def system(*, arch: str = "x86_64", wsl: bool = False) -> Component:
    return Component(
        key="os:ubuntu", kind="os", name="Ubuntu 24.04", version="24.04", attributes={"arch": arch, "wsl": wsl}
    )


def glibc(version: str) -> Component:
    return Component(key="libc:glibc", kind="libc", name="glibc", version=version)


def python(version: str) -> Component:
    return Component(key=f"python:{PREFIX}", kind="python", name="python", version=version, target=TARGET)


def metadata(component: Component, *requires: str, **fields: Any) -> WheelMetadata:
    return WheelMetadata(target=TARGET, wheel=component.key, requires=requires, **fields)
