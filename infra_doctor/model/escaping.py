"""Text that comes from a machine, made safe for whatever reads our output: a terminal, a browser, a CI system's runner.

Escape sequences, direction overrides and half characters become visible. So does what a runner would take for a command of
ours, as it reads standard output and standard error line by line:

- GitHub: a line that begins with `::name …::`, white space before it not counted, and `##[name …]` anywhere in a line
  (https://github.com/actions/runner/blob/main/src/Runner.Common/ActionCommand.cs);
- Azure Pipelines: `##vso[area.event …]` anywhere in a line
  (https://github.com/microsoft/azure-pipelines-agent/blob/master/src/Microsoft.VisualStudio.Services.Agent/Command.cs);
- TeamCity: `##teamcity[…]` (https://www.jetbrains.com/help/teamcity/service-messages.html);
- GitLab: sections of the log, which need ANSI codes (https://docs.gitlab.com/ci/jobs/job_logs/).

Imports nothing of ours: whoever has to say that something broke needs it."""

import re

IN_LINE = re.compile(r"##(?=\w*\[)")
_AT_START = re.compile(r"^((?:[^\S\n]|\x1b\[[0-9;]*m)*):(?=:)", re.MULTILINE)


def printable(text: str, *, lines: bool = False) -> str:
    """The text on one line, with everything that a terminal, a browser or a CI system's runner would act on made visible
    (`\\x1b`, `\\u202e`, `#\\x23[`). A tab becomes a space; with `lines`, line breaks stay."""
    if not text.isprintable():
        text = "".join(_shown(c, lines) for c in text)
    return IN_LINE.sub(r"#\\x23", text) if "##" in text else text


def inert(text: str) -> str:
    """Printable text as whole lines of output: none begins with `::`, which a runner takes for a command. Colours stay."""
    return _AT_START.sub(r"\1\\x3a", text) if "::" in text else text


def _shown(character: str, lines: bool) -> str:
    if character.isprintable() or (lines and character == "\n"):
        return character
    if character == "\t":
        return " "
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")
