"""The rules of Ascend: real pairs of files, invented edges, and that nothing is judged without a row."""

import re
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from infra_doctor.compat.table import Row
from infra_doctor.model.compatibility import Compatibility, Verdict
from infra_doctor.model.component import Component
from infra_doctor.model.plugins import CheckContext
from infra_doctor_probes.ascend.frameworks import CannPythonPackages
from infra_doctor_probes.tables import ascend, ascend_frameworks, cann_python
from infra_doctor_probes.tables.ascend import between, hdk_covers, line_in_range, lists, of_line, release, row_covers
from infra_doctor_probes.tables.common import rows
from tests.support.ascend_trees import capture

TARGET = "target:/opt/venv"


def context(*components: Component, facts: tuple[Any, ...] = ()) -> CheckContext:
    return CheckContext(targets=(), components=components, facts=facts, today=date(2026, 11, 21))


def judged(*components: Component, facts: tuple[Any, ...] = ()) -> dict[str, list[Compatibility]]:
    ctx = context(*components, facts=facts)
    out: dict[str, list[Compatibility]] = {}
    for module in (ascend, ascend_frameworks, cann_python):
        for rule in module.RULES:
            for row in rule.judge(ctx):
                assert row.rule == rule.id
                assert row.source
                assert row.detail
                out.setdefault(rule.id, []).append(row)
    return out


def one(rule: str, *components: Component, facts: tuple[Any, ...] = ()) -> Compatibility:
    (row,) = judged(*components, facts=facts)[rule]
    return row


def cann(version: str | None, **attributes: Any) -> Component:
    return Component(
        key=f"cann:/a/{version}", kind="cann", name="CANN", version=version, attributes={"in_use": True, **attributes}
    )


def driver(version: str | None, **attributes: Any) -> Component:
    return Component(key="driver:ascend", kind="driver", name="ascend", version=version, attributes=attributes)


def firmware(version: str | None, **attributes: Any) -> Component:
    return Component(key="firmware:/a", kind="firmware", name="Ascend firmware", version=version, attributes=attributes)


def wheel(name: str, version: str, **attributes: Any) -> Component:
    return Component(
        key=f"wheel:{name}@/opt/venv", kind="wheel", name=name, version=version, target=TARGET, attributes=attributes
    )


def of_file(name: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in capture(name).split())


def real_driver(name: str) -> Component:
    lines = of_file(f"file_driver_version.info__{name}.txt")
    return driver(
        lines["Version"], inner_version=lines["Innerversion"], accepts_inner=lines["compatible_version"],
        accepts_firmware=lines["compatible_version_fw"], package_version=lines.get("package_version", ""),
    )  # fmt: skip


def real_cann(name: str) -> Component:
    lines = of_file(name)
    return cann(lines["version"], inner_version=lines["innerversion"], accepts_inner=lines["compatible_version"])


# -- CANN and the driver ------------------------------------------------------------------------------------------

CANN_FILES = {
    "8.0.0": "file_ascend-toolkit_latest_install.info__cann-8.0.0.txt",
    "8.2.RC1": "file_ascend-toolkit_latest_install.info__cann-8.2.RC1.txt",
    "8.5.0": "file_cann_aarch64-linux_ascend_toolkit_install.info__mindcluster-doc-L1267.txt",
}


@pytest.mark.parametrize(
    ("cann_version", "driver_name", "verdict", "why"),
    [
        ("8.2.RC1", "25.0.rc1.1", Verdict.COMPATIBLE, "The toolkit's compatible_version lists the driver"),
        ("8.0.0", "25.0.rc1.1", Verdict.COMPATIBLE, "The toolkit's|The driver's compatible_version"),
        ("8.0.0", "24.1.rc2.2", Verdict.COMPATIBLE, "lists the driver"),
        ("8.5.0", "25.0.rc1.1", Verdict.COMPATIBLE, "lists the driver"),
        ("8.5.0", "24.1.rc2.2", Verdict.COMPATIBLE, "lists the driver"),
        ("8.5.0", "mindcluster-doc-L1230", Verdict.COMPATIBLE, "lists the driver"),
    ],
)  # fmt: skip
def test_real_pairs(cann_version: str, driver_name: str, verdict: Verdict, why: str) -> None:
    row = one("cann-driver", real_cann(CANN_FILES[cann_version]), real_driver(driver_name))
    assert row.verdict is verdict
    assert re.search(why, row.detail)


