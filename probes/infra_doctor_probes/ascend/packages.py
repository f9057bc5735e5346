"""What belongs to CANN and beside it: its packages with what each requires of the others, operator packages, ATC, AOE,
msdebug, NNAE, NNAL (ATB) and MindIE, by their files.

A package's `Version=` is an internal number in layouts up to 8.3 (and public from 9.0 on); the ranges of its
`required_package_*` lines use the same numbers. NNAL and MindIE write `key : value`."""

import posixpath
import re
from collections.abc import Iterator

from infra_doctor.plugin import AttributeValue, Component, Machine, ProbeContext
from infra_doctor_probes.ascend.files import file_evidence, installed_bases, read_pairs, version_of
from infra_doctor_probes.detect.ascend import PACKAGES, TOOLS

_REQUIRED = re.compile(r"required_package_(\w{1,40})_version")


def run(ctx: ProbeContext) -> Iterator[object]:
    """cann-package, cann-ops, atc, aoe, msdebug of each CANN; nnae, nnal, mindie of each base folder."""
    machine: Machine = ctx.machine
    seen: set[str] = set()
    for cann in ctx.by_kind("cann"):
        for found in (*packages(machine, cann), *tools(machine, cann)):
            if found.key not in seen:
                seen.add(found.key)
                yield found
    for base in installed_bases(ctx):
        for component in (nnae(machine, base), nnal(machine, base), mindie(machine, base)):
            if component is not None:
                yield component


def folders_of(cann: Component) -> tuple[str, ...]:
    """The real folders that hold the files of an installation."""
    return tuple(str(cann.attributes.get("folders") or cann.location).split(":"))


# -- parts of a CANN ----------------------------------------------------------------------------------------------


def packages(machine: Machine, cann: Component) -> Iterator[Component]:
    """One component per package with a version.info."""
    for folder in folders_of(cann):
        there = set(machine.names(folder))
        places = {name: f"{folder}/{name}" for name in PACKAGES if name in there}
        if "share" in there:
            places |= {name: f"{folder}/share/info/{name}" for name in machine.names(f"{folder}/share/info")[:100]}
        for name, place in places.items():
            pairs = read_pairs(machine, f"{place}/version.info")
            if pairs is not None:
                yield package(machine.realpath(place), name, pairs, cann)


def package(place: str, name: str, pairs: dict[str, str], cann: Component) -> Component:
    """The component of one package; `requires` is "opp >=6.3, <=7.8; runtime 7.8"."""
    public, number = version_of(pairs, "version_dir"), version_of(pairs, "Version")
    required = [f"{match.group(1)} {v[:80]}" for k, v in pairs.items() if v and (match := _REQUIRED.fullmatch(k))]
    shown = f"Version={number}" + (f", version_dir={public}" if public else "")
    operators = name == "opp_kernel" or name.startswith("ops")
    return Component(
        key=f"{'cann-ops' if operators else 'cann-package'}:{place}",
        kind="cann-ops" if operators else "cann-package",
        name=name,
        version=public or (number if cann.attributes.get("layout") != "ascend-toolkit" else None),
        location=place,
        origin=f"CANN {cann.version}",
        target=cann.target,
        attributes={"internal_version": number, "requires": "; ".join(required[:40]) or None, "cann": cann.key},
        evidence=(file_evidence(f"{place}/version.info", shown),),
    )


def tools(machine: Machine, cann: Component) -> Iterator[Component]:
    """The command-line tools that are there; they carry no version of their own."""
    for kind, places in TOOLS.items():
        paths = (f"{folder}/{place}" for folder in folders_of(cann) for place in places)
        path = next((p for p in paths if machine.is_file(p)), None)
        if path is not None:
            yield Component(
                key=f"{kind}:{machine.realpath(path)}",
                kind=kind,
                name=kind,
                version=cann.version,
                location=path,
                origin=f"CANN {cann.version}",
                target=cann.target,
                attributes={"cann": cann.key},
                evidence=(file_evidence(path, "exists"),),
            )


# -- beside CANN --------------------------------------------------------------------------------------------------


def nnae(machine: Machine, base: str) -> Component | None:
    """The engine package that stands in for a toolkit on machines that only run."""
    path = f"{base}/nnae/latest/ascend_nnae_install.info"
    pairs = read_pairs(machine, path)
    if pairs is None:
        return None
    attributes: dict[str, AttributeValue] = {
        "inner_version": pairs.get("innerversion", "")[:64] or None,
        "accepts_inner": pairs.get("compatible_version", "")[:400] or None,
    }
    return beside(machine, "nnae", "NNAE", posixpath.dirname(path), path, version_of(pairs, "version"), attributes)


def nnal(machine: Machine, base: str) -> Component | None:
    """NNAL by its one library ATB; `cxx_abi` are the C++ ABIs that it is there for ("0 1")."""
    folder = f"{base}/nnal/atb/latest"
    path = f"{folder}/version.info"
    pairs = read_pairs(machine, path, ":")
    if pairs is None:
        return None
    abis = [n.removeprefix("cxx_abi_") for n in machine.names(f"{folder}/atb") if re.fullmatch(r"cxx_abi_[01]", n)]
    script = next((p for p in (f"{base}/nnal/atb/set_env.sh", f"{folder}/set_env.sh") if machine.is_file(p)), None)
    attributes: dict[str, AttributeValue] = {"cxx_abi": " ".join(abis) or None, "set_env": script}
    return beside(machine, "nnal", "NNAL (ATB)", folder, path, version_of(pairs, "Ascend-cann-atb"), attributes)


def mindie(machine: Machine, base: str) -> Component | None:
    """MindIE: `Ascend-mindie : MindIE 2.1.RC1.B152`."""
    folder = f"{base}/mindie/latest"
    path = f"{folder}/version.info"
    pairs = read_pairs(machine, path, ":")
    if pairs is None:
        return None
    named = {"Ascend-mindie": pairs.get("Ascend-mindie", "").removeprefix("MindIE").strip()}
    return beside(machine, "mindie", "MindIE", folder, path, version_of(named, "Ascend-mindie"), {})


def beside(
    machine: Machine,
    kind: str,
    name: str,
    folder: str,
    path: str,
    version: str | None,
    attributes: dict[str, AttributeValue],
) -> Component:
    """A component that lies beside CANN; its key is the real folder."""
    real = machine.realpath(folder)
    return Component(
        key=f"{kind}:{real}",
        kind=kind,
        name=name,
        version=version,
        location=folder,
        attributes={k: v for k, v in attributes.items() if v is not None},
        evidence=(file_evidence(path, version or "no version line"),),
    )
