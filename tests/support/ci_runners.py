"""What the runners of CI systems take for a command when they read a step's output, written after their own sources:

- GitHub: https://github.com/actions/runner/blob/main/src/Runner.Common/ActionCommand.cs (`TryParseV2`, then `TryParse`), the names
  in src/Runner.Worker/ActionCommandManager.cs; lines end where .NET's `StreamReader.ReadLine` ends them.
- Azure: https://github.com/microsoft/azure-pipelines-agent, src/Microsoft.VisualStudio.Services.Agent/Command.cs.
- TeamCity: https://www.jetbrains.com/help/teamcity/service-messages.html."""

import re
from dataclasses import dataclass, field

GITHUB_COMMANDS = frozenset({
    "add-mask", "add-matcher", "add-path", "debug", "echo", "endgroup", "error", "group", "internal-set-repo-path", "notice",
    "remove-matcher", "save-state", "set-env", "set-output", "stop-commands", "warning",
})  # fmt: skip
# What .NET's `Char.IsWhiteSpace` takes off at the start.
DOTNET_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"


@dataclass(frozen=True)
class Command:
    name: str
    properties: dict[str, str] = field(default_factory=dict)
    data: str = ""


def lines_of(output: str) -> list[str]:
    return re.split(r"\r\n|\r|\n", output)


def github_command(line: str) -> Command | None:
    return _second_form(line) or _first_form(line)


def _second_form(line: str) -> Command | None:
    """`::name key=value,key=value::data` at the start of a line."""
    line = line.lstrip(DOTNET_SPACE)
    if not line.startswith("::"):
        return None
    end = line.find("::", 2)
    if end < 0:
        return None
    name, _, rest = line[2:end].partition(" ")
    if name.lower() not in GITHUB_COMMANDS:
        return None
    pairs = [p.split("=", 1) for p in rest.strip(DOTNET_SPACE).split(",") if p]
    properties = {
        p[0]: _unescaped(p[1], "\r%0D", "\n%0A", ":%3A", ",%2C", "%%25") for p in pairs if len(p) == 2 and all(p)
    }
    return Command(name, properties, _unescaped(line[end + 2 :], "\r%0D", "\n%0A", "%%25"))


def _first_form(line: str) -> Command | None:
    """`##[name key=value;key=value]data` anywhere in a line; the first `##[` counts."""
    start = line.find("##[")
    end = line.find("]", start)
    if start < 0 or end < 0:
        return None
    name, _, rest = line[start + 3 : end].partition(" ")
    if name.lower() not in GITHUB_COMMANDS:
        return None
    order = (";%3B", "\r%0D", "\n%0A", "]%5D", "%%25")
    pairs = [p.split("=", 1) for p in rest.split(";") if p]
    properties = {p[0]: _unescaped(p[1], *order) for p in pairs if len(p) == 2 and all(p)}
    return Command(name, properties, _unescaped(line[end + 1 :], *order))


def _unescaped(text: str, *order: str) -> str:
    for mapping in order:
        text = text.replace(mapping[1:], mapping[0])
    return text


def azure_command(line: str) -> Command | None:
    """`##vso[area.event …]data` anywhere in a line."""
    start = line.find("##vso[")
    end = line.find("]", start)
    if start < 0 or end < 0:
        return None
    name = line[start + 6 : end].partition(" ")[0]
    return Command(name, data=line[end + 1 :]) if len([p for p in name.split(".") if p]) == 2 else None


def github_commands(output: str) -> list[Command]:
    """All commands that GitHub's runner finds."""
    return [found for line in lines_of(output) if (found := github_command(line))]


def commands(output: str) -> list[Command]:
    """All commands that any of the runners finds, and what is close to one."""
    azure = [found for line in lines_of(output) if (found := azure_command(line))]
    near = [Command(m[0]) for m in re.finditer(r"##\w*\[|^\s*::\w[^\n]*::", output, re.MULTILINE)]
    return [*github_commands(output), *azure, *near]
