"""In-memory machines from a description: the same observations that `agent.py` makes, over files that are only described.

`machine.toml` (or the same as a dict):

    extends = "base-nvidia.toml"           # another description beside the folders, whose tables this one adds to
    form = "live"                          # live (default) or rooted; capabilities follow, or say capabilities = [...]
    python = "/opt/venv/bin/python"        # optional: the target (else the active one is found as ever)
    [environment]                          # variables of the shell
    PATH = "/opt/venv/bin:/usr/bin:/bin"
    [system]                               # what uname and confstr say; a usual x86-64 Linux where left out
    release = "6.8.0-60-generic"
    [files]                                # path -> text; {base64 = "…"}; {size = N}; {sample = "vendors/…"} (public captures, outside);
    "/proc/driver/nvidia/version" = "NVRM version: …"          # {error = "Permission denied"}; {type = "fifo"|"char"|"dir", rdev = [195, 0]}
    [links]                                # path -> where it points
    "/usr/local/cuda" = "/usr/local/cuda-13.0"
    [elf]                                  # path -> the dynamic section; the file exists by that; soname, needed, runpath, rpath, interp,
    "/lib/libfoo.so.1" = {soname = "libfoo.so.1", needed = ["libc.so.6"]}       # version_needs = [["libc.so.6", ["GLIBC_2.28"]]], version_defs
    [ldcache]                              # soname -> path, or list of paths, in the order of the cache
    "libcuda.so.1" = "/usr/lib/x86_64-linux-gnu/libcuda.so.1"
    [[distributions]]                      # an installed distribution
    site = "/opt/venv/lib/python3.12/site-packages"
    name = "torch"
    version = "2.11.0"
    requires = ["nvidia-cudnn-cu13==9.19.0.56"]
    files = {"torch/version.py" = "sha256=aaa"}        # RECORD lines: path -> digest
    winner = true                          # for contested files: whether this one's bytes are on disk (the last one said wins)
    [[commands]]
    argv = ["npu-smi", "info"]
    stdout = "…"                           # or sample = "vendors/ascend/…"; rc, stderr, timed_out
    [space]                                # path -> [total bytes, free bytes] of its file system
    "/dev/shm" = [67108864, 67108864]      # a third value says whether it is read-only
    [limits]                               # memlock, nofile … -> [soft, hard]; -1 is unlimited
    memlock = [65536, 65536]
    [opens]                                # device node -> the errno's name, where it does not open
    "/dev/nvidiactl" = "EPERM"
    kernel_log = ["NVRM: Xid …"]           # (before the first table) messages, a second apart; {error = "…"} where unreadable
    running = ["nv-hostengine"]            # (likewise) names of running processes
    other_variables = ["NCCL_TYPO"]        # (likewise) names of set variables that no probe may read
    [children."infra_doctor_probes.children.nvml"]
    data = {…}                             # or error = "…", timed_out = true
"""

import base64
import os
import posixpath
import re
import tomllib
from pathlib import Path
from typing import Any

from infra_doctor.machine.agent import pci_acs_control, pci_port_type
from infra_doctor.machine.machine import Machine
from infra_doctor.machine.types import Capability, MachineForm

SAMPLES = Path(os.environ.get("INFRA_DOCTOR_SAMPLES", Path(__file__).parents[2] / ".." / "shared" / "samples"))
SYSTEM = {
    "sysname": "Linux", "release": "6.8.0-60-generic", "machine": "x86_64", "libc": "glibc 2.39",
    "page_size": 4096, "cpus": 16,
}  # fmt: skip


class MissingSample(Exception):
    """A public capture that this checkout has not beside it."""


def sample_bytes(name: str) -> bytes:
    """A public capture; MissingSample where the samples are not there."""
    path = SAMPLES / name
    if not path.is_file():
        raise MissingSample(str(path))
    return path.read_bytes()


