"""The DCMI session over a stand-in library in C, built here, and over libraries that fail."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra_doctor_probes.children import dcmi

COMPILER = shutil.which("gcc") or shutil.which("cc")

# Two cards; the second has an NPU and a controller. Structures are written out anew, so that their layout is checked.
STAND_IN = r"""
#include <string.h>
#ifndef INIT
#define INIT 0
#endif
struct chip { unsigned char type[32], name[32], ver[32]; unsigned int cores; unsigned char npu[32]; };
struct pcie { unsigned int v, sv, d, sd; int domain; unsigned int bus, dev, fn; unsigned char reserve[32]; };
struct hbm { unsigned long long size; unsigned int freq; unsigned long long used; int temp; unsigned int util; };
struct ddr { unsigned long long size, avail; unsigned int freq; unsigned long p, t, f; unsigned int u; unsigned char r[60]; };
struct ecc { int on; unsigned int count[8]; };
struct held { int pid; unsigned long bytes; };
struct board { unsigned int id, pcb, bom, slot; };
_Static_assert(sizeof(struct pcie) == 64, "as the header says");

int dcmi_init(void) { return INIT; }
int dcmi_get_card_list(int *count, int *list, int len) { if (len < 2) return -8001; *count = 2; list[0] = 0; list[1] = 5; return 0; }
int dcmi_get_device_num_in_card(int card, int *n) { *n = card == 5 ? 2 : 1; return 0; }
int dcmi_get_device_type(int card, int dev, int *type) { *type = dev == 1 ? 1 : 0; return 0; }
int dcmi_get_device_chip_info_v2(int card, int dev, struct chip *c) {
    if (card == 5) return -8255;
    strcpy((char *)c->type, "Ascend"); strcpy((char *)c->name, "910B2"); c->cores = 24; strcpy((char *)c->npu, "Ascend910B2");
    return 0; }
int dcmi_get_device_chip_info(int card, int dev, struct chip *c) { strcpy((char *)c->name, "310P3"); c->cores = 8; return 0; }
int dcmi_get_device_pcie_info_v2(int card, int dev, struct pcie *p) {
    memset(p, 0, sizeof *p); p->v = 0x19e5; p->d = 0xd802; p->bus = card == 5 ? 0x81 : 0xc1; return 0; }
int dcmi_get_device_health(int card, int dev, unsigned int *h) { *h = card == 5 ? 2 : 0; return 0; }
int dcmi_get_device_hbm_info(int card, int dev, struct hbm *h) {
    if (card == 5) return -8255;
    h->size = 65536; h->used = 3363; h->temp = 47; h->util = 12; return 0; }
int dcmi_get_device_errorcode_v2(int card, int dev, int *count, unsigned int *codes, unsigned int len) {
    if (len < 2) return -8001;
    *count = card == 5 ? 2 : 0; codes[0] = 0x80E01801; codes[1] = 0x8C084E00; return 0; }
int dcmi_get_device_temperature(int card, int dev, int *t) { *t = card == 5 ? -3 : 44; return 0; }
int dcmi_get_device_power_info(int card, int dev, int *p) { if (card == 5) return -8255; *p = 937; return 0; }
int dcmi_get_device_utilization_rate(int card, int dev, int input, unsigned int *rate) { *rate = input == 2 ? 81 : 0; return 0; }
int dcmi_get_device_ecc_info(int card, int dev, int type, struct ecc *e) {
    if (card == 5 || type == 0) { e->on = 0; return 0; }
    if (type != 2) return -8001;
    e->on = 1; e->count[0] = 3; e->count[1] = 1; e->count[2] = 30; e->count[3] = 10;
    e->count[4] = 2; e->count[5] = 64; e->count[6] = 5; e->count[7] = 6; return 0; }
int dcmi_get_device_network_health(int card, int dev, int *r) { *r = card == 5 ? 3 : 0; return 0; }
int dcmi_get_device_resource_info(int card, int dev, struct held *h, int *n) {
    if (*n < 1) return -8001;
    if (card == 5) { *n = 99999; return -8001; }
    h[0].pid = 990711; h[0].bytes = 8122269696UL; *n = 1; return 0; }
