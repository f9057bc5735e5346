"""Which distribution answers `import pynvml` in an environment."""

from typing import Any

import pytest

from infra_doctor.model.component import Target
from infra_doctor_probes.detect.nvml_bindings import PROBES, DeprecatedPynvml
from tests.support.gather import gather
from tests.support.recipe import recipe_machine

SITE = "/opt/venv/lib/python3.12/site-packages"
TARGET = Target(
    key="target:/opt/venv",
    prefix="/opt/venv",
    executable="/opt/venv/bin/python",
    kind="venv",
    python_version="3.12.3",
    sys_path=(SITE,),
    site_dirs=(SITE,),
)
OLD_FILES = {"pynvml/__init__.py": "sha256=a", "pynvml/nvml.py": "sha256=b"}
MODERN = {"name": "nvidia-ml-py", "version": "13.580.82", "files": {"pynvml.py": "sha256=c"}}


def facts(*distributions: dict[str, Any]) -> list[DeprecatedPynvml]:
    recipe = {"distributions": [{"site": SITE, **d} for d in distributions]}
    return gather(recipe_machine(recipe), PROBES, targets=(TARGET,)).facts


@pytest.mark.parametrize("distributions", [(), (MODERN,)])
def test_nothing_deprecated(distributions: tuple[dict[str, Any], ...]) -> None:
    assert facts(*distributions) == []


def test_old_bindings_beside_the_new_ones() -> None:
    dependents = [
        {"name": "gpustat-like", "version": "1.0", "requires": ["pynvml>=11"]},
        {"name": "optional", "version": "1.0", "requires": ['pynvml; extra == "gpu"']},
    ]
    (found,) = facts({"name": "pynvml", "version": "11.5.3", "files": OLD_FILES}, MODERN, *dependents)
    assert (found.version, found.nvidia_ml_py, found.hides_nvidia_ml_py) == ("11.5.3", "13.580.82", True)
    assert found.required_by == ("gpustat-like",)
    assert f"{SITE}/pynvml/__init__.py" in {e.source for e in found.evidence}


def test_the_wrapper_hides_nothing() -> None:
    wrapper = {"name": "pynvml", "version": "13.0.1", "requires": ["nvidia-ml-py>=12.0.0"]}
    (found,) = facts({**wrapper, "files": {"pynvml_utils/__init__.py": "sha256=d"}}, MODERN)
    assert (found.hides_nvidia_ml_py, found.required_by) == (False, ())
