"""Nothing private leaves: what is planted in every place that is read is in no output and in no snapshot."""

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from infra_doctor.cli.collector import pack
from infra_doctor.machine.essence import essence, output
from tests.core.machine.pythons import install, make_venv, site_packages
from tests.support import rooted_tree

COMMAND = [sys.executable, "-m", "infra_doctor"]
# Of no form that a pattern could know: only what is not kept is safe.
SECRET = "violet-otter"
NAMES = ("alice", "carol", "divorce-papers")
NODE = os.uname().nodename if len(os.uname().nodename) > 5 else "no name that is told from other words"


def run(*argv: str, env: dict[str, str], code: tuple[int, ...] = (0, 1)) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*COMMAND, *argv], capture_output=True, text=True, env=env, timeout=120, check=False, errors="replace"
    )
    assert done.returncode in code, done.stderr
    return done


def all_outputs(folder: Path, env: dict[str, str], *options: str) -> dict[str, str]:
    """What each format, the snapshot and a replay of it say."""
    page, snapshot, packed = folder / "page.html", folder / "snapshot.json", folder / "snapshot.json.gz"
    found = {}
    for form in ("--json", "--markdown", "-vv"):
        done = run("check", form, "--html", str(page), *options, env=env)
        found[form], found[form + " talk"] = done.stdout, done.stderr.replace(str(folder), "")
    found["html"] = page.read_text()
    for path in (snapshot, packed):
        run("snapshot", str(path), *options, env=env)
    found["snapshot"] = snapshot.read_text()
    found["packed"] = gzip.decompress(packed.read_bytes()).decode()
    found["replay"] = run("check", "--json", "--replay", str(snapshot), env=env).stdout
    return found


def plant(home: Path) -> Path:
    """A virtual environment in a home, with secrets beside all that is read of it; its interpreter."""
    python = make_venv(sys.executable, home / "venv")
    site = site_packages(home / "venv")
    install(
        site, "torch", "2.11.0", {"torch/version.py": b"__version__ = '2.11.0+cpu'\ncuda = None\n"},
        **{"direct_url.json": json.dumps({"url": f"https://me:{SECRET}@host.example/x.whl", "archive_info": {}})},
    )  # fmt: skip
    metadata = next(site.glob("torch-*.dist-info")) / "METADATA"
    metadata.write_text(
        f"Metadata-Version: 2.1\nName: torch\nVersion: 2.11.0\nAuthor-email: {SECRET}@corp.example\n\n{SECRET}\n"
    )
    (site / "start.pth").write_text(f"# {SECRET}\nimport os; os.environ['KEY'] = '{SECRET}'\n")
    (site / "latin.pth").write_bytes(f"import os; x = '\xe9{SECRET}'\n".encode("latin-1"))
    (site / "sitecustomize.py").write_text(f"print('{SECRET}')\n")
    with (home / "venv/pyvenv.cfg").open("a") as file:
        file.write(f"prompt = {SECRET}\n")
    (home / "divorce-papers").mkdir()
    return python


def shell(home: Path, **more: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"], "HOME": str(home), "VIRTUAL_ENV": str(home / "venv"), "HF_TOKEN": SECRET,
        "AWS_SECRET_ACCESS_KEY": SECRET, "PGPASSWORD": SECRET, "LD_LIBRARY_PATH": str(home / "lib"),
        "KUBERNETES_SERVICE_HOST": "10.11.12.13", "SOURCE_DATE_EPOCH": "1700000000", **more,
    }  # fmt: skip


@pytest.mark.parametrize("place", ["home/alice", "data/people/carol"])
def test_secrets_and_names_are_in_no_output(tmp_path: Path, place: str) -> None:
    home = tmp_path / place
    home.mkdir(parents=True)
    plant(home)
    outputs = all_outputs(tmp_path, shell(home))
    assert "torch" in outputs["--json"] and "2.11.0" in outputs["replay"] and "start.pth" in outputs["snapshot"]
    for form, text in outputs.items():
        for name in (SECRET, *NAMES, "10.11.12.13", NODE):
            assert name not in text, (form, text[max(0, text.find(name) - 200) : text.find(name) + 50])


def without_free_space(document: str) -> str:
    """The report was made by one run, the snapshot by another: what is free in /dev/shm changes between them, as other
    programs (Chromium, say) put files there."""
    found = re.sub(r'"free_bytes": \d+', '"free_bytes": 0', document)
    return re.sub(r"\d[\d.,]*( [KMGT]?i?B)?( of it)? free\b", "0 free", found)


