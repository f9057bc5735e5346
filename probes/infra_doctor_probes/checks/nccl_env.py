"""NCCL-ENV: NCCL variables that were left behind, contradict this machine, or are read by nobody.

What each variable does is taken from NCCL's documentation and source; which release reads it from the table of names. A valid
setting that only costs speed is mentioned in a pass, unless it switches off a way that this machine has."""

from collections.abc import Iterator

from infra_doctor.plugin import (
    Check,
    CheckContext,
    Confidence,
    Evidence,
    Finding,
    LogSignature,
    Severity,
    Status,
    record,
    version_key,
)
from infra_doctor_probes.detect.communication import RdmaPort
from infra_doctor_probes.detect.tuning_variables import MissingPath, NetworkInterfaces, TuningVariable
from infra_doctor_probes.tables.nccl_variables import DOCUMENTATION, NAMES, RELEASES, REPLACED
from infra_doctor_probes.workload import nvidia_gpus

ALGORITHMS = frozenset({"tree", "ring", "collnet", "collnetdirect", "collnetchain", "nvls", "nvlstree", "pat"})
UNKNOWN_CAP = 20  # comparing a name with all that NCCL reads costs some milliseconds
PROTOCOLS = frozenset({"ll", "ll128", "simple"})
# Set on purpose or harmless, and worth a word: they cost speed or change what is measured.
MENTIONED = frozenset(
    {"NCCL_NVLS_ENABLE", "NCCL_CUMEM_ENABLE", "NCCL_NTHREADS", "NCCL_BUFFSIZE", "NCCL_LAUNCH_MODE", "NCCL_MIN_NCHANNELS",
     "NCCL_MAX_NCHANNELS", "NCCL_CHECK_POINTERS", "NCCL_P2P_LEVEL", "NCCL_NET_GDR_LEVEL", "NCCL_DMABUF_ENABLE", "NCCL_DEBUG",
     "NCCL_PXN_DISABLE", "NCCL_SET_STACK_SIZE", "NCCL_SHM_USE_CUDA_MEMCPY"}
)  # fmt: skip


@record
class Said:
    """One thing to say of one variable."""

    status: Status
    title: str
    variable: TuningVariable
    detail: str = ""
    remedy: str = ""
    severity: Severity = Severity.LOW
    confidence: Confidence = Confidence.OBSERVED
    evidence: tuple[Evidence, ...] = ()


def run(context: CheckContext) -> Iterator[Finding]:
    """One finding per variable that is wrong; one pass where none is."""
    probe = context.probes.get("tuning-variables")
    found = {v.name: v for v in context.facts(TuningVariable) if v.name.startswith("NCCL_")}
    if probe is not None and probe.status in {Status.SKIP, Status.ERROR}:
        yield CHECK.skip("environment variables are not visible on this form of machine")
    elif not nvidia_gpus(context):
        yield CHECK.skip("no NVIDIA GPU is there that a program could use")
    elif not found:
        yield CHECK.skip("no variable of NCCL is set")
    else:
        yield from judge(context, found)


def judge(context: CheckContext, found: dict[str, TuningVariable]) -> Iterator[Finding]:
    """The worst first in each rule; what is in order is summed up."""
    count = len(nvidia_gpus(context))
    active = [p for p in context.facts(RdmaPort) if p.state == "ACTIVE"]
    said = [
        *switched_off(found, count, active),
        *interfaces(context, found, count),
        *cards(context, found, active),
        *forced(found),
        *paths(context, found),
        *names(context, found),
    ]
    for one in said:
        yield CHECK.finding(
            one.status,
            one.title,
            subject=(f"variable:{one.variable.name}",),
            detail=one.detail,
            evidence=(*one.variable.evidence, *one.evidence),
            severity=one.severity,
            confidence=one.confidence,
            remedy=one.remedy or unset(one.variable),
        )
    if not said:
        noted = [f"{v.name}={v.value}" for v in found.values() if v.name in MENTIONED]
        note = f"Set, valid, and with an effect on speed or output: {', '.join(noted)}." if noted else ""
        yield CHECK.finding(
            Status.PASS,
            f"{len(found)} NCCL variables are set and none contradicts this machine",
            subject=[f"variable:{name}" for name in sorted(found)],
            detail=note,
            evidence=[e for v in found.values() for e in v.evidence],
            severity=Severity.LOW,
        )


