"""What installed packages ask for, read from METADATA and WHEEL."""

import pytest

from infra_doctor.model.component import Target
from infra_doctor_probes.detect.wheel_metadata import PROBES, WheelMetadata, min_glibc
from tests.support.gather import gather
from tests.support.recipe import recipe_machine

SITE = "/opt/venv/lib/python3.12/site-packages"
TARGET = Target(
    key="target:/opt/venv", prefix="/opt/venv", executable="/opt/venv/bin/python", kind="venv", python_version="3.12.3",
    sys_path=(SITE,), site_dirs=(SITE,),
)  # fmt: skip


def test_requirements_python_and_glibc_of_the_stack() -> None:
    machine = recipe_machine(
        {
            "distributions": [
                {
                    "site": SITE, "name": "torch", "version": "2.11.0", "requires_python": ">=3.10",
                    "tags": ["cp312-cp312-manylinux_2_28_x86_64"],
                    "requires": ["filelock", 'triton==3.6.0; platform_system == "Linux"', 'jax; extra == "jax"', "!!", "x" * 5000],
                },
                {"site": SITE, "name": "requests", "version": "2.32", "requires_python": ">=3.8"},
                {"site": SITE, "name": "numpy", "version": "2.4.6"},
            ]
        }
    )  # fmt: skip
    facts = gather(machine, PROBES, targets=(TARGET,)).facts
    assert [(f.wheel, f.requires, f.requires_python, f.min_glibc) for f in facts if isinstance(f, WheelMetadata)] == [
        ("wheel:torch@/opt/venv", ('triton==3.6.0; platform_system == "Linux"',), ">=3.10", "2.28")
    ]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (("cp312-cp312-manylinux_2_27_x86_64.manylinux_2_28_x86_64",), "2.27"),
        (("cp37-abi3-manylinux2014_x86_64", "cp37-abi3-manylinux_2_17_x86_64"), "2.17"),
        (("cp36-cp36m-manylinux1_x86_64",), "2.5"),
        (("py3-none-any",), None),
        (("cp312-cp312-linux_x86_64", "garbage", ""), None),
        ((), None),
    ],
)
def test_the_oldest_glibc_of_the_tags(tags: tuple[str, ...], expected: str | None) -> None:
    assert min_glibc(tags) == expected
