"""What TensorFlow and JAX open by name: found as the asking library would find it, missing where none finds it."""

import posixpath
from typing import Any

from infra_doctor_probes.detect.opened_later import SONAMES, FrameworkLibraries
from tests.probes.described_stack import SITE, described, dist, wheel

FRAMEWORK = f"{SITE}/tensorflow/libtensorflow_framework.so.2"
EXTENSION = f"{SITE}/tensorflow/python/_pywrap_tensorflow_internal.so"
FOLDERS = {"libcudart": "cuda_runtime", "libcublas": "cublas", "libcublasLt": "cublas", "libcufft": "cufft", "libcusolver": "cusolver",
           "libcusparse": "cusparse", "libcudnn": "cudnn"}  # fmt: skip
SEARCH = ":".join(f"$ORIGIN/../nvidia/{f}/lib" for f in dict.fromkeys(FOLDERS.values()))


def tensorflow(cuda: str = "12.5.1", cudnn: str = "9", **framework: Any) -> dict[str, Any]:
    info = f"{{'cuda_version': '{cuda}', 'cudnn_version': '{cudnn}', 'is_cuda_build': True}}"
    return {
        "files": {f"{SITE}/tensorflow/python/platform/build_info.py": info},
        "elf": {
            FRAMEWORK: {"soname": "libtensorflow_framework.so.2", "needed": ["libc.so.6"], **framework},
            EXTENSION: {"needed": ["libtensorflow_framework.so.2"], "runpath": "$ORIGIN/.."},
        },
        "distributions": [dist("tensorflow", "2.18.0")],
    }


def wheels(*sonames: str) -> list[dict[str, Any]]:
    return [wheel(f"nvidia-{n}", "1.0", f"nvidia/{FOLDERS[n.split('.')[0]]}/lib/{n}") for n in sonames]


ALL = (*SONAMES[12], "libcudnn.so.9")


def libraries(*parts: dict[str, Any]) -> FrameworkLibraries:
    _, found = described(*parts)
    fact = found.fact(FrameworkLibraries)
    assert fact is not None
    return fact


def test_a_search_list_to_the_wheels_finds_all() -> None:
    _, found = described(tensorflow(runpath=SEARCH), *wheels(*ALL))
    fact = found.fact(FrameworkLibraries)
    assert (fact.order, fact.loads, fact.missing) == ("tensorflow", True, ())
    cudnn = found.kinds("cudnn")[0]
    assert [(u.consumer, u.order) for u in cudnn.loaded_by] == [("wheel:tensorflow@/opt/venv", "tensorflow")]
    assert cudnn.loaded_by[0].via.startswith("RUNPATH $ORIGIN/../nvidia/cudnn/lib")


def test_without_one_the_wheels_are_out_of_reach() -> None:
    fact = libraries(tensorflow(), *wheels(*ALL))
    assert fact.loads is False
    assert [m.soname for m in fact.missing] == list(ALL)
    assert {posixpath.normpath(m.needed_by) for m in fact.missing} == {FRAMEWORK} and fact.evidence


def test_one_of_them_missing_is_told_alone() -> None:
    fact = libraries(tensorflow(rpath=SEARCH), *wheels(*SONAMES[12]))
    assert (fact.loads, [m.soname for m in fact.missing]) == (False, ["libcudnn.so.9"])


def test_a_search_list_of_the_extension_serves_too() -> None:
    parts = tensorflow()
    parts["elf"][EXTENSION]["rpath"] = "$ORIGIN/..:" + SEARCH.replace("$ORIGIN/..", "$ORIGIN/../..")
    del parts["elf"][EXTENSION]["runpath"]
    assert libraries(parts, *wheels(*ALL)).loads is True


def test_a_tensorflow_that_does_not_load_is_not_judged() -> None:
    parts = tensorflow()
    parts["elf"][EXTENSION]["needed"] = ["libstrange.so.1"]
    fact = libraries(parts)
    assert fact.loads is None and "itself does not load" in fact.unknown


def test_versions_whose_names_are_not_known_are_left_out() -> None:
    for cuda in ("11.0", "10.1", "99.0"):
        _, found = described(tensorflow(cuda))
        assert not found.has(FrameworkLibraries)


def test_jax_plug_in() -> None:
    plugin = f"{SITE}/jax_plugins/xla_cuda12/xla_cuda_plugin.so"
    search = SEARCH.replace("$ORIGIN/..", "$ORIGIN/../..")
    part = {
        "elf": {plugin: {"needed": ["libc.so.6"], "rpath": search}},
        "distributions": [dist("jax-cuda12-pjrt", "0.7.2")],
    }
    assert libraries(part, *wheels(*ALL)).loads is True
    missing = libraries(part, *wheels(*ALL[:-1]))
    assert (missing.order, [m.soname for m in missing.missing]) == ("jax", ["libcudnn.so.9"])


def test_where_no_framework_looks_for_cuda_nothing_is_played() -> None:
    _, found = described({"distributions": [dist("jaxlib", "0.7.2"), dist("tensorflow", "2.18.0")]})
    assert not found.has(FrameworkLibraries)
