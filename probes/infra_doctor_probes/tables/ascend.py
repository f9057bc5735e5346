"""CANN against the Ascend driver, the driver against its firmware, CANN's packages against each other.

What the installed files themselves accept beats the table: `compatible_version` of driver and toolkit lists releases
(V100R001C21) of the other side, and one side's word is enough, as CANN 8.2.RC1 (C22) on driver 25.0.rc1.1 (which lists up to
C21) shows: there the toolkit lists the driver. Where files and a published row contradict, it is unknown. The formats are
known from captures; a spelling that is not understood is unknown."""

import re
from collections.abc import Iterator

from infra_doctor.plugin import (
    CheckContext,
    Compatibility,
    CompatibilityRule,
    Component,
    Verdict,
    numbers,
    pair,
    parse_version,
)
from infra_doctor_probes.tables.common import label, rows, table_text, text

OWN_FILES = "the packages' own version.info files"
HDK = "ascend_cann_hdk"
_BETTER = ("compatible", "paired", "offered together")


def in_use(ctx: CheckContext, *kinds: str) -> tuple[Component, ...]:
    """The CANN installations that a process gets or would get; others on disk do no harm."""
    return tuple(c for c in ctx.by_kind(*(kinds or ("cann",))) if c.attributes.get("in_use", True))


def doubt(component: Component) -> str:
    """Why a component's version cannot be relied on, "" where it can."""
    if component.version is None:
        return f"the version of {component.name} is not known"
    from infra_doctor_probes.ascend.files import differ

    running = text(component, "running_version")
    if running and differ((running, component.version)):
        return f"the files name {label(component)}, the running driver calls itself {running}"
    if text(component, "version_conflict"):
        return f"the files of {component.name} name several versions: {text(component, 'version_conflict')}"
    return ""


# -- CANN and the driver ------------------------------------------------------------------------------------------


def judge_driver(ctx: CheckContext) -> Iterator[Compatibility]:
    """One row for each CANN in use."""
    driver = ctx.component("driver:ascend")
    if driver is None:
        return
    for cann in in_use(ctx, "cann", "nnae"):
        doubts = ". ".join(filter(None, (doubt(cann), doubt(driver))))
        if doubts:
            yield pair(cann.key, driver.key, "cann-driver", Verdict.UNKNOWN, doubts + ".", source=OWN_FILES)
        else:
            yield driver_row(cann, driver)


def driver_row(cann: Component, driver: Component) -> Compatibility:
    """The files' word, else the table's; where they contradict nobody's."""
    by_files, said = judge_by_files(cann, driver)
    by_table, printed, source = judge_by_table(cann, driver)
    known = {Verdict.COMPATIBLE, Verdict.INCOMPATIBLE}
    if by_files in known and by_table in known and by_files is not by_table:
        detail = f"{said} {printed} The two contradict."
        return pair(cann.key, driver.key, "cann-driver", Verdict.UNKNOWN, detail, source=f"{OWN_FILES}; {source}")
    if by_files in known:
        return pair(cann.key, driver.key, "cann-driver", by_files, said, source=OWN_FILES)
    detail = " ".join(filter(None, (said, printed)))
    return pair(cann.key, driver.key, "cann-driver", by_table, detail, source=source)


def judge_by_files(cann: Component, driver: Component) -> tuple[Verdict, str]:
    """By both `compatible_version` lists. A driver that is newer than all it was listed with is no proof of a fault."""
    here, there = release(text(cann, "inner_version")), release(text(driver, "inner_version"))
    if here is None or there is None:
        return Verdict.UNKNOWN, ""
    accepted_here, accepted_there = text(cann, "accepts_inner"), text(driver, "accepts_inner")
    names = f"{label(cann)} is {release_name(here)}, driver {driver.version} is {release_name(there)}."
    if lists(accepted_here, there):
        return Verdict.COMPATIBLE, f"{names} The toolkit's compatible_version lists the driver."
    if lists(accepted_there, here):
        return Verdict.COMPATIBLE, f"{names} The driver's compatible_version lists the toolkit."
    if not (accepted_here and accepted_there):
        return Verdict.UNKNOWN, f"{names} Only one of them says what it accepts, and it does not list the other."
    if there > here:
        return Verdict.UNKNOWN, f"{names} Neither lists the other; a newer driver usually carries an older CANN."
    return (
        Verdict.INCOMPATIBLE,
        f"{names} Neither's compatible_version lists the other, and the driver is the older one.",
    )


