"""Finds plug-ins by entry point. An entry names a package; each module of it offers a tuple of plug-ins.

`importlib.metadata.entry_points` costs 35 ms, a quarter of a whole check; the same facts are in `entry_points.txt`."""

import importlib
import os
import pkgutil
import sys
from dataclasses import dataclass, field
from typing import Any

from infra_doctor.model.evidence import Evidence, EvidenceKind
from infra_doctor.model.finding import Finding, Severity, Status
from infra_doctor.model.plugins import Check, CompatibilityRule, Probe, ReportFormat

# Entry-point group -> the tuple that each module of the package offers, and what it must hold.
GROUPS: dict[str, tuple[str, type]] = {
    "probes": ("PROBES", Probe),
    "checks": ("CHECKS", Check),
    "tables": ("RULES", CompatibilityRule),
    "reports": ("FORMATS", ReportFormat),
}
OWN_DISTRIBUTION = "infra_doctor-"
ENTRY_POINTS_CAP_BYTES = 1 << 20


@dataclass
class Registry:
    """The plug-ins of a run, each kind in a stable order, and what could not be loaded."""

    probes: list[Probe] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    tables: list[CompatibilityRule] = field(default_factory=list)
    reports: list[ReportFormat] = field(default_factory=list)
    failures: list[Finding] = field(default_factory=list)
    third_party: list[str] = field(default_factory=list)  # "distribution: package"


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


def load(groups: tuple[str, ...] = tuple(GROUPS), *, third_party: bool = True) -> Registry:
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


def _take(registry: Registry, group: str, module: Any) -> None:
    attribute, kind = GROUPS[group]
    known: list[Any] = getattr(registry, group)
    for plugin in getattr(module, attribute, ()):
        if not isinstance(plugin, kind):
            raise TypeError(f"{attribute} holds {type(plugin).__name__}, not {kind.__name__}")
        name = getattr(plugin, "id", None) or plugin.name  # type: ignore[attr-defined]
        if any((getattr(k, "id", None) or k.name) == name for k in known):
            raise ValueError(f"{name} is already there")
        known.append(plugin)


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
