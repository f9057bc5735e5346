"""What is done on the machine itself: batched stat, list, read, readlink, ELF, records, commands. One file, standard
library only, Python 3.7 syntax, so that it also runs through SSH, in a container, or packed as a zipapp.

Every operation is `(name, *arguments)` with plain JSON arguments and gives a plain JSON result:
None where the thing is not there, {"error": reason, "code": short code} where it is there and cannot be looked at.
Nothing raises; nothing writes; every read is bounded; only regular files are opened."""

import errno
import os
import posixpath
import signal
import stat as stat_module
import struct
import sys
import threading
from typing import Set

READ_CAP_BYTES = 64 << 20
LIST_CAP = 200000
LINK_CAP = 40

ELF_BLOCK_BYTES = 4096
ELF_HEADERS_CAP_BYTES = 65536  # Linux itself refuses more program headers (fs/binfmt_elf.c, load_elf_phdrs)
ELF_DYNAMIC_CAP_BYTES = 1 << 18
ELF_TEXT_CAP_BYTES = 1 << 20
ELF_VERSIONS_CAP = 20000
PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NEEDED, DT_STRTAB, DT_STRSZ, DT_SONAME, DT_RPATH, DT_RUNPATH = 1, 5, 10, 14, 15, 29
DT_VERDEF, DT_VERDEFNUM, DT_VERNEED, DT_VERNEEDNUM = 0x6FFFFFFC, 0x6FFFFFFD, 0x6FFFFFFE, 0x6FFFFFFF
VER_FLG_WEAK = 2

LDSO_CAP_BYTES = 4 << 20
LDSO_TRIES = 500
LDCACHE_CAP_BYTES = 16 << 20
LDCACHE_NAME_CAP_BYTES = 4096
LDCACHE_EXTENSION_MAGIC = 0xEAA42174
# The second byte of an entry's flags, of 32-bit architectures: i386 and the like 0, MIPS n32 and o32, x32, ARM.
CACHE_ARCHITECTURES_32 = (0x00, 0x06, 0x08, 0x09, 0x0B, 0x0C, 0x0D)

DISTRIBUTION_ENDINGS = (".dist-info", ".egg-info", ".egg-link")
METADATA_CAP_BYTES = 256 << 10
RECORD_BLOCK_BYTES = 1 << 20
RECORD_LINE_CAP_BYTES = 1 << 16
RECORD_ENTRIES_CAP = 1000000
CONTESTED_CAP = 20000
HASH_FILE_CAP_BYTES = 512 << 20  # libnccl and libcublasLt have 200 to 500 MB
HASH_TOTAL_CAP_BYTES = 1 << 30
HASH_ALGORITHMS = ("sha256", "sha384", "sha512")

PCI_CONFIG_BYTES = 4096
# PCI Express Base Specification: capability 0x10 is PCI Express, with the type of port in bits 7:4 of its flags; extended
# capability 0x000D is ACS, its control register lies 6 bytes behind the header.
PCI_EXPRESS_CAPABILITY, ACS_CAPABILITY = 0x10, 0x000D

NAMES_CAP = 1000
NAME_CAP = 200
KERNEL_LOG_RECORDS_CAP = 500000
KERNEL_LOG_LINES_CAP = 2000
KERNEL_LOG_LINE_CAP = 1000
# Where another machine's /proc is mounted (as with /host), these are still the process that looks: ours.
OWN_PROCESS = ("/proc/self", "/proc/thread-self")
ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENXIO, errno.ENODEV, errno.ESRCH)


# Commands and child processes under way, each the leader of its own group: what `end_commands` ends when we leave.
UNDER_WAY: Set[int] = set()
START_WAIT_S = 0.5  # how long `end_commands` waits for a process that another thread is just starting
_DOOR = threading.Condition()
_starting = 0
_closed = False


def start(argv, **fields):
    """A `subprocess.Popen` in a session of its own that `end_commands` knows from its first moment; the caller takes it out
    of UNDER_WAY again. Raises OSError, also when we are about to leave."""
    import subprocess

    global _starting
    with _DOOR:
        if _closed:
            raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))
        _starting += 1
    try:
        process = subprocess.Popen(argv, start_new_session=True, **fields)
        UNDER_WAY.add(process.pid)
        return process
    finally:
        with _DOOR:
            _starting -= 1
            _DOOR.notify_all()


def end_commands():
    """End what still runs, and let nothing more be started: its deadline would pass with nobody left to keep it."""
    global _closed
    with _DOOR:
        _closed = True
        _DOOR.wait_for(lambda: not _starting, START_WAIT_S)
    for pid in list(UNDER_WAY):
        try:
            os.killpg(pid, signal.SIGKILL)
        except OSError:
            pass


def failure(error):
    """The error value of an OSError (or any exception)."""
    if isinstance(error, OSError) and error.errno is not None:
        return {"error": os.strerror(error.errno), "code": errno.errorcode.get(error.errno, "EIO")}
    if isinstance(error, ValueError) and str(error):
        return {"error": str(error), "code": "EINVAL"}
    return {"error": "%s: %s" % (type(error).__name__, error), "code": "FAULT"}


