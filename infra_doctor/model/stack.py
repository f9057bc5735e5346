"""The stack in a few lines: what stands at the top of every front end, for the machine and for each Python environment.

Only generic kinds and attributes are known here; what else there is appears under its own kind's name."""

from collections.abc import Iterable

from infra_doctor.model.component import DEVICE_KINDS, Component, Target
from infra_doctor.model.record import record
from infra_doctor.model.report import Report
from infra_doctor.model.view import LAST_KINDS, by_kind, in_target, is_library
from infra_doctor.model.wording import size

# What a line can hold: words beside a driver's version, their length, and packages of an environment.
DRIVER_WORDS, DRIVER_WORD_CAP, PACKAGES = 3, 24, 16


@record
class StackLine:
    """One line of the summary: `System`: `Ubuntu 24.04`, `kernel 6.18.44` …"""

    label: str
    values: tuple[str, ...]


def machine_stack(report: Report) -> tuple[StackLine, ...]:
    """The machine outside its Python environments, in a few lines."""
    lines: list[StackLine] = []
    named = {kind: list(group) for kind, group in by_kind(report)}
    system = [_system(c) for c in named.pop("os", [])] + [_versioned(c) for c in named.pop("libc", []) if not c.target]
    if system:
        lines.append(StackLine(label="System", values=tuple(v for part in system for v in part)))
    processor = [_cpu(c) for c in named.pop("cpu", [])]
    processor += [f"{size(total)} memory" for c in named.pop("memory", []) if (total := _bytes(c, "total_bytes"))]
    if processor:
        lines.append(StackLine(label="Processor", values=tuple(processor)))
    drivers = named.pop("driver", [])
    if drivers:
        lines.append(StackLine(label="Driver", values=tuple(_driver(c) for c in drivers)))
    for kind, group in named.items():
        if kind in DEVICE_KINDS:
            lines.append(StackLine(label=kind.upper(), values=device_groups(group)))
        elif not is_library(group[0]) and kind not in LAST_KINDS:
            outside = [c for c in group if not c.target]
            if outside:
                lines.append(StackLine(label=kind, values=_installed(kind, outside)))
    return tuple(lines)


def target_stack(report: Report, target: Target) -> tuple[StackLine, ...]:
    """One Python environment in a few lines: the interpreter, what uses accelerators, the libraries that get loaded."""
    how = f"{target.kind}, by {target.chosen_by}" if target.chosen_by else target.kind
    lines = [StackLine(label="Python", values=(target.python_version or "version unknown", f"{target.prefix} ({how})"))]
    inside = [c for c in report.components if in_target(c, target)]
    wheels = main_wheels(report, inside)
    if wheels:
        more = [f"{len(wheels) - PACKAGES} more"] if len(wheels) > PACKAGES + 1 else []
        shown = wheels[:PACKAGES] if more else wheels
        lines.append(StackLine(label="Packages", values=(*(_wheel(c) for c in shown), *more)))
    consumers = {c.key for c in inside}
    libraries: dict[str, list[str]] = {}
    for component in report.components:
        loaded = any(use.consumer in consumers for use in component.loaded_by)
        if loaded and is_library(component) and not component.kind.endswith("-sub"):
            versions = libraries.setdefault(component.kind, [])
            version = component.version or "?"
            if version not in versions:
                versions.append(version)
    if libraries:
        values = tuple(f"{kind} {' and '.join(versions)}" for kind, versions in sorted(libraries.items()))
        lines.append(StackLine(label="Libraries", values=values))
    others: dict[str, list[str]] = {}
    for component in inside:
        if component.kind not in LAST_KINDS and component.kind != "libc" and not is_library(component):
            others.setdefault(component.kind, []).append(_part(component))
    lines.extend(StackLine(label=kind, values=tuple(values)) for kind, values in sorted(others.items()))
    return tuple(lines)


