"""Where findings stand in a repository: the policy's line, the line that asks for a distribution, and never outside."""

import os
from dataclasses import replace

import pytest

from infra_doctor.model.evidence import EvidenceKind
from infra_doctor.model.finding import Finding, Status
from infra_doctor_reports import anchors
from infra_doctor_reports.anchors import Anchor, anchoring
from tests.reports.cases import INJECTIONS
from tests.support.hostile import processor_seconds
from tests.support.sample_report import empty_report, evidence, finding

REPORT = empty_report()


@pytest.fixture
def repository(tmp_path):
    (tmp_path / ".git").mkdir()
    return tmp_path


def held(*sources: str) -> Finding:
    return finding("X", Status.FAIL, "t", "wheel:torch@/opt/venv", evidence=tuple(
        evidence(EvidenceKind.POLICY, s) for s in sources))  # fmt: skip


def about(*names: str) -> Finding:
    return finding("X", Status.FAIL, "t", *(f"wheel:{n}@/opt/venv" for n in names))


def where(item: Finding, folder, **options) -> tuple[str, int]:
    found = anchoring(REPORT, {"anchor": str(folder), **options})(item)
    return found.path, found.line


# -- the policy -------------------------------------------------------------------------------------------------------


def test_the_line_of_the_policy_comes_first(repository):
    (repository / "requirements.txt").write_text("torch\n")
    assert where(held("infra-doctor.toml:7"), repository) == ("infra-doctor.toml", 7)
    assert where(held("ci/gpu.toml:12", "infra-doctor.toml:7"), repository) == ("ci/gpu.toml", 12)
    assert where(held("./infra-doctor.toml:7"), repository) == ("infra-doctor.toml", 7)


def test_paths_are_relative_to_the_repository_not_to_the_working_folder(repository):
    inner = repository / "services" / "model"
    inner.mkdir(parents=True)
    (inner / "requirements.txt").write_text("\ntorch\n")
    assert where(held("../../infra-doctor.toml:7"), inner) == ("infra-doctor.toml", 7)
    assert where(held("infra-doctor.toml:7"), inner) == ("services/model/infra-doctor.toml", 7)
    assert where(about("torch"), inner) == ("services/model/requirements.txt", 2)
    assert where(about("numpy"), inner) == ("services/model/requirements.txt", 1)


def test_without_a_repository_the_working_folder_is_the_root(tmp_path):
    inner = tmp_path / "a"
    inner.mkdir()
    assert where(held("infra-doctor.toml:7"), inner) == ("infra-doctor.toml", 7)
    assert where(held("../infra-doctor.toml:7"), inner) == ("infra-doctor.toml", 1)


@pytest.mark.parametrize(
    "source",
    ["/etc/passwd:3", "../outside.toml:3", "a/../../outside:3", "--require", "", ":7", "/", "..", "a\\b:1", "a\nb:1",
     "a\u202eb:1", "nul\x00:1", "no-such-file", "x" * 5000 + ":1"],
)  # fmt: skip
def test_what_lies_outside_or_is_no_file_is_no_place(source, repository):
    assert where(held(source), repository) == ("infra-doctor.toml", 1)


@pytest.mark.parametrize(("number", "line"), [("0", 1), ("-1", 1), ("99999999999", 1), ("1e3", 1), ("²", 1), ("3", 3)])
def test_a_line_is_a_number_from_one(number, line, repository):
    found = where(held(f"infra-doctor.toml:{number}"), repository)
    assert found == ("infra-doctor.toml", line)


def test_a_file_without_a_line_stands_at_its_first(repository):
    (repository / "base.json").write_text("{}")
    assert where(held("base.json"), repository) == ("base.json", 1)


def test_a_link_that_leads_outside_is_followed_for_folders(repository, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "p.toml").write_text("")
    (repository / "link").symlink_to(outside)
    assert where(held("link/p.toml:4"), repository) == ("infra-doctor.toml", 1)