class Agent:
    """The operations over one root ("/" or a folder that holds another machine's files)."""

    def __init__(self, root="/"):
        self.root = os.path.abspath(root)
        self.operations = {name[3:]: getattr(self, name) for name in dir(self) if name.startswith("op_")}

    def ask(self, name, *arguments):
        """The result of one operation; an unknown one or a fault of ours is an error value."""
        operation = self.operations.get(name)
        if operation is None:
            return {"error": "unknown operation %s" % name, "code": "EOPNOTSUPP"}
        try:
            return operation(*arguments)
        except OSError as error:
            return None if error.errno in ABSENT else failure(error)
        except (ValueError, TypeError, MemoryError, RecursionError, OverflowError) as error:
            return failure(error)

    # -- paths ----------------------------------------------------------------------------------------------------

    def locate(self, path, follow=True):
        """The path on this system for a path of the machine. Under another root each link is followed inside that root."""
        if self.root == "/":
            return path
        return self.root + self.resolve(path, follow)

    def resolve(self, path, follow=True):
        """The machine's real path of `path`: links resolved inside the root, ELOOP after 40 of them.
        What does not exist stays as it is written."""
        parts = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        done = []
        links = 0
        while parts:
            part = parts.pop()
            if part == "..":
                if done:
                    done.pop()
                continue
            here = "/" + "/".join(done + [part])
            if not parts and not follow:
                return here
            prefix = "" if self.root == "/" else self.root
            if prefix and here in OWN_PROCESS:
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            try:
                link = os.readlink(prefix + here)
            except OSError:
                done.append(part)
                continue
            links += 1
            if links > LINK_CAP:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            if link.startswith("/"):
                done = []
            parts.extend(p for p in reversed(link.split("/")) if p not in ("", "."))
        return "/" + "/".join(done)

    def op_realpath(self, path):
        """The real path, whether or not its last part exists."""
        return self.resolve(path)

    def op_stat(self, path, follow=True):
        """[type, size, mode, uid, "device:inode", [major, minor] or None]."""
        found = os.stat(self.locate(path, follow), follow_symlinks=follow)
        mode = found.st_mode
        kinds = (
            (stat_module.S_ISREG, "file"),
            (stat_module.S_ISDIR, "dir"),
            (stat_module.S_ISLNK, "link"),
            (stat_module.S_ISCHR, "char"),
            (stat_module.S_ISBLK, "block"),
            (stat_module.S_ISFIFO, "fifo"),
        )
        kind = next((name for test, name in kinds if test(mode)), "socket")
        device = None
        if kind in ("char", "block"):
            device = [os.major(found.st_rdev), os.minor(found.st_rdev)]
        file_id = "%d:%d" % (found.st_dev, found.st_ino)
        return [kind, found.st_size, stat_module.S_IMODE(mode), found.st_uid, file_id, device]

    def op_list(self, path):
        """Sorted [name, type] of a folder's entries; type "link" is not followed, "other" is what is no file, folder, link."""
        entries = []
        with os.scandir(self.locate(path)) as scan:
            for entry in scan:
                if len(entries) >= LIST_CAP:
                    raise ValueError("more than %d entries" % LIST_CAP)
                try:
                    if entry.is_symlink():
                        kind = "link"
                    elif entry.is_dir(follow_symlinks=False):
                        kind = "dir"
                    elif entry.is_file(follow_symlinks=False):
                        kind = "file"
                    else:
                        kind = "other"
                except OSError:
                    kind = "other"
                entries.append([entry.name, kind])
        return sorted(entries)

    def op_readlink(self, path):
        return os.readlink(self.locate(path, follow=False))

    def open_regular(self, path):
        """A file object on a regular file, opened so that a FIFO or a device cannot hang us."""
        handle = os.open(self.locate(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        if not stat_module.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise ValueError("not a regular file")
        return os.fdopen(handle, "rb")

    def op_read(self, path, max_bytes):
        """{"text"} where the bytes are UTF-8, else {"base64"}; "truncated" where the file is longer than `max_bytes`."""
        limit = min(int(max_bytes), READ_CAP_BYTES)
        with self.open_regular(path) as file:
            data = file.read(limit + 1)
        truncated = len(data) > limit
        data = data[:limit]
        result = {}
        if truncated:
            result["truncated"] = True
        try:
            result["text"] = data.decode("utf-8")
        except UnicodeDecodeError as error:
            if truncated and error.start >= len(data) - 4:
                result["text"] = data[: error.start].decode("utf-8")
            else:
                import base64

                result["base64"] = base64.b64encode(data).decode("ascii")
        return result

    def op_pci_config(self, path):
        """{"bytes": how many could be read, "port_type", "acs_control"} of a PCI function's configuration space; an item is
        null where it is not in it. All but root read no more than 64 bytes. Serial numbers stay where they are."""
        with self.open_regular(path) as file:
            data = file.read(PCI_CONFIG_BYTES)
        return {"bytes": len(data), "port_type": pci_port_type(data), "acs_control": pci_acs_control(data)}

    # -- ELF and the linker's cache -------------------------------------------------------------------------------

    def op_elf(self, path):
        """The dynamic section of an ELF file as the loader reads it, without section headers: {"path" (real), "bits",
        "machine", "type", "interp", "soname", "needed", "rpath", "runpath", "version_needs", "version_defs"}."""
        real_path = self.resolve(path)
        try:
            with self.open_regular(path) as file:
                found = ElfFile(file.fileno()).facts()
        except (ValueError, struct.error) as error:
            return {"error": str(error), "code": "ENOEXEC"}
        found["path"] = real_path
        return found

    def op_ldcache(self, path):
        """[[soname, path, glibc-hwcaps name or None], ...] of glibc's ld.so.cache, in its order."""
        try:
            with self.open_regular(path) as file:
                data = file.read(LDCACHE_CAP_BYTES + 1)
            return linker_cache_entries(data)
        except (ValueError, struct.error) as error:
            return {"error": "ld.so.cache: %s" % error, "code": "EBADMSG"}

    def op_ldso(self, path):
        """What is compiled into glibc's ld.so: {"version": "2.36", "directories": [...], "cache": path}; an item that
        is not found in it is None."""
        import re

        with self.open_regular(path) as file:
            data = file.read(LDSO_CAP_BYTES)
        version = re.search(rb"stable release version (2\.[0-9]{1,3})", data)
        cache_end = data.find(b"/ld.so.cache\0")
        cache = data[data.rfind(b"\0", 0, max(cache_end, 0)) + 1 :][:300].split(b"\0")[0] if cache_end > 0 else b""
        # elf/dl-load.c keeps the default directories as one run of NUL-ended strings, each with a slash at its end.
        run = re.compile(rb"(?:/(?:[!-.0-~]{1,200}/){1,20}\0){1,16}")
        directories = b""
        at = -1
        for _ in range(LDSO_TRIES):
            at = data.find(b"/lib", at + 1)
            if at < 0 or directories:
                break
            # From before it, as a prefix (/usr, /nix/store/...) may stand there.
            runs = [found.group() for found in run.finditer(data, max(0, at - 300), at + 3000)]
            directories = next((found for found in runs if b"/lib" in found), b"")
        return {
            "version": version.group(1).decode("ascii") if version else None,
            "directories": [d.rstrip("/") for d in directories.decode("ascii").split("\0")[:-1]] or None,
            "cache": cache.decode("ascii", "replace") or None,
        }

    # -- Python distributions -------------------------------------------------------------------------------------

    def op_distributions(self, site_dir):
        """What the .dist-info, .egg-info and .egg-link entries of a directory (EGG-INFO of an .egg) say, by path:
        {"name", "version", "path", "requires", "requires_python", "tags", "installer", "editable", "top_level",
        "has_record"}, or {"path", "error"}. No URL of direct_url.json is ever returned: it may hold credentials."""
        with os.scandir(self.locate(site_dir)) as scan:
            names = [entry.name for entry in scan]
        marks = {name for name in names if name.startswith("__editable__")}
        found = []
        for name in sorted(names):
            # pip renames what it is about to remove to "~…", and takes no notice of what stayed behind.
            if name.startswith("~") or not (name.endswith(DISTRIBUTION_ENDINGS) or name == "EGG-INFO"):
                continue
            path = posixpath.join(site_dir, name)
            try:
                one = self.linked_egg(path) if name.endswith(".egg-link") else self.distribution(path, marks)
                found.append(one)
            except OSError as error:
                found.append({"path": path, "error": "%s: %s" % (name, os.strerror(error.errno or errno.EIO))})
            except ValueError as error:
                found.append({"path": path, "error": "%s: %s" % (name, error)})
        return found

    def distribution(self, path, marks):
        """One .dist-info or .egg-info, a folder or (egg-info) a file. ValueError where it cannot be understood."""
        wheel = path.endswith(".dist-info")
        head = None
        for name in ("METADATA",) if wheel else ("PKG-INFO", ""):
            head = self.small_file(posixpath.join(path, name).rstrip("/"))
            if head is not None:
                break
        if head is None:
            raise ValueError("no %s" % ("METADATA" if wheel else "PKG-INFO"))
        headers = metadata_headers(head)
        if not headers["name"] or not headers["version"]:
            raise ValueError("no %s in its metadata" % ("Version" if headers["name"] else "Name"))
        found = {
            "name": headers["name"][0],
            "version": headers["version"][0],
            "path": path,
            "requires": headers["requires-dist"] if wheel else self.egg_requires(path) or headers["requires-dist"],
            "requires_python": (headers["requires-python"] or [None])[0],
            "tags": [],
            "installer": None,
            "editable": False,
            "top_level": self.lines(posixpath.join(path, "top_level.txt")),
            "has_record": False,
        }
        if wheel:
            tags = self.lines(posixpath.join(path, "WHEEL"))
            found["tags"] = [line[4:].strip() for line in tags if line.startswith("Tag:")]
            found["installer"] = (self.lines(posixpath.join(path, "INSTALLER")) or [None])[0]
            found["editable"] = self.is_editable(path, marks)
            found["has_record"] = os.path.exists(self.locate(posixpath.join(path, "RECORD")))
        return found

    def linked_egg(self, path):
        """The .egg-info that an .egg-link (`setup.py develop`) leads to."""
        lines = self.lines(path)
        folder = posixpath.join(posixpath.dirname(path), lines[0]) if lines else ""
        stem = posixpath.basename(path)[: -len(".egg-link")].replace("-", "_").lower()
        for name in sorted(os.listdir(self.locate(folder)) if folder else ()):
            if name.endswith(".egg-info") and name[: -len(".egg-info")].split("-")[0].lower() == stem:
                return dict(self.distribution(posixpath.join(folder, name), ()), editable=True)
        raise ValueError("its .egg-info is not there")

    def is_editable(self, path, marks):
        """PEP 610's direct_url.json; before it was written, the markers that setuptools leaves."""
        try:
            data = self.small_file(posixpath.join(path, "direct_url.json"))
        except (OSError, ValueError):
            data = None
        if data is None:
            stem = posixpath.basename(path)[: -len(".dist-info")]
            return "__editable__.%s.pth" % stem in marks
        if b"editable" not in data:
            return False
        import json

        try:
            document = json.loads(data.decode("utf-8"))
            return document["dir_info"]["editable"] is True
        except (ValueError, KeyError, TypeError, RecursionError):
            return False

    def egg_requires(self, path):
        """requires.txt of an .egg-info as Requires-Dist lines: `[extra:marker]` heads become markers."""
        found = []
        marker = ""
        for line in self.lines(posixpath.join(path, "requires.txt")):
            if line.startswith("[") and line.endswith("]"):
                extra, _, condition = line[1:-1].partition(":")
                parts = ["(%s)" % condition if extra else condition] if condition else []
                marker = " and ".join(parts + (['extra == "%s"' % extra] if extra else []))
            else:
                found.append("%s; %s" % (line, marker) if marker else line)
        return found

    def small_file(self, path):
        """At most METADATA_CAP_BYTES of a regular file, None where there is none."""
        try:
            with self.open_regular(path) as file:
                return file.read(METADATA_CAP_BYTES)
        except OSError as error:
            if error.errno in ABSENT or error.errno == errno.EISDIR:
                return None
            raise

    def lines(self, path):
        """The lines of a small text file without blanks; none where it is not there or cannot be read."""
        try:
            data = self.small_file(path) or b""
        except (OSError, ValueError):
            return []
        return [line.strip() for line in data.decode("utf-8", "replace").splitlines() if line.strip()]

    def op_records(self, site_dirs):
        """One streaming pass over the RECORD files of these directories: {"file_counts": [[dist-info, count], ...],
        "overlaps": [[[dist-info, ...], files that all of them list, those with different digests], ...], "contested":
        [{"path", "claims": [[dist-info, digest], ...], "exists", "winners"}], "libraries": [[path, dist-info], ...],
        "errors": [[RECORD, reason], ...], "truncated"}. Only contested files are stat-ed and hashed."""
        scan = RecordScan(self)
        for site_dir in site_dirs:
            try:
                scan.read_site(site_dir)
            except OSError as error:
                if error.errno not in ABSENT:
                    scan.errors.append([site_dir, os.strerror(error.errno or errno.EIO)])
        return scan.result()

    # -- processes and the system ---------------------------------------------------------------------------------

    def op_environ(self, pid, names):
        """The allowed variables of this process (pid None) or of another. `names` is the allow-list."""
        if pid is None:
            return {name: os.environ[name] for name in names if name in os.environ}
        with open(self.locate("/proc/%d/environ" % pid), "rb") as file:
            raw = file.read(1 << 20)
        found = {}
        for item in raw.split(b"\0"):
            name, _, value = item.partition(b"=")
            found[name.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
        return {name: found[name] for name in names if name in found}

    def op_environ_names(self, pid, prefixes):
        """The names, never the values, of the variables that begin so, sorted; of this process or of another."""
        if pid is None:
            names = list(os.environ)
        else:
            with open(self.locate("/proc/%d/environ" % pid), "rb") as file:
                raw = file.read(1 << 20)
            names = [item.partition(b"=")[0].decode("utf-8", "replace") for item in raw.split(b"\0")]
        found = {name[:NAME_CAP] for name in names if name.startswith(tuple(prefixes))}
        return sorted(found)[:NAMES_CAP]

    def op_processes(self, names):
        """[[pid, name], ...] of the running processes that are called so. A name in /proc is cut after 15 characters."""
        wanted = {name[:15]: name for name in names}
        found = []
        for entry in os.listdir(self.locate("/proc")):
            if not entry.isdigit():
                continue
            try:
                with self.open_regular("/proc/%s/comm" % entry) as file:
                    name = file.read(64).decode("utf-8", "replace").strip()
            except (OSError, ValueError):
                continue  # it ended meanwhile
            if name in wanted:
                found.append([int(entry), wanted[name]])
        return sorted(found)

    def op_system(self):
        """{"sysname", "release", "machine", "libc", "page_size", "cpus", "executable"} of the running kernel, this
        process's libc, and the Python that runs it. Under another root only what the /proc there says."""
        if self.root != "/":
            return self.system_by_files()
        names = os.uname()
        try:
            libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
        except (ValueError, OSError, AttributeError):
            libc = ""
        return {
            "sysname": names.sysname,
            "release": names.release,
            "machine": names.machine,
            "libc": libc,
            "page_size": os.sysconf("SC_PAGE_SIZE"),
            "cpus": os.cpu_count() or 0,
            "executable": sys.executable,
        }

    def system_by_files(self):
        def text(name):
            found = self.ask("read", "/proc/" + name, READ_CAP_BYTES)
            return found.get("text", "") if found else ""

        return {
            "sysname": text("sys/kernel/ostype").strip() or None,
            "release": text("sys/kernel/osrelease").strip() or None,
            "machine": text("sys/kernel/arch").strip() or None,  # since Linux 6.1
            "libc": "",
            "page_size": None,
            "cpus": text("cpuinfo").count("processor\t:") or None,
            "executable": None,
        }

    def op_space(self, path):
        """statvfs of the file system that holds a path: {"total_bytes", "free_bytes" (free to users other than root),
        "read_only"}. Our own mounts, so nothing under another root."""
        if self.root != "/":
            raise ValueError("mounts are this system's own")
        found = os.statvfs(path)
        return {
            "total_bytes": found.f_blocks * found.f_frsize,
            "free_bytes": found.f_bavail * found.f_frsize,
            "read_only": bool(found.f_flag & os.ST_RDONLY),
        }

    def op_limits(self):
        """{name: [soft, hard]} of this process's resource limits; null is unlimited."""
        import resource

        if self.root != "/":
            raise ValueError("limits are this process's own")
        names = ("MEMLOCK", "NOFILE", "NPROC", "STACK", "AS", "CORE")
        found = {name.lower(): resource.getrlimit(getattr(resource, "RLIMIT_" + name)) for name in names}
        return {name: [None if v == resource.RLIM_INFINITY else v for v in pair] for name, pair in found.items()}

    def op_opens(self, path, write):
        """Whether a device node opens for this user: "" if so, else the errno's name ("EACCES", "EPERM", "ENXIO"). Only
        character devices are opened; nothing is read or written."""
        if self.root != "/":
            raise ValueError("device nodes are opened on the machine itself only")
        if not stat_module.S_ISCHR(os.stat(path).st_mode):
            raise ValueError("no character device")
        flags = (os.O_RDWR if write else os.O_RDONLY) | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
        try:
            os.close(os.open(path, flags))
        except OSError as error:
            return errno.errorcode.get(error.errno or errno.EIO, "EIO")
        return ""

    def op_kernel_log(self, patterns):
        """{"lines": [[seconds since boot, text], ...], "source", "truncated"}: the messages of the running kernel's ring
        buffer that match one of the regular expressions, oldest first. The others are nobody's business here."""
        if self.root != "/":
            raise ValueError("the running kernel's log is this system's own")
        import re

        wanted = re.compile("|".join("(?:%s)" % pattern for pattern in patterns))
        found = []
        handle = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            for _ in range(KERNEL_LOG_RECORDS_CAP):
                try:
                    record = os.read(handle, 8192)
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno == errno.EPIPE:  # overwritten while we read: the next read goes on after it
                        continue
                    raise
                if not record:
                    break
                head, _, rest = record.partition(b";")
                text = rest.split(b"\n", 1)[0].decode("utf-8", "replace")
                if wanted.search(text):
                    fields = head.split(b",")
                    seconds = int(fields[2]) / 1e6 if len(fields) > 2 and fields[2].isdigit() else 0.0
                    found.append([seconds, text[:KERNEL_LOG_LINE_CAP]])
        finally:
            os.close(handle)
        return {
            "lines": found[-KERNEL_LOG_LINES_CAP:],
            "source": "/dev/kmsg",
            "truncated": len(found) > KERNEL_LOG_LINES_CAP,
        }

    def op_run(self, argv, timeout_s, max_bytes=1 << 20):
        """Run a command in a session of its own; at the deadline its whole group is ended.
        {"rc", "stdout", "stderr", "timed_out"}; "rc" is None where it did not end by itself."""
        import subprocess

        environment = dict(os.environ, LC_ALL="C", LANG="C")
        process = start(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
        captured = [b"", b""]

        def drain(index, stream):
            kept = []
            room = max_bytes
            with stream:
                for block in iter(lambda: stream.read1(65536), b""):
                    if room > 0:
                        kept.append(block[:room])
                        captured[index] = b"".join(kept)
                    room -= len(block)

        threads = [
            threading.Thread(target=drain, args=(i, s), daemon=True)
            for i, s in enumerate((process.stdout, process.stderr))
        ]
        for thread in threads:
            thread.start()
        timed_out = False
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            timed_out = True
            try:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(0.5)
            except (OSError, subprocess.TimeoutExpired):
                pass
        UNDER_WAY.discard(process.pid)
        for thread in threads:
            # A grandchild may hold the pipe, and a process in D state never ends: neither is waited for.
            thread.join(0.5)
        return {
            "rc": None if timed_out else process.returncode,
            "stdout": captured[0].decode("utf-8", "replace"),
            "stderr": captured[1].decode("utf-8", "replace"),
            "timed_out": timed_out,
        }


class ElfFile:
    """What the loader reads of one ELF file, by program headers only (System V gABI; version records: LSB core,
    "Symbol Versioning"). Reads whole blocks of 4 KiB, each once: a library of 2 GB costs about ten of them."""

    def __init__(self, handle):
        self.handle = handle
        self.size_bytes = os.fstat(handle).st_size
        self.blocks = {}
        self.text_bytes = self.version_records = 0
        if self.size_bytes < 16:
            raise ValueError("no ELF file: %d bytes" % self.size_bytes)
        ident = self.at(0, 16)
        if ident[:4] != b"\x7fELF":
            raise ValueError("no ELF file: it begins with %r" % ident[:4])
        if ident[4] not in (1, 2) or ident[5] not in (1, 2):
            raise ValueError("ELF class %d, data encoding %d: not known" % (ident[4], ident[5]))
        self.wide = ident[4] == 2
        self.order = "<" if ident[5] == 1 else ">"
        self.loads = []
        self.dynamic = self.interp = None
        self.read_headers()

    def at(self, offset, length):
        """`length` bytes at `offset`; ValueError where the file ends before."""
        if offset + length > self.size_bytes:
            raise ValueError("truncated: byte %d of %d" % (offset + length, self.size_bytes))
        number, start = divmod(offset, ELF_BLOCK_BYTES)
        if start + length > ELF_BLOCK_BYTES:
            data = os.pread(self.handle, length, offset)
        else:
            block = self.blocks.get(number)
            if block is None:
                block = self.blocks[number] = os.pread(self.handle, ELF_BLOCK_BYTES, number * ELF_BLOCK_BYTES)
            data = block[start : start + length]
        if len(data) != length:
            raise ValueError("truncated while it was read")
        return data

    def unpack(self, form, offset):
        form = self.order + form
        return struct.unpack(form, self.at(offset, struct.calcsize(form)))

    def read_headers(self):
        """The header and the segments: what is mapped, the dynamic section, the interpreter."""
        self.type, self.machine = self.unpack("HH", 16)
        table = self.unpack("Q" if self.wide else "I", 32 if self.wide else 28)[0]
        entry_bytes, count = self.unpack("HH", 54 if self.wide else 42)
        if count == 0:
            return
        form = self.order + ("IIQQQQQQ" if self.wide else "IIIIIIII")
        if entry_bytes != struct.calcsize(form):
            raise ValueError("program headers of %d bytes" % entry_bytes)
        if count * entry_bytes > ELF_HEADERS_CAP_BYTES:
            raise ValueError("%d program headers" % count)
        for fields in struct.iter_unpack(form, self.at(table, count * entry_bytes)):
            if self.wide:
                kind, _flags, offset, address, _, file_bytes, _, _ = fields
            else:
                kind, offset, address, _, file_bytes, _, _, _ = fields
            if kind == PT_LOAD and file_bytes:
                # The last page may be filled up with zeros; a segment that ends pages later was cut off.
                end = offset + file_bytes
                if end > self.size_bytes + ELF_BLOCK_BYTES:
                    raise ValueError("truncated: a segment ends at byte %d of %d" % (end, self.size_bytes))
                self.loads.append((address, address + file_bytes, offset - address))
            elif kind == PT_DYNAMIC and file_bytes:
                self.dynamic = (offset, file_bytes)
            elif kind == PT_INTERP:
                if file_bytes > ELF_TEXT_CAP_BYTES:
                    raise ValueError("interpreter name of %d bytes" % file_bytes)
                self.interp = self.at(offset, file_bytes).split(b"\0")[0].decode("utf-8", "replace")

    def place(self, address):
        """The offset in the file of a mapped address."""
        for start, end, shift in self.loads:
            if start <= address < end:
                return address + shift
        raise ValueError("address 0x%x is in no segment" % address)

    def text(self, offset):
        """The NUL-ended string at an offset. All strings of a file together are capped."""
        parts = []
        while True:
            if offset >= self.size_bytes:
                raise ValueError("truncated: a string runs over the end")
            length = min(ELF_BLOCK_BYTES - offset % ELF_BLOCK_BYTES, self.size_bytes - offset)
            data, nul, _ = self.at(offset, length).partition(b"\0")
            parts.append(data)
            self.text_bytes += len(data) + 1
            if self.text_bytes > ELF_TEXT_CAP_BYTES:
                raise ValueError("strings of more than %d bytes" % ELF_TEXT_CAP_BYTES)
            if nul:
                return b"".join(parts).decode("utf-8", "replace")
            offset += length

    def facts(self):
        found = {
            "bits": 64 if self.wide else 32, "machine": self.machine, "type": self.type, "interp": self.interp,
            "soname": None, "needed": [], "rpath": None, "runpath": None, "version_needs": [], "version_defs": [],
        }  # fmt: skip
        if self.dynamic is None:
            return found
        offset, length = self.dynamic
        if length > ELF_DYNAMIC_CAP_BYTES:
            raise ValueError("dynamic section of %d bytes" % length)
        form = self.order + ("qQ" if self.wide else "iI")
        length -= length % struct.calcsize(form)
        texts = []
        places = {}
        for tag, value in struct.iter_unpack(form, self.at(offset, length)):
            if tag == 0:
                break
            if tag in (DT_NEEDED, DT_SONAME, DT_RPATH, DT_RUNPATH):
                texts.append((tag, value))
            else:
                places[tag] = value
        strings = self.place(places[DT_STRTAB]) if DT_STRTAB in places else None
        limit = places.get(DT_STRSZ, self.size_bytes)
        if strings is None and texts:
            raise ValueError("dynamic section without a string table")

        def string(index):
            if strings is None or index >= limit:
                raise ValueError("string at %d of a table of %d bytes" % (index, limit if strings else 0))
            return self.text(strings + index)

        names = {DT_SONAME: "soname", DT_RPATH: "rpath", DT_RUNPATH: "runpath"}
        for tag, value in texts:
            if tag == DT_NEEDED:
                found["needed"].append(string(value))
            else:
                found[names[tag]] = string(value)
        if DT_VERNEED in places:
            found["version_needs"] = self.version_needs(places[DT_VERNEED], places.get(DT_VERNEEDNUM, 0), string)
        if DT_VERDEF in places:
            found["version_defs"] = self.version_defs(places[DT_VERDEF], places.get(DT_VERDEFNUM, 0), string)
        return found

    def version_needs(self, address, count, string):
        """[[library, [version, ...]], ...] without weak needs: the loader only warns of those."""
        needs = []
        offset = self.place(address)
        for _ in range(count):
            _version, aux_count, library, aux, following = self.version_record("HHIII", offset)
            versions = []
            aux_offset = offset + aux
            for _ in range(aux_count):
                _hash, flags, _other, name, aux_following = self.version_record("IHHII", aux_offset)
                if not flags & VER_FLG_WEAK:
                    versions.append(string(name))
                if not aux_following:
                    break
                aux_offset += aux_following
            if versions:
                needs.append([string(library), versions])
            if not following:
                break
            offset += following
        return needs

    def version_defs(self, address, count, string):
        """[version, ...], the library's own name (the base definition) among them."""
        defs = []
        offset = self.place(address)
        for _ in range(count):
            _version, _flags, _index, aux_count, _hash, aux, following = self.version_record("HHHHIII", offset)
            if aux_count:
                defs.append(string(self.unpack("II", offset + aux)[0]))
            if not following:
                break
            offset += following
        return defs

    def version_record(self, form, offset):
        self.version_records += 1
        if self.version_records > ELF_VERSIONS_CAP:
            raise ValueError("more than %d version records" % ELF_VERSIONS_CAP)
        return self.unpack(form, offset)


def linker_cache_entries(data):
    """The entries of ld.so.cache for the machine's own architecture. Format: glibc, sysdeps/generic/dl-cache.h; the
    older header may stand before the newer one."""
    if len(data) > LDCACHE_CAP_BYTES:
        raise ValueError("more than %d bytes" % LDCACHE_CAP_BYTES)
    base = 0
    if data.startswith(b"ld.so-1.7.0"):
        count = struct.unpack_from("<I", data, 12)[0]
        base = (16 + 12 * count + 7) & ~7
    if data[base : base + 20] != b"glibc-ld.so.cache1.1":
        raise ValueError("not of the format glibc-ld.so.cache1.1")
    # Byte 28 says the byte order since glibc 2.33: 2 little, 3 big, 0 not told.
    order = ">" if data[base + 28 : base + 29] == b"\3" else "<"
    count, string_bytes = struct.unpack_from(order + "II", data, base + 20)
    extension = struct.unpack_from(order + "I", data, base + 32)[0]
    if base + 48 + 24 * count + string_bytes > len(data):
        raise ValueError("truncated: %d entries in %d bytes" % (count, len(data)))
    hwcaps = linker_cache_hwcaps(data, base, order, extension)

    entries = list(struct.iter_unpack(order + "iIIIQ", data[base + 48 : base + 48 + 24 * count]))
    own = own_cache_flags(entry[0] for entry in entries)
    found = []
    text_bytes = 0
    for flags, name, value, _os_version, hwcap in entries:
        if flags != own:
            continue
        level = None
        # Bit 62 (the low ten bits of the upper half hold an ISA level) marks an index into the hwcaps names.
        if (hwcap >> 32) & ~0x3FF == 1 << 30:
            index = hwcap & 0xFFFFFFFF
            if index >= len(hwcaps):
                raise ValueError("glibc-hwcaps name %d of %d" % (index, len(hwcaps)))
            level = hwcaps[index]
        elif hwcap:
            level = "legacy-0x%x" % hwcap
        entry = [linker_cache_text(data, base + name), linker_cache_text(data, base + value), level]
        text_bytes += len(entry[0]) + len(entry[1])
        if text_bytes > LDCACHE_CAP_BYTES:
            raise ValueError("strings of more than %d bytes" % LDCACHE_CAP_BYTES)
        found.append(entry)
    return found


def linker_cache_text(data, start):
    end = data.find(b"\0", start, start + LDCACHE_NAME_CAP_BYTES)
    if end < 0:
        raise ValueError("a string at byte %d does not end" % start)
    return data[start:end].decode("utf-8", "replace")


def own_cache_flags(flags):
    """The architecture that most 64-bit entries are of (0x0303 x86-64, 0x0a03 AArch64 ...): a cache may hold entries of
    32-bit compatibility libraries too. Where there is no 64-bit entry, the most frequent flags."""
    counts = {}
    for value in flags:
        if value & 0xFF == 0x03:  # ELF, libc6
            counts[value] = counts.get(value, 0) + 1
    wide = [value for value in counts if value >> 8 not in CACHE_ARCHITECTURES_32]
    return max(wide or counts, key=lambda value: counts[value]) if counts else None


def linker_cache_hwcaps(data, base, order, extension):
    """The glibc-hwcaps names in the cache's extension section."""
    if extension == 0:
        return []
    magic, sections = struct.unpack_from(order + "II", data, extension)
    if magic != LDCACHE_EXTENSION_MAGIC or sections > 64:
        raise ValueError("damaged extension section")
    for number in range(sections):
        tag, _flags, offset, length = struct.unpack_from(order + "IIII", data, extension + 8 + 16 * number)
        if tag != 1:
            continue
        if length > 4096 or offset + length > len(data):
            raise ValueError("damaged glibc-hwcaps section")
        positions = struct.unpack_from("%s%dI" % (order, length // 4), data, offset)
        return [linker_cache_text(data, base + position) for position in positions]
    return []


def metadata_headers(data):
    """The wanted headers of METADATA or PKG-INFO, each a list of values. By hand: `email` costs 20 ms to import and
    parses the description too. Bytes that are no UTF-8 (old authors' names) become U+FFFD."""
    end = min((p for p in (data.find(b"\n\n"), data.find(b"\r\n\r\n")) if p >= 0), default=-1)
    if end < 0 and len(data) >= METADATA_CAP_BYTES:
        raise ValueError("its headers do not end within %d bytes" % METADATA_CAP_BYTES)
    found = {"name": [], "version": [], "requires-dist": [], "requires-python": []}
    last = None
    for line in (data if end < 0 else data[:end]).decode("utf-8", "replace").splitlines():
        if line[:1] in (" ", "\t"):
            if last:
                last[-1] += " " + line.strip()
            continue
        key, _, value = line.partition(":")
        last = found.get(key.lower())
        if last is not None:
            last.append(value.strip())
    for key in ("name", "version"):
        if found[key] and (not found[key][0] or "\ufffd" in found[key][0] or "\0" in found[key][0]):
            raise ValueError("its %s is not readable" % key.capitalize())
    return found


class RecordScan:
    """Reads RECORD files (Binary distribution format, PyPA) and finds the files that two or more of them claim with
    different digests. The first pass keeps one entry per path; only RECORDs with a shared path are read a second time."""

    def __init__(self, agent):
        self.agent = agent
        self.file_counts = []
        self.overlaps = []
        self.contested = []
        self.libraries = []
        self.errors = []
        self.truncated = False
        self.entries = self.hashed_bytes = 0

    def result(self):
        return {
            "file_counts": self.file_counts,
            "overlaps": self.overlaps,
            "contested": self.contested,
            "libraries": sorted(self.libraries),
            "errors": self.errors,
            "truncated": self.truncated,
        }

    def read_site(self, site_dir):
        """One directory. A path is relative to it, so what two directories hold is never contested between them."""
        with os.scandir(self.agent.locate(site_dir)) as scan:
            names = sorted(e.name for e in scan if e.name.endswith(".dist-info") and not e.name.startswith("~"))
        owners = {}  # path -> the last distribution (its index) that lists it
        shared = {}  # path -> the distributions that list it, two or more
        for index, name in enumerate(names):
            count = 0
            try:
                for lines in self.record_lines(site_dir, name):
                    count += len(lines)
                    self.first_pass([row[0] for row in record_rows(lines)], site_dir, names, index, owners, shared)
            except (OSError, ValueError) as error:
                self.failed(site_dir, name, error)
                continue
            if count:
                self.file_counts.append([posixpath.join(site_dir, name), count])
        owners.clear()
        self.judge(site_dir, names, shared)

    def record_lines(self, site_dir, name):
        """The lines of a RECORD, about a megabyte at a time; none where there is no RECORD."""
        try:
            file = self.agent.open_regular(posixpath.join(site_dir, name, "RECORD"))
        except OSError as error:
            if error.errno in ABSENT:
                return
            raise
        with file:
            rest = b""
            while True:
                block = file.read(RECORD_BLOCK_BYTES)
                if b"\0" in block:
                    raise ValueError("no text file")
                end = block.rfind(b"\n") + 1 if block else 0
                lines = (rest + block[:end]).splitlines() if end or not block else []
                rest = block[end:] if end else rest + block
                if len(rest) > RECORD_LINE_CAP_BYTES:
                    raise ValueError("a line of more than %d bytes" % RECORD_LINE_CAP_BYTES)
                lines = [line for line in lines if line]
                self.entries += len(lines)
                if self.entries > RECORD_ENTRIES_CAP:
                    self.truncated = True
                    raise ValueError("left out: more than %d entries in all" % RECORD_ENTRIES_CAP)
                yield lines
                if not block:
                    return

    def first_pass(self, paths, site_dir, names, index, owners, shared):
        """Take note of each path, and of those that an earlier distribution lists too."""
        for path in [path for path in paths if b".so" in path]:
            if is_library(path):
                full = posixpath.normpath(posixpath.join(site_dir, path.decode("utf-8", "replace")))
                self.libraries.append([full, posixpath.join(site_dir, names[index])])
        for path in [path for path in paths if path in owners]:
            if owners[path] == index:
                continue
            indexes = shared.setdefault(path, [owners[path]])
            if indexes[-1] != index:
                indexes.append(index)
        owners.update(dict.fromkeys(paths, index))

    def failed(self, site_dir, name, error):
        reason = os.strerror(error.errno or errno.EIO) if isinstance(error, OSError) else str(error)
        self.errors.append([posixpath.join(site_dir, name, "RECORD"), reason])

    def judge(self, site_dir, names, shared):
        """Read the claims on the shared paths, and whose bytes are on disk where they differ."""
        for path in [p for p in shared if b".dist-info/" in p or b"__pycache__/" in p or p.startswith((b"../", b"/"))]:
            del shared[path]  # scripts in bin/ and data files: every installer writes its own
        claims = {}
        for index in sorted({i for indexes in shared.values() for i in indexes}):
            try:
                for lines in self.record_lines(site_dir, names[index]):
                    for path, digest, size in record_rows(lines):
                        if path in shared:
                            claims.setdefault(path, {})[index] = (digest.decode("ascii", "replace"), size)
            except (OSError, ValueError):
                continue  # already noted by the first pass
        together = {}  # the distributions that list a file -> [such files, those with different digests]
        for path in sorted(claims):
            digests = {digest for digest, _ in claims[path].values()}
            differ = len(digests) > 1 or "" in digests
            counts = together.setdefault(tuple(sorted(claims[path])), [0, 0])
            counts[0] += 1
            counts[1] += differ
            if differ and len(claims[path]) > 1:
                self.contest(posixpath.join(site_dir, path.decode("utf-8", "replace")), site_dir, names, claims[path])
        for indexes, counts in sorted(together.items()):
            if len(indexes) > 1:
                self.overlaps.append([[posixpath.join(site_dir, names[i]) for i in indexes]] + counts)

    def contest(self, path, site_dir, names, claims):
        """One contested file. An empty one (`__init__.py` of a namespace) harms nobody."""
        try:
            found = os.stat(self.agent.locate(path))
        except (OSError, ValueError):
            found = None
        if found is not None and found.st_size == 0 and stat_module.S_ISREG(found.st_mode):
            return
        if len(self.contested) >= CONTESTED_CAP:
            self.truncated = True
            return
        infos = {index: posixpath.join(site_dir, names[index]) for index in claims}
        winners = [] if found is None else self.winners(path, found, claims)
        self.contested.append(
            {
                "path": path,
                "claims": [[infos[index], claims[index][0]] for index in sorted(claims)],
                "exists": found is not None,
                "winners": None if winners is None else [infos[index] for index in winners],
            }
        )

    def winners(self, path, found, claims):
        """The claims whose digest is that of the bytes on disk; None where that is not known: not hashed, or no match
        while a claim without a digest may be the one. A claim of another size needs no hash."""
        known = {i: c for i, c in claims.items() if c[0].partition("=")[0] in HASH_ALGORITHMS}
        if not stat_module.S_ISREG(found.st_mode):
            return None
        matching = self.matching(path, found, known) if known else []
        return None if not matching and len(known) < len(claims) else matching

    def matching(self, path, found, known):
        size = str(found.st_size).encode("ascii")
        open_claims = {i: c[0] for i, c in known.items() if c[1] in (b"", size)}
        if not open_claims:
            return []
        if found.st_size > HASH_FILE_CAP_BYTES or self.hashed_bytes + found.st_size > HASH_TOTAL_CAP_BYTES:
            self.truncated = True
            return None
        self.hashed_bytes += found.st_size
        try:
            on_disk = self.digests(path, {digest.partition("=")[0] for digest in open_claims.values()})
        except (OSError, ValueError):
            return None
        return [i for i in sorted(open_claims) if open_claims[i].rstrip("=") in on_disk]

    def digests(self, path, algorithms):
        """The file's digests as RECORD spells them: algorithm, "=", URL-safe base64 without padding."""
        import base64
        import hashlib

        hashes = [hashlib.new(algorithm) for algorithm in sorted(algorithms)]
        with self.agent.open_regular(path) as file:
            for block in iter(lambda: file.read(RECORD_BLOCK_BYTES), b""):
                for one in hashes:
                    one.update(block)
        return {
            "%s=%s" % (one.name, base64.urlsafe_b64encode(one.digest()).decode("ascii").rstrip("=")) for one in hashes
        }


def record_rows(lines):
    """[[path, digest, size], ...] without the byte code that installers compile, which has no digest. Digest and size
    hold no comma, so the csv quoting matters for the path alone."""
    rows = [line.rsplit(b",", 2) for line in lines if line[-6:] != b".pyc,,"]
    if set(map(len, rows)) - {3}:
        raise ValueError("a line that is not path, digest, size")
    for row in [row for row in rows if row[0] < b"0"]:  # quotes and dots come before digits and letters
        if row[0][:1] == b'"':
            row[0] = row[0][1:-1].replace(b'""', b'"')
        if row[0].startswith(b"./"):
            row[0] = posixpath.normpath(row[0])
    return rows


def is_library(path):
    """Whether a path of a RECORD names a shared object: libfoo.so, libfoo.so.1.2."""
    name = path[path.rfind(b"/") + 1 :]
    before, mark, version = name.rpartition(b".so")
    return bool(before and mark) and (not version or (version[:1] == b"." and version[1:2].isdigit()))


def pci_port_type(data):
    """The type of port of a PCI Express function, None where it does not say."""
    offset = struct.unpack_from("B", data, 0x34)[0] & 0xFC if len(data) > 0x40 else 0
    for _ in range(48):  # as many as fit: a loop among them ends here
        if not 0x40 <= offset < len(data) - 4:
            return None
        capability, after, flags = struct.unpack_from("BBB", data, offset)
        if capability == PCI_EXPRESS_CAPABILITY:
            return flags >> 4 & 0xF
        offset = after & 0xFC
    return None


def pci_acs_control(data):
    """The ACS control register, None where there is none or the space is cut short."""
    offset = 0x100
    for _ in range(960 if len(data) == PCI_CONFIG_BYTES else 0):
        header = struct.unpack_from("<I", data, offset)[0]
        if header in (0, 0xFFFFFFFF):
            return None
        if header & 0xFFFF == ACS_CAPABILITY:
            return struct.unpack_from("<H", data, offset + 6)[0] if offset < PCI_CONFIG_BYTES - 8 else None
        offset = header >> 20 & 0xFFC
        if offset < 0x100:
            return None
    return None


def serve(agent, source, sink):
    """Answer JSON lines: each a list of operations, answered by the list of their results."""
    import json

    for line in source:
        requests = json.loads(line)
        sink.write(json.dumps([agent.ask(*request) for request in requests], separators=(",", ":")) + "\n")
        sink.flush()


if __name__ == "__main__":
    serve(Agent(), sys.stdin, sys.stdout)
