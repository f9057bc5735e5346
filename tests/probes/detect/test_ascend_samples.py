"""Every public capture of an Ascend machine is read by its parser, or refused with a reason that says why."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from infra_doctor_probes.ascend.ascend_dmi import parse_flops
from infra_doctor_probes.ascend.cann import configured_versions
from infra_doctor_probes.ascend.files import brackets, parse_pairs, version_of
from infra_doctor_probes.ascend.hccn_tool import link_status, optical, parse_hccn
from infra_doctor_probes.ascend.npu_smi import parse_npu_smi
from infra_doctor_probes.ascend.npu_smi_fields import cards, ecc_counts, fault_codes, parse_fields
from infra_doctor_probes.ascend.npu_smi_map import parse_map, parse_topology, without_hccs
from infra_doctor_probes.ascend.session import dcmi_chip
from tests.support.ascend_trees import FOLDER, capture

# A reader gives (what it read, "") or ("", why it refuses).
Read = tuple[str, str]


def npu_smi(text: str) -> Read:
    found = parse_npu_smi(text)
    return (f"{len(found.chips)} chips" if found.chips else "", found.problem or found.error)


def fields(text: str) -> Read:
    found = parse_fields(text)
    return (" ".join(n for block in found.blocks for n, _ in block), found.problem)


def hccn(option: str) -> Callable[[str], Read]:
    def read(text: str) -> Read:
        found = parse_hccn(option, text)
        return (" ".join(n for n, _ in found.fields), found.problem)

    return read


def chip_map(text: str) -> Read:
    found = parse_map(text)
    return (f"{len(found.chips)} chips" if found.chips else "", found.problem)


def topology(text: str) -> Read:
    found = parse_topology(text)
    return (" ".join(found.npus), found.problem)


def flops(text: str) -> Read:
    found = parse_flops(text)
    return (f"{len(found.rows)} rows" if found.rows else "", found.problem)


def pairs(text: str) -> Read:
    found = parse_pairs(text)
    version = version_of(found, "version") or version_of(found, "Version") or version_of(found, "version_dir")
    return (
        version or " ".join(found.keys() & {"Driver_Install_Path_Param", "UserName"}),
        "" if found else "no pair in it",
    )


def configuration(text: str) -> Read:
    return (" ".join(configured_versions(text)), "")


def colons(text: str) -> Read:
    found = parse_pairs(text, ":")
    return (found.get("Ascend-cann-atb") or found.get("Ascend-mindie") or "", "no such line")


def detector(text: str) -> Read:
    """Another program's answer out of DCMI: the same names, under its own keys."""
    chips = [
        dcmi_chip({
            "card": d["appendix"]["card_id"], "device": d["appendix"]["device_id"], "name": d["name"],
            "pci": d["appendix"]["bdf"], "memory_bytes": d["memory"] << 20, "temperature_c": d["temperature"],
            "power_w": d["power_used"],
        })
        for d in json.loads(text)
    ]  # fmt: skip
    return (f"{len(chips)} chips" if all(c is not None and c.address and c.reading for c in chips) else "", "")


def refused(reason: str) -> Callable[[str], Read]:
    return lambda text: ("", reason)