def test_the_replay_gives_the_report_of_the_redacted_run(tmp_path: Path) -> None:
    home = tmp_path / "home/alice"
    home.mkdir(parents=True)
    plant(home)
    for options in ((), ("--all-pythons",)):
        outputs = all_outputs(tmp_path, shell(home), *options)
        live, replayed = (json.loads(without_free_space(outputs[form])) for form in ("--json", "replay"))
        assert (live.pop("machine")["form"], replayed.pop("machine")["form"]) == ("live", "replayed")
        assert live == replayed, options


def test_a_process_keeps_its_arguments_to_itself(tmp_path: Path) -> None:
    home = tmp_path / "home/alice"
    home.mkdir(parents=True)
    python = plant(home)
    (site_packages(home / "venv") / "latin.pth").unlink()  # Python itself does not start with it
    argv = [str(python), "-c", f"input('{SECRET}')", "--password", SECRET]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=shell(home)) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdout.read(len(SECRET))  # it runs by now
        outputs = all_outputs(tmp_path, shell(home), "--pid", str(process.pid))
        process.stdin.write(b"\n")
        process.stdin.close()
    assert "/home/user1/venv" in outputs["replay"]
    for form, text in outputs.items():
        assert SECRET not in text and "alice" not in text, form


def test_the_collector_leaves_out_the_same(tmp_path: Path) -> None:
    home = tmp_path / "home/alice"
    home.mkdir(parents=True)
    python = plant(home)
    (home / "bin").mkdir()
    os.symlink(python, home / "bin/python3")  # so that the home itself is a prefix
    archive, snapshot = tmp_path / "c.pyz", tmp_path / "s.json"
    archive.write_bytes(pack())
    env = shell(home, PATH=f"{home}/bin:{os.environ['PATH']}")
    subprocess.run([sys.executable, str(archive), str(snapshot)], env=env, check=True, capture_output=True, timeout=120)
    text = snapshot.read_text()
    assert "start.pth" in text and "/home/user1/venv" in text
    for name in (SECRET, *NAMES, "10.11.12.13", NODE):
        assert name not in text, text[max(0, text.find(name) - 200) : text.find(name) + 50]
    run("check", "--replay", str(snapshot), env=env)


def test_a_root_keeps_its_people_and_settings_to_itself(tmp_path: Path) -> None:
    root = rooted_tree.build(tmp_path / "root")
    for name in NAMES:
        rooted_tree.put(root, f"home/{name}/notes.txt", SECRET)
    rooted_tree.put(root, "home/alice/divorce-papers/letter", SECRET)
    rooted_tree.put(root, "home/alice/work/.venv/pyvenv.cfg", f"home = /usr/bin\nversion = 3.11.9\nprompt = {SECRET}\n")
    (root / "home/alice/work/.venv/bin").mkdir()
    os.symlink("/usr/bin/python3", root / "home/alice/work/.venv/bin/python")
    (root / "home/alice/work/.venv/lib/python3.11/site-packages").mkdir(parents=True)
    for name in ("etc/os-release", "proc/cpuinfo", "proc/meminfo"):
        text = (root / name).read_text()
        rooted_tree.put(root, name, text + f"SUPPORT_CODE={SECRET}\nSerial\t: {SECRET}\n")
    outputs = all_outputs(tmp_path, dict(os.environ), "--root", str(root))
    assert "/work/.venv" in outputs["replay"] and "H200" in outputs["replay"]
    for form, text in outputs.items():
        for name in (SECRET, *NAMES, "GPU-11111111"):
            assert name not in text, (form, text[max(0, text.find(name) - 200) : text.find(name) + 50])


