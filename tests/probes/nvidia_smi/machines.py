"""A described machine around what nvidia-smi printed somewhere: its driver, its GPUs on the bus, its device files."""

from pathlib import Path
from typing import Any

from infra_doctor_probes.nvidia_smi.query_text import read_query_text
from infra_doctor_probes.nvidia_smi.query_xml import read_query_xml
from tests.support.recipe import read_recipe

BASE = Path(__file__).parents[2] / "machines" / "base-linux.toml"
LIB = "/usr/lib/x86_64-linux-gnu"
NVML = "infra_doctor_probes.children.nvml"
FROM_SMI = ["commands", "environment", "files", "kernel state", "processes"]  # as the collector takes it


def answer_of(text: str) -> dict[str, Any]:
    """The document as the readers understand it."""
    found = read_query_xml(text) if text.lstrip().startswith("<") else read_query_text(text)
    assert isinstance(found, dict), found
    return found


def machine_of(text: str, *, by_nvml: bool) -> dict[str, Any]:
    """The recipe: with `by_nvml` the answer stands for the NVML child's, else nvidia-smi itself was recorded."""
    answer = answer_of(text)
    version = answer["driver_version"]
    recipe = read_recipe(BASE)
    module = f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {version}  Release Build\n"
    files: dict[str, Any] = {
        "/proc/driver/nvidia/version": module, "/sys/module/nvidia/version": f"{version}\n", "/sys/module/nvidia_uvm/refcnt": "0\n",
        "/dev/nvidiactl": {"type": "char", "rdev": [195, 255]}, "/dev/nvidia-uvm": {"type": "char", "rdev": [238, 0]},
        "/dev/nvidia-uvm-tools": {"type": "char", "rdev": [238, 1]},
    }  # fmt: skip
    links = {f"{LIB}/{n}.so.1": f"{n}.so.{version}" for n in ("libcuda", "libnvidia-ml")}
    for device in answer["devices"]:
        bus = f"/sys/bus/pci/devices/{device['pci']['address']}"
        vendor, number = (device["pci"]["id"] or "10de:0000").split(":")
        minor = device["minor_number"] if device["minor_number"] is not None else device["index"]
        files |= {
            f"{bus}/vendor": f"0x{vendor}\n", f"{bus}/device": f"0x{number}\n", f"{bus}/class": "0x030200\n",
            f"/dev/nvidia{minor}": {"type": "char", "rdev": [195, minor]},
            f"/proc/driver/nvidia/gpus/{device['pci']['address']}/information":
                f"Model: \t\t {device['name']}\nBus Location: \t {device['pci']['address']}\nDevice Minor: \t {minor}\n",
        }  # fmt: skip
        links[f"{bus}/driver"] = "../../../../bus/pci/drivers/nvidia"
    recipe["files"] |= files
    recipe["links"] |= links
    recipe["elf"] |= {
        f"{LIB}/libcuda.so.{version}": {"soname": "libcuda.so.1", "needed": ["libc.so.6"]},
        f"{LIB}/libnvidia-ml.so.{version}": {"soname": "libnvidia-ml.so.1", "needed": ["libc.so.6"]},
        "/usr/bin/nvidia-smi": {"type": 3, "needed": ["libc.so.6"]},
    }
    recipe["ldcache"] |= {f"{n}.so.1": f"/lib/x86_64-linux-gnu/{n}.so.1" for n in ("libcuda", "libnvidia-ml")}
    told = f"NVIDIA-SMI version  : {version}\nDRIVER version      : {version}\nCUDA Version        : {answer['cuda_driver_version']}\n"
    recipe["commands"] = [{"argv": ["nvidia-smi", "--version"], "stdout": told}]
    if by_nvml:
        recipe["children"] = {NVML: {"data": answer}}
    else:
        form = ["nvidia-smi", "-q", "-x"] if text.lstrip().startswith("<") else ["nvidia-smi", "-q"]
        recipe["commands"].append({"argv": form, "stdout": text})
        recipe["capabilities"] = FROM_SMI
    return recipe