class RecipeSource:
    """Answers agent operations out of a description."""

    def __init__(self, recipe: dict[str, Any]) -> None:
        self.recipe = recipe
        self.files: dict[str, Any] = dict(recipe.get("files", {}))
        self.links: dict[str, str] = dict(recipe.get("links", {}))
        self.elf: dict[str, dict[str, Any]] = dict(recipe.get("elf", {}))
        self.distributions: list[dict[str, Any]] = list(recipe.get("distributions", []))
        for dist in self.distributions:
            folder = self.info_dir(dist)
            self.files.setdefault(folder + "/METADATA", f"Name: {dist['name']}\nVersion: {dist['version']}\n")
            for name in dist.get("files", {}):
                path = posixpath.normpath(posixpath.join(dist["site"], name))
                if path not in self.elf and path not in self.links:
                    self.files.setdefault(path, {"size": 100})
        self.entries: dict[str, dict[str, str]] = {"/": {}}
        for path in (*self.files, *self.elf, *self.links):
            spec = self.files.get(path)
            kind = "link" if path in self.links else "file"
            if isinstance(spec, dict) and "type" in spec and path not in self.links:
                kind = spec["type"]
            self.add(path, kind)

    def add(self, path: str, kind: str) -> None:
        folder, name = posixpath.split(path)
        while True:
            self.entries.setdefault(folder, {})
            self.entries[folder].setdefault(name, kind)
            if kind == "dir":
                self.entries.setdefault(posixpath.join(folder, name), {})
            if folder == "/":
                return
            folder, name = posixpath.split(folder)
            kind = "dir"

    @staticmethod
    def info_dir(dist: dict[str, Any]) -> str:
        return f"{dist['site']}/{dist['name'].replace('-', '_')}-{dist['version']}.dist-info"

    def real(self, path: str, follow: bool = True) -> str | None:
        """The real path, None on a loop."""
        parts = [p for p in reversed(path.split("/")) if p not in ("", ".")]
        done: list[str] = []
        for _ in range(400):
            if not parts:
                return "/" + "/".join(done)
            part = parts.pop()
            if part == "..":
                done = done[:-1]
                continue
            here = "/" + "/".join([*done, part])
            if here in self.links and (parts or follow):
                if self.links[here].startswith("/"):
                    done = []
                parts.extend(p for p in reversed(self.links[here].split("/")) if p not in ("", "."))
            else:
                done.append(part)
        return None

    def kind(self, path: str) -> str | None:
        if path in self.entries:
            return "dir"
        folder, name = posixpath.split(path)
        return self.entries.get(folder, {}).get(name)

    def content(self, path: str) -> bytes:
        spec = self.files.get(path, {"size": 1000} if path in self.elf else "")
        if isinstance(spec, str):
            return spec.encode()
        if "sample" in spec:
            return sample_bytes(spec["sample"])
        if "base64" in spec:
            return base64.b64decode(spec["base64"])
        return b"\0" * spec.get("size", 0)

    def ask(self, name: str, *arguments: Any) -> Any:
        return getattr(self, "op_" + name)(*arguments)

    def op_realpath(self, path: str) -> Any:
        return self.real(path) or {"error": "Too many levels of symbolic links", "code": "ELOOP"}

    def op_stat(self, path: str, follow: bool = True) -> Any:
        real = self.real(path, follow)
        if real is None:
            return {"error": "Too many levels of symbolic links", "code": "ELOOP"}
        kind = self.kind(real)
        if kind is None:
            return None
        spec = self.files.get(real)
        device = spec.get("rdev") if isinstance(spec, dict) else None
        mode = spec.get("mode", 0o755) if isinstance(spec, dict) else 0o755
        size = len(self.content(real)) if kind == "file" else 0
        return [kind, size, mode, 0, "recipe:" + real, device]

    def op_list(self, path: str) -> Any:
        real = self.real(path)
        if real is None or real not in self.entries:
            return None
        spec = self.files.get(real)
        if isinstance(spec, dict) and "error" in spec:
            return {"error": spec["error"], "code": "EACCES"}
        kinds = {"file": "file", "dir": "dir", "link": "link"}
        return sorted([n, kinds.get(k, "other")] for n, k in self.entries[real].items())

    def op_readlink(self, path: str) -> Any:
        return self.links.get(self.real(path, follow=False) or "")

    def op_read(self, path: str, max_bytes: int) -> Any:
        real = self.real(path)
        kind = self.kind(real) if real else None
        if kind is None or real is None:
            return None
        spec = self.files.get(real)
        if isinstance(spec, dict) and "error" in spec:
            return {"error": spec["error"], "code": "EACCES"}
        if kind != "file":
            return {"error": "not a regular file", "code": "FAULT"}
        data = self.content(real)
        result: dict[str, Any] = {"truncated": True} if len(data) > max_bytes else {}
        try:
            result["text"] = data[:max_bytes].decode()
        except UnicodeDecodeError:
            result["base64"] = base64.b64encode(data[:max_bytes]).decode()
        return result

    def op_pci_config(self, path: str) -> Any:
        real = self.real(path)
        if real is None or self.kind(real) != "file":
            return None
        data = self.content(real)[:4096]
        return {"bytes": len(data), "port_type": pci_port_type(data), "acs_control": pci_acs_control(data)}

    def op_elf(self, path: str) -> Any:
        real = self.real(path)
        if real is None or self.kind(real) is None:
            return None
        if real not in self.elf:
            return {"error": "not an ELF file", "code": "ENOEXEC"}
        return {"path": real, "bits": 64, "machine": 62, "type": 3, **self.elf[real]}

    def op_ldcache(self, path: str) -> Any:
        if "ldcache" not in self.recipe:
            return None
        out = []
        for soname, paths in self.recipe["ldcache"].items():
            out += [[soname, p, None] for p in ([paths] if isinstance(paths, str) else paths)]
        return out

    def op_ldso(self, path: str) -> Any:
        return None  # a described ld.so holds no bytes: its default directories follow from where libc is

    def op_distributions(self, site: str) -> Any:
        keep = ("name", "version", "requires", "requires_python", "tags", "installer", "editable", "top_level")
        return sorted(
            (
                {"path": self.info_dir(d), "has_record": True, **{k: d[k] for k in keep if k in d}}
                for d in self.distributions
                if d["site"] == self.real(site) or d["site"] == site
            ),
            key=lambda d: d["path"],
        )

    def op_records(self, sites: list[str]) -> Any:
        claims: dict[str, list[tuple[str, str, bool]]] = {}
        counts, libraries = [], []
        for dist in self.distributions:
            if dist["site"] not in sites:
                continue
            info = self.info_dir(dist)
            counts.append([info, len(dist.get("files", {}))])
            for name, digest in dist.get("files", {}).items():
                path = posixpath.normpath(posixpath.join(dist["site"], name))
                claims.setdefault(path, []).append((info, digest, dist.get("winner", False)))
                if ".so" in posixpath.basename(path):
                    libraries.append([path, info])
        contested = [
            {
                "path": path, "exists": True, "claims": [[i, d] for i, d, _ in found],
                "winners": [i for i, _, wins in found if wins],
            }
            for path, found in sorted(claims.items())
            if len({i for i, _, _ in found}) > 1 and len({d for _, d, _ in found}) > 1
        ]  # fmt: skip
        return {"file_counts": counts, "contested": contested, "libraries": sorted(libraries), "errors": []}

    def op_run(self, argv: list[str], timeout_s: float, max_bytes: int = 0) -> Any:
        for command in self.recipe.get("commands", []):
            if command["argv"] == list(argv):
                stdout = sample_bytes(command["sample"]).decode() if "sample" in command else command.get("stdout", "")
                return {
                    "rc": None if command.get("timed_out") else command.get("rc", 0), "stdout": stdout,
                    "stderr": command.get("stderr", ""), "timed_out": command.get("timed_out", False),
                }  # fmt: skip
        return None

    def op_environ(self, pid: int | None, names: list[str]) -> Any:
        found = (
            self.recipe.get("environment", {}) if pid is None else self.recipe.get("processes", {}).get(str(pid), {})
        )
        return {n: found[n] for n in names if n in found}

    def op_space(self, path: str) -> Any:
        found = self.recipe.get("space", {}).get(path)
        if found is None:
            return None
        return {"total_bytes": found[0], "free_bytes": found[1], "read_only": found[2:] == [True]}

    def op_environ_names(self, pid: int | None, prefixes: list[str]) -> Any:
        found = (
            self.recipe.get("environment", {}) if pid is None else self.recipe.get("processes", {}).get(str(pid), {})
        )
        names = {*found, *self.recipe.get("other_variables", [])}
        return sorted(name for name in names if name.startswith(tuple(prefixes)))

    def op_processes(self, names: list[str]) -> Any:
        running = self.recipe.get("running", [])
        return [[1000 + n, name] for n, name in enumerate(running) if name in names]

    def op_limits(self) -> Any:
        usual = {"memlock": [8 << 20, 8 << 20], "nofile": [1024, 1048576], "stack": [8 << 20, -1]}
        found = {**usual, **self.recipe.get("limits", {})}
        return {name: [None if v == -1 else v for v in pair] for name, pair in found.items()}

    def op_opens(self, path: str, write: bool) -> Any:
        real = self.real(path)
        if real is None or self.kind(real) is None:
            return None
        return self.recipe.get("opens", {}).get(path, "")

    def op_kernel_log(self, patterns: list[str]) -> Any:
        log = self.recipe.get("kernel_log", [])
        if isinstance(log, dict):
            return {"error": log["error"], "code": "EPERM"}
        lines = [[float(n), t] for n, t in enumerate(log) if any(re.search(p, t) for p in patterns)]
        return {"lines": lines, "source": "/dev/kmsg", "truncated": False}

    def op_system(self) -> Any:
        return {**SYSTEM, **self.recipe.get("system", {})}

    def op_child(self, module: str) -> Any:
        return self.recipe.get("children", {}).get(module)


