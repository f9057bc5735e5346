"""How every front end says the same thing: signs, words, and text from a machine made safe to show.

Text that comes from a machine (file names, messages, environment) may hold escape sequences, direction overrides or
half characters. `printable` makes all of them visible; every front end passes such text through it."""

from infra_doctor.model.compatibility import Verdict
from infra_doctor.model.component import AttributeValue
from infra_doctor.model.escaping import IN_LINE
from infra_doctor.model.escaping import inert as inert
from infra_doctor.model.escaping import printable as printable
from infra_doctor.model.finding import Command, Status

# Sign and word stand together, so that nothing is said by colour alone. One character each.
SIGN: dict[Status, str] = {
    Status.FAIL: "✖",
    Status.ERROR: "‼",
    Status.WARN: "!",
    Status.UNKNOWN: "?",
    Status.PASS: "✔",
    Status.SKIP: "–",
}
# The status whose sign and colour a verdict of the matrix is shown with.
VERDICT_STATUS: dict[Verdict, Status] = {
    Verdict.INCOMPATIBLE: Status.FAIL,
    Verdict.UNKNOWN: Status.UNKNOWN,
    Verdict.COMPATIBLE: Status.PASS,
}
VERDICT_SIGN: dict[Verdict, str] = {verdict: SIGN[status] for verdict, status in VERDICT_STATUS.items()}
MEANING: dict[Status, str] = {
    Status.FAIL: "broken, or will break",
    Status.ERROR: "could not be looked at",
    Status.WARN: "works, with a risk",
    Status.UNKNOWN: "looked at, cannot be judged",
    Status.PASS: "looked at and in order",
    Status.SKIP: "does not apply here",
}
# What an ASCII terminal shows instead. Same width where a column depends on it.
_ASCII = str.maketrans({
    "✖": "x", "‼": "E", "✔": "+", "–": "-", "—": "-", "·": "|", "×": "x", "…": "...", "→": "->", "←": "<-", "↔": "<->",
    "└": "`", "─": "-", "│": "|", "≥": ">=", "≤": "<=", "≠": "!=", "’": "'", "‘": "'", "“": '"', "”": '"', "µ": "u",
})  # fmt: skip


def to_ascii(text: str) -> str:
    """The text in ASCII alone; characters without a stand-in become escapes such as `\\xe9`."""
    return text.translate(_ASCII).encode("ascii", "backslashreplace").decode("ascii")


def shortened(text: str, limit: int) -> str:
    """At most `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


OWN_HOME = "/home/user1/"  # as a redacted report writes the home of whoever looked


def own_path(path: str) -> str:
    """The path as its owner's shell takes it: the alias of one's own home becomes `~`."""
    return "~/" + path.removeprefix(OWN_HOME) if path.startswith(OWN_HOME) else path


def command_line(command: Command) -> str:
    """The command as one line for a POSIX shell. The alias of one's own home is written `~`, which a shell understands.
    What a CI system's runner would take for a command of its own is quoted so that a shell alone understands it."""
    import shlex

    words = []
    for word in command.argv:
        own = word.startswith(OWN_HOME) and not command.needs_root
        quoted = IN_LINE.sub("#''#", shlex.quote(word.removeprefix(OWN_HOME) if own else word))
        words.append("~/" + quoted if own else f"'{word}'" if quoted.startswith("::") else quoted)
    return printable(("sudo " if command.needs_root else "") + " ".join(words))


def is_web_link(address: str) -> bool:
    """Whether this may become a link: http(s), nothing that a browser drops or treats as a separator."""
    return (
        address.startswith(("https://", "http://"))
        and address.isascii()
        and address.isprintable()
        and not any(c in address for c in " <>\"'`|\\")
    )


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 fault`, `2 faults`."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def joined(words: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1] if words else ""


def size(number_bytes: int) -> str:
    """`139.8 GiB`."""
    value = float(number_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def attribute(name: str, value: AttributeValue) -> str:
    """`page size 4096`, `memory 139.8 GiB`, `wsl no`."""
    words = name.removesuffix("_bytes").replace("_", " ")
    if isinstance(value, bool):
        return f"{words} {'yes' if value else 'no'}"
    if isinstance(value, int) and name.endswith("_bytes"):
        return f"{words} {size(value)}"
    return f"{words} {'unknown' if value is None else value}"


def privacy(identified: bool) -> str:
    """What a report says about the names in it."""
    if identified:
        return "Names, addresses, serial numbers and UUIDs stand here as they are on the machine (--identify)."
    return (
        "User names, machine names, serial numbers and UUIDs are replaced by aliases that stay the same on this "
        "machine; passwords and tokens are left out."
    )