def unset(variable: TuningVariable) -> str:
    """The smallest change."""
    if variable.source == "environment":
        return f"`unset {variable.name}`, and take it out of what sets it (job script, ~/.bashrc, image, pod)."
    return f"Take the line {variable.name}=… out of {variable.source}."


def is_one(variable: TuningVariable | None) -> bool:
    """NCCL reads numbers with strtoll: 1, 0x1, 01."""
    return variable is not None and (variable.value or "").strip() in {"1", "0x1", "01"}


# -- ways that are switched off -----------------------------------------------------------------------------------


def switched_off(found: dict[str, TuningVariable], count: int, active: list[RdmaPort]) -> Iterator[Said]:
    """Transports that this machine has and the variables forbid."""
    direct, level = found.get("NCCL_P2P_DISABLE"), found.get("NCCL_P2P_LEVEL")
    without = direct if is_one(direct) else level if level is not None and level.value in {"LOC", "0"} else None
    if without is not None and count > 1:
        yield Said(
            status=Status.WARN,
            title=f"{without.name}={without.value} keeps {count} GPUs from talking to each other directly",
            variable=without,
            detail="NCCL then copies through the memory of the CPU. It is a test for ACS and driver faults, and NVIDIA asks to"
            " take it out again; GPUs without peer-to-peer access (most GeForce cards) lose nothing by it.",
            severity=Severity.MEDIUM if is_one(direct) else Severity.LOW,
        )
    shared = found.get("NCCL_SHM_DISABLE")
    if shared is not None and is_one(shared) and count > 1:
        yield Said(
            status=Status.WARN,
            title=f"NCCL_SHM_DISABLE=1: {count} GPUs use the network where direct access is not possible",
            variable=shared,
            detail="It hides a /dev/shm that is too small.",
            remedy=f"Give the container more shared memory (`docker run --shm-size=1g …`) and {unset(shared)}",
        )
    verbs, net = found.get("NCCL_IB_DISABLE"), found.get("NCCL_NET")
    without = verbs if is_one(verbs) else net if net is not None and (net.value or "").lower() == "socket" else None
    if without is not None and active:
        yield Said(
            status=Status.WARN,
            title=f"{without.name}={without.value} leaves {len(active)} active RDMA ports unused",
            variable=without,
            detail="Traffic between machines takes TCP sockets.",
            severity=Severity.MEDIUM,
            evidence=tuple(e for p in active[:8] for e in p.evidence),
        )


# -- names of interfaces and cards --------------------------------------------------------------------------------


def interfaces(context: CheckContext, found: dict[str, TuningVariable], count: int) -> Iterator[Said]:
    """NCCL_SOCKET_IFNAME: NCCL finds an interface by it, or fails (src/misc/socket.cc, "find or fail")."""
    variable, known = found.get("NCCL_SOCKET_IFNAME"), context.fact(NetworkInterfaces)
    value = variable.value if variable is not None else None
    if variable is None or known is None or not value or len(value) < 2:
        return
    left = [name for name in known.names if matches(name, value)]
    if left:
        return
    yield Said(
        status=Status.FAIL if count > 1 else Status.WARN,
        title=f"NCCL_SOCKET_IFNAME={value} matches no network interface ({', '.join(known.names[:8])})",
        variable=variable,
        detail="NCCL then fails with `Bootstrap : no socket interface found`, on one machine too: its ranks meet over a socket.",
        severity=Severity.HIGH if count > 1 else Severity.MEDIUM,
        evidence=known.evidence,
        remedy=f"Name an interface that is here, or let NCCL choose: {unset(variable)}",
    )


