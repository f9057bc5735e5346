"""PY-PINS: installed versions against what the packages beside them pin.

Rests on the matrix rules that read METADATA (or PyPI's, where none is installed): torch and its NVIDIA wheels, Triton,
torchvision, JAX and its plug-ins, serving stacks, every other package of the stack, and the Python that wheels support."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    Check,
    CheckContext,
    Confidence,
    Finding,
    LogSignature,
    Severity,
    Status,
    read_requirement,
)
from infra_doctor_probes.detect.libraries import FrameworkImport
from infra_doctor_probes.detect.wheel_metadata import WheelMetadata
from infra_doctor_probes.from_matrix import Rows, findings, label, listed
from infra_doctor_probes.in_target import pip_install

RULES = (
    "torch-pins",
    "triton-torch",
    "torchvision-torch",
    "jax-jaxlib",
    "jax-plugin",
    "serving-torch",
    "python-floor",
    "stack-pins",
)


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding per environment, and one for a torch that fails without a wheel that it requires."""
    absent = [f for target in context.targets if (f := not_installed(context, target.key)) is not None]
    yield from absent
    rows = context.judged(*RULES)
    if not rows:
        yield CHECK.skip("no environment holds packages that pin each other")
        return
    # A pin that no row knows is no risk to tell of; the matrix shows it.
    judged = [row for row in rows if row.verdict != "unknown"]
    if not judged:
        yield CHECK.skip("no pin could be judged: the matrix says why")
        return

    def title(bad: Rows) -> str:
        return "installed against a pin: " + listed(
            f"{label(context, r.left)} with {label(context, r.right)}" for r in bad
        )

    about_pins = findings(
        CHECK,
        context,
        judged,
        title=title,
        remedy=lambda bad: REMEDY,
        passed=lambda good: f"{len(good)} pins are kept",
        worst=Status.WARN,
    )
    yield from (f for f in about_pins if not (absent and f.status is Status.PASS))


def not_installed(context: CheckContext, target: str) -> Finding | None:
    """NVIDIA wheels that torch requires and that are not there, where `import torch` fails over a library. Without such a
    failure the libraries come from elsewhere, and nothing is wrong."""
    failed = [f for f in context.facts(FrameworkImport) if f.target == target and f.loads is False]
    lost = [m for f in failed for m in f.missing if not m.on_first_use and not m.soname.startswith("libcudnn")]
    torch = next(iter(context.named("torch", target)), None)
    said = next((m for m in context.facts(WheelMetadata) if torch is not None and m.wheel == torch.key), None)
    if torch is None or said is None or not lost:
        return None
    asked = [
        r for line in said.requires if (r := read_requirement(line)) and r.applies and r.name.startswith("nvidia-")
    ]
    absent = [f"{r.name}{r.spec}" for r in asked if not context.named(r.name, target)]
    if not absent:
        return None
    sonames = ", ".join(dict.fromkeys(m.soname for m in lost))
    return CHECK.finding(
        Status.FAIL,
        f"import torch fails without {sonames}: {label(context, torch.key)} requires {listed(absent)}, not installed",
        subject=(torch.key,),
        evidence=(*said.evidence, *failed[0].evidence),
        confidence=Confidence.DERIVED,
        severity=Severity.HIGH,
        remedy="Install what it requires.",
        commands=pip_install(context, target, *absent),
    )


REMEDY = (
    "Let one install command settle the versions of all of them together, in a fresh environment where that is easier: the"
    " package that pins names the version it wants."
)

CHECK = Check(
    id="PY-PINS",
    title="Installed versions differ from what a package pins",
    explanation="""\
PyTorch is built against exact versions of NVIDIA's libraries, Triton and its torchvision, JAX against its jaxlib and
plug-ins, vLLM and SGLang against one torch; their METADATA says so. A later `pip install` of another package may replace one
of them: pip warns at that moment and never again. What breaks then is an undefined symbol, a missing operator, or nothing at
all, so this is a warning.

A newer version of a library within the same major is not reported: it is what NVIDIA's compatibility rules allow. An NVIDIA
wheel that torch requires and that is not installed is a failure where `import torch` cannot do without it.""",
    remediation=REMEDY,
    sources=(
        "https://packaging.python.org/en/latest/specifications/core-metadata/#requires-dist-multiple-use",
        "https://pip.pypa.io/en/stable/cli/pip_check/",
        "https://pytorch.org/get-started/previous-versions/",
    ),
    run=run,
    severity=Severity.MEDIUM,
    log_signatures=(
        LogSignature(
            pattern=r"Unexpected PJRT_\w{4,40} size: expected \d",
            source="https://github.com/PlasmaControl/DESC/issues/1534",
            strength=3,
        ),
        LogSignature(
            pattern=r"ERROR: pip's dependency resolver does not currently take into account all the packages that are installed",
            source="https://github.com/torch/torch7/issues/1249",
            strength=1,
        ),
        LogSignature(
            pattern=r"[\w.-]{2,40} [\w.+!]{1,30} (?:requires|has requirement) [\w.-]{2,40}[^\n]{1,80}, but you(?: have|'ll have)",
            source="https://github.com/2kpr/ComfyUI-PMRF/issues/11",
            strength=3,
        ),
        LogSignature(
            pattern=r"operator torchvision::nms does not exist",
            source="https://github.com/fudan-generative-vision/hallo/issues/98",
            strength=3,
        ),
        LogSignature(
            pattern=r"load custom C\+\+ ops\. This can happen if your PyTorch and torchvision versions are incompatible",
            source="https://github.com/Engineer-of-Stuff/stable-diffusion-paperspace/issues/111",
            strength=3,
        ),
        LogSignature(
            pattern=r"jaxlib version [\w.+]{1,30} is newer than and incompatible with jax version",
            source="https://github.com/jax-ml/jax/issues/17638",
            strength=3,
        ),
        LogSignature(
            pattern=r"jaxlib is version [\w.+]{1,30}, but this version of jax requires version",
            source="https://github.com/jax-ml/jax/pull/9419",
            strength=3,
        ),
        LogSignature(
            pattern=r"JAX plugin \w{3,40} version [\w.]{1,20} is installed,\s{1,4}but it is not compatible with the installed",
            source="https://github.com/ma-gilles/recovar/issues/64",
            strength=3,
        ),
        LogSignature(
            pattern=r"Mismatched PJRT plugin PJRT API version",
            source="https://github.com/jax-ml/jax/issues/22416",
            strength=3,
        ),
        LogSignature(
            pattern=r"Descriptors cannot (?:not )?be created directly",
            source="https://github.com/tensorflow/tensorboard/issues/5817",
            strength=3,
        ),
        LogSignature(
            pattern=r"Detected incompatible Protobuf Gencode/Runtime versions",
            source="https://github.com/rules-proto-grpc/rules_proto_grpc/issues/404",
            strength=3,
        ),
        LogSignature(
            pattern=r"compiled against version [\d.]{3,9} of the Protocol Buffer runtime library, which is not compatible",
            source="https://github.com/protocolbuffers/protobuf/issues/9086",
            strength=3,
        ),
        LogSignature(
            pattern=r"(?:No such operator|Could not find the operator) torchvision::",
            source="https://github.com/pytorch/vision/issues/8289",
            strength=3,
        ),
    ),
    explained_by=("PY-CLOBBER-NV",),
    tags=("python", "planned"),
)

CHECKS = (CHECK,)
