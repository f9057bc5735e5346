"""What a mark may say, and how a slip of the pen is told."""

from pathlib import Path
from typing import Any

import pytest

from infra_doctor.model.plugins import CheckContext, Observed, PolicyKey, Preset
from infra_doctor.model.policy import SpecKind
from infra_doctor.policy.reading import Known
from infra_doctor.pytest_plugin.marks import Asked, Names, Need, read_mark, read_need, spelt_as


def nothing(_: CheckContext, __: str) -> tuple[Observed, ...]:
    return ()


def key(name: str, kind: SpecKind, example: str = '">=1"') -> PolicyKey:
    return PolicyKey(key=name, title=name, kind=kind, observe=nothing, example=example)


KEYS = (
    key("gpu.count", SpecKind.COUNT, "8"), key("ort.cuda", SpecKind.FLAG, "true"), key("driver", SpecKind.VERSION),
    key("torch_npu", SpecKind.VERSION), key("gpu.model", SpecKind.NAME), key("mig", SpecKind.FLAG),
    key("package.*", SpecKind.VERSION), key("shm", SpecKind.SIZE, '">=1 GiB"'),
)  # fmt: skip
KNOWN = Known(
    keys=KEYS,
    presets=(Preset(name="training", title="t", checks=()),),
    ids=("CUDNN-MISSING", "MIG", "PROBE-FAILED", "REQUIREMENT", "BASELINE", "WAIVER-EXPIRED", "THRESHOLD"),
)


class TheseNames(Names):
    keys = KEYS
    known = KNOWN


NAMES = TheseNames()


@pytest.mark.parametrize(
    ("written", "requirement", "name"),
    [
        ("ort.cuda", "ort.cuda", "ort.cuda"),
        ("ort-cuda", "ort.cuda", "ort.cuda"),
        ("ORT_CUDA", "ort.cuda", "ort.cuda"),
        (" gpu-count >= 2 ", "gpu.count>= 2 ", "gpu.count"),
        ("Driver>=580,<600", "driver>=580,<600", "driver"),
        ("torch-npu", "torch_npu", "torch_npu"),
        ("gpu.model=H100,H200", "gpu.model=H100,H200", "gpu.model"),
        ("package.my_wheel.x>=1", "package.my_wheel.x>=1", "package.my_wheel.x"),
        ("Package-vllm", "package.vllm", "package.vllm"),
        ("package.pynvml=false", "package.pynvml=false", "package.pynvml"),
        ("mig", "mig", "mig"),
        ("Mig", "mig", "mig"),
        ("shm>=1 GiB", "shm>=1 GiB", "shm"),
    ],
)
def test_a_key_is_found_however_it_is_spelt(written: str, requirement: str, name: str) -> None:
    assert read_need(written, NAMES) == Need(written=written, requirement=requirement, key=name)


def test_an_id_is_read_as_it_is_spelt_only() -> None:
    assert read_need("CUDNN-MISSING", NAMES) == Need(written="CUDNN-MISSING", finding="CUDNN-MISSING")
    # "MIG" is the finding, "mig" the key: they mean different things.
    assert read_need("MIG", NAMES).finding == "MIG"
    with pytest.raises(pytest.UsageError, match=r"id: 'cudnn-missing'\. Nearest: CUDNN-MISSING"):
        read_need("cudnn-missing", NAMES)


def test_a_key_is_not_taken_for_another() -> None:
    assert [spelt_as(name, KEYS) for name in ("package.", "gpu.counts", "")] == [[], [], []]
    both = (*KEYS, key("torch.npu", SpecKind.FLAG))
    assert spelt_as("torch-npu", both) == ["torch_npu", "torch.npu"]
    assert [spelt_as(name, both) for name in ("torch_npu", "torch.npu")] == [["torch_npu"], ["torch.npu"]]


def test_a_spelling_that_fits_two_keys_is_an_error_that_names_both() -> None:
    for name in ("torch-npu", "Torch_NPU"):
        with pytest.raises(pytest.UsageError, match=rf"'{name}' may be torch_npu or torch\.npu: spell it so"):
            read_need(name, Names())