TOOLKIT = {"inner_version": "V100R001C22SPC001B200", "accepts_inner": "[V100R001C18],[V100R001C20,V100R001C21]"}


@pytest.mark.parametrize(
    ("inner", "accepts", "verdict"),
    [
        ("V100R001C18SPC1", "[V100R001C10]", Verdict.COMPATIBLE),  # the toolkit's word
        ("V100R001C17SPC1", "[V100R001C22]", Verdict.COMPATIBLE),  # the driver's word
        ("V100R001C20SPC1", "[V100R001C10]", Verdict.COMPATIBLE),  # within a range
        ("V100R001C13SPC1", "[V100R001C10],[V100R001C13]", Verdict.INCOMPATIBLE),  # nobody's, older
        ("V100R001C27SPC1", "[V100R001C25],[V100R001C27]", Verdict.UNKNOWN),  # nobody's, newer
        ("V100R001C13SPC1", "", Verdict.UNKNOWN),  # one side says nothing
        ("", "[V100R001C10]", Verdict.UNKNOWN),
        ("V200R001C20SPC1", "[V200R001C20]", Verdict.UNKNOWN),  # another generation, newer by number
        ("rubbish", "[rubbish]", Verdict.UNKNOWN),
    ],
)
def test_own_files(inner: str, accepts: str, verdict: Verdict) -> None:
    row = one("cann-driver", cann("7.9.9", **TOOLKIT), driver("22.9", inner_version=inner, accepts_inner=accepts))
    assert row.verdict is verdict, row.detail


@pytest.mark.parametrize(
    ("cann_version", "driver_version", "verdict"),
    [
        ("9.1.0", "26.0.rc1", Verdict.COMPATIBLE), ("9.1.0", "25.0.rc1.1", Verdict.INCOMPATIBLE),
        ("9.1.5", "25.2.1", Verdict.COMPATIBLE), ("8.2.RC1", "25.0.rc1.1", Verdict.COMPATIBLE),
        ("8.2.RC1", "24.1.rc2", Verdict.UNKNOWN), ("8.2.RC1", "23.0.6", Verdict.UNKNOWN),
        ("8.0.0", "24.1.rc3", Verdict.COMPATIBLE), ("8.0.0", "23.0.7", Verdict.COMPATIBLE),
        ("9.2.0", "26.1.0", Verdict.UNKNOWN), ("8.5.0", "25.5.0", Verdict.UNKNOWN),  # inferred by order: a hint at most
        ("8.5.2", "25.5.1", Verdict.COMPATIBLE), ("10.0.0", "30.0", Verdict.UNKNOWN), ("8.3.RC1", "25.3.rc1", Verdict.UNKNOWN),
    ],
)  # fmt: skip
def test_published_pairs(cann_version: str, driver_version: str, verdict: Verdict) -> None:
    assert one("cann-driver", cann(cann_version), driver(driver_version)).verdict is verdict


def test_no_verdict_where_files_and_table_contradict() -> None:
    both = {"inner_version": "V100R001C26B1", "accepts_inner": "[V100R001C21]"}
    row = one("cann-driver", cann("9.1.0", **both), driver("25.0.rc1.1", inner_version="V100R001C21SPC002"))
    assert row.verdict is Verdict.UNKNOWN
    assert "contradict" in row.detail
    assert "release" in row.source


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (cann("9.1.0", version_conflict="9.1.0 8.5.0"), driver("25.0.rc1")), (cann(None), driver("25.0.rc1")),
        (cann("9.1.0"), driver(None)), (cann("9.1.0"), driver("25.0.rc1", running_version="26.1.0")),
    ],
)  # fmt: skip
def test_doubtful_versions_are_not_judged(left: Component, right: Component) -> None:
    assert one("cann-driver", left, right).verdict is Verdict.UNKNOWN


def test_only_what_is_in_use() -> None:
    assert "cann-driver" not in judged(cann("9.1.0", in_use=False), driver("25.0.rc1"))
    assert judged(cann("9.1.0")) == {}


def test_uncertain_rows_give_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    doubtful = tuple(Row(r.cells, r.source, certain=False) for r in rows("ascend_cann_hdk"))
    monkeypatch.setattr(ascend, "rows", lambda name: doubtful)
    for cann_version, driver_version in (("9.1.0", "25.0.rc1.1"), ("9.1.0", "26.0.rc1"), ("8.2.RC1", "25.2.0")):
        assert one("cann-driver", cann(cann_version), driver(driver_version)).verdict is Verdict.UNKNOWN


