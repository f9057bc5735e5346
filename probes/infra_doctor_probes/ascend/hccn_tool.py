"""The answers of hccn_tool about an NPU's own network port (RoCE): `-link`, `-link_stat`, `-net_health`, `-optical`, `-ip`,
`-fec`, `-stat`, `-hw_stats`. Known from captures, and from what Ascend/mind-cluster (devmanager/hccn) reads of them.

Lines are `name: value` or `name : value`, sometimes behind `[devid 0]`. Options that hold nothing which is judged (route,
lldp, ping, status, tls) are refused by name."""

import re

from infra_doctor.plugin import record

TEXT_CAP, LINE_CAP = 1 << 20, 4000
OPTIONS = ("link", "link_stat", "net_health", "optical", "ip", "fec", "stat", "hw_stats")
_DEVICE = re.compile(r"\[dev(?:id|ice) \d{1,6}\][ \t]{0,20}")
_EVENT = re.compile(r"(\S.{0,60}\d{4})[ \t]{1,20}LINK (UP|DOWN)")
_NUMBER = re.compile(r"-?\d{1,12}(?:\.\d{1,12})?")


@record
class HccnText:
    """What one answer says: `fields` in order, and for `link_stat` the changes, newest first. `problem` says why it says
    nothing."""

    option: str
    fields: tuple[tuple[str, str], ...] = ()
    changes: tuple[tuple[str, str], ...] = ()  # (when, "UP" or "DOWN")
    problem: str = ""

    def value(self, name: str) -> str | None:
        """The first value of this name, None for an absent one and for `NA`."""
        found = next((v for n, v in self.fields if n == name), "")
        return found if found not in {"", "NA", "not supported"} else None

    def number(self, name: str) -> float | None:
        """The number that a value begins with: 1.0189 of "1.0189 mW"."""
        match = _NUMBER.match(self.value(name) or "")
        return float(match.group()) if match else None


@record
class Optical:
    """The optical module. `lanes_below` are the power values under their own threshold ("Rx Power1 0.0054 mW")."""

    present: bool | None
    lanes_below: tuple[str, ...] = ()
    temperature_c: float | None = None


def parse_hccn(option: str, text: str) -> HccnText:
    """Read the answer to `hccn_tool -i N -<option> -g`, whatever it holds."""
    if option not in OPTIONS:
        return HccnText(option=option, problem=f"hccn_tool -{option} holds nothing that is judged")
    fields: list[tuple[str, str]] = []
    changes: list[tuple[str, str]] = []
    last = ""
    for line in text[:TEXT_CAP].splitlines()[:LINE_CAP]:
        shown = _DEVICE.sub("", line[:400].strip(), count=1)
        last = shown or last
        event = _EVENT.fullmatch(shown)
        name, colon, value = shown.partition(":")
        if event:
            changes.append((event.group(1).strip(), event.group(2)))
        elif colon and name.strip() and len(name) <= 60:
            fields.append((name.strip(), value.strip()))
    if any(value or name in {"optical info", "packet statistics"} for name, value in fields):
        return HccnText(option=option, fields=tuple(fields), changes=tuple(changes))
    return HccnText(option=option, problem=f"no field in it: {last or 'no output'}"[:200])


def link_status(found: HccnText) -> str | None:
    """ "UP" or "DOWN"; None for anything else."""
    status = (found.value("link status") or "").upper()
    return status if status in {"UP", "DOWN"} else None


def optical(found: HccnText) -> Optical:
    """The module, judged by the thresholds that it names itself."""
    said = found.value("present")
    present = None if said is None else said == "present"
    low: list[str] = []
    for direction in ("Rx", "Tx"):
        floor = found.number(f"{direction}Power Low Thres")
        for name, value in found.fields:
            power = found.number(name) if re.fullmatch(rf"{direction} Power\d{{0,2}}", name) else None
            if floor is not None and power is not None and power < floor:
                low.append(f"{name} {value}")
    return Optical(present=present, lanes_below=tuple(low[:16]), temperature_c=found.number("temperature"))