def test_every_key_that_there_is_can_be_named() -> None:
    names = Names()
    for one in names.keys:
        text = one.key.replace("*", "x")
        assert read_need(text, names).key == text


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("gpu.cuont>=2", r"requires_env\('gpu.cuont>=2'\): no such key: 'gpu.cuont'. Nearest: gpu.count"),
        ("ort-cdua", "no such key or finding id: 'ort-cdua'. Nearest: ort.cuda"),
        ("CUDNN-MISSING>=2", "no such key: 'CUDNN-MISSING'."),
        ("zzzz", "no such key or finding id: 'zzzz'. Keys: gpu.count, ort.cuda"),
        ("driver>=five", "'>=five': a range of versions"),
        ("driver=580", "say which versions"),
        ("driver>=", "nothing stands after >="),
        ("gpu.count>=2, driver>=580", "a number such as 8"),
        ("ort.cuda=yes", "true or false is wanted"),
        ("shm>=1 GoB", "no such unit"),
        ("", "no such key or finding id"),
        ("ort cuda", "no such key or finding id"),
        ("\x1b[31mgpu", "no such key or finding id"),
        ("REQUIREMENT", r"REQUIREMENT speaks of a policy or a baseline: requires_env\(policy=FILE\)"),
        ("BASELINE", "speaks of a policy"),
        (2, r"requires_env\(2\): a text is wanted"),
        (["gpu.count"], "a text is wanted"),
        (None, "a text is wanted"),
    ],
)
def test_a_slip_is_an_error_with_the_way_out(written: object, said: str) -> None:
    with pytest.raises(pytest.UsageError, match=said):
        read_need(written, NAMES)


def test_a_hostile_text_is_shown_not_sent() -> None:
    with pytest.raises(pytest.UsageError) as error:
        read_need("\x1b[31m\n::error::x" * 100, NAMES)
    assert "\x1b" not in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("arguments", "keywords", "said"),
    [
        ((), {}, r"requires_env\(\): what is needed\?"),
        (("ort-cuda",), {"on_mising": "fail"}, "no such keyword: 'on_mising'"),
        (("ort-cuda",), {"on_missing": "stop"}, "on_missing='stop': 'skip' or 'fail'"),
        (("ort-cuda",), {"on_missing": "off"}, "on_missing='off'"),
        (("ort-cuda",), {"on_missing": ["skip"]}, "on_missing="),
        ((), {"policy": 3}, r"requires_env\(policy=3\): the path"),
        ((), {"policy": ""}, "the path of a policy file is wanted"),
        ((), {"policy": "nowhere.toml"}, "nowhere.toml: No such file|nowhere.toml: no such file"),
    ],
)
def test_a_mark_that_says_too_little_or_too_much(
    arguments: tuple[object, ...], keywords: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(pytest.UsageError, match=said):
        read_mark(arguments, keywords, NAMES, str(tmp_path))


def test_a_policy_is_read_where_the_root_is_and_its_slips_are_told_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "ci").mkdir()
    (tmp_path / "ci" / "gpu.toml").write_text("[require]\ngpu.count = 2\n")
    (tmp_path / "bad.toml").write_text("[require]\ndriver = '>=580'\ngpu.cuont = 2\n")
    asked = read_mark(("ort-cuda",), {"policy": "ci/gpu.toml", "on_missing": "fail"}, NAMES, str(tmp_path))
    assert asked == Asked(
        needs=(
            Need(written="ort-cuda", requirement="ort.cuda", key="ort.cuda"),
            Need(written="ci/gpu.toml", policy=str(tmp_path / "ci" / "gpu.toml"), fail_on="fail"),
        ),
        on_missing="fail",
    )
    assert read_mark((), {"policy": Path("ci/gpu.toml")}, NAMES, str(tmp_path)).needs[0].written == "ci/gpu.toml"
    with pytest.raises(
        pytest.UsageError, match=r"^requires_env\(policy=…\): bad.toml:3: .*gpu.cuont.*Nearest: gpu.count"
    ):
        read_mark((), {"policy": "bad.toml"}, NAMES, str(tmp_path))
