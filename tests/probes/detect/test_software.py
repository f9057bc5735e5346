"""Products outside Python environments: their versions by files, and files that are no such thing."""

from typing import Any

from infra_doctor.model.component import Component
from infra_doctor_probes.detect import software
from infra_doctor_probes.products import PRODUCTS
from tests.probes.described_stack import SITE, TARGET, dist, merged
from tests.support.gather import gather
from tests.support.recipe import recipe_machine


def found(**recipe: Any) -> dict[str, Component]:
    machine = recipe_machine(merged(recipe), ("PATH",))
    return {c.key: c for c in gather(machine, software.PROBES, targets=(TARGET,)).components}


def test_a_machine_without_any_has_none() -> None:
    assert found() == {}


def test_versions_come_from_files_with_where_they_were_read() -> None:
    pc = "/usr/lib/x86_64-linux-gnu/pkgconfig/ucx.pc"
    components = found(files={"/opt/tritonserver/TRITON_VERSION": "2.54.0\n", pc: "Name: ucx\nVersion: 1.17.0\n"})
    assert {c.name: c.version for c in components.values()} == {"Triton Inference Server": "2.54.0", "UCX": "1.17.0"}
    ucx = components[f"software:{pc}"]
    assert (ucx.kind, ucx.attributes["group"], ucx.evidence[0].source) == ("software", "communication", pc)


def test_several_names_of_one_library_are_one_and_the_real_name_has_the_version() -> None:
    components = found(
        elf={"/usr/local/lib/libonnxruntime.so.1.22.0": {"soname": "libonnxruntime.so.1"}},
        links={"/usr/local/lib/libonnxruntime.so": "libonnxruntime.so.1.22.0"},
    )
    assert [(c.name, c.version) for c in components.values()] == [("ONNX Runtime", "1.22.0")]


def test_files_that_say_nothing_have_no_version() -> None:
    components = found(
        files={"/opt/tritonserver/TRITON_VERSION": {"base64": "//4AAAEC"}, "/usr/local/lib/pkgconfig/ompi.pc": ""}
    )
    assert {c.name: c.version for c in components.values()} == {"Triton Inference Server": None, "Open MPI": None}


def test_what_is_no_file_is_no_installation() -> None:
    hostile = {"/opt/tritonserver/TRITON_VERSION": {"type": "fifo"}, "/usr/local/lib/pkgconfig/ucx.pc": {"type": "dir"}}
    assert found(files=hostile, links={"/usr/local/lib/libTNN.so": "libTNN.so"}) == {}
    unreadable = found(files={"/opt/tritonserver/TRITON_VERSION": {"error": "Permission denied"}})
    assert [c.version for c in unreadable.values()] == [None]


def test_a_program_of_its_own_counts_and_a_script_of_pip_does_not() -> None:
    environment = {"PATH": "/usr/local/bin"}
    files = {"/usr/local/bin/trtexec": "\x7fELF…", "/usr/local/bin/ds_report": "#!/usr/bin/python3\n"}
    assert [c.name for c in found(environment=environment, files=files).values()] == ["TensorRT"]


def test_a_source_tree_counts_where_no_distribution_stands_for_it() -> None:
    path = f"{SITE}/megatron/core/package_info.py"
    files = {path: "MAJOR = 0\nMINOR = 14\nPATCH = 1\n"}
    (tree,) = found(files=files).values()
    assert (tree.name, tree.version, tree.target) == ("Megatron-Core", "0.14.1", TARGET.key)
    assert found(files=files, distributions=[dist("megatron-core", "0.14.1")]) == {}


def test_the_collector_is_told_every_place() -> None:
    asked = software.PROBES[0].collect
    assert all(place.pattern in asked for product in PRODUCTS for place in product.places)
    assert "which:trtexec" in asked