def release(inner: str) -> tuple[int, int, int] | None:
    """V100R001C22SPC001B231 as (100, 1, 22)."""
    match = re.match(r"V(\d{1,4})R(\d{1,4})C(\d{1,4})", inner)
    return (int(match.group(1)), int(match.group(2)), int(match.group(3))) if match else None


def release_name(found: tuple[int, int, int]) -> str:
    """The short form that the files use."""
    return f"V{found[0]:03}R{found[1]:03}C{found[2]:02}"


def lists(accepted: str, wanted: tuple[int, int, int]) -> bool:
    """Whether `[V100R001C17],[V100R001C18,V100R001C20]` holds a release; two in one bracket are the ends of a range."""
    from infra_doctor_probes.ascend.files import brackets

    for group in brackets(accepted):
        ends = [release(part) for part in group]
        low, high = ends[0], ends[-1]
        if low is not None and high is not None and low[:2] == wanted[:2] == high[:2] and low <= wanted <= high:
            return True
    return False


def judge_by_table(cann: Component, driver: Component) -> tuple[Verdict, str, str]:
    """By the published pairs. That a pair is not printed says nothing, whatever is older."""
    version, cann_version = driver.version or "", cann.version or ""
    speaking = [
        r for r in rows(HDK) if r.certain and row_covers(r["cann"], cann_version) and r["relation"] != "required"
    ]
    named = [r for r in speaking if hdk_covers(r["hdk"], version)]
    for relation, verdict in (("incompatible", Verdict.INCOMPATIBLE), *((b, Verdict.COMPATIBLE) for b in _BETTER)):
        row = next((r for r in named if r["relation"] == relation), None)
        if row is not None:
            detail = f"Published: {label(cann)} and HDK {row['hdk'].removeprefix('HDK ')} are {relation}."
            return verdict, detail, table_text(HDK, row)
    listed = ", ".join(
        dict.fromkeys(r["hdk"].removeprefix("HDK ") for r in speaking if r["relation"] != "incompatible")
    )
    if not listed:
        return Verdict.UNKNOWN, f"No published row speaks of {label(cann)}.", f"table {HDK}"
    detail = f"No published row pairs {label(cann)} with driver {version}; it is listed with {listed}."
    return Verdict.UNKNOWN, detail, table_text(HDK, speaking[0])


def row_covers(cell: str, version: str) -> bool:
    """Whether "9.0.X" or "8.2.RC1" means this CANN."""
    if cell.endswith(".X"):
        line = numbers(cell)
        return numbers(version)[: len(line)] == line
    return parse_version(cell) is not None and parse_version(cell) == parse_version(version) and " " not in cell


def hdk_covers(cell: str, version: str) -> bool:
    """Whether "25.0.X", "26.0.RC1/25.7.RC1" or "24.1.RC series" means this driver; 25.0.rc1.1 is a patch of 25.0.RC1."""
    here = version.lower()
    for part in re.split(r"[/,]", cell.lower()):
        name = part.strip().removeprefix("hdk ")
        if name.endswith(" series"):
            if here.startswith(name.removesuffix(" series")):
                return True
        elif here == name or here.startswith(name.removesuffix("x") if name.endswith(".x") else name + "."):
            return True
    return False


# -- the driver and the firmware ----------------------------------------------------------------------------------


def judge_firmware(ctx: CheckContext) -> Iterator[Compatibility]:
    """One row: both ends say what they accept, and one's word is enough."""
    driver = ctx.component("driver:ascend")
    for firmware in ctx.by_kind("firmware"):
        if driver is None or firmware.name != "Ascend firmware":
            continue
        if not (driver.version and firmware.version):
            detail = f"the version of {label(driver if not driver.version else firmware)} is not known"
            yield pair(driver.key, firmware.key, "driver-firmware", Verdict.UNKNOWN, detail, source=OWN_FILES)
            continue
        verdict, detail = firmware_verdict(driver, firmware)
        yield pair(driver.key, firmware.key, "driver-firmware", verdict, detail, source=OWN_FILES)


