"""Takes a snapshot without the doctor: over-collects what its probes may ask, on any Python from 3.7 on.

Packed into a zipapp beside `agent.py`, `redaction.py` and `plan.json` (what the probes declare that they read). A
replay derives what it is asked from the listings, links and ELF facts gathered here. Vendor libraries are not called."""

import argparse
import datetime
import fnmatch
import json
import os
import pkgutil
import posixpath
import sys

READ_BYTES = 256 << 10
ELF_CAP = 4000
ENTRY_CAP = 400000


class Collector:
    """Asks the agent and keeps every answer."""

    def __init__(self, agent, plan):
        self.agent = agent
        self.plan = plan
        self.kept = {}
        self.entries = 0
        self.elf_files = {}

    def ask(self, name, *arguments):
        key = (name, json.dumps(arguments))
        if key not in self.kept:
            self.kept[key] = [name, list(arguments), self.agent.ask(name, *arguments)]
        return self.kept[key][2]

    # -- files ----------------------------------------------------------------------------------------------------

    def folder(self, path):
        """List a folder, and read the links in it."""
        listing = self.ask("list", path)
        if not isinstance(listing, list):
            return []
        self.entries += len(listing)
        for name, kind in listing:
            if kind == "link" and self.entries < ENTRY_CAP:
                self.ask("readlink", posixpath.join(path, name))
        return listing

    def chain(self, path):
        """Record every link on the way to a path, so that a replay resolves it."""
        done = []
        parts = [p for p in reversed(path.split("/")) if p not in ("", ".")]
        for _ in range(200):
            if not parts:
                break
            part = parts.pop()
            if part == "..":
                done = done[:-1]
                continue
            here = "/" + "/".join(done + [part])
            link = self.ask("readlink", here)
            if isinstance(link, str):
                if link.startswith("/"):
                    done = []
                parts.extend(p for p in reversed(link.split("/")) if p not in ("", "."))
            else:
                done.append(part)
        self.ask("stat", path, True)
        self.ask("stat", path, False)
        self.ask("realpath", path)

    def glob(self, pattern):
        found = ["/"]
        for part in pattern.strip("/").split("/"):
            step = []
            for base in found:
                if any(c in part for c in "*?["):
                    names = [n for n, _ in self.folder(base)]
                    step += [posixpath.join(base, n) for n in names if fnmatch.fnmatchcase(n, part)]
                else:
                    path = posixpath.join(base, part)
                    if isinstance(self.ask("stat", path, False), list):
                        step.append(path)
            found = step
        return found

    def expanded(self, pattern):
        """`$NAME/...` with what the variable holds, None where that is no path."""
        name, _, rest = pattern.partition("/")
        if not name.startswith("$"):
            return pattern
        value = self.environment.get(name[1:], "")
        return posixpath.join(value, rest) if value.startswith("/") else None

    def take(self, path):
        """One path that a probe may ask for: a folder is listed, a library's ELF facts read, a file read."""
        self.chain(path)
        found = self.ask("stat", path, True)
        if not isinstance(found, list):
            return
        if found[0] == "dir":
            self.folder(path)
        elif found[0] == "file":
            if ".so" in posixpath.basename(path):
                self.elf(path)
            elif self.is_text(path):
                self.ask("read", path, READ_BYTES)

    def is_text(self, path):
        """Whether the file begins like one; of a program of 30 MB nothing else is read."""
        head = self.agent.ask("read", path, 4096)
        text = head.get("text", "\0") if isinstance(head, dict) else "\0"
        return "\0" not in text and not text.startswith("\x7fELF")

    def elf(self, path):
        """The ELF facts under the real path: a replay comes to it by the links of any other."""
        self.chain(path)
        real = self.ask("realpath", path)
        if isinstance(real, str) and real not in self.elf_files and len(self.elf_files) < ELF_CAP:
            self.chain(real)
            self.elf_files[real] = self.ask("elf", real)

    # -- Python ---------------------------------------------------------------------------------------------------

    def python(self, executable):
        """The environment of an interpreter: what tells its sys.path, and what lies on it."""
        self.chain(executable)
        self.elf(executable)
        real = self.ask("realpath", executable)
        prefixes = []
        for start in (executable, real if isinstance(real, str) else executable):
            folder = posixpath.dirname(start)
            self.folder(folder)
            prefixes += [folder, posixpath.dirname(folder)]
        for prefix in list(prefixes):
            for name in ("pyvenv.cfg", "python._pth"):
                text = self.ask("read", posixpath.join(prefix, name), READ_BYTES)
                if isinstance(text, dict) and "text" in text:
                    for line in text["text"].splitlines():
                        if line.strip().startswith("home") and "=" in line:
                            home = line.split("=", 1)[1].strip()
                            self.chain(posixpath.join(home, "python3"))
                            self.folder(home)
                            prefixes.append(posixpath.dirname(home))
        environ = self.ask("environ", None, self.plan["environment"])
        user = environ.get("PYTHONUSERBASE") or posixpath.join(environ.get("HOME", ""), ".local")
        for prefix in dict.fromkeys(prefixes + [user, "/usr", "/usr/local"]):
            self.prefix(prefix)
        for path in environ.get("PYTHONPATH", "").split(":"):
            if path.startswith("/"):
                self.site(posixpath.normpath(path), own=False)

    def prefix(self, prefix):
        if not prefix.startswith("/"):
            return
        self.folder(prefix)
        for pattern in self.plan.get("prefix", ()):
            for path in self.glob(posixpath.join(prefix, pattern)):
                self.take(path)
        for path in self.glob(prefix + "/conda-meta"):
            self.folder(path)
        for library in ("lib", "lib64"):
            for name, _ in self.folder(posixpath.join(prefix, library)):
                if name.startswith("python"):
                    home = posixpath.join(prefix, library, name)
                    self.folder(home)
                    for path in (home + "/os.py", home + "/lib-dynload"):
                        self.ask("stat", path, True)
                    for path in (home + "/site.py", home + "/sitecustomize.py"):
                        self.take(path)
                    self.take(posixpath.join(prefix, "include", name, "patchlevel.h"))
                    for site in ("site-packages", "dist-packages"):
                        self.site(posixpath.join(home, site))

    def site(self, path, own=True):
        """One directory that holds distributions; where it is a site directory of its own, what its .pth files name."""
        self.chain(path)
        if not isinstance(self.ask("list", path), list) or ("records", json.dumps([[path]])) in self.kept:
            return
        self.ask("distributions", path)
        self.ask("records", [path])
        for name, _ in self.folder(path):
            if name.endswith((".pth", ".egg-link")) or (name.startswith("__editable__") and name.endswith(".py")):
                text = self.ask("read", posixpath.join(path, name), READ_BYTES)
                for line in text.get("text", "").splitlines() if own and name.endswith(".pth") and text else ():
                    if line.strip() and not line.startswith(("#", "import ", "import\t")):
                        self.site(posixpath.normpath(posixpath.join(path, line.rstrip())), own=False)
        for pattern in self.plan["site"]:
            for found in self.glob(posixpath.join(path, pattern)):
                self.take(found)

    # -- the closure of libraries ---------------------------------------------------------------------------------

    def closure(self):
        """ELF facts of every copy of every library that a gathered one may load."""
        cache = self.ask("ldcache", "/etc/ld.so.cache")
        by_name = {}
        for soname, path, _ in cache if isinstance(cache, list) else []:
            by_name.setdefault(soname, []).append(path)
        folders = [d for d in self.environment.get("LD_LIBRARY_PATH", "").split(":") if d.startswith("/")]
        folders += ["/lib64", "/usr/lib64", "/lib", "/usr/lib"]
        folders += [d % m for d in ("/lib/%s", "/usr/lib/%s") for m in self.glob_names("/usr/lib/*-linux-gnu")]
        for folder in folders:
            self.chain(folder)
            self.folder(folder)
        self.ask("read", "/etc/ld.so.preload", READ_BYTES)
        self.ask("read", "/proc/cpuinfo", READ_BYTES)
        asked = set()
        while True:
            for path, found in list(self.elf_files.items()):
                self.search_places(path, found)
            wanted = {n for e in self.elf_files.values() if isinstance(e, dict) for n in e.get("needed", ())} - asked
            if not wanted or len(self.elf_files) >= ELF_CAP:
                return
            asked |= wanted
            for name in wanted:
                listed = [k for k in self.kept if k[0] == "list"]
                places = [json.loads(k[1])[0] for k in listed if self.holds(k, name)]
                for path in by_name.get(name, []) + [posixpath.join(p, name) for p in places]:
                    self.elf(path)

    def search_places(self, path, found):
        """What the loader asks of an ELF file: its ld.so, and the folders of its RPATH or RUNPATH."""
        if not isinstance(found, dict) or "error" in found:
            return
        if found["interp"]:
            self.ask("ldso", found["interp"])
            self.elf(found["interp"])
        for entry in (found["runpath"] or found["rpath"] or "").split(":"):
            for token in ("$ORIGIN", "${ORIGIN}"):
                entry = entry.replace(token, posixpath.dirname(found["path"]))
            if entry.startswith("/") and ("list", json.dumps([entry])) not in self.kept:
                self.chain(entry)
                self.folder(entry)

    def glob_names(self, pattern):
        return [posixpath.basename(p) for p in self.glob(pattern)]

    def holds(self, key, name):
        listing = self.kept[key][2]
        return isinstance(listing, list) and any(entry[0] == name for entry in listing)

    def pci_bridges(self):
        """The configuration of each bridge above a device; bridges are the folders above it in /sys/devices."""
        for name, _ in self.folder("/sys/bus/pci/devices"):
            real = self.ask("realpath", "/sys/bus/pci/devices/" + name)
            folder = posixpath.dirname(real) if isinstance(real, str) else ""
            while posixpath.basename(folder).count(":") == 2:
                self.ask("pci_config", folder + "/config")
                folder = posixpath.dirname(folder)

    def run(self, pythons):
        """Everything, in order."""
        self.environment = self.ask("environ", None, self.plan["environment"])
        self.ask("system")
        for pattern in self.plan["paths"]:
            for path in self.glob(self.expanded(pattern)) if self.expanded(pattern) else ():
                self.take(path)
        for name in self.plan.get("programs", ()):
            for folder in self.environment.get("PATH", "").split(":"):
                if folder.startswith("/"):
                    self.take(posixpath.join(folder, name))
        for name in self.environment.get("LD_PRELOAD", "").replace(":", " ").split():
            if name.startswith("/"):
                self.elf(name)
        for executable in pythons:
            self.python(executable)
        self.closure()
        for path in self.plan.get("spaces", ()):
            self.ask("space", path)
        for pattern in self.plan.get("nodes", ()):
            for path in self.glob(pattern):
                self.ask("opens", path, False)
        if self.plan.get("limits"):
            self.ask("limits")
        if self.plan.get("pci_bridges"):
            self.pci_bridges()
        for patterns in self.plan.get("kernel_logs", ()):
            self.ask("kernel_log", patterns)
        for prefixes in self.plan.get("environ_names", ()):
            self.ask("environ_names", None, prefixes)
        for names in self.plan.get("processes", ()):
            self.ask("processes", names)
        hung = set()  # a tool that did not end once will not end the next time either
        for argv in self.plan["commands"]:
            if argv[0] not in hung and (self.ask("run", argv, 10) or {}).get("timed_out"):
                hung.add(argv[0])