def test_a_policy_named_by_its_whole_path_is_the_one_of_the_options(repository):
    """The report writes /home/user1 for whoever looked, so its own word for the path leads nowhere."""
    options = {"policy": str(repository / "ci" / "gpu.toml")}
    (repository / "ci").mkdir()
    assert where(held("/home/user1/work/ci/gpu.toml:9"), repository, **options) == ("ci/gpu.toml", 9)
    assert where(held("/home/user1/work/other.toml:9"), repository, **options) == ("ci/gpu.toml", 1)
    assert where(about("numpy"), repository, **options) == ("ci/gpu.toml", 1)


def test_the_policy_is_the_place_of_what_has_no_other(repository):
    (repository / "requirements.txt").write_text("torch\n")
    report = replace(REPORT, policy={"sources": ["pyproject.toml"]})
    found = anchoring(report, {"anchor": str(repository)})
    assert found(finding("X", Status.FAIL, "t", "driver:nvidia")) == Anchor(path="pyproject.toml")
    assert found(about("torch")) == Anchor(path="requirements.txt")  # its own line says more


def test_else_a_file_of_requirements_else_the_name_of_a_policy(repository):
    gpu = finding("X", Status.FAIL, "t", "gpu:0000:00:06.0")
    assert where(gpu, repository) == ("infra-doctor.toml", 1)
    (repository / "Dockerfile").write_text("FROM x\n")
    assert where(gpu, repository) == ("Dockerfile", 1)
    (repository / "requirements-gpu.txt").write_text("torch\n")
    assert where(gpu, repository) == ("requirements-gpu.txt", 1)


# -- the files that ask for distributions -----------------------------------------------------------------------------