def matches(name: str, value: str) -> bool:
    """NCCL's own rule: `^` excludes, `=` is exact, else each word of the list is a prefix; a port may follow a colon."""
    excluded = value.startswith("^")
    value = value.removeprefix("^")
    exact = value.startswith("=")
    words = [word.partition(":")[0] for word in value.removeprefix("=").split(",")]
    hit = any(name == word if exact else name.startswith(word) for word in words if word)
    return hit != excluded


def cards(context: CheckContext, found: dict[str, TuningVariable], active: list[RdmaPort]) -> Iterator[Said]:
    """NCCL_IB_HCA that leaves none of the active devices."""
    variable = found.get("NCCL_IB_HCA")
    if variable is None or not variable.value or not active:
        return
    if not any(matches(p.name, variable.value) for p in active):
        yield Said(
            status=Status.WARN,
            title=f"NCCL_IB_HCA={variable.value} matches none of the active RDMA devices"
            f" ({', '.join(sorted({p.name for p in active})[:8])})",
            variable=variable,
            detail="NCCL says `NET/IB : No device found` and takes TCP sockets between machines.",
            severity=Severity.MEDIUM,
            evidence=tuple(e for p in active[:8] for e in p.evidence),
        )


# -- forced choices -----------------------------------------------------------------------------------------------


def forced(found: dict[str, TuningVariable]) -> Iterator[Said]:
    """Algorithm and protocol: words that NCCL does not know end in an error, known ones take the choice from it."""
    for name, known in (("NCCL_ALGO", ALGORITHMS), ("NCCL_PROTO", PROTOCOLS)):
        variable = found.get(name)
        if variable is None or not variable.value:
            continue
        words = {
            w.strip().lower()
            for part in variable.value.split(";")
            for w in part.rpartition(":")[2].lstrip("^").split(",")
        }
        strange = sorted(w for w in words if w and w not in known)
        if strange:
            yield Said(
                status=Status.WARN,
                title=f"{name}={variable.value} holds a word that NCCL does not know: {', '.join(strange)[:80]}",
                variable=variable,
                detail="From 2.24 on NCCL refuses to start with it; earlier ones ignore the word.",
                severity=Severity.MEDIUM,
                confidence=Confidence.DERIVED,
            )
        else:
            yield Said(
                status=Status.WARN,
                title=f"{name}={variable.value} takes the choice from NCCL",
                variable=variable,
                detail="NCCL picks the fastest way for each message size. Where the forced one cannot do an operation it fails"
                " with `no algorithm/protocol available`. NVIDIA names it as a setting for debugging only.",
            )
    debug = found.get("NCCL_DEBUG")
    if debug is not None and (debug.value or "").upper() == "TRACE":
        yield Said(
            status=Status.WARN,
            title="NCCL_DEBUG=TRACE writes a line for each call",
            variable=debug,
            remedy="Set NCCL_DEBUG=WARN.",
        )


def paths(context: CheckContext, found: dict[str, TuningVariable]) -> Iterator[Said]:
    """A graph file that is missing ends the initialisation; a missing topology or settings file is passed over."""
    for missing in context.facts(MissingPath):
        variable = found.get(missing.variable)
        if variable is None:
            continue
        fatal = missing.variable == "NCCL_GRAPH_FILE"
        yield Said(
            status=Status.FAIL if fatal and len(nvidia_gpus(context)) > 1 else Status.WARN,
            title=f"{missing.variable} names {missing.path}, which is not there",
            variable=variable,
            detail="NCCL's initialisation fails." if fatal else "NCCL passes over it without a word.",
            severity=Severity.HIGH if fatal else Severity.LOW,
            evidence=missing.evidence,
        )


# -- names that nobody reads --------------------------------------------------------------------------------------