def candidates(environment):
    """The interpreters that the doctor may judge: the active one first."""
    active = [environment.get(variable) for variable in ("VIRTUAL_ENV", "CONDA_PREFIX")]
    names = [posixpath.join(prefix, "bin", "python") for prefix in active if prefix]
    for folder in environment.get("PATH", "/usr/local/bin:/usr/bin:/bin").split(":"):
        names += [posixpath.join(folder, n) for n in ("python3", "python")]
    return [n for n in dict.fromkeys(names + [sys.executable or ""]) if n and os.path.isfile(n)]


def main(agent, redaction, plan, argv=None):
    """Write a snapshot; 0, or 2 with the reason where that cannot be done."""
    parser = argparse.ArgumentParser(description="Write a redacted snapshot of this machine for infra-doctor.")
    parser.add_argument("file", metavar="FILE", help="where to write it (`-`: standard output)")
    parser.add_argument("--python", metavar="PATH", help="the Python environment to judge (else the active one)")
    args = parser.parse_args(argv)
    utc = datetime.timezone.utc
    try:
        epoch = os.environ.get("SOURCE_DATE_EPOCH")
        moment = datetime.datetime.fromtimestamp(int(epoch), utc) if epoch else datetime.datetime.now(utc)
    except (ValueError, OverflowError, OSError):
        parser.error("SOURCE_DATE_EPOCH is no time")
    collector = Collector(agent, plan)
    environment = agent.ask("environ", None, plan["environment"])
    collector.run([args.python] if args.python else candidates(environment))
    redactor = redaction.Redactor(key=redaction.machine_key(), home=environment.get("HOME"))
    document = {
        "kind": "snapshot",
        "schema_version": plan["schema_version"],
        "tool": {"name": "infra-doctor collector", "version": plan["version"]},
        "created": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "machine": {
            "name": "node-" + redactor.hashed(os.uname().nodename),
            "form": "live",
            "capabilities": ["commands", "environment", "files", "kernel state", "processes"],
        },
        "request": {"python": redactor.text(args.python) if args.python else None, "pid": None, "all_pythons": False},
        "observations": redactor.observations(collector.kept.values()),
    }
    # In a string `#` may stand as its number: no `##vso[...]` for a CI system into whose log this is printed.
    text = json.dumps(document, indent=0, sort_keys=True).replace("##", "#\\u0023") + "\n"
    try:
        if args.file == "-":
            sys.stdout.write(text)
            sys.stdout.flush()
        else:
            write(args.file, text)
    except OSError as error:
        sys.stderr.write("collector: %s: %s\n" % (args.file, error.strerror))
        return 2
    sys.stderr.write("wrote %s (%d observations)\n" % (args.file, len(collector.kept)))
    return 0


def write(path, text):
    """The whole file or nothing; what is no regular file (a pipe, a device) is written to, not replaced."""
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return
    temporary = "%s.%d.part" % (path, os.getpid())
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def packed_plan(package):
    """The plan that was packed beside us."""
    return json.loads((pkgutil.get_data(package, "plan.json") or b"").decode("utf-8"))
