"""Where a SARIF document is not what the specification allows, or not what GitHub's code scanning takes.

- The specification: https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/sarif-v2.1.0-errata01-os-complete.html (its numbers below),
  for the objects that we write: no other properties, those that are required, their values.
- GitHub: https://docs.github.com/code-security/reference/code-scanning/sarif-support-for-code-scanning ("Supported SARIF output file
  properties", "Validating your SARIF file"); what it refuses a whole file for: https://github.com/github/codeql-action/issues/1738,
  https://github.com/microsoft/sarif-sdk/issues/2694; what its upload reads: https://github.com/github/codeql-action/blob/main/src/upload-lib.ts.

`official_schema` and `validator` are those of Microsoft's npm package `@microsoft/sarif-multitool-linux`, where it is installed."""

import gzip
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PACKAGE = "@microsoft/sarif-multitool-linux"
TEXT, NUMBER, FLAG, LIST, BAG = str, int, bool, list, dict
# Object -> property -> (whether it is required, its type, the kind of object in it or its values).
OBJECTS: dict[str, dict[str, tuple[bool, type, Any]]] = {
    "sarifLog": {"$schema": (True, TEXT, None), "version": (True, TEXT, {"2.1.0"}), "runs": (True, LIST, "run")},  # 3.13
    "run": {  # 3.14
        "tool": (True, BAG, "tool"), "results": (True, LIST, "result"), "invocations": (False, LIST, "invocation"),
        "automationDetails": (False, BAG, "runAutomationDetails"), "columnKind": (False, TEXT, {"utf16CodeUnits", "unicodeCodePoints"}),
        "originalUriBaseIds": (False, BAG, None),
    },
    "tool": {"driver": (True, BAG, "toolComponent")},  # 3.18
    "toolComponent": {  # 3.19
        "name": (True, TEXT, None), "version": (False, TEXT, None), "semanticVersion": (False, TEXT, None),
        "informationUri": (False, TEXT, None), "rules": (True, LIST, "reportingDescriptor"),
        "notifications": (False, LIST, "reportingDescriptor"),
    },
    "reportingDescriptor": {  # 3.49
        "id": (True, TEXT, None), "name": (False, TEXT, None), "shortDescription": (True, BAG, "message"),
        "fullDescription": (True, BAG, "message"), "help": (True, BAG, "message"), "helpUri": (False, TEXT, None),
        "defaultConfiguration": (False, BAG, "reportingConfiguration"), "properties": (False, BAG, None),
    },
    "reportingConfiguration": {"level": (True, TEXT, {"note", "warning", "error"})},  # 3.50
    "runAutomationDetails": {"id": (True, TEXT, None)},  # 3.17
    "message": {"text": (True, TEXT, None), "markdown": (False, TEXT, None)},  # 3.11, 3.12
    "result": {  # 3.27; no `kind`: GitHub would show what passed as an alert
        "ruleId": (True, TEXT, None), "ruleIndex": (True, NUMBER, None), "level": (True, TEXT, {"note", "warning", "error"}),
        "message": (True, BAG, "message"), "locations": (True, LIST, "location"), "partialFingerprints": (True, BAG, None),
        "suppressions": (False, LIST, "suppression"), "properties": (False, BAG, None),
    },
    "location": {"physicalLocation": (True, BAG, "physicalLocation")},  # 3.28
    "physicalLocation": {"artifactLocation": (True, BAG, "artifactLocation"), "region": (True, BAG, "region")},  # 3.29
    "artifactLocation": {"uri": (True, TEXT, None), "uriBaseId": (False, TEXT, {"%SRCROOT%"})},  # 3.4
    "region": {"startLine": (True, NUMBER, None), "startColumn": (False, NUMBER, None), "endLine": (False, NUMBER, None)},  # 3.30
    "suppression": {  # 3.35
        "kind": (True, TEXT, {"external"}), "status": (True, TEXT, {"accepted"}), "justification": (True, TEXT, None),
    },
    "invocation": {  # 3.20
        "executionSuccessful": (True, FLAG, None), "exitCode": (False, NUMBER, None), "exitCodeDescription": (False, TEXT, None),
        "endTimeUtc": (False, TEXT, None), "machine": (False, TEXT, None), "toolExecutionNotifications": (False, LIST, "notification"),
    },
    "notification": {  # 3.58
        "descriptor": (True, BAG, "reportingDescriptorReference"), "associatedRule": (False, BAG, "reportingDescriptorReference"),
        "level": (True, TEXT, {"none", "note", "warning", "error"}), "message": (True, BAG, "message"), "locations": (False, LIST, "location"),
    },
    "reportingDescriptorReference": {"id": (True, TEXT, None), "index": (False, NUMBER, None)},  # 3.52
}  # fmt: skip
# Relative, percent-encoded (RFC 3986), inside of the repository.
URI = re.compile(r"(?!/)(?!.*(?:^|/)\.\.?(?:/|$))(?:[A-Za-z0-9._~!$&'()*+,;=@/-]|%[0-9A-F]{2})+")


def breaches(document: dict[str, Any]) -> list[str]:
    """All that is wrong, in words."""
    found = list(_of(document, "sarifLog", "$"))
    if not found:
        for run in document["runs"]:
            found += _rules(run) + _results(run) + _notifications(run)
        if len(gzip.compress(json.dumps(document).encode())) > 10_000_000:
            found.append("more than 10 MB")
    return found