def read_recipe(path: Path) -> dict[str, Any]:
    """A machine.toml with what it extends. A value "absent" takes a file, link or variable of the base away."""
    recipe = tomllib.loads(path.read_text(encoding="utf-8"))
    if "extends" not in recipe:
        return recipe
    name = recipe.pop("extends")
    merged = read_recipe(next(p for p in (path.parent / name, path.parent.parent / name) if p.is_file()))
    for name, value in recipe.items():
        if isinstance(value, dict) and isinstance(merged.get(name), dict):
            both = {**merged[name], **value}
            merged[name] = {k: v for k, v in both.items() if v != "absent"}
        elif isinstance(value, list) and isinstance(merged.get(name), list):
            merged[name] = [*merged[name], *value]
        else:
            merged[name] = value
    return merged


def recipe_machine(recipe: dict[str, Any] | Path, environment_names: tuple[str, ...] = ()) -> Machine:
    """The machine that a description (a dict, or the path of a machine.toml) tells of."""
    if isinstance(recipe, Path):
        recipe = read_recipe(recipe)
    form = MachineForm(recipe.get("form", "live"))
    if "capabilities" in recipe:
        capabilities = {Capability(c) for c in recipe["capabilities"]}
    else:
        capabilities = set(Capability) if form is MachineForm.LIVE else {Capability.FILES}
    source = RecipeSource(recipe)
    names = (*environment_names, *recipe.get("environment", {}))
    return Machine(source, form=form, capabilities=capabilities, environment_names=names)
