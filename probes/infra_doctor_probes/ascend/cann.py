"""The CANN toolkits on disk and their public versions, in the layouts up to 8.3, from 8.5 on, and of conda.

Several places name a version and they do disagree on real machines, so all are read, the most trusted first:
1 `<arch>-linux/ascend_toolkit_install.info` `version=`; 2 `share/info/runtime/version.info`; 3 `version_dir=` of the
compiler, runtime or toolkit; 4 the public half of `version.cfg`; 5 the folder's name. `Version=` of the old layouts' packages
is an internal number (7.8.T5… is CANN 8.2.T2) and never shown as CANN's. `latest` may be a link or a folder of links."""

import posixpath
import re
from collections.abc import Iterator

from infra_doctor.plugin import AttributeValue, Component, Machine, ProbeContext, record, version_key
from infra_doctor_probes.ascend.files import (
    AscendVersionSources,
    differ,
    file_evidence,
    installed_bases,
    parse_pairs,
    read_pairs,
    version_of,
)
from infra_doctor_probes.detect.ascend import (
    INSTALL_FILES,
    KERNELS,
    LIBRARY_FOLDERS,
    LINKED_PARTS,
    MARKS,
    ROOT_VARIABLES,
)

_INTERNAL = re.compile(r"\d+(?:\.\d+){3,}|.*\.B\d+")
_FOLDER = re.compile(r"(?:cann-)?(\d+\.\d+[0-9A-Za-z.+-]*)")


@record
class CannRoot:
    """One installation. `path` is the real folder; `folders` are all that hold its files, a `latest` of links first;
    `given` the first name that led here."""

    path: str
    folders: tuple[str, ...]
    given: str
    target: str | None = None


@record
class Source:
    """One place that names a version."""

    version: str
    place: str


def run(ctx: ProbeContext) -> Iterator[object]:
    """cann components with every source of their version."""
    machine: Machine = ctx.machine
    roots = find_roots(ctx)
    active = active_root(machine, roots)
    for number, root in enumerate(roots):
        sources = version_sources(machine, root)
        chosen = sources[0].version if sources else None
        key = f"cann:{root.path}"
        evidence = tuple(file_evidence(s.place, s.version) for s in sources)
        yield Component(
            key=key,
            kind="cann",
            name="CANN",
            version=chosen,
            location=root.path,
            origin=layout(machine, root),
            target=root.target,
            attributes={
                "layout": layout(machine, root),
                "active": root is active,
                # What a process gets, or would get after set_env.sh: the active one, else the first in order.
                "in_use": root is (active or roots[0]),
                "order": number,
                **details(machine, root, sources),
            },
            evidence=evidence,
        )
        yield AscendVersionSources(
            subject=key, sources=tuple((s.version, s.place) for s in sources), chosen=chosen, evidence=evidence
        )


# -- where they are -----------------------------------------------------------------------------------------------


def find_roots(ctx: ProbeContext) -> list[CannRoot]:
    """The installations in their order: what the environment names, `cann`, `ascend-toolkit/latest`, the versioned
    folders with the newest first, what lies on LD_LIBRARY_PATH; each real folder once."""
    machine: Machine = ctx.machine
    candidates = [machine.environ.get(name, "") for name in ROOT_VARIABLES]
    for base in installed_bases(ctx):
        candidates += [f"{base}/cann", f"{base}/ascend-toolkit/latest"]
        new = [n.removeprefix("cann-") for n in machine.names(base) if n.startswith("cann-")]
        candidates += [f"{base}/cann-{version}" for version in sorted(new, key=version_key, reverse=True)]
        old = [n for n in machine.names(f"{base}/ascend-toolkit") if n[:1].isdigit()]
        candidates += [f"{base}/ascend-toolkit/{version}" for version in sorted(old, key=version_key, reverse=True)]
    for entry in machine.environ.get("LD_LIBRARY_PATH", "").split(":")[:200]:
        if re.search(r"cann|ascend", entry, re.IGNORECASE):
            candidates += [posixpath.dirname(entry), posixpath.dirname(posixpath.dirname(entry))]
    found: dict[str, CannRoot] = {}
    for path in candidates:
        if path.startswith("/") and (root := root_at(ctx, path.rstrip("/") or "/")) is not None:
            known = found.get(root.path)
            folders = root.folders if known is None else tuple(dict.fromkeys((*known.folders, *root.folders)))
            given = root.given if known is None else known.given
            found[root.path] = CannRoot(path=root.path, folders=folders, given=given, target=root.target)
    return list(found.values())