@pytest.mark.parametrize(
    ("path", "text", "kept"),
    [
        (
            "/x/a.pth",
            "/opt/x\n# c\nimport os; secret\nimport _virtualenv\n",
            "/opt/x\n#\nimport left_out\nimport _virtualenv\n",
        ),
        ("/x/a.pth", "\ufeffimport os; secret\n", "import left_out\n"),
        ("/x/a.pth", "import sys, types, os;p = os.path.join(secret\n", "import sys, types, os;p = os.path.join(\n"),
        ("/x/a.pth", "\0\1secret", "\0"),
        ("/x/pyvenv.cfg", "HOME = /usr/bin\nprompt = secret\n", "HOME = /usr/bin\n"),
        ("/etc/os-release", "garbage secret", "left_out\n"),
        (
            "/x/sitecustomize.py",
            "# c\nx = 'secret'\nimport apport_python_hook\n",
            "\nleft_out\nimport apport_python_hook\n",
        ),
        ("/x/__editable___m_finder.py", "MAPPING = {'m': '/opt/m'}\nx = 'secret'\n", "MAPPING = {'m': '/opt/m'}\n"),
        ("/proc/7/cmdline", "/opt/v/bin/python\0-Esc\0secret\0", "/opt/v/bin/python\0-Esc\0"),
        ("/proc/7/cmdline", "python\0-Wsecret\0-u\0run.py\0--key\0secret\0", "python\0-W\0-u\0"),
        ("/proc/7/cmdline", "worker --key secret\0", "worker\0"),
        ("/proc/cmdline", "BOOT_IMAGE=/x root=UUID=secret iommu=pt quiet nfsroot=10.0.0.1\n", "iommu=pt\n"),
        ("/proc/self/status", "Name:\tsecret\nUid:\t0\t0\t0\t0\nCapEff:\t00\n", "Uid:\t0\t0\t0\t0\nCapEff:\t00\n"),
        ("/etc/nccl.conf", "# secret\nNCCL_COMM_ID=10.0.0.1:7\nNCCL_ALGO=Ring\n", "NCCL_ALGO=Ring\n"),
        ("/opt/v/bin/activate", "# secret\nVIRTUAL_ENV=/opt/v\nexport TOKEN=secret\n", "VIRTUAL_ENV=/opt/v\n"),
        ("/opt/v/bin/pip", "#!/opt/v/bin/python\n# secret\nimport sys\n", "#!/opt/v/bin/python\n"),
        (
            "/opt/v/bin/pip",
            "#!/bin/sh\n'''exec' '/opt/v/bin/python' \"$0\"\nsecret",
            "#!/bin/sh\n'''exec' '/opt/v/bin/python' \"$0\"\n",
        ),
        (
            "/etc/nvidia-container-runtime/config.toml",
            "# secret\n[nvidia-container-cli]\nenvironment = ['K=secret']\nno-cgroups = true\n",
            "no-cgroups = true\n",
        ),
        (
            "/etc/cdi/nvidia.yaml",
            "kind: nvidia.com/gpu\n# secret\n- env: [A=secret]\n  hostPath: /usr/lib/libcuda.so.580.1\n",
            "kind: nvidia.com/gpu\nhostPath: /usr/lib/libcuda.so.580.1\n",
        ),
        ("/etc/modprobe.d/x.conf", "# secret\nblacklist nouveau\n", "blacklist nouveau\n"),
        ("/proc/4711/comm", "secret\n", "left_out\n"),
        ("/etc/docker/daemon.json", '{"registry-mirrors": ["https://secret"], "runtimes": {}}', '{"runtimes": {}}'),
        ("/x/version.json", '{"cuda": {}}', '{"cuda": {}}'),
        ("/x/a.pth", "", ""),
    ],
    ids=range(24),
)
def test_what_is_kept_of_a_file(path: str, text: str, kept: str) -> None:
    assert essence(path, text) == kept
    assert essence(path, kept) == kept  # a replay's own snapshot


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ('  "Serial Number": "secret", "x": 1', '  "Serial Number": "left_out", "x": 1'),
        ('{"serial": 1234}', '{"serial": "left_out"}'),
        ("        ASIC_SERIAL: 0xsecret\n        OAM_ID: 2", "        ASIC_SERIAL: left_out\n        OAM_ID: 2"),
        ("vendor serial number : secret\nVcc : 3", "vendor serial number : left_out\nVcc : 3"),
        ("| Serial Number: secret       |", "| Serial Number: left_out       |"),
        ("ipaddr:10.1.2.3\nnetmask:255.255.0.0\n", "ipaddr:left_out\nnetmask:left_out\n"),
        ("<serial>secret</serial><name>H200</name>", "<serial>left_out</serial><name>H200</name>"),
        (
            "    Processes\n            Name                          : /opt/secret --token x\n    Product Name : H200\n",
            "    Processes\n            Name                          : left_out\n    Product Name : H200\n",
        ),
        (
            "| NPU     Chip | Process id    | Process name   | Process memory(MB) |\n"
            "| 0       0    | 124528        | secret.py      | 17400              |",
            "| NPU     Chip | Process id    | Process name   | Process memory(MB) |\n"
            "| 0       0    | 124528        | left_out       | 17400              |",
        ),
        (
            "| Processes: \n|  Card  MI  PID     Command Line          MLU Memory |\n|  0     0   123     secret --key a        100 MiB    |",
            "| Processes: \n|  Card  MI  PID     Command Line          MLU Memory |\n|  0     0   123     left_out              100 MiB    |",
        ),
        ("kernel: NVRM: Xid (PCI:0000:17:00): 95, pid=4711, name=secret, x", "kernel: NVRM: Xid (PCI:0000:17:00): 95, pid=0, name=left_out, x"),
        ("Driver Version: 580.95.05  Host SNR Lane0: 3", "Driver Version: 580.95.05  Host SNR Lane0: 3"),
    ],
    ids=range(12),
)  # fmt: skip
def test_what_is_kept_of_a_commands_output(text: str, kept: str) -> None:
    assert output(text) == kept
    assert output(kept) == kept
    assert "secret" not in kept
