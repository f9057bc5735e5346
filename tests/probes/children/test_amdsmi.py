"""AMD's management library, by a stand-in that is compiled here: the calling conventions, and what fails."""

import ctypes
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra_doctor_probes.children import amdsmi

# Prototypes as in ROCm/amdsmi, include/amd_smi/amdsmi.h. Two GPUs behind two sockets; the second has no error counts.
SOURCE = r"""
#include <stdint.h>
#include <string.h>
typedef void *handle;
int amdsmi_init(uint64_t flags) { return flags == 2 ? INIT : 1; }
int amdsmi_get_socket_handles(uint32_t *n, handle *out) {
  if (out) for (uint32_t i = 0; i < *n && i < 2; i++) out[i] = (handle)(uintptr_t)(0x100 + i);
  *n = 2; return 0; }
int amdsmi_get_processor_handles(handle s, uint32_t *n, handle *out) {
  if (out && *n) out[0] = (handle)((uintptr_t)s + 0x1000);
  *n = 1; return 0; }
int amdsmi_get_gpu_bdf_id(handle g, uint64_t *id) {
  *id = ((uint64_t)0x10000 << 32) | ((uint64_t)((uintptr_t)g & 1 ? 0xc1 : 0x26) << 8) | (3 << 3) | 1; return 0; }
int amdsmi_get_gpu_asic_info(handle g, char *info) { strcpy(info, "AMD Instinct MI300X OAM"); info[300] = 7; return 0; }
int amdsmi_get_gpu_driver_info(handle g, char *info) { strcpy(info, "6.10.5"); return 0; }
int amdsmi_get_gpu_memory_total(handle g, int type, uint64_t *total) { *total = type == 0 ? 206141652992ull : 0; return 0; }
#ifndef OLD
int amdsmi_get_gpu_total_ecc_count(handle g, uint64_t *counts) {
  if ((uintptr_t)g & 1) return 2;
  counts[0] = 3; counts[1] = 1; return 0; }
#endif
"""


def library(tmp_path: Path, *options: str) -> Any:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    source, built = tmp_path / "amd_smi.c", tmp_path / "libamd_smi.so"
    source.write_text(SOURCE)
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", str(built), *options, str(source)], check=True, capture_output=True
    )
    return ctypes.CDLL(str(built))


def test_two_gpus(tmp_path: Path) -> None:
    found = amdsmi.collect(lambda: (library(tmp_path, "-DINIT=0"), "/opt/rocm/lib/libamd_smi.so"))
    json.dumps(found)
    assert (found["error"], found["library"]) == ("", "/opt/rocm/lib/libamd_smi.so")
    first, second = found["devices"]
    assert first == {
        "pci": "10000:26:03.1", "name": "AMD Instinct MI300X OAM", "driver_version": "6.10.5",
        "memory_bytes": 206141652992, "ecc_correctable": 3, "ecc_uncorrectable": 1,
    }  # fmt: skip
    assert second["pci"] == "10000:c1:03.1"
    assert (second["ecc_correctable"], second["ecc_uncorrectable"]) == (None, None)


def test_an_older_library_lacks_a_function(tmp_path: Path) -> None:
    found = amdsmi.collect(lambda: (library(tmp_path, "-DINIT=0", "-DOLD"), "x"))
    assert [d["ecc_uncorrectable"] for d in found["devices"]] == [None, None]
    assert found["devices"][0]["name"] == "AMD Instinct MI300X OAM"


def test_a_library_that_does_not_begin(tmp_path: Path) -> None:
    found = amdsmi.collect(lambda: (library(tmp_path, "-DINIT=34"), "x"))
    assert found["error"] == "amdsmi_init gave 34: the driver is not loaded"
    assert (found["error_code"], found["devices"]) == (34, [])


def test_no_library() -> None:
    def opener() -> tuple[Any, str]:
        raise OSError("libamd_smi.so: cannot open shared object file")

    found = amdsmi.collect(opener)
    assert found["error"].startswith("libamd_smi.so could not be loaded:")


def test_the_child_ends_with_one_document_without_the_library() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from infra_doctor_probes.children import amdsmi; amdsmi.main()"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["devices"] == []
