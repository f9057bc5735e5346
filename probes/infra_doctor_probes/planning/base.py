"""The parts under the wheels: the interpreter, the C library, the NVIDIA driver, and the CUDA major of a process.

Facts: NVIDIA's CUDA Compatibility guide (`cuda_families`), the last driver branch of each architecture
(`gpu_last_driver`), the Python releases that wheels are published for."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    Choice,
    Effort,
    Option,
    PlanContext,
    Refused,
    Verdict,
    floor,
    major,
    version_key,
)
from infra_doctor_probes.detect.system import Container
from infra_doctor_probes.planning.needs import CUDA_MAJOR, DRIVER, DRIVER_DOCS, GLIBC, PYTHON, gpu_capabilities
from infra_doctor_probes.tables.common import first_row, is_wsl, rows, table_text

PYTHONS = ("3.12", "3.13", "3.11", "3.14", "3.10", "3.9", "3.8")  # widest choice of wheels first
PYTHON_STATUS = "https://devguide.python.org/versions/"
MANYLINUX = "https://peps.python.org/pep-0600/"


def python_options(ctx: PlanContext, part: str) -> Iterator[Option | Refused]:
    """The environment's own interpreter, else a new environment."""
    here = ".".join((ctx.target.python_version or "").split(".")[:2]) if ctx.target is not None else ""
    if here:
        yield Option(part=part, version=here, effort=Effort.NONE)
    for version in PYTHONS:
        if version != here:
            yield Option(
                part=part, version=version, effort=Effort.INTERPRETER, source=PYTHON_STATUS,
                remedy=f"Make a new environment with Python {version} (`uv venv --python {version} DIR`, or"
                f" `python{version} -m venv DIR`), and install there; the old one stays as it is.",
            )  # fmt: skip


def glibc_options(ctx: PlanContext, part: str) -> Iterator[Option | Refused]:
    """The C library, else a newer system below."""
    libc = next(iter(ctx.facts.by_kind("libc")), None)
    here = libc.version if libc is not None and libc.name == "glibc" and libc.version else None
    if libc is not None and libc.name != "glibc":
        yield Refused(
            label=f"{libc.name}",
            reason="wheels for glibc (manylinux) do not run on it; these packages have no others",
            source=MANYLINUX,
        )
    elif here is None:
        yield Option(part=part, version="", effort=Effort.NONE, assumes=("which glibc is there was not seen",))
    else:
        yield Option(part=part, version=here, effort=Effort.NONE)
    for version in ("2.28", "2.34", "2.39"):
        if here is None or version_key(version) > version_key(here):
            yield Option(
                part=part, version=version, effort=Effort.SYSTEM, source=MANYLINUX,
                remedy=f"Use a system (or a container image) with glibc {version} or newer: it is not replaced in place.",
            )  # fmt: skip


def driver_options(ctx: PlanContext, part: str) -> Iterator[Option | Refused]:
    """The loaded driver, else the first that serves a newer CUDA family and still serves the GPUs."""
    driver = ctx.facts.component("driver:nvidia")
    here = driver.version if driver is not None else None
    if here:
        yield Option(part=part, version=here, effort=Effort.NONE)
    for row in sorted(rows("cuda_families"), key=lambda r: version_key(r["linux"])):
        minimum = row["windows" if is_wsl(ctx.facts) else "linux"]
        if here and floor(here, minimum) is not Verdict.INCOMPATIBLE:
            continue
        refused = dropped(ctx, minimum)
        if refused is not None:
            yield refused
            continue
        where = "in Windows" if is_wsl(ctx.facts) else "on the host" if ctx.facts.fact(Container) else "here"
        yield Option(
            part=part, version=f"{minimum} or newer", effort=Effort.DRIVER, source=table_text("cuda_families", row),
            values={"serves": minimum},
            remedy=f"Install NVIDIA driver {minimum} or newer {where} (it serves CUDA {row['cuda_major']}.x), and restart."
            " A newer driver runs all that the old one ran.",
        )  # fmt: skip


def dropped(ctx: PlanContext, minimum: str) -> Refused | None:
    """Where a GPU here is served by older branches only."""
    for name, cc in gpu_capabilities(ctx.facts):
        row = first_row("gpu_last_driver", cc=f"{cc[0]}.{cc[1]}")
        if row is not None and row.certain and (major(minimum) or 0) > int(row["last_driver_branch"][1:]):
            return Refused(
                label=f"NVIDIA driver {minimum}",
                reason=f"the last branch that serves {name} ({row['arch']}) is {row['last_driver_branch']}",
                source=table_text("gpu_last_driver", row),
            )
    return None


def cuda_major_options(ctx: PlanContext, part: str) -> Iterator[Option | Refused]:
    """The CUDA major that torch and ONNX Runtime share in one process."""
    for row in rows("cuda_families"):
        yield Option(part=part, version=row["cuda_major"], effort=Effort.NONE, source=DRIVER_DOCS)


CHOICES = (
    Choice(id="python", title="The Python interpreter", parts=(PYTHON,), options=python_options, wishable=False),
    Choice(id="glibc", title="The C library", parts=(GLIBC,), options=glibc_options, wishable=False),
    Choice(id="nvidia-driver", title="The NVIDIA driver", parts=(DRIVER,), options=driver_options, wishable=False),
    Choice(
        id="cuda-major", title="The CUDA major of a process", parts=(CUDA_MAJOR,), options=cuda_major_options,
        wishable=False,
    ),
)  # fmt: skip
