"""The operating system probe on trees, described machines and this machine."""

import os
from pathlib import Path

import pytest

from infra_doctor.machine.agent import Agent
from infra_doctor.machine.forms import live_machine, rooted_machine
from infra_doctor.machine.machine import Machine
from infra_doctor.machine.types import Capability, MachineForm
from infra_doctor_probes.detect.system import PROBES, Container, Virtualization, Wsl
from tests.support.gather import Gathered, gather
from tests.support.recipe import recipe_machine

INTERP = "/lib64/ld-linux-x86-64.so.2"
LIBC_DIR = "/usr/lib/x86_64-linux-gnu"
UBUNTU = {
    "files": {
        "/etc/os-release": 'ID=ubuntu\nVERSION_ID="24.04"\nPRETTY_NAME="Ubuntu 24.04.1 LTS"\n# a comment\nnot a field\n',
        "/proc/sys/kernel/osrelease": "6.8.0-60-generic\n",
        "/proc/cpuinfo": "processor\t: 0\nmodel name\t: Intel(R) Xeon(R) Platinum 8480+\nflags\t\t: fpu vme avx512f\n",
        "/proc/meminfo": "MemTotal:       2113396736 kB\nMemFree:        1 kB\n",
    },
    "links": {INTERP: f"{LIBC_DIR}/ld-linux-x86-64.so.2"},
    "elf": {
        "/bin/sh": {"interp": INTERP},
        f"{LIBC_DIR}/ld-linux-x86-64.so.2": {},
        f"{LIBC_DIR}/libc.so.6": {
            "version_defs": ["libc.so.6", "GLIBC_2.2.5", "GLIBC_2.9", "GLIBC_2.39", "GLIBC_PRIVATE"]
        },
    },
}


def described(files: dict | None = None, **recipe: object) -> Gathered:
    base = {**UBUNTU, **recipe, "files": {**UBUNTU["files"], **(files or {})}}
    return gather(recipe_machine(base), PROBES)


def test_a_server_is_described_by_its_files() -> None:
    found = described()
    system = found.one("os")
    assert (system.key, system.name, system.version) == ("os:ubuntu", "Ubuntu 24.04.1 LTS", "24.04")
    assert system.attributes == {"wsl": False, "kernel": "6.8.0-60-generic", "arch": "x86_64", "page_size": 4096}
    assert found.one("libc").version == "2.39"
    assert found.one("libc").location == f"{LIBC_DIR}/libc.so.6"
    assert found.one("cpu").name == "Intel(R) Xeon(R) Platinum 8480+"
    assert found.one("memory").attributes == {"total_bytes": 2113396736 * 1024}
    assert not found.facts, "neither container nor WSL nor guest"
    assert all(c.evidence for c in found.components)


@pytest.mark.parametrize(
    ("said", "version"), [("glibc 2.41", "2.41"), ("glibc 2.17", "2.39"), ("", "2.39"), ("glibc 2.99", "2.39")]
)
def test_the_running_glibc_counts_only_where_it_can_be_the_same(said: str, version: str) -> None:
    assert described(system={"libc": said}).one("libc").version == version


def test_musl_is_named_without_a_version() -> None:
    elf = {"/bin/sh": {"interp": "/lib/ld-musl-x86_64.so.1"}, "/lib/ld-musl-x86_64.so.1": {}}
    libc = described(elf=elf).one("libc")
    assert (libc.key, libc.version) == ("libc:musl", None)


def test_an_executable_of_another_architecture_gives_its_own_libc() -> None:
    arm = {"machine": 183}
    elf = {
        "/bin/sh": {"interp": "/lib/ld-linux-aarch64.so.1", **arm},
        "/lib/ld-linux-aarch64.so.1": arm,
        "/lib/libc.so.6": {"version_defs": ["GLIBC_2.17"]},  # an x86-64 one: passed over
        "/usr/lib/aarch64-linux-gnu/libc.so.6": {"version_defs": ["GLIBC_2.17", "GLIBC_2.35"], **arm},
    }
    libc = described(elf=elf, links={}, form="rooted").one("libc")
    assert (libc.version, libc.attributes["arch"]) == ("2.35", "aarch64")


@pytest.mark.parametrize(
    ("files", "environment", "runtime"),
    [
        ({"/.dockerenv": ""}, {}, "docker"),
        ({"/run/.containerenv": 'engine="podman-5"'}, {}, "podman"),
        ({"/.dockerenv": ""}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "kubernetes"),
        ({"/proc/1/cgroup": "0::/kubepods.slice/kubepods-burstable.slice/cri-containerd-1.scope\n"}, {}, "kubernetes"),
        ({"/proc/1/cgroup": "4:memory:/docker/0123456789abcdef\n"}, {}, "docker"),
        ({"/run/systemd/container": "lxc\n"}, {}, "lxc"),
        ({"/proc/1/cgroup": "0::/init.scope\n"}, {}, None),
        ({"/run/systemd/container": "wsl\n"}, {}, None),
    ],
)
def test_container_markers(files: dict, environment: dict, runtime: str | None) -> None:
    found = described(files, environment=environment)
    assert found.one("os").attributes.get("container") == runtime
    assert found.has(Container) == (runtime is not None)
    if runtime is not None:
        assert "10.0.0.1" not in str(found.fact(Container)), "the address is nobody's business"


