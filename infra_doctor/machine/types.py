"""What a machine answers: typed observations, and what each form of machine can do."""

from enum import StrEnum

from infra_doctor.model.record import record


class Capability(StrEnum):
    """What a machine form can show. A probe declares what it needs; what is missing gives `skip: not visible`."""

    FILES = "files"
    ENVIRONMENT = "environment"  # the environment variables of the process or shell looked at
    COMMANDS = "commands"
    KERNEL_STATE = "kernel state"  # /proc, /sys, /dev of the running kernel
    VENDOR_LIBRARIES = "vendor libraries"  # NVML, DCMI …, in a child process
    PROCESSES = "processes"  # /proc/PID of others


class MachineForm(StrEnum):
    """How the machine is reached."""

    LIVE = "live"
    ROOTED = "rooted"
    REPLAYED = "replayed"
    REMOTE = "remote"


class NotVisible(Exception):  # noqa: N818
    """Raised by a probe for what this machine form, or this machine, cannot show: the probe is skipped with the reason."""


@record
class Stat:
    """`type` is file, dir, link, char, block, fifo or socket. `file_id` is equal for two names of one file (device:inode)."""

    type: str
    size_bytes: int
    mode: int  # permission bits
    uid: int
    file_id: str
    rdev: tuple[int, int] | None = None  # major, minor of a device node


@record
class Elf:
    """The dynamic section of one ELF file. `path` is the real path that was read."""

    path: str
    bits: int  # 32 or 64
    machine: int  # e_machine: 62 x86-64, 183 AArch64
    type: int  # e_type: 2 EXEC, 3 DYN
    soname: str | None = None
    needed: tuple[str, ...] = ()
    rpath: str | None = None
    runpath: str | None = None
    interp: str | None = None
    version_needs: tuple[
        tuple[str, tuple[str, ...]], ...
    ] = ()  # (library, (version, …)), e.g. ("libc.so.6", ("GLIBC_2.28",))
    version_defs: tuple[str, ...] = ()  # versions this library defines, e.g. GLIBC_2.36


@record
class CommandResult:
    """A command that ran, or did not: `rc` is None where it could not start or was ended at its deadline."""

    argv: tuple[str, ...]
    rc: int | None
    stdout: str = ""
    stderr: str = ""
    timed_out: bool = False
    error: str = ""  # why it could not start


@record
class ChildResult:
    """What a child process that calls a vendor library answered. `data` is its JSON document, None where there is none;
    `error` then says why ("ended after 10 s", "signal 11", …)."""

    module: str
    data: dict[str, object] | None
    error: str = ""
    timed_out: bool = False


@record
class CacheEntry:
    """One line of ld.so.cache that fits this machine's own word size and architecture."""

    soname: str
    path: str
    hwcap: str | None = None  # the glibc-hwcaps sub-directory it comes from, "" or None for the base


@record
class Distribution:
    """One installed Python distribution, read from its .dist-info or .egg-info folder."""

    name: str  # as the metadata spells it
    version: str
    path: str  # the .dist-info / .egg-info
    site_dir: str
    requires: tuple[str, ...] = ()  # Requires-Dist lines
    requires_python: str | None = None
    tags: tuple[str, ...] = ()  # Tag lines of WHEEL
    installer: str | None = None
    editable: bool = False
    top_level: tuple[str, ...] = ()
    has_record: bool = True

    @property
    def normalized(self) -> str:
        """The PEP 503 name."""
        out = self.name.lower().replace("_", "-").replace(".", "-")
        while "--" in out:
            out = out.replace("--", "-")
        return out


@record
class Claim:
    """One distribution's claim on a file: RECORD's digest ("sha256=…", "" where RECORD has none)."""

    distribution: str  # the .dist-info path
    digest: str


@record
class ContestedFile:
    """A file that two or more distributions claim with different digests. `winners` are the .dist-info paths whose
    digest is that of the bytes on disk (empty: changed after installation); None where the file was not hashed."""

    path: str
    claims: tuple[Claim, ...]
    exists: bool
    winners: tuple[str, ...] | None


@record
class RecordScan:
    """One pass over the RECORD files of the given site directories."""

    file_counts: tuple[tuple[str, int], ...]  # (.dist-info path, files it lists), in order
    contested: tuple[ContestedFile, ...] = ()
    libraries: tuple[tuple[str, str], ...] = ()  # (absolute path of a shared object, .dist-info path that owns it)
    errors: tuple[tuple[str, str], ...] = ()  # (RECORD path, reason)
    truncated: bool = False  # a byte or file cap was reached
    # (.dist-info paths that list the same files, how many, how many of these with different digests)
    overlaps: tuple[tuple[tuple[str, ...], int, int], ...] = ()


@record
class Problem:
    """Something that is there and could not be read."""

    path: str
    reason: str


@record
class Space:
    """A file system's size, and what is free to users other than root."""

    total_bytes: int
    free_bytes: int
    read_only: bool = False


@record
class PciConfig:
    """What a PCI function's configuration space tells: `port_type` of a PCI Express port (4 root, 5 switch upstream, 6
    switch downstream), `acs_control` its ACS control register; None where there is none. `whole` is False where it could be
    read in part only, as by all users but root."""

    whole: bool
    port_type: int | None = None
    acs_control: int | None = None


@record
class KernelLog:
    """The asked-for messages of the running kernel, oldest first: (seconds since boot, text). `error` says why the log
    could not be read; then there are none, which says nothing of the kernel."""

    lines: tuple[tuple[float, str], ...] = ()
    source: str = ""
    error: str = ""
    truncated: bool = False
