"""Finds plug-ins by entry point. An entry names a package; each module of it offers a tuple of plug-ins.

`importlib.metadata.entry_points` costs 35 ms, a quarter of a whole check; the same facts are in `entry_points.txt`."""

import importlib
import os
import pkgutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from infra_doctor.errors import UsageError
from infra_doctor.model.evidence import Evidence, EvidenceKind
from infra_doctor.model.finding import Finding, Severity, Status
from infra_doctor.model.plugins import Check, CompatibilityRule, PolicyKey, Preset, Probe, ReportFormat

if TYPE_CHECKING:
    from infra_doctor.model.benchmark import Benchmark
    from infra_doctor.model.monitoring import Monitor
    from infra_doctor.model.planning import Choice

# Entry-point group -> the tuple that each module of the package offers, and the name in `infra_doctor.plugin` of what it must hold.
GROUPS: dict[str, tuple[str, str]] = {
    "probes": ("PROBES", "Probe"),
    "checks": ("CHECKS", "Check"),
    "tables": ("RULES", "CompatibilityRule"),
    "reports": ("FORMATS", "ReportFormat"),
    "planning": ("CHOICES", "Choice"),
    "requirements": ("KEYS", "PolicyKey"),
    "presets": ("PRESETS", "Preset"),
    "benchmarks": ("BENCHMARKS", "Benchmark"),
    "monitors": ("MONITORS", "Monitor"),
}
# What a check run loads.
JUDGING = ("probes", "checks", "tables", "reports")
# What one that is held against a policy loads beside.
HOLDING = ("requirements", "presets")
OWN_DISTRIBUTION = "infra_doctor-"
ENTRY_POINTS_CAP_BYTES = 1 << 20
_ID_SEPARATORS = dict.fromkeys(map(ord, "/_. "), "-")


@dataclass
class Registry:
    """The plug-ins of a run, each kind in a stable order, and what could not be loaded."""

    probes: list[Probe] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    tables: list[CompatibilityRule] = field(default_factory=list)
    reports: list[ReportFormat] = field(default_factory=list)
    planning: list["Choice"] = field(default_factory=list)
    requirements: list[PolicyKey] = field(default_factory=list)
    presets: list[Preset] = field(default_factory=list)
    benchmarks: list["Benchmark"] = field(default_factory=list)
    monitors: list["Monitor"] = field(default_factory=list)
    failures: list[Finding] = field(default_factory=list)
    third_party: list[str] = field(default_factory=list)  # "distribution: package"
    # What tables say of names that are no ids (an error number of a vendor): `explain` of their modules.
    explainers: list[Callable[[str], str | None]] = field(default_factory=list)


def entry_points(paths: list[str]) -> list[tuple[str, str, str]]:
    """(group without our prefix, value, distribution folder) of every infra_doctor entry on these paths; the first
    folder of a distribution wins, as it does for import."""
    found: list[tuple[str, str, str]] = []
    seen: set[str] = set()
    for base in paths:
        try:
            names = sorted(e.name for e in os.scandir(base or ".") if e.name.endswith((".dist-info", ".egg-info")))
        except OSError:
            continue
        for name in names:
            project = name.split("-")[0].lower()
            if project in seen:
                continue
            try:
                with open(os.path.join(base, name, "entry_points.txt"), encoding="utf-8", errors="replace") as file:
                    text = file.read(ENTRY_POINTS_CAP_BYTES)
            except OSError:
                continue
            if "[infra_doctor." not in text:
                continue
            seen.add(project)
            group = ""
            for line in map(str.strip, text.splitlines()):
                if line.startswith("["):
                    group = line.strip("[]")
                elif "=" in line and group.startswith("infra_doctor."):
                    found.append((group.removeprefix("infra_doctor."), line.split("=", 1)[1].strip(), name))
    return found


def load(groups: tuple[str, ...] = JUDGING, *, third_party: bool = True) -> Registry:
    """Import the plug-ins of these groups. What fails becomes a PLUGIN-FAILED finding; the others go on."""
    from infra_doctor.plugin import API_VERSION

    registry = Registry()
    for group, package_name, distribution in entry_points(sys.path):
        if group not in groups or group not in GROUPS:
            continue
        own = distribution.startswith(OWN_DISTRIBUTION)
        if not own:
            if not third_party:
                continue
            registry.third_party.append(f"{distribution}: {package_name}")
        try:
            package = importlib.import_module(package_name)
            wanted = int(getattr(package, "REQUIRES_API", API_VERSION))
            if wanted > API_VERSION:
                raise ImportError(f"needs plug-in API {wanted}, this infra-doctor offers {API_VERSION}")
            modules = [f"{package_name}.{m.name}" for m in pkgutil.iter_modules(package.__path__)]
        except Exception as error:  # noqa: BLE001  a third party's import may raise anything
            registry.failures.append(_failure(package_name, distribution, error))
            continue
        for module in modules:
            try:
                _take(registry, group, importlib.import_module(module))
            except Exception as error:  # noqa: BLE001
                registry.failures.append(_failure(module, distribution, error))
    return registry


def id_key(text: str) -> str:
    """What tells one id from another, however it is typed: `ecc-xid` and `ECC/XID` are the same."""
    return text.strip().casefold().translate(_ID_SEPARATORS)


def checks_named(checks: list[Check], wanted: Iterable[str]) -> list[Check]:
    """The checks of these ids (all where none is wanted). Raises UsageError with the nearest id."""
    known = {id_key(c.id): c for c in checks}
    chosen = []
    for name in wanted:
        if id_key(name) not in known:
            import difflib

            near = ", ".join(known[n].id for n in difflib.get_close_matches(id_key(name), known, n=3, cutoff=0.4))
            help_text = f"Nearest: {near}." if near else "`infra-doctor list checks` names them all."
            raise UsageError(f"no such finding id: {name[:60]}", help=help_text)
        chosen.append(known[id_key(name)].id)
    return [c for c in checks if not chosen or c.id in chosen]


def _take(registry: Registry, group: str, module: Any) -> None:
    from infra_doctor import plugin as api

    attribute, kind_name = GROUPS[group]
    kind: type = getattr(api, kind_name)
    if group == "tables" and callable(getattr(module, "explain", None)):
        registry.explainers.append(module.explain)
    known: list[Any] = getattr(registry, group)
    for plugin in getattr(module, attribute, ()):
        if not isinstance(plugin, kind):
            raise TypeError(f"{attribute} holds {type(plugin).__name__}, not {kind.__name__}")
        name = name_of(plugin)
        if any(name_of(k) == name for k in known):
            raise ValueError(f"{name} is already there")
        known.append(plugin)


def name_of(plugin: Any) -> str:
    """What tells a plug-in from the others of its kind."""
    return next(str(v) for a in ("id", "key", "name") if (v := getattr(plugin, a, None)))


def _failure(module: str, distribution: str, error: Exception) -> Finding:
    return Finding(
        id="PLUGIN-FAILED",
        subject=(f"plugin:{module}",),
        status=Status.ERROR,
        severity=Severity.MEDIUM,
        title=f"plug-in {module} could not be loaded",
        detail=f"{type(error).__name__}: {error}"[:400],
        evidence=(Evidence(kind=EvidenceKind.METADATA, source=f"{distribution}/entry_points.txt", text=module),),
    )