def root_at(ctx: ProbeContext, path: str) -> CannRoot | None:
    """The installation that a folder is, or whose parts it links together; None where it is none."""
    machine: Machine = ctx.machine
    real = machine.realpath(path)
    if not machine.is_dir(real) or not any(machine.exists(f"{real}/{mark}") for mark in MARKS):
        return None
    behind = [s for s in linked_siblings(machine, real) if machine.is_dir(s)]
    folders = (real, *behind)
    main = max(behind, key=behind.count) if behind else real
    target = next((t.key for t in ctx.targets if is_conda_part(machine, t.prefix, main)), None)
    return CannRoot(path=main, folders=tuple(dict.fromkeys(folders)), given=path, target=target)


def is_conda_part(machine: Machine, prefix: str, path: str) -> bool:
    """Whether a path lies in the Ascend folder of a conda environment (a prefix of /usr/local is none)."""
    return path.startswith(machine.realpath(prefix) + "/Ascend/") and machine.is_dir(prefix + "/conda-meta")


def linked_siblings(machine: Machine, folder: str) -> list[str]:
    """For a folder of links such as `latest/runtime -> ../8.2.RC2/runtime`: the folder behind each link."""
    found = []
    for part in LINKED_PARTS:
        if machine.readlink(f"{folder}/{part}") is None:
            continue
        behind = posixpath.dirname(machine.realpath(f"{folder}/{part}"))
        if behind != folder and posixpath.dirname(behind) == posixpath.dirname(folder):
            found.append(behind)
    return found


def active_root(machine: Machine, roots: list[CannRoot]) -> CannRoot | None:
    """The one that the environment points to: by its variables, else by the first entry of LD_LIBRARY_PATH in a root."""
    named = [machine.environ.get(name, "") for name in ROOT_VARIABLES]
    for path in (*named, *machine.environ.get("LD_LIBRARY_PATH", "").split(":")[:200]):
        root = root_of_path(machine, roots, path) if path.startswith("/") else None
        if root is not None:
            return root
    return None


def root_of_path(machine: Machine, roots: list[CannRoot], path: str) -> CannRoot | None:
    """The installation in which an existing path lies."""
    real = machine.realpath(path)
    return next(
        (r for r in roots for f in r.folders if (real + "/").startswith(f + "/") and machine.is_dir(real)), None
    )


def layout(machine: Machine, root: CannRoot) -> str:
    """ "cann" from 8.5 on, "ascend-toolkit" before, "conda" inside a target."""
    if root.target is not None:
        return "conda"
    new = posixpath.basename(root.path).startswith("cann") or machine.is_dir(root.path + "/share/info")
    return "cann" if new else "ascend-toolkit"


# -- which version ------------------------------------------------------------------------------------------------