int dcmi_get_device_board_info(int card, int dev, struct board *b) { b->id = 0x30; b->slot = 9; return card == 5 ? -8255 : 0; }
int dcmi_get_device_memory_info_v3(int card, int dev, struct ddr *m) { m->size = 44280; return 0; }
int dcmi_get_device_logic_id(int *logic, int card, int dev) { *logic = card == 5; return 0; }
int dcmi_get_device_phyid_from_logicid(unsigned int logic, unsigned int *phy) { *phy = logic + 6; return 0; }
int dcmi_get_driver_version(char *buffer, unsigned int size) { strncpy(buffer, "25.2.0", size); return 0; }
int dcmi_get_dcmi_version(char *buffer, int size) { strncpy(buffer, "v1.0", (unsigned)size); return 0; }
"""
STAND_IN_V2 = r"""
#include <string.h>
struct chip { unsigned char type[32], name[32], ver[32]; unsigned int cores; unsigned char npu[32]; };
int dcmiv2_init(void) { return 0; }
int dcmiv2_get_device_list(int *list, int *count, int len) { *count = 1; list[0] = 9; return 0; }
int dcmiv2_get_device_chip_info(int id, struct chip *c) { strcpy((char *)c->name, "950DT"); return 0; }
int dcmiv2_get_chip_phy_id_by_dev_id(unsigned int id, unsigned int *phy) { *phy = id + 1; return 0; }
"""


def build(folder: Path, source: str, *flags: str) -> Path:
    if COMPILER is None:
        pytest.skip("no C compiler here")
    (folder / "stand_in.c").write_text(source, encoding="utf-8")
    library = folder / "libdcmi.so"
    command = [COMPILER, "-shared", "-fPIC", *flags, "-o", str(library), str(folder / "stand_in.c")]
    subprocess.run(command, check=True, capture_output=True)
    return library


def session(library: Path) -> dict[str, Any]:
    """The child as the doctor starts it, with the library on its path."""
    code = f"import sys; sys.path[:] = {sys.path!r}; import infra_doctor_probes.children.dcmi as child; child.main()"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, check=True, timeout=60,
        env={"LD_LIBRARY_PATH": str(library.parent), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer


def test_session(tmp_path: Path) -> None:
    answer = session(build(tmp_path, STAND_IN))
    assert (answer["error"], answer["family"], answer["library"]) == ("", "dcmi", "libdcmi.so")
    assert (answer["driver_version"], answer["dcmi_version"]) == ("25.2.0", "v1.0")
    first, second = answer["devices"]  # the controller of card 5 is none
    assert first == {
        "card": 0, "device": 0, "error": "", "name": "910B2", "chip_type": "Ascend", "npu_name": "Ascend910B2",
        "aicore_count": 24, "pci": "0000:c1:00.0", "health": "OK", "memory_bytes": 65536 << 20, "physical_id": 6,
        "health_error": None, "fault_codes": [], "temperature_c": 44, "power_w": 93.7, "aicore_percent": 81,
        "memory_used_bytes": 3363 << 20, "hbm_temperature_c": 47, "hbm_bandwidth_percent": 12,
        "ecc": {"HBM": {
            "single_bit_count": 3, "double_bit_count": 1, "single_bit_total": 30, "double_bit_total": 10,
            "single_bit_isolated_pages": 2, "double_bit_isolated_pages": 64, "single_bit_pages_to_isolate": 5,
            "double_bit_pages_to_isolate": 6,
        }},
        "network_health": "Success", "processes": [[990711, 8122269696]],
        "board": {"board_id": 0x30, "pcb_id": 0, "bom_id": 0, "slot_id": 9},
    }  # fmt: skip
    assert (second["card"], second["name"], second["health"]) == (
        5,
        "310P3",
        "Alarm",
    )  # the older form of the structure
    assert second["fault_codes"] == ["80E01801", "8C084E00"]
    assert (second["temperature_c"], second["power_w"], second["ecc"], second["board"]) == (-3, None, {}, None)
    assert (second["network_health"], second["processes"]) == ("Unreachable", None)
    assert "memory_used_bytes" not in second
    assert (second["memory_bytes"], second["physical_id"], second["pci"]) == (44280 << 20, 7, "0000:81:00.0")


@pytest.mark.parametrize(("code", "words"), [(-8005, "internal error"), (-8020, "occupied"), (-1, "unknown code")])
def test_init_fails(code: int, words: str, tmp_path: Path) -> None:
    answer = session(build(tmp_path, STAND_IN, f"-DINIT={code}"))
    assert answer["error_code"] == code
    assert answer["error"].startswith(f"dcmi_init gave {code}: ")
    assert words in answer["error"]
    assert answer["devices"] == []


def test_a_device_that_does_not_say_its_health(tmp_path: Path) -> None:
    source = STAND_IN.replace("{ *h = card == 5 ? 2 : 0; return 0; }", "{ *h = 9; return card == 5 ? -8010 : 0; }")
    first, second = session(build(tmp_path, source))["devices"]
    assert (first["health"], first["health_error"]) == ("code 9", None)
    assert (second["health"], second["health_error"]) == (None, -8010)


def test_newest_family(tmp_path: Path) -> None:
    answer = session(build(tmp_path, STAND_IN_V2))
    assert answer["family"] == "dcmiv2"
    (device,) = answer["devices"]
    assert (device["card"], device["name"], device["physical_id"]) == (9, "950DT", 10)
    assert device["pci"] is None
    assert device["memory_bytes"] is None


def test_library_without_its_functions(tmp_path: Path) -> None:
    answer = session(build(tmp_path, "int other(void) { return 0; }"))
    assert answer["error"] == "dcmiv2_init is not in this library"
    assert answer["error_code"] is None


def test_no_library(tmp_path: Path) -> None:
    answer = session(tmp_path / "libdcmi.so")
    assert answer["error"].startswith("libdcmi.so could not be loaded: ")
    assert answer["devices"] == []


def test_every_place_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def load(place: str, mode: int) -> None:
        tried.append(place)
        raise OSError(f"{place}: no")

    monkeypatch.setattr("ctypes.CDLL", load)
    with pytest.raises(OSError, match="no; "):
        dcmi.open_library()
    assert tried == list(dcmi.PLACES)


def test_a_card_that_fails_is_listed(tmp_path: Path) -> None:
    source = STAND_IN.replace("{ *n = card == 5 ? 2 : 1; return 0; }", "{ *n = 1; return card == 5 ? -8008 : 0; }")
    first, second = session(build(tmp_path, source))["devices"]
    assert first["error"] == ""
    assert second == {"card": 5, "device": 0, "error": "dcmi_get_device_num_in_card gave -8008: no such device"}