def test_every_cell_of_the_table_is_understood() -> None:
    for row in rows("ascend_cann_hdk"):
        if not row.certain or row["relation"] == "required":
            continue
        version = re.sub(r"\.X$", ".0", row["cann"])
        assert row_covers(row["cann"], version), row.cells
        names = [re.sub(r"\.x$", ".7", p.strip().lower().removeprefix("hdk ")) for p in re.split("[/,]", row["hdk"])]
        for name in names:
            assert hdk_covers(row["hdk"], name.replace(" series", "9")), row.cells
        assert not hdk_covers(row["hdk"], "19.0.1")


def test_small_parts() -> None:
    assert release("V100R001C22SPC001B200") == (100, 1, 22)
    assert release("8.2") is None
    assert lists("[V100R001C13,V100R001C19],[V100R001C30]", (100, 1, 15))
    assert not lists("[V100R001C13],[V100R001C19]", (100, 1, 15))
    assert hdk_covers("25.0.RC1", "25.0.rc1.1")
    assert not hdk_covers("25.0.RC1", "25.0.rc11")
    assert not hdk_covers("25.5.1", "25.5.10")


# -- firmware -----------------------------------------------------------------------------------------------------


def real_firmware(name: str) -> Component:
    lines = of_file(f"file_firmware_version.info__{name}.txt")
    return firmware(
        lines["Version"], accepts_driver=lines["compatible_version_drv"], package_version=lines["package_version"]
    )


NEW_FIRMWARE, OLD_FIRMWARE = "7.7.0.1.231", "faultdiag-a1_cat-usr-local-ascend-firmware"


@pytest.mark.parametrize(
    ("driver_name", "firmware_name"),
    [
        ("25.0.rc1.1", NEW_FIRMWARE), ("24.1.rc2.2", NEW_FIRMWARE), ("mindcluster-doc-L1230", OLD_FIRMWARE),
        ("25.0.rc1.1", OLD_FIRMWARE),
    ],
)  # fmt: skip
def test_real_firmware(driver_name: str, firmware_name: str) -> None:
    assert one("driver-firmware", real_driver(driver_name), real_firmware(firmware_name)).verdict is Verdict.COMPATIBLE


@pytest.mark.parametrize(
    ("driver_more", "firmware_more", "verdict"),
    [
        ({"accepts_firmware": "[7.0.0,7.2.99]"}, {"accepts_driver": "[26.0,26.0.]"}, Verdict.INCOMPATIBLE),
        ({"accepts_firmware": "[7.0.0,7.2.99],[8.0,8.1]"}, {"accepts_driver": "[26.0,26.0.]"}, Verdict.COMPATIBLE),
        ({"accepts_firmware": "[7.0.0,7.2.99]"}, {"accepts_driver": "[24.1,24.1.]"}, Verdict.COMPATIBLE),
        ({"accepts_firmware": "[7.0.0,7.2.99]"}, {"accepts_driver": "[26.0,26.0.]", "package_version": "24.1.rc1"}, Verdict.COMPATIBLE),
        ({"accepts_firmware": "[7.0.0,7.2.99]"}, {}, Verdict.UNKNOWN), ({}, {}, Verdict.UNKNOWN),
        ({"accepts_firmware": "?"}, {"accepts_driver": "[26.0,26.0.]"}, Verdict.UNKNOWN),
    ],
)  # fmt: skip
def test_firmware(driver_more: dict[str, str], firmware_more: dict[str, str], verdict: Verdict) -> None:
    row = one("driver-firmware", driver("24.1.rc1", **driver_more), firmware("8.0.5.1", **firmware_more))
    assert row.verdict is verdict, row.detail


def test_unknown_firmware() -> None:
    assert one("driver-firmware", driver(None), firmware("7.7")).verdict is Verdict.UNKNOWN
    assert one("driver-firmware", driver("25.0"), firmware(None)).verdict is Verdict.UNKNOWN
    assert judged(firmware("7.7")) == {}


def test_ranges() -> None:
    assert between("7.7.0.1.231", ("7.0.0", "7.7.99"))
    assert not between("7.8.0.1", ("7.0.0", "7.7.99"))
    assert not between("x", ("7.0.0", "7.7.99"))
    assert of_line("23.0.7", ("23.0.0", "23.0.0."))
    assert not of_line("23.1.0", ("23.0.0", "23.0.0."))