def version_sources(machine: Machine, root: CannRoot) -> list[Source]:
    """Every place that names the public version, the most trusted first, each real file once."""
    found: list[Source] = []
    read: set[str] = set()

    def add(relative: str, *keys: str) -> None:
        for folder in root.folders:
            path = f"{folder}/{relative}"
            real = machine.realpath(path)
            pairs = None if real in read else read_pairs(machine, path)
            read.add(real)
            version = next((v for k in keys if (v := version_of(pairs or {}, k)) and not _INTERNAL.fullmatch(v)), None)
            if version is not None:
                found.append(Source(version=version, place=path))

    for file in INSTALL_FILES:
        add(file, "version")
    add("share/info/runtime/version.info", "version_dir", "Version")
    for part in ("compiler", "runtime", "toolkit"):
        add(f"{part}/version.info", "version_dir")
    for folder in root.folders:
        text = machine.read_text(f"{folder}/version.cfg", max_bytes=65536)
        found += [Source(version=v, place=f"{folder}/version.cfg") for v in configured_versions(text or "")]
    folders = dict.fromkeys((root.path, *root.folders))
    names = ((_FOLDER.fullmatch(posixpath.basename(f)), f) for f in folders)
    found += [Source(version=match.group(1), place=f) for match, f in names if match]
    return found


def configured_versions(text: str) -> list[str]:
    """The public halves of `compiler_running_version=[7.5.0.1.129:8.0.RC3]`, each once. Kernels of another version are
    allowed beside a toolkit (its own `required_package_opp_kernel_version` is a range), so they do not count."""
    found: dict[str, None] = {}
    for key, value in parse_pairs(text).items():
        match = re.fullmatch(r"\[[^:\]]{1,64}:([0-9][0-9A-Za-z.+-]{0,62})\]", value)
        if match and key.endswith("_running_version") and not key.startswith("opp_kernel"):
            found[match.group(1)] = None
    return list(found)


# -- what else stands there ---------------------------------------------------------------------------------------


def details(machine: Machine, root: CannRoot, sources: list[Source]) -> dict[str, AttributeValue]:
    """The attributes beside the version."""
    found: dict[str, AttributeValue] = {"given": root.given, "folders": ":".join(root.folders)}
    if sources:
        found["version_source"] = sources[0].place
    others = tuple(dict.fromkeys(s.version for s in sources))
    if differ(others):
        found["version_conflict"] = " ".join(others)
    for folder, file in ((f, i) for f in root.folders for i in INSTALL_FILES):
        pairs = read_pairs(machine, f"{folder}/{file}")
        if pairs:
            found["arch"] = pairs.get("arch", "")[:20] or None
            found["inner_version"] = pairs.get("innerversion", "")[:64] or None
            found["accepts_inner"] = pairs.get("compatible_version", "")[:400] or None
            break
    script = environment_script(machine, root)
    if script is not None:
        found["set_env"] = script
    found |= kernels(machine, root)
    for library in ("libascendcl.so", "libhccl.so"):
        path = find_library(machine, root.folders, library)
        found[library.removeprefix("lib").removesuffix(".so")] = path is not None
    return found


def kernels(machine: Machine, root: CannRoot) -> dict[str, AttributeValue]:
    """The chips that there are ready-made operators for ("ascend310p ascend910b"); "" where the folder of operators is there
    and holds none, nothing where it is not."""
    for folder in root.folders:
        if machine.is_dir(f"{folder}/opp/{posixpath.dirname(posixpath.dirname(KERNELS))}"):
            chips = [n for n in machine.names(f"{folder}/opp/{KERNELS}") if n.startswith("ascend")]
            return {"kernels": " ".join(chips[:40]), "kernels_at": f"{folder}/opp/{KERNELS}"}
    return {}


def environment_script(machine: Machine, root: CannRoot) -> str | None:
    """The set_env.sh of this installation, by the name that outlives an upgrade where there is one."""
    places = [root.given, *root.folders]
    places += [
        posixpath.dirname(f) for f in root.folders if posixpath.basename(posixpath.dirname(f)) == "ascend-toolkit"
    ]
    return next((p for place in places if machine.is_file(p := place + "/set_env.sh")), None)


def find_library(machine: Machine, folders: tuple[str, ...], name: str) -> str | None:
    """Where a library lies below an installation."""
    paths = (f"{folder}/{part}/{name}" for folder in folders for part in LIBRARY_FOLDERS)
    return next((p for p in paths if machine.is_file(p)), None)