FILES = {
    "requirements.txt": (
        "# torch is pinned below\n-r base.txt\n--extra-index-url https://x/torch\n\ntorch==2.9.0 ; python_version>'3'\n"
        "Flash_Attn[gpu] @ https://x/y.whl\n  numpy\ntorchvision>=0.2 # torch\n",
        {"torch": 5, "flash-attn": 6, "numpy": 7, "torchvision": 8, "base": None, "python": None},
    ),
    "requirements-dev.in": ("onnxruntime-gpu\n", {"onnxruntime-gpu": 1, "onnxruntime": None}),
    "pyproject.toml": (
        '[build-system]\nrequires = ["hatchling"]\n[project]\nname = "torch"\nkeywords = ["numpy",\n  "jax"]\n'
        'dependencies = [\n  "torch==2.9.0",\n  # "cupy",\n  "onnxruntime-gpu[cuda,cudnn]>=1.2",\n]\n'
        'description = "about numpy"\n[project.optional-dependencies]\ntrt = ["tensorrt>=10"]\n'
        "[tool.poetry.dependencies]\nnumpy = '^2'\n\"jax\" = {version = '1'}\n[dependency-groups]\ntest = ['pytest']\n",
        {"torch": 8, "onnxruntime-gpu": 10, "cupy": None, "tensorrt": 14, "numpy": 16, "jax": 17, "trt": None,
         "hatchling": None, "about": None, "cuda": None, "pytest": 19},
    ),
    "environment.yml": (
        "name: torch\nchannels: [conda-forge]\ndependencies:\n  - python=3.12\n  - pytorch::torch=2.9\n"
        "  - pip:\n    - 'onnxruntime-gpu==1.30'\n    - vllm\n",
        {"torch": 5, "onnxruntime-gpu": 7, "vllm": 8},
    ),
    "Dockerfile": (
        "# torch\nFROM nvcr.io/torch/torch:24 AS torch\nENV torch=1\nRUN apt-get update && pip install \\\n    torch==2.9.0 \\\n"
        '    "onnxruntime-gpu[cuda]>=1.30"\nCOPY numpy /x\nRUN uv pip install --no-cache numpy\n',
        {"torch": 5, "onnxruntime-gpu": 6, "numpy": 8},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_distribution_stands_where_it_is_asked_for(name, repository):
    text, lines = FILES[name]
    (repository / name).write_text(text)
    # What the file does not ask for stands at its start.
    wanted = {n: (name, line or 1) for n, line in lines.items()}
    assert {n: where(about(n), repository) for n in lines} == wanted


def test_names_are_compared_as_pip_does_and_the_first_subject_that_is_asked_for_counts(repository):
    (repository / "requirements.txt").write_text("numpy\nFlash.Attn==2\n")
    assert where(about("torch", "flash-attn", "numpy"), repository) == ("requirements.txt", 2)
    assert where(about("flash_attn"), repository) == ("requirements.txt", 2)


def test_metadata_that_was_seen_names_a_distribution_too(repository):
    (repository / "requirements.txt").write_text("numpy\nnvidia-ml-py\npynvml\n")
    site = "/opt/venv/lib/python3.12/site-packages"
    for source in (
        f"{site}/pynvml-11.0.dist-info",
        f"{site}/pynvml-11.0.dist-info/METADATA",
        f"{site}/PyNVML-11.egg-info",
    ):
        seen = evidence(EvidenceKind.METADATA, source, "Name: pynvml")
        item = finding("PYNVML", Status.WARN, "t", "target:/opt/venv", evidence=(seen,))
        assert where(item, repository) == ("requirements.txt", 3)
        assert where(replace(item, subject=("wheel:numpy@/opt/venv",)), repository) == ("requirements.txt", 1)
    elsewhere = evidence(EvidenceKind.FILE, f"{site}/pynvml-11.0.dist-info", "")
    assert where(finding("X", Status.WARN, "t", evidence=(elsewhere,)), repository) == ("requirements.txt", 1)


def test_the_likeliest_file_comes_first(repository):
    for name in ("Dockerfile", "environment.yml", "pyproject.toml", "requirements-z.txt", "requirements.txt"):
        (repository / name).write_text(FILES["Dockerfile"][0] if name == "Dockerfile" else "torch\n")
    assert where(about("torch"), repository) == ("requirements.txt", 1)


# -- what it costs, and what it is given ------------------------------------------------------------------------------


def test_nothing_is_read_before_it_is_needed_and_then_once(repository, monkeypatch):
    (repository / "requirements.txt").write_text("torch\n")
    listed = []
    real = anchors._names
    monkeypatch.setattr(anchors, "_names", lambda folder: listed.append(folder) or real(folder))
    stands_at = anchoring(REPORT, {"anchor": str(repository)})
    stands_at(held("infra-doctor.toml:7"))
    assert listed == []
    for _ in range(5):
        stands_at(about("torch"))
    assert len(listed) == 1


def test_what_is_no_file_or_cannot_be_read_is_left_alone(repository):
    os.mkfifo(repository / "requirements.txt")
    (repository / "requirements-a.txt").mkdir()
    (repository / "requirements-loop.txt").symlink_to("requirements-loop.txt")
    (repository / "requirements-b.txt").write_bytes(b"\xff\xfe\x00\x01torch\n" * 10)
    (repository / "requirements-evil\n.txt").write_text("torch\n")
    (repository / "pyproject.toml").write_text("= not [toml\n\x00\n[project]\ndependencies = ['torch']\n")
    assert where(about("torch"), repository) == ("pyproject.toml", 4)


def test_large_and_twisted_files_cost_little(repository):
    twisted = ('"' + "a" * 300 + " " * 300) * 2000 + "\n" + "a." * 200_000 + "\n" + "\t" * 200_000
    for n in range(40):
        (repository / f"requirements-{n}.txt").write_text(twisted)
    for name in ("pyproject.toml", "environment.yml", "Dockerfile"):
        (repository / name).write_text("[dependencies]\nRUN pip install \\\n" + twisted)
    assert processor_seconds(lambda: where(about("torch"), repository), enough=0.5) < 2.0


@pytest.mark.parametrize("text", INJECTIONS, ids=range(len(INJECTIONS)))
def test_hostile_text_never_leads_outside(text, repository):
    items = [held(f"{text}:3"), held(text), about(text), held(f"../{text}:1"), held(f"/{text}:1")]
    report = replace(REPORT, policy={"sources": [text, 7]})
    for item in items:
        found = anchoring(report, {"anchor": str(repository), "policy": text})(item)
        assert found.line >= 1 and found.path and found.path.isprintable()
        assert not os.path.isabs(found.path) and ".." not in found.path.split("/")


def test_a_working_folder_that_is_gone_is_no_fault(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert anchoring(REPORT, {})(held("infra-doctor.toml:7")) == Anchor(path="infra-doctor.toml", line=7)