# -- packages -----------------------------------------------------------------------------------------------------


def package(name: str, number: str | None, requires: str = "") -> Component:
    return Component(
        key=f"cann-package:/a/{name}", kind="cann-package", name=name, version="8.2.T2",
        attributes={"internal_version": number, "requires": requires or None, "cann": "cann:/a/8.2.T2"},
    )  # fmt: skip


def test_packages_of_a_capture_fit() -> None:
    text = capture("file_ascend-toolkit_compiler_version.info__cann-8.2.T2.txt")
    required = re.findall(r"required_package_(\w+)_version=\"([^\"]+)\"", text)
    compiler = package("compiler", "7.8.T5.0.B028", "; ".join(f"{n} {v}" for n, v in required))
    others = [package(n, "7.8.T5.0.B028") for n, _ in required]
    row = one("cann-packages", cann("8.2.T2"), compiler, *others)
    assert row.verdict is Verdict.COMPATIBLE
    assert row.right == "cann:/a/8.2.T2"
    wrong = [replace(o, attributes={**o.attributes, "internal_version": "8.2.0.0.201"}) for o in others]
    found = judged(cann("8.2.T2"), compiler, *wrong)["cann-packages"]
    assert len(found) == len(required)
    assert {r.verdict for r in found} == {Verdict.INCOMPATIBLE}


@pytest.mark.parametrize(
    ("version", "spec", "holds"),
    [
        ("7.8.T5.0.B028", "7.8", True), ("8.2.0.0.201", ">=7.6, <=8.2", True), ("7.6.T13.0.B094", ">=7.6, <=7.8", True),
        ("7.5.0.1.129", ">=7.6, <=7.8", False), ("8.3.0.0.1", ">=7.6, <=8.2", False), ("8.2.0", "8.3", False),
        ("8.2.0", "~8", None), ("8.2.0", "", None), ("B028", "8.2", None), ("8.2.0", ">8.1,<9", True),
    ],
)  # fmt: skip
def test_line_in_range(version: str, spec: str, holds: bool | None) -> None:
    assert line_in_range(version, spec) is holds


def test_packages_that_are_not_there_or_cannot_be_read() -> None:
    assert "cann-packages" not in judged(cann("8.2.T2"), package("compiler", "7.8", "runtime 7.8"))
    unreadable = judged(cann("8.2.T2"), package("compiler", "7.8", "runtime ~7"), package("runtime", "7.8"))
    assert [r.verdict for r in unreadable["cann-packages"]] == [Verdict.UNKNOWN]


# -- frameworks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("npu", "torch", "verdict"),
    [
        ("2.7.1.post11", "2.7.1+cpu", Verdict.COMPATIBLE), ("2.1.0.rc1", "2.1.0", Verdict.COMPATIBLE),
        ("2.9.0", "2.9.1", Verdict.INCOMPATIBLE), ("2.2.0", "2.3.0", Verdict.INCOMPATIBLE),
        ("2.5.1.post1.dev20250619", "2.5.1", Verdict.COMPATIBLE), ("2.14", "2.14.0", Verdict.COMPATIBLE),
        ("unknown", "2.9.0", Verdict.UNKNOWN), ("2.9.0+git1234", "2.9.0+cu128", Verdict.COMPATIBLE),
    ],
)  # fmt: skip
def test_torch(npu: str, torch: str, verdict: Verdict) -> None:
    assert one("torch-npu-torch", wheel("torch-npu", npu), wheel("torch", torch)).verdict is verdict


def test_torch_of_another_environment_is_not_meant() -> None:
    other = Component(key="wheel:torch@/b", kind="wheel", name="torch", version="2.8.0", target="target:/b")
    assert "torch-npu-torch" not in judged(wheel("torch-npu", "2.9.0"), other)


def test_every_row_of_the_pairs_is_compatible_with_itself() -> None:
    for row in rows("ascend_torch_npu"):
        found = one("cann-torch-npu", wheel("torch-npu", row["torch_npu"]), cann(row["cann"]))
        assert found.verdict is Verdict.COMPATIBLE, row.cells