def _of(value: Any, kind: str, where: str) -> Iterator[str]:
    known = OBJECTS[kind]
    yield from (f"{where}.{name}: {kind} has no such property" for name in value.keys() - known.keys())
    for name, (required, type_, inner) in known.items():
        if name not in value:
            if required:
                yield f"{where}.{name} is missing"
            continue
        item, place = value[name], f"{where}.{name}"
        if type(item) is not type_:
            yield f"{place} is {type(item).__name__}"
        elif required and type_ is TEXT and not item.strip():
            yield f"{place} is empty"
        elif isinstance(inner, set) and item not in inner:
            yield f"{place} is {item}"
        elif isinstance(inner, str):
            for number, one in enumerate(item if type_ is LIST else [item]):
                yield from _of(one, inner, f"{place}[{number}]")


def _rules(run: dict[str, Any]) -> list[str]:
    driver = run["tool"]["driver"]
    found = [f"{len(driver['rules'])} rules"] if len(driver["rules"]) > 25_000 else []
    ids = [r["id"] for r in driver["rules"]]
    found += ["two rules of one id"] if len(set(ids)) < len(ids) else []
    if "semanticVersion" in driver and not re.fullmatch(
        r"\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?", driver["semanticVersion"]
    ):
        found.append(f"{driver['semanticVersion']} is no semantic version")
    for rule in driver["rules"]:
        where, bag = f"rule {rule['id']}", rule["properties"]
        for name in ("shortDescription", "fullDescription"):
            found += [f"{where}: {name} is longer than 1,024"] if len(rule[name]["text"]) > 1024 else []
        found += [f"{where}: a name of more than 255"] if len(rule.get("name", "")) > 255 else []
        found += [f"{where}: name and id are one"] if rule.get("name") == rule["id"] else []
        found += [f"{where}: more than 10 tags"] if len(bag.get("tags", ())) > 10 else []
        found += [f"{where}: precision"] if bag["precision"] not in {"very-high", "high", "medium", "low"} else []
        found += [f"{where}: severity"] if bag["problem.severity"] not in {"error", "warning", "recommendation"} else []
        found += [f"{where}: is no rule of security"] if "security-severity" in bag else []
        found += [f"{where}: help"] if not re.fullmatch(r"https?://[!-~]+", rule.get("helpUri", "https://x")) else []
    return found


def _results(run: dict[str, Any]) -> list[str]:
    ids = [r["id"] for r in run["tool"]["driver"]["rules"]]
    results = run["results"]
    found = [f"{len(results)} results, of which GitHub shows 5,000"] if len(results) > 5000 else []
    prints = [r["partialFingerprints"].get("primaryLocationLineHash") for r in results]
    found += ["two results of one fingerprint"] if len(set(prints)) < len(prints) else []
    found += ["a result without the fingerprint that GitHub reads"] if not all(prints) else []
    suppressing = [r for r in results if "suppressions" in r]
    found += ["suppressions of some results (3.27.23: of all or none)"] if 0 < len(suppressing) < len(results) else []
    for number, result in enumerate(results):
        where = f"results[{number}]"
        found += [f"{where}: its rule"] if ids[result["ruleIndex"]] != result["ruleId"] else []
        found += [f"{where}: {len(result['locations'])} places"] if len(result["locations"]) != 1 else []
        found += [f"{where}: {text}" for location in result["locations"] for text in _place(location)]
        found += (
            [f"{where}: a fingerprint that is no text"]
            if not all(isinstance(v, str) for v in result["partialFingerprints"].values())
            else []
        )
        found += [f"{where}: a link or a placeholder"] if re.search(r"\]\(|\{\d+\}", result["message"]["text"]) else []
    return found


def _place(location: dict[str, Any]) -> list[str]:
    uri, region = location["physicalLocation"]["artifactLocation"]["uri"], location["physicalLocation"]["region"]
    found = [] if URI.fullmatch(uri) else [f"{uri!r} is no path of the repository"]
    found += ["a line before the first"] if region["startLine"] < 1 or region.get("startColumn", 1) < 1 else []
    return found + (
        ["an end before the start"] if region.get("endLine", region["startLine"]) < region["startLine"] else []
    )


def _notifications(run: dict[str, Any]) -> list[str]:
    driver = run["tool"]["driver"]
    known = {n["id"] for n in driver.get("notifications", ())}
    found = []
    for invocation in run.get("invocations", ()):
        for note in invocation.get("toolExecutionNotifications", ()):
            found += [f"no descriptor {note['descriptor']['id']}"] if note["descriptor"]["id"] not in known else []
            rule = note.get("associatedRule")
            found += (
                ["the rule of a notification"] if rule and driver["rules"][rule["index"]]["id"] != rule["id"] else []
            )
            found += [text for location in note.get("locations", ()) for text in _place(location)]
    return found


@cache
def package() -> Path | None:
    """Where Microsoft's package lies: in `$INFRA_DOCTOR_NODE_MODULES`, in the checkout, or among npm's global ones."""
    places = [os.environ.get("INFRA_DOCTOR_NODE_MODULES", ""), os.fspath(ROOT / "node_modules")]
    if npm := shutil.which("npm"):
        done = subprocess.run([npm, "root", "-g"], capture_output=True, text=True, timeout=60, check=False)
        places.append(done.stdout.strip())
    return next((p for place in places if place and (p := Path(place) / PACKAGE).is_dir()), None)


def official_schema() -> dict[str, Any] | None:
    """The JSON Schema of SARIF 2.1.0 with all corrections."""
    folder = package()
    return json.loads((folder / "sarif-2.1.0.json").read_text(encoding="utf-8-sig")) if folder else None


def validator() -> Path | None:
    """Microsoft's validator, with the rules that GitHub takes files by. npm does not make it executable by itself."""
    program = package() and package() / "Sarif.Multitool"  # type: ignore[operator]
    return program if program and os.access(program, os.X_OK) else None