WSL_LIBRARIES = {"/usr/lib/wsl/lib/libdxcore.so": ""}
DXG = {"/dev/dxg": {"type": "char", "rdev": [10, 125]}}


@pytest.mark.parametrize(
    ("files", "version", "gpu"),
    [
        ({"/proc/sys/kernel/osrelease": "5.15.153.1-microsoft-standard-WSL2\n", **DXG}, 2, True),
        ({"/proc/sys/kernel/osrelease": "5.15.153.1-microsoft-standard-WSL2\n"}, 2, False),
        ({"/proc/sys/kernel/osrelease": "4.4.0-19041-Microsoft\n"}, 1, False),
        ({"/proc/sys/kernel/osrelease": "6.6.0-custom\n", **DXG, **WSL_LIBRARIES}, 2, True),
        ({"/proc/sys/kernel/osrelease": "6.8.0-1021-azure\n"}, None, False),
        ({"/proc/sys/kernel/osrelease": "6.8.0-60-generic\n", **DXG}, None, False),  # a Hyper-V guest with dxgkrnl
    ],
)
def test_wsl_is_told_by_kernel_and_device(files: dict, version: int | None, gpu: bool) -> None:
    found = described(files)
    assert found.one("os").attributes["wsl"] is (version is not None)
    if version is not None:
        assert (found.fact(Wsl).version, found.fact(Wsl).gpu) == (version, gpu)


def test_a_guest_names_its_firmware() -> None:
    files = {
        "/proc/cpuinfo": "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu hypervisor lm\n",
        "/sys/class/dmi/id/sys_vendor": "Amazon EC2\n",
        "/sys/class/dmi/id/product_name": "p5.48xlarge\n",
    }
    assert described(files).fact(Virtualization).product == "Amazon EC2 p5.48xlarge"


def test_an_arm_processor_is_named_by_its_numbers() -> None:
    files = {"/proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 2000.00\nCPU implementer\t: 0x41\nCPU part\t: 0xd4f\n"}
    assert described(files).one("cpu").name == "Arm implementer 0x41 part 0xd4f"


def test_a_control_group_limits_memory() -> None:
    attributes = described({"/sys/fs/cgroup/memory.max": "68719476736\n"}).one("memory").attributes
    assert attributes["limit_bytes"] == 68719476736
    assert "limit_bytes" not in described({"/sys/fs/cgroup/memory.max": "max\n"}).one("memory").attributes
    unlimited = {"/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}
    assert "limit_bytes" not in described(unlimited).one("memory").attributes


def test_an_unpacked_root_shows_its_files_and_no_kernel(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "usr/lib/os-release").write_text("ID=rocky\nVERSION_ID=9.4\n")
    (tmp_path / "etc/os-release").symlink_to("/usr/lib/os-release")  # absolute: inside the root
    found = gather(rooted_machine(str(tmp_path)), PROBES)
    assert [c.key for c in found.components] == ["os:rocky"]
    assert found.one("os").attributes == {"wsl": False}


def hostile_fifo(path: Path) -> None:
    os.mkfifo(path)


def hostile_loop(path: Path) -> None:
    path.symlink_to(path.name)


def hostile_binary(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 100)


def hostile_line(path: Path) -> None:
    path.write_bytes(b"ID=" + b"x" * (10 << 20))


def hostile_folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    "make", [hostile_fifo, hostile_loop, hostile_binary, hostile_line, hostile_folder], ids=lambda f: f.__name__
)
def test_hostile_files_are_survived(tmp_path: Path, make: object) -> None:
    for name in (
        "etc/os-release", "proc/cpuinfo", "proc/meminfo", "proc/1/cgroup", "proc/sys/kernel/osrelease", "bin/sh",
        "run/systemd/container", "sys/fs/cgroup/memory.max",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        make(tmp_path / name)
    machine = Machine(
        Agent(str(tmp_path)), form=MachineForm.ROOTED, capabilities={Capability.FILES, Capability.KERNEL_STATE}
    )
    found = gather(machine, PROBES)
    assert found.one("os").key.startswith("os:")
    assert len(found.one("os").key) < 300
    assert not found.kinds("libc", "memory")


def test_this_machine() -> None:
    found = gather(live_machine(), PROBES)
    assert found.one("os").attributes["kernel"] == os.uname().release
    assert found.one("cpu").attributes["cores"] == os.cpu_count()
    libc = os.confstr("CS_GNU_LIBC_VERSION")
    if libc:
        assert found.one("libc").version == libc.removeprefix("glibc ")