@pytest.mark.parametrize(
    ("npu", "version", "verdict"),
    [
        ("2.9.0", "8.5.2", Verdict.COMPATIBLE), ("2.9.0", "9.2.0", Verdict.COMPATIBLE),  # TorchNPU 7.3.0: the window
        ("2.13.0", "8.5.0", Verdict.COMPATIBLE), ("2.9.0", "8.3.RC1", Verdict.UNKNOWN), ("2.9.0", "9.3.0", Verdict.UNKNOWN),
        ("2.6.0", "8.5.0", Verdict.UNKNOWN), ("2.99.0", "9.2.0", Verdict.UNKNOWN), ("2.9.0.dev1", "8.5.0", Verdict.UNKNOWN),
    ],
)  # fmt: skip
def test_window(npu: str, version: str, verdict: Verdict) -> None:
    assert one("cann-torch-npu", wheel("torch-npu", npu), cann(version)).verdict is verdict


def test_torch_npu_with_doubtful_cann() -> None:
    row = one("cann-torch-npu", wheel("torch-npu", "2.9.0"), cann("8.5.0", version_conflict="8.5.0 8.2.RC1"))
    assert row.verdict is Verdict.UNKNOWN


def test_mindspore_rows_are_hints() -> None:
    row = one("mindspore-cann", wheel("mindspore", "2.7.2"), cann("8.5.0"))
    certain = next(r for r in rows("mindspore_cann") if r["mindspore"] == "2.7.2").certain
    assert row.verdict is (Verdict.COMPATIBLE if certain else Verdict.UNKNOWN)
    assert one("mindspore-cann", wheel("mindspore", "2.7.2"), cann("9.2.0")).verdict is Verdict.UNKNOWN
    assert one("mindspore-cann", wheel("mindspore", "1.0.0"), cann("9.2.0")).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("version", "of_cann", "verdict"),
    [
        ("1.22.1", "8.2.RC1", Verdict.COMPATIBLE), ("1.24.4", "8.5.0", Verdict.COMPATIBLE), ("1.24.4", "8.2.RC1", Verdict.UNKNOWN),
        ("1.23.2", "8.2.RC1", Verdict.UNKNOWN), ("1.99.0", "8.5.0", Verdict.UNKNOWN),
    ],
)  # fmt: skip
def test_onnxruntime(version: str, of_cann: str, verdict: Verdict) -> None:
    assert one("ort-cann", wheel("onnxruntime-cann", version), cann(of_cann)).verdict is verdict


# -- Python packages ----------------------------------------------------------------------------------------------

GOOD = {
    "attrs": "25.3.0", "cython": "3.1.0", "numpy": "1.24.4", "decorator": "4.4.0", "sympy": "1.5.1", "cffi": "1.12.3",
    "pyyaml": "6.0", "pathlib2": "2.3.7", "psutil": "7.0", "protobuf": "3.20.3", "scipy": "1.13", "requests": "2.32",
    "absl-py": "2.3",
}  # fmt: skip


def packages(**changed: str | None) -> CannPythonPackages:
    return CannPythonPackages(target=TARGET, consumers=("wheel:x",), packages=tuple({**GOOD, **changed}.items()))


def test_python_packages_in_range() -> None:
    row = one("cann-python-packages", cann("8.2.RC1"), facts=(packages(),))
    assert (row.verdict, row.right) == (Verdict.COMPATIBLE, TARGET)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"decorator": None}, "decorator >=4.4.0; it is not installed"), ({"attrs": None}, "attrs; it is not installed"),
        ({"numpy": "2.1.0"}, "numpy >=1.19.2; <=1.24; 2.1.0 is installed"), ({"protobuf": "4.25.0"}, "protobuf 3.20.x; 4.25.0"),
    ],
)  # fmt: skip
def test_python_packages_out_of_range(changed: dict[str, str | None], said: str) -> None:
    row = one("cann-python-packages", cann("8.2.RC1"), facts=(packages(**changed),))
    assert row.verdict is Verdict.INCOMPATIBLE
    assert said in row.detail


@pytest.mark.parametrize(
    "version", ["8.2.RC2", "8.2.0", "8.5.0", "9.0.0", "9.2.0", "8.1.RC1", "8.2.RC1.alpha001", None]
)
def test_limits_of_one_version_are_never_applied_to_another(version: str | None) -> None:
    broken = packages(numpy="2.1.0", decorator=None)
    assert "cann-python-packages" not in judged(cann(version), facts=(broken,))
    assert "cann-python-packages" not in judged(cann("8.2.RC1", version_conflict="8.2.RC1 9.0.0"), facts=(broken,))