def main_wheels(report: Report, inside: list[Component]) -> list[Component]:
    """The wheels that use accelerators: frameworks, then what is judged against others, then the rest. Those that only
    bring a library are left to the library's own line."""
    bringers = {(c.origin or "").removeprefix("wheel ").partition(" ")[0] for c in report.components if is_library(c)}
    wheels = [c for c in inside if c.kind == "wheel" and ("build" in c.attributes or c.name not in bringers)]
    judged = {key for row in report.compatibility for key in (row.left, row.right)}
    return sorted(wheels, key=lambda c: ("build" not in c.attributes, c.key not in judged, c.name))


def device_groups(devices: Iterable[Component]) -> tuple[str, ...]:
    """`8 × NAME, 139.8 GiB`, alike devices together."""
    groups: dict[str, int] = {}
    for device in devices:
        memory = _bytes(device, "memory_bytes")
        words = device.name + (f", {size(memory)}" if memory else "")
        groups[words] = groups.get(words, 0) + 1
    return tuple(f"{number} × {words}" for words, number in groups.items())


def _bytes(component: Component, name: str) -> int:
    value = component.attributes.get(name)
    return value if isinstance(value, int) else 0


def _system(component: Component) -> tuple[str, ...]:
    attributes = component.attributes
    words = [component.name]
    words += [f"kernel {attributes['kernel']}"] if attributes.get("kernel") else []
    words += [str(attributes["arch"])] if attributes.get("arch") else []
    words += [f"in {attributes['container']}"] if attributes.get("container") else []
    return (*words, *(["WSL"] if attributes.get("wsl") is True else []))


def _versioned(component: Component) -> tuple[str, ...]:
    return (f"{component.name} {component.version or 'version unknown'}",)


def _cpu(component: Component) -> str:
    cores = component.attributes.get("cores")
    return f"{component.name}, {cores} cores" if cores else component.name


def _driver(component: Component) -> str:
    """What tells this driver from another of its version; lists of what it accepts stand with the component itself."""
    extra = [
        f"{name.replace('_', ' ')} {value}"
        for name, value in component.attributes.items()
        if isinstance(value, str) and value and value != component.version and len(value) <= DRIVER_WORD_CAP
    ]
    words = f"{component.name} {component.version or 'version unknown'}"
    return f"{words} ({', '.join(extra[:DRIVER_WORDS])})" if extra else words


def _installed(kind: str, group: list[Component]) -> tuple[str, ...]:
    """What is installed of one kind. Names that tell more than the kind stand first; the place is told where the name alone
    would not tell which one is meant. What is there several times (ports, cards) is counted."""
    names = [c.name for c in group]
    by_name = len({name.casefold() for name in names} - {kind.casefold()}) > 0
    if by_name and not any(c.location for c in group):
        versions = [f"version {c.version or 'unknown'}" for c in group]
        return tuple(f"{versions.count(v)} × {v}" for v in dict.fromkeys(versions))
    words = []
    for c in group:
        head = f"{c.name} " if by_name else ""
        place = f" in {c.location}" if c.location and (not by_name or names.count(c.name) > 1) else ""
        words.append(f"{head}{c.version or 'version unknown'}{place}{_chosen(c)}")
    return tuple(dict.fromkeys(words))


def _chosen(component: Component) -> str:
    chosen = [name for name in ("default", "active") if component.attributes.get(name) is True]
    return f" ({', '.join(chosen)})" if chosen else ""


def _wheel(component: Component) -> str:
    build = component.attributes.get("build")
    words = f"{component.name} {component.version or 'version unknown'}"
    if not build:
        return words
    number = component.attributes.get(str(build))
    return f"{words} ({build} {number})" if number else f"{words} ({build})"


def _part(component: Component) -> str:
    loads = component.attributes.get("loads")
    words = f"{component.name} {component.version}" if component.version else component.name
    return f"{words}: loads {loads}" if loads else words