def firmware_verdict(driver: Component, firmware: Component) -> tuple[Verdict, str]:
    """By package, by the driver's `compatible_version_fw`, by the firmware's `compatible_version_drv`."""
    from infra_doctor_probes.ascend.files import brackets

    version, number = driver.version or "", firmware.version or ""
    shown = f"driver {version}, firmware {number}:"
    if text(firmware, "package_version").lower() in {version.lower(), text(driver, "package_version").lower()} - {""}:
        return Verdict.COMPATIBLE, f"{shown} both are of one package."
    accepts_firmware, accepts_driver = text(driver, "accepts_firmware"), text(firmware, "accepts_driver")
    if any(between(number, group) for group in brackets(accepts_firmware)):
        return Verdict.COMPATIBLE, f"{shown} the driver accepts {accepts_firmware}."
    if any(of_line(version, group) for group in brackets(accepts_driver)):
        return Verdict.COMPATIBLE, f"{shown} the firmware accepts {accepts_driver}."
    if not (brackets(accepts_firmware) and brackets(accepts_driver)):
        return Verdict.UNKNOWN, f"{shown} not both files say what they accept."
    return (
        Verdict.INCOMPATIBLE,
        f"{shown} the driver accepts firmware {accepts_firmware}, the firmware accepts drivers {accepts_driver}.",
    )


def between(version: str, group: tuple[str, ...]) -> bool:
    """Whether a firmware's numbers lie in [7.0.0,7.7.99]."""
    low, here, high = numbers(group[0]), numbers(version), numbers(group[-1])
    return bool(low and here and high) and low <= here and here[: len(high)] <= high


def of_line(version: str, group: tuple[str, ...]) -> bool:
    """Whether a driver is of a listed line. `[23.0.0,23.0.0.]` stands in firmware that ships with 23.0.7, so only the
    first two numbers count."""
    here = numbers(version)[:2]
    return len(here) == 2 and here == numbers(group[0])[:2]


# -- CANN's packages ----------------------------------------------------------------------------------------------


def judge_packages(ctx: CheckContext) -> Iterator[Compatibility]:
    """A row for each package whose required ranges all hold, and one for each range that does not."""
    for cann in in_use(ctx):
        found = {c.name: c for c in ctx.by_kind("cann-package", "cann-ops") if c.attributes.get("cann") == cann.key}
        for package in found.values():
            met = []
            for name, _, spec in (item.partition(" ") for item in text(package, "requires").split("; ")):
                other = found.get(name)
                if other is None or not text(other, "internal_version"):
                    continue
                number = text(other, "internal_version")
                holds = line_in_range(number, spec)
                if holds:
                    met.append(f"{name} {number} in {spec}")
                    continue
                verdict = Verdict.UNKNOWN if holds is None else Verdict.INCOMPATIBLE
                detail = f"{package.name} requires {name} {spec}; {name} is {number} (internal numbers)."
                yield pair(package.key, other.key, "cann-packages", verdict, detail, source=OWN_FILES)
            if met:
                detail = f"{package.name} requires {', '.join(met)}."
                yield pair(package.key, cann.key, "cann-packages", Verdict.COMPATIBLE, detail, source=OWN_FILES)


def line_in_range(version: str, spec: str) -> bool | None:
    """Whether an internal number (7.8.T5.0.B028) is within `7.8` or `>=7.6, <=8.2`: bounds name lines, so only as many
    numbers count as the bound has. None where one of them cannot be read."""
    here = numbers(version)
    clauses = [c.strip() for c in spec.split(",") if c.strip()]
    answers = []
    for clause in clauses:
        match = re.fullmatch(r"(>=|<=|==|>|<)?\s*(\d+(?:\.\d+)*)", clause)
        if match is None or not here:
            return None
        operator, bound = match.group(1) or "==", numbers(match.group(2))
        line = here[: len(bound)]
        holds = {">=": line >= bound, "<=": line <= bound, "==": line == bound, ">": line > bound, "<": line < bound}
        answers.append(holds[operator])
    return all(answers) if answers else None


RULES = (
    CompatibilityRule(
        id="cann-driver",
        title="CANN and the Ascend driver",
        explanation="Driver and toolkit list the releases that they accept of each other; published pairs complete that.",
        sources=(
            "https://github.com/Ascend/mind-cluster/blob/22bb3d987bc0/docs/en/faultdiag/user_guide/03_collecting_logs.md",
            "https://gitcode.com/cann/release-management",
        ),
        judge=judge_driver,
    ),
    CompatibilityRule(
        id="driver-firmware",
        title="Ascend driver and firmware",
        explanation="Each names the versions that it accepts of the other, in its version.info.",
        sources=(
            "https://github.com/Ascend/mind-cluster/blob/22bb3d987bc0/docs/en/faultdiag/user_guide/03_collecting_logs.md",
        ),
        judge=judge_firmware,
    ),
    CompatibilityRule(
        id="cann-packages",
        title="CANN's packages with each other",
        explanation="`required_package_*` lines in a package's version.info, in internal numbers.",
        sources=("the version.info files of CANN 8.2 and 8.3",),
        judge=judge_packages,
    ),
)