# Prefix of a capture's name -> its reader. The longest prefix counts.
READERS: dict[str, Callable[[str], Read]] = {
    "npu-smi-info__": npu_smi,
    "npu-smi-info-l__": fields,
    "npu-smi-info-m__": chip_map,
    "npu-smi-info-t-topo__": topology,
    "npu-smi-info-t-": fields,
    **{f"hccn_tool-{o}__": hccn(o) for o in (
        "link", "link_stat", "net_health", "optical", "ip", "fec", "stat", "hw_stats", "route", "lldp", "ping", "status", "tls",
    )},
    "ascend-dmi-f__": flops,
    "file_": pairs,
    "file_ascend-toolkit_latest_version.cfg__": configuration,
    "file_nnal_atb_latest_version.info__": colons,
    "file_mindie_latest_version.info__": colons,
    "api-detect-json__": detector,
    "api-topology-json__": refused("another detector's own distances: infra-doctor reads npu-smi's topology"),
    "lspci__": refused("the bus is read from /sys; tests build it from this list"),
    "pip-list__": refused("packages are read from their metadata"),
    "layout__": refused("a listing for people; tests build the layout from it"),
    "set_env.sh__": refused("set_env.sh is looked for and never run"),
    "INDEX": refused("the list of the captures"),
}  # fmt: skip
# Captures of which nothing can be read, with a word of the reason.
REFUSED = {
    "hccn_tool-lldp__": "nothing that is judged", "hccn_tool-ping__": "nothing that is judged",
    "hccn_tool-route__": "nothing that is judged", "hccn_tool-status__": "nothing that is judged",
    "hccn_tool-tls__": "nothing that is judged", "npu-smi-info__err_dcmi-8005": "-8005",
    "npu-smi-info__err_dcmi-8020": "-8020", "npu-smi-info__23.0.rc3.0_masked": "unknown columns",
    "npu-smi-info__24.1.rc1_masked": "without chips", "npu-smi-info-t-board__faultdiag-a1": "no list of fields",
    "api-topology-json__": "topology", "lspci__": "/sys", "pip-list__": "metadata", "layout__": "listing",
    "set_env.sh__": "never run", "INDEX": "list of the captures",
}  # fmt: skip


def test_every_capture_is_read_or_refused_with_a_reason() -> None:
    paths = sorted(FOLDER.glob("*"))
    if not paths:
        pytest.skip("public captures not here")
    assert len(paths) >= 97
    for path in paths:
        prefix = max((p for p in READERS if path.name.startswith(p)), key=len, default="")
        assert prefix, f"{path.name}: no reader"
        read, reason = READERS[prefix](path.read_text(encoding="utf-8"))
        expected = next((word for name, word in REFUSED.items() if path.name.startswith(name)), None)
        if expected is None:
            assert read, (path.name, reason)
        else:
            assert not read, path.name
            assert expected in reason, (path.name, reason)


def test_faults_of_a_chip() -> None:
    alarm = parse_fields(capture("npu-smi-info-t-health__faultdiag-a1_i-0-c-0-t-health.txt"))
    assert alarm.value("Health Status") == "Alarm"
    assert fault_codes(alarm) == ("A4025021", "8C03A000", "8C084E00")
    well = parse_fields(capture("npu-smi-info-t-health__faultdiag-b1_i-0-c-0-t-health.txt"))
    assert (well.value("Health Status"), fault_codes(well), well.value("Error Code")) == ("OK", (), None)
    assert fault_codes(parse_fields("NPU ID : 1\n")) is None


def test_counters_of_memory() -> None:
    hbm, ddr = sorted(
        ecc_counts(parse_fields(capture("npu-smi-info-t-ecc__mindcluster-doc-L982.txt"))),
        key=lambda c: c.memory != "HBM",
    )
    assert (hbm.memory, hbm.double_bit_count, hbm.single_bit_total, hbm.double_bit_isolated_pages) == ("HBM", 0, 0, 0)
    assert (ddr.memory, ddr.single_bit_pages_to_isolate) == ("DDR", None)
    assert ecc_counts(parse_fields(capture("npu-smi-info-t-ecc__mindcluster-doc-L1947.txt"))) == ()


def test_board() -> None:
    card = parse_fields(capture("npu-smi-info-t-board__faultdiag-b1_i-0-t-board.txt"))
    assert (card.value("Firmware Version"), card.value("Compatibility")) == ("7.1.0.7.220", "OK")
    assert card.value("Class ID") is None
    assert card.number("Chip Count") == 1
    missing = parse_fields(capture("npu-smi-info-t-board__faultdiag-a1_i-0-t-board.txt"))
    assert missing.blocks == ()


def test_blocks_of_a_list() -> None:
    common = parse_fields(capture("npu-smi-info-t-common__arthurchiao-910B_L368_325.txt"))
    assert common.value("Temperature(C)") == "46"
    assert dict(common.blocks[1])["Temperature(C)"] == "38"  # the controller
    assert common.number("NPU Real-time Power(W)") == 93
    assert cards(parse_fields(capture("npu-smi-info-l__16npu_910C.txt"))) == (0, 1, 2)


