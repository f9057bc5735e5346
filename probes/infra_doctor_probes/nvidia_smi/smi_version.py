"""`nvidia-smi --version`: one "name : version" a line. From 610 on two of them only point to others ("Deprecated, see …")."""

from infra_doctor.plugin import record
from infra_doctor_probes.nvidia_smi.text import Refused, lines, version


@record
class SmiVersion:
    """`smi` is the tool's own version, `nvml` that of the libnvidia-ml it took (often without the last part), `driver`
    the kernel module's, `cuda` what libcuda offers."""

    smi: str
    nvml: str | None = None
    driver: str | None = None
    cuda: str | None = None


def read_smi_version(text: str) -> SmiVersion | Refused:
    """The versions."""
    found: dict[str, str | None] = {}
    for number, line in enumerate(lines(text)):
        name, colon, value = line.partition(":")
        if colon and number < 100:
            found.setdefault(" ".join(name.split()).casefold(), version(value))
    smi = found.get("nvidia-smi version")
    if smi is None:
        return Refused(reason="there is no NVIDIA-SMI version")
    return SmiVersion(
        smi=smi,
        nvml=found.get("nvml version"),
        driver=found.get("kmd version") or found.get("driver version"),
        cuda=found.get("cuda umd version") or found.get("cuda version"),
    )