def names(context: CheckContext, found: dict[str, TuningVariable]) -> Iterator[Said]:
    """Names that are spelt almost like one that NCCL reads, and names that the loaded NCCL no longer reads."""
    version = loaded_version(context)
    unknown = [name for name in sorted(found) if name not in RELEASES][:UNKNOWN_CAP]
    for variable in found.values():
        if variable.name not in RELEASES:
            near = nearest(variable.name) if variable.name in unknown else ""
            if near:
                yield Said(
                    status=Status.WARN,
                    title=f"no release of NCCL up to 2.30 reads {variable.name}; {near} is meant?",
                    variable=variable,
                    confidence=Confidence.HEURISTIC,
                )
            continue
        last = RELEASES[variable.name][1]
        if last and version and version_key(version) > version_key(last):
            instead = REPLACED.get(variable.name)
            yield Said(
                status=Status.WARN,
                title=f"NCCL {version} does not read {variable.name}, {last} was the last that did",
                variable=variable,
                detail=f"{instead} took its place." if instead else "",
            )


def loaded_version(context: CheckContext) -> str | None:
    """The version of the one NCCL that frameworks here load."""
    loaded = {c.version for c in context.by_kind("nccl") if c.version and c.loaded_by}
    return next(iter(loaded)) if len(loaded) == 1 else None


def nearest(name: str) -> str:
    """A name that NCCL reads and that one or two keystrokes lead to; empty where none is that near."""
    from difflib import SequenceMatcher  # rarely needed, and not cheap to import

    if len(name) < 9:
        return ""
    best, ratio = "", 0.0
    for known in NAMES:
        if abs(len(known) - len(name)) > 2:
            continue
        score = SequenceMatcher(None, name, known).ratio()
        if score > ratio:
            best, ratio = known, score
    return best if ratio * (len(name) + len(best)) / 2 >= max(len(name), len(best)) - 2 else ""


CHECK = Check(
    id="NCCL-ENV",
    title="Left-over or wrong NCCL variables",
    explanation="""\
NCCL reads over 250 variables from the environment, `~/.nccl.conf` (or the file in NCCL_CONF_FILE) and `/etc/nccl.conf`. Settings
that once were a test stay in job scripts for years: NCCL_P2P_DISABLE, NCCL_SHM_DISABLE and NCCL_IB_DISABLE take away the fast ways,
NCCL_SOCKET_IFNAME of another machine ends every start with *no socket interface found*, and a misspelt name does nothing at all.

infra-doctor fails where NCCL_SOCKET_IFNAME matches no interface, or NCCL_GRAPH_FILE is missing, on a machine with several GPUs. It
warns where a variable switches off a way that this machine has, forces an algorithm or protocol, or has a name that the NCCL
loaded here does not read. Valid settings that only cost speed (NCCL_NVLS_ENABLE=0, channel counts) are mentioned and no finding:
they may be set on purpose. Of names that nobody knows only the name is looked at.""",
    remediation="Unset what was set for a test; let NCCL choose interface, algorithm and protocol unless its documentation for your"
    " network says otherwise.",
    sources=(
        DOCUMENTATION,
        "https://github.com/NVIDIA/nccl/issues/1837",
        "https://github.com/NVIDIA/nccl/blob/v2.28.9-1/src/misc/socket.cc",
    ),
    run=run,
    severity=Severity.LOW,
    log_signatures=(
        LogSignature(
            pattern=r"Bootstrap ?: no socket interface found",
            source="https://github.com/marin-community/marin/issues/6940",
            strength=3,
        ),
        LogSignature(
            pattern=r"ncclSocketInit: connecting to address\s{0,4} with family \d{1,6} is neither AF_INET",
            source="https://github.com/NVIDIA/nccl/issues/1837",
            strength=3,
        ),
        LogSignature(
            pattern=r"no algorithm/protocol available[^\n]{0,120}NCCL_(?:ALGO|PROTO) was set",
            source="https://github.com/pytorch/pytorch/pull/163063",
            strength=3,
        ),
        LogSignature(
            pattern=r"NCCL_IB_DISABLE set by environment to 1",
            source="https://github.com/NVIDIA/nccl-tests/issues/188",
            strength=1,
        ),
    ),
    tags=("nvidia", "nccl"),
)

CHECKS = (CHECK,)
