"""Versions that files and other tools of NVIDIA tell: /proc/driver/nvidia/version, `nvcc --version`, /etc/nv_tegra_release
(Jetson), the toolkit's version.json."""

from infra_doctor.plugin import record
from infra_doctor_probes.nvidia_smi.text import Refused, lines, version


@record
class ToldVersion:
    """`what` is "kernel module", "nvcc", "Jetson Linux" or "CUDA toolkit"; `flavor` of a module "open" or "proprietary"."""

    what: str
    version: str
    flavor: str | None = None


def read_module_version(text: str) -> ToldVersion | Refused:
    """/proc/driver/nvidia/version: "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04 …"."""
    for number, line in enumerate(lines(text)):
        if number < 10 and line.startswith("NVRM version:") and "Kernel Module" in line:
            found = next(filter(None, map(version, line.partition("Kernel Module")[2].split())), None)
            if found is not None:
                flavor = "open" if "NVIDIA UNIX Open " in line else "proprietary"
                return ToldVersion(what="kernel module", version=found, flavor=flavor)
    return Refused(reason="there is no NVRM version")


def read_nvcc_version(text: str) -> ToldVersion | Refused:
    """`nvcc --version`: "Cuda compilation tools, release 13.0, V13.0.88"."""
    for number, line in enumerate(lines(text)):
        if number < 50 and line.startswith("Cuda compilation tools, release"):
            words = [word.strip(",") for word in line.split()]
            found = next((w[1:] for w in words if w.startswith("V") and version(w[1:])), None)
            if found is not None:
                return ToldVersion(what="nvcc", version=found)
    return Refused(reason="nvcc names no release")


def read_tegra_release(text: str) -> ToldVersion | Refused:
    """/etc/nv_tegra_release: "# R36 (release), REVISION: 4.3, GCID: …"."""
    first = next(lines(text), "")
    release = first.removeprefix("# R").partition(" ")[0]
    revision = first.partition("REVISION:")[2].partition(",")[0].strip()
    if not first.startswith("# R") or not release.isdecimal() or version(f"{release}.{revision}") is None:
        return Refused(reason="there is no release of Jetson Linux")
    return ToldVersion(what="Jetson Linux", version=f"{release}.{revision}")


def read_toolkit_version(text: str) -> ToldVersion | Refused:
    """The toolkit's version.json: {"cuda": {"name": "CUDA SDK", "version": "13.1.1"}, …}, whole or cut."""
    lead = '"name" : "CUDA SDK"'
    at = text[: 1 << 20].find(lead)
    after = text[at : at + 400].partition('"version"')[2].partition('"')[2].partition('"')[0] if at >= 0 else ""
    found = version(after)
    return Refused(reason="there is no CUDA SDK") if found is None else ToldVersion(what="CUDA toolkit", version=found)
