"""Shared by the readers: bounded lines, and the values that NVIDIA's tools write ("143771 MiB", "Enabled", "N/A", "16x")."""

from collections.abc import Iterator

from infra_doctor.plugin import record

TEXT_CAP = 16 << 20  # characters of a document that are looked at
LINE_CAP = 4096  # of one line
LINES_CAP = 100_000  # 16 GPUs have some 5,000 lines
VALUE_CAP = 200
# What stands for "not there", "not for this product" or "not for you".
ABSENT = frozenset(
    {"", "-", "n/a", "[n/a]", "not supported", "[not supported]", "not available", "not found",
     "insufficient permissions", "[insufficient permissions]", "not available in wddm driver model"}
)  # fmt: skip
# What stands for a value that the driver could not read: the device, or this field, fails.
FAILED = frozenset({"err!", "unknown error", "[unknown error]", "gpu is lost", "[gpu is lost]", "gpu requires reset",
                    "[gpu requires reset]", "timeout", "[timeout]"})  # fmt: skip
UNITS = {"b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
DIGITS_CAP = 20


@record
class Refused:
    """Text that a reader does not take, and why."""

    reason: str


def lines(text: str) -> Iterator[str]:
    """The lines of a document without their ends, each cut at LINE_CAP. Terminal colours go."""
    start, length = 0, min(len(text), TEXT_CAP)
    for _ in range(LINES_CAP):
        if start >= length:
            return
        end = text.find("\n", start, length)
        end = length if end < 0 else end
        line = text[start : min(end, start + LINE_CAP)].rstrip("\r")
        yield plain(line) if "\x1b" in line else line
        start = end + 1


def plain(line: str) -> str:
    """The line without terminal sequences ("\\x1b[4m")."""
    out: list[str] = []
    position = 0
    while True:
        found = line.find("\x1b[", position)
        if found < 0:
            return "".join([*out, line[position:]])
        out.append(line[position:found])
        end = found + 2
        while end < len(line) and (line[end].isdigit() or line[end] == ";"):
            end += 1
        position = end + 1


def is_absent(value: str | None) -> bool:
    """Whether the tool says that there is no such value. "Requested functionality has been deprecated" is none either."""
    if value is None:
        return True
    folded = value.strip().lower()
    return folded in ABSENT or folded.startswith(("requested functionality has been", "deprecated"))


def is_failed(value: str | None) -> bool:
    """Whether the tool says that the value could not be read."""
    return value is not None and value.strip().lower() in FAILED


def told(value: str | None) -> str | None:
    """The value where there is one."""
    return None if value is None or is_absent(value) or is_failed(value) else value.strip()[:VALUE_CAP]


def whole(value: str | None) -> int | None:
    """ "12", "16x", "0 %", "P8", "0x1F" as a number."""
    word = (told(value) or "").split(" ", 1)[0].rstrip("x%").removeprefix("P")
    if word.isascii() and word.isdecimal() and len(word) <= DIGITS_CAP:
        return int(word)
    return None


def decimal(value: str | None) -> float | None:
    """ "89.02 W", "-2 C" as a number."""
    word = (told(value) or "").split(" ", 1)[0]
    body = word.removeprefix("-").replace(".", "", 1)
    if body.isascii() and body.isdecimal() and len(body) <= DIGITS_CAP:
        return float(word)
    return None


def byte_count(value: str | None) -> int | None:
    """ "143771 MiB" in bytes."""
    parts = (told(value) or "").split()
    if len(parts) != 2 or parts[1].lower() not in UNITS:
        return None
    number = decimal(parts[0])
    return None if number is None or number < 0 else int(number * UNITS[parts[1].lower()])


def switch(value: str | None) -> bool | None:
    """ "Enabled", "On", "Yes", "Active" and their opposites."""
    folded = (told(value) or "").lower()
    if folded in {"enabled", "on", "yes", "true", "active"}:
        return True
    return False if folded in {"disabled", "off", "no", "false", "not active"} else None


def snake(value: str | None) -> str | None:
    """ "Pass-Through" as "pass_through"."""
    word = told(value)
    if word is None:
        return None
    return "_".join("".join(c if c.isalnum() else " " for c in word.lower()).split()) or None


def version(value: str | None) -> str | None:
    """ "580.159.04" where the value begins with a version; "Deprecated, see …" is none."""
    word = (told(value) or "").split(" ", 1)[0]
    parts = word.split(".")
    if 2 <= len(parts) <= 4 and all(p.isascii() and p.isdecimal() and len(p) <= 10 for p in parts):
        return word
    return None


def pci_address(value: str | None) -> str | None:
    """ "00000000:83:00.0" in the kernel's form "0000:83:00.0"."""
    parts = (told(value) or "").lower().split(":")
    if len(parts) != 3 or not all(p and all(c in "0123456789abcdef" for c in p) for p in parts[:2]):
        return None
    device, dot, function = parts[2].partition(".")
    hexadecimal = len(device) == 2 and all(c in "0123456789abcdef" for c in device)
    if len(parts[0]) > 8 or len(parts[1]) != 2 or not hexadecimal or not dot or function not in set("01234567"):
        return None
    return f"{int(parts[0], 16):04x}:{parts[1]}:{parts[2]}"


def pci_id(value: str | None) -> str | None:
    """ "0x233510DE" or "233510DE" as "10de:2335"."""
    word = (told(value) or "").lower().removeprefix("0x")
    if len(word) != 8 or any(c not in "0123456789abcdef" for c in word):
        return None
    return f"{word[4:]}:{word[:4]}"