def test_ids_and_topology() -> None:
    found = parse_map(capture("npu-smi-info-m__faultdiag-b1_m.txt"))
    assert [(c.npu_id, c.chip_id, c.logic_id) for c in found.chips] == [(n, 0, n) for n in range(8)]
    assert {c.name for c in found.chips} == {"Ascend 910A"}
    square = parse_topology(capture("npu-smi-info-t-topo__arthurchiao-910B_L316_323.txt"))
    assert square.npus == tuple(f"NPU{n}" for n in range(8))
    assert all(row[n] == "X" for n, row in enumerate(square.rows))
    assert square.affinity[5] == "48-71"
    assert without_hccs(square) == ()


def test_one_npu_without_hccs() -> None:
    text = capture("npu-smi-info-t-topo__arthurchiao-910B_L316_323.txt")
    rows = []
    for line in text.splitlines():
        cells = line.split()
        if line.startswith("NPU") and "Affinity" not in line:
            lost = [c if c == "X" else "SYS" for c in cells[1:9]]
            others = [c if n != 3 or c == "X" else "SYS" for n, c in enumerate(cells[1:9])]
            cells[1:9] = lost if cells[0] == "NPU3" else others
        rows.append("  ".join(cells))
    assert without_hccs(parse_topology("\n".join(rows))) == ("NPU3",)
    pcie = text.replace("HCCS", "SYS ")
    assert without_hccs(parse_topology(pcie)) == ()


def test_port() -> None:
    assert link_status(parse_hccn("link", capture("hccn_tool-link__mindcluster-doc-L763.txt"))) == "UP"
    health = parse_hccn("net_health", capture("hccn_tool-net_health__faultdiag-b1_usr-local-ascend-driver-tools.txt"))
    assert health.value("net health status") == "Socket failed"
    changes = parse_hccn("link_stat", capture("hccn_tool-link_stat__faultdiag-a1_usr-local-ascend-driver-tools.txt"))
    assert changes.value("link up count") == "2"
    assert [status for _, status in changes.changes] == ["DOWN", "UP", "DOWN", "UP"]
    errors = parse_hccn("stat", capture("hccn_tool-stat__faultdiag-a2_usr-local-ascend-driver-tools.txt"))
    assert errors.number("roce_tx_err_pkt_num") == 77


def test_optical_module() -> None:
    found = optical(parse_hccn("optical", capture("hccn_tool-optical__faultdiag-b1_usr-local-ascend-driver-tools.txt")))
    assert found.present is False
    assert found.lanes_below == ("Rx Power1 0.0054 mW",)
    assert found.temperature_c == 47.0


def test_measured_compute() -> None:
    (row,) = parse_flops(capture("ascend-dmi-f__single-device_orangepi-class.txt")).rows
    assert (row.device, row.precision, row.flop_per_s) == ("0", "FP16", pytest.approx(88.475e12))
    assert (row.duration_ns, row.power_w) == (14_222_000_000, pytest.approx(85.2, abs=0.01))
    (every,) = parse_flops(capture("ascend-dmi-f__all-devices_doc.txt")).rows
    assert (every.device, every.flop_per_s) == ("all", pytest.approx(2509.719e12))


def test_readings_of_a_table() -> None:
    first = parse_npu_smi(capture("npu-smi-info__1.8.21_910A_8card_driver20.2.2.spc001.txt")).chips[0].reading
    assert first is not None
    assert (first.power_w, first.temperature_c, first.aicore_percent) == (68.6, 36, 0)
    assert (first.memory_used_bytes, first.memory_bytes) == (0, 32768 << 20)
    second = parse_npu_smi(capture("npu-smi-info__25.2.0_Ascend910_nputop_tests-L95.txt")).chips
    readings = [c.reading for c in second if c.reading is not None]
    assert [r.power_w for r in readings] == [162.8, None, 167.1, None]
    assert readings[3].processes == ((990711, 7746 << 20),)
    assert readings[0].processes == ()
    assert brackets("[7.0.0,7.7.99]") == [("7.0.0", "7.7.99")]


def test_firmware_files_are_read_by_the_driver_probe() -> None:
    path: Path = FOLDER / "file_firmware_version.info__7.7.0.1.231.txt"
    if not path.is_file():
        pytest.skip("public captures not here")
    assert parse_pairs(path.read_text(encoding="utf-8"))["package_version"] == "25.0.rc1.1"
