"""What stands in the pages: links lead somewhere, policies are policies, commands have only options that there are, and each
example for a CI system fits that system's published schema (those that check-jsonschema brings). All shell is clean."""

import argparse
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from infra_doctor.cli.main import build_parser
from infra_doctor.cli.policies import known_names
from infra_doctor.policy.reading import read_policy
from tests.ci.lab import DOCS, PAGES, ROOT, Block, blocks, environment, program

SCHEMAS = {
    ".gitlab-ci.yml": "vendor.gitlab-ci", "azure-pipelines.yml": "vendor.azure-pipelines", ".circleci/config.yml":
    "vendor.circle-ci", ".buildkite/pipeline.yml": "vendor.buildkite",
}  # fmt: skip
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
BLOCKS = blocks()


def schema_of(found: Block) -> str:
    """The schema's name; empty where the block is checked elsewhere."""
    return "vendor.github-workflows" if found.name.startswith(".github/workflows/") else SCHEMAS.get(found.name, "")


def check_schema(schema: str, *paths: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, paths)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_block_is_held_to_something() -> None:
    assert len(BLOCKS) >= 16
    for found in BLOCKS:
        if found.language == "yaml":
            assert schema_of(found) or found.name == ".pre-commit-config.yaml", found
        else:
            assert found.language in {"sh", "toml", "ini", "groovy"}, found


@pytest.mark.parametrize("schema", sorted({schema_of(b) for b in BLOCKS} - {""}))
def test_examples_fit_their_system_s_schema(tmp_path: Path, schema: str) -> None:
    paths = []
    for number, found in enumerate(b for b in BLOCKS if schema_of(b) == schema):
        paths.append(tmp_path / f"{number}.yml")
        paths[-1].write_text(found.text)
    check_schema(schema, *paths)


def test_files_fit_their_system_s_schema(tmp_path: Path) -> None:
    check_schema("vendor.github-actions", ROOT / "action.yml")
    check_schema("vendor.gitlab-ci", DOCS / "infra-doctor.gitlab-ci.yml")
    wrong = tmp_path / "action.yml"
    wrong.write_text((ROOT / "action.yml").read_text().replace("using: composite", "using: composit"))
    with pytest.raises(AssertionError):
        check_schema("vendor.github-actions", wrong)


@pytest.mark.parametrize("found", blocks("toml"), ids=lambda b: b.name)
def test_policies_are_policies(tmp_path: Path, found: Block) -> None:
    path = tmp_path / "infra-doctor.toml"
    path.write_text(found.text)
    policy = read_policy(str(path), known_names(third_party=False))
    assert len(policy.requirements) == len(tomllib.loads(found.text)["require"]) > 0


# -- shell ------------------------------------------------------------------------------------------------------------


def shell_texts() -> list[tuple[str, str, str]]:
    """(name, dialect, text) of all shell that the recipes bring."""
    found = [("prolog.sh", "bash", (DOCS / "prolog.sh").read_text())]
    found += [(f"{b.page}-{n}.sh", "sh", b.text) for n, b in enumerate(blocks("sh"))]
    found += [(f"action-{n}.sh", "bash", step["run"]) for n, step in enumerate(ACTION["runs"]["steps"])]
    job = yaml.safe_load((DOCS / "infra-doctor.gitlab-ci.yml").read_text())["infra-doctor"]
    found.append(("gitlab.sh", "sh", "\n".join([*job["before_script"], *job["script"]])))
    for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text()):
        words = shlex.split(hook["entry"])
        found.append((f"{hook['id']}.sh", "sh", words[2] if words[:2] == ["sh", "-c"] else hook["entry"]))
    for line in (DOCS / "Dockerfile").read_text().replace("\\\n", " ").splitlines():
        if line.startswith(("RUN ", "HEALTHCHECK ")):
            found.append(("docker.sh", "sh", re.sub(r"^(RUN( --mount=\S+)?|HEALTHCHECK .*?CMD)\s+", "", line)))
    for found_block in BLOCKS:
        if found_block.name == ".buildkite/pipeline.yml":
            found.append(("buildkite.sh", "bash", yaml.safe_load(found_block.text)["steps"][0]["command"]))
    return found


TEXTS = shell_texts()


@pytest.mark.parametrize(("name", "dialect", "text"), TEXTS, ids=[t[0] for t in TEXTS])
def test_shell_is_clean(tmp_path: Path, name: str, dialect: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    shellcheck = Path(sys.executable).with_name("shellcheck")
    command = [str(shellcheck), "--norc", "-S", "style", "-s", dialect, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_commands_have_only_options_that_there_are() -> None:
    seen = 0
    for path in (*PAGES, DOCS / "Dockerfile", DOCS / "prolog.sh", DOCS / "kubernetes-job.yaml"):
        text = path.read_text(encoding="utf-8").replace("\\\n", " ")
        for verb, rest in re.findall(r"infra-doctor (check|policy|list)\b([^`\n|>&;]*)", text):
            options = set(subparser(verb)._option_string_actions)
            for word in re.findall(r"(?<=\s)--[a-z-]+", rest):
                seen += 1
                assert word in options, (path.name, verb, word)
    assert seen > 20


def subparser(verb: str) -> argparse.ArgumentParser:
    """The parser of one verb, with its options."""
    (action,) = [a for a in build_parser(verb)._actions if isinstance(a, argparse._SubParsersAction)]
    return action.choices[verb]


def test_formats_that_are_named_are_there() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "infra_doctor", "list", "formats"], capture_output=True, text=True, check=True
    )
    for path in (*PAGES, ROOT / "action.yml", DOCS / "infra-doctor.gitlab-ci.yml"):
        for name in re.findall(r"--format[ =]([a-z]+)=", path.read_text(encoding="utf-8")):
            assert re.search(rf"^\s+(--)?{name}\s", done.stdout, re.MULTILINE), (path, name)


def test_the_buildkite_step_keeps_the_exit_code(tmp_path: Path) -> None:
    text = next(t for n, _, t in TEXTS if n == "buildkite.sh")
    program(tmp_path / "bin/buildkite-agent", f"cat >{tmp_path}/annotated")
    for code in (0, 1, 3):
        doctor = program(tmp_path / "infra-doctor", f"echo '# report'; exit {code}")
        script = text.replace("/opt/infra-doctor/bin/infra-doctor", str(doctor))
        done = subprocess.run(
            ["bash", "-ec", script], cwd=tmp_path, env=environment(PATH=f"{tmp_path}/bin:/usr/bin:/bin"), check=False
        )
        assert done.returncode == code
        assert (tmp_path / "annotated").read_text() == "# report\n"


# -- text -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("https://"):
            assert re.match(
                r"https://(slurm\.schedmd\.com|docs\.github\.com|docs\.gitlab\.com|kubernetes\.io|docs\.docker\.com)/",
                target,
            )
        else:
            assert (page.parent / target).resolve().is_file(), target
    assert len(text.splitlines()) <= 140, "short"


def test_every_file_is_named_in_the_table() -> None:
    text = (DOCS / "README.md").read_text(encoding="utf-8")
    for path in DOCS.iterdir():
        if path.name != "README.md":
            assert f"({path.name})" in text, path.name
