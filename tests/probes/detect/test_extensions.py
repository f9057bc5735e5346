"""What extensions of PyTorch were compiled for: labels, file names, cpp_lib.json, ELF."""

import json
from typing import Any

import pytest

from infra_doctor_probes.detect import extensions
from infra_doctor_probes.detect.extensions import CompiledExtension, TorchAbi
from tests.probes.described_stack import SITE, TARGET, dist, merged
from tests.support.gather import gather
from tests.support.recipe import recipe_machine

FLASH = f"{SITE}/flash_attn-2.8.3.dist-info/direct_url.json"
CONFIG = f"{SITE}/torch/share/cmake/Torch/TorchConfig.cmake"


def facts(**recipe: Any) -> list[Any]:
    return list(gather(recipe_machine(merged(recipe)), extensions.PROBES, targets=(TARGET,)).facts)


def one(**recipe: Any) -> CompiledExtension:
    (found,) = [f for f in facts(**recipe) if isinstance(f, CompiledExtension)]
    return found


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("2.8.3+cu12torch2.8cxx11abiTRUE", ("2.8", "12", True)), ("2.5.5+cu118torch2.2cxx11abiFALSE", ("2.2", "11.8", False)),
        ("2.8.3+cu130torch2.10cxx11abitrue", ("2.10", "13.0", True)), ("2.8.3", (None, None, None)),
        ("2.8.3+local.build", (None, None, None)), ("2.8.3+cpu", (None, "none", None)),
    ],
)  # fmt: skip
def test_the_label_of_a_version(version: str, expected: tuple[Any, ...]) -> None:
    found = one(distributions=[dist("flash-attn", version)])
    assert (found.torch, found.cuda, found.cxx11_abi) == expected
    assert bool(found.evidence) == any(x is not None for x in expected)


@pytest.mark.parametrize(
    ("name", "version", "expected"),
    [("torch-scatter", "2.1.2+pt25cu124", ("2.5", "12.4")), ("torch-scatter", "2.1.2+pt210cu128", ("2.10", "12.8")),
     ("vllm", "0.11.0+cu129", (None, "12.9")), ("torchvision", "0.24.0+cu128", (None, "12.8"))],
)  # fmt: skip
def test_other_labels(name: str, version: str, expected: tuple[str | None, str]) -> None:
    found = one(distributions=[dist(name, version)])
    assert (found.torch, found.cuda) == expected


def test_the_file_name_of_a_wheel_that_was_installed_by_address() -> None:
    url = "https://github.com/x/y/releases/download/v2.8.3/flash_attn-2.8.3%2Bcu12torch2.8cxx11abiTRUE-cp312-cp312-linux_x86_64.whl"
    found = one(
        files={FLASH: json.dumps({"url": url, "archive_info": {}})}, distributions=[dist("flash-attn", "2.8.3")]
    )
    assert (found.torch, found.cuda, found.cxx11_abi) == ("2.8", "12", True)
    assert found.evidence[0].source == FLASH and "github.com" not in found.evidence[0].text


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"url": 3}', '{"url": "https://x/y.tar.gz"}', "\x00" * 100])
def test_other_direct_urls_say_nothing(text: str) -> None:
    assert one(files={FLASH: text}, distributions=[dist("flash-attn", "2.8.3")]).torch is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"version": {"cuda": 1208, "hip": null, "torch": "2.10.0+cu128", "python": "3.10.19"}}', ("2.10", "12.8")),
        ('{"version": {"torch": "2.1.0"}}', ("2.1", None)), ("[]", (None, None)), ('{"version": 3}', (None, None)),
        ('{"version": {"torch": [], "cuda": true}}', (None, None)), ("[" * 3000, (None, None)),
    ],
)  # fmt: skip
def test_cpp_lib_of_xformers(text: str, expected: tuple[str | None, ...]) -> None:
    found = one(files={f"{SITE}/xformers/cpp_lib.json": text}, distributions=[dist("xformers", "0.0.35")])
    assert (found.torch, found.cuda) == expected


def test_libraries_say_which_cuda_and_whether_torchs_cuda_part_is_needed() -> None:
    path = "vllm/_C.abi3.so"
    elf = {f"{SITE}/{path}": {"needed": ["libc10.so", "libtorch_cuda.so", "libcudart.so.12", "libc.so.6"]}}
    found = one(
        elf=elf, distributions=[dist("vllm", "0.10.2", {path: "sha256=v", "vllm.libs/libgomp.so.1": "sha256=g"})]
    )
    assert (found.needs_cuda_torch, found.cuda_sonames) == (True, ("libcudart.so.12",))
    unrelated = {f"{SITE}/{path}": {"needed": ["libcudart.so.12", "libc.so.6"]}}
    assert one(elf=unrelated, distributions=[dist("vllm", "0.10.2", {path: "sha256=v"})]).cuda_sonames == ()


def test_the_abi_of_torch_is_read_only_where_an_extension_names_its_own() -> None:
    flash, torch = dist("flash-attn", "2.8.3+cu12torch2.6cxx11abiFALSE"), dist("torch", "2.6.0")
    config = {CONFIG: 'set(TORCH_CXX_FLAGS "-D_GLIBCXX_USE_CXX11_ABI=0")\n'}
    found = facts(files=config, distributions=[flash, torch])
    assert [f.cxx11_abi for f in found if isinstance(f, TorchAbi)] == [False]
    assert [f for f in facts(distributions=[flash, torch]) if isinstance(f, TorchAbi)] == []  # 2.6 had both
    newer = facts(distributions=[flash, dist("torch", "2.9.1")])
    assert [f.cxx11_abi for f in newer if isinstance(f, TorchAbi)] == [True]
    assert facts(files=config, distributions=[torch]) == []
