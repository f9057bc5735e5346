"""What belongs together in two reports, of one machine at two times or of two machines.

What is named after a place (an environment's prefix, a library's file name with its version) is told by what it is where
its key is not the same. A device is never taken for another one where a finding speaks of devices alone: the memory errors
of this GPU are not those of that one."""

import posixpath
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence, Set
from typing import TypeVar

from infra_doctor.model.component import DEVICE_KINDS, Component
from infra_doctor.model.finding import STATUS_RANK, Finding, Status
from infra_doctor.model.policy import POLICY_KIND
from infra_doctor.model.record import record
from infra_doctor.model.report import Report

T = TypeVar("T")
Rename = Callable[[str], str]
Pair = tuple[Finding | None, Finding | None]
ANY_DEVICE = "accelerator:any"  # the subject of a probe of devices that failed as a whole
SYSTEM_PREFIXES = ("/", "/usr")  # below these lies more than a Python environment


def matched(
    before: Sequence[T], after: Sequence[T], *levels: Callable[[int, T], Hashable]
) -> Iterator[tuple[T | None, T | None]]:
    """Pairs of items. Each level gives a name to an item of side 0 or 1; items that it names alike, one on each side (or
    equally many, in order), belong together; the rest goes on to the next level, and in the end stands alone."""
    rest: tuple[list[T], list[T]] = (list(before), list(after))
    for level in levels:
        named: dict[Hashable, tuple[list[T], list[T]]] = {}
        for side in (0, 1):
            for item in rest[side]:
                named.setdefault(level(side, item), ([], []))[side].append(item)
        left: tuple[list[T], list[T]] = ([], [])
        for ones, others in named.values():
            if len(ones) == len(others):
                yield from zip(ones, others, strict=True)
            else:
                left[0].extend(ones)
                left[1].extend(others)
        rest = left
    yield from ((item, None) for item in rest[0])
    yield from ((None, item) for item in rest[1])


# -- components ---------------------------------------------------------------------------------------------------


@record
class Matching:
    """How the things of two reports belong together. `names` give the only environment of each the same name; `moved` gives
    it the name that it has in the second; `keys` are the keys of the first report's components in the second."""

    names: tuple[Rename, Rename]
    moved: Rename
    components: tuple[tuple[Component | None, Component | None], ...]
    keys: Mapping[str, str]

    def subject(self, side: int, finding: Finding) -> tuple[str, ...]:
        """What a finding speaks of, by the keys of the second report."""
        keys = set(finding.subject)
        if side == 0:
            of_devices = not {key.partition(":")[0] for key in keys} - DEVICE_KINDS - {POLICY_KIND}
            keys = {k if of_devices else self.keys.get(k) or self.moved(k) for k in keys}
        return tuple(sorted(keys))


def matching(before: Report, after: Report) -> Matching:
    """How the things of two reports belong together."""
    names: tuple[Rename, Rename] = (_unchanged, _unchanged)
    moved: Rename = _unchanged
    if len(before.targets) == len(after.targets) == 1:
        one, other = before.targets[0].prefix, after.targets[0].prefix
        names, moved = (renaming(one, "<environment>"), renaming(other, "<environment>")), renaming(one, other)

    def by_key(_: int, c: Component) -> Hashable:
        return c.key

    def by_common_key(side: int, c: Component) -> Hashable:
        return names[side](c.key)

    def by_folder(side: int, c: Component) -> Hashable:
        return (c.kind, c.name, names[side](c.target or ""), names[side](posixpath.dirname(c.location or "")))

    def by_name(side: int, c: Component) -> Hashable:
        return (c.kind, c.name, names[side](c.target or ""))

    found = matched(before.components, after.components, by_key, by_common_key, by_folder, by_name)
    pairs = tuple(found)
    keys = {one.key: other.key for one, other in pairs if one is not None and other is not None}
    return Matching(names=names, moved=moved, components=pairs, keys=keys)


def renaming(prefix: str, to: str) -> Rename:
    """Rewrites the prefix of an environment in a key (`wheel:torch@PREFIX`, `target:PREFIX`, `cudnn:PREFIX/lib/…`) or path."""

    def rename(text: str) -> str:
        if text.endswith(f"@{prefix}"):
            return f"{text.removesuffix(prefix)}{to}"
        kind, colon, place = text.partition(":") if not text.startswith("/") else ("", "", text)
        if place == prefix or (prefix not in SYSTEM_PREFIXES and place.startswith(f"{prefix}/")):
            return f"{kind}{colon}{to}{place.removeprefix(prefix)}"
        return text

    return rename


def _unchanged(text: str) -> str:
    return text


# -- findings -----------------------------------------------------------------------------------------------------


def finding_pairs(before: Sequence[Finding], after: Sequence[Finding], match: Matching) -> Iterator[Pair]:
    """Pairs of findings of one id that speak of the same things; the rest stands alone. A finding of the second report that
    speaks of fewer things than one of the first belongs to that one: nothing came to it."""
    groups: dict[tuple[str, tuple[str, ...]], tuple[list[Finding], list[Finding]]] = {}
    wider: dict[str, list[tuple[set[str], Finding]]] = {}
    for side, findings in enumerate((before, after)):
        for finding in findings:
            subject = match.subject(side, finding)
            groups.setdefault((finding.id, subject), ([], []))[side].append(finding)
            if side == 0:
                wider.setdefault(finding.id, []).append((set(subject), finding))
    alone: list[Finding] = []
    used: set[int] = set()
    for (finding_id, subject), (ones, others) in groups.items():
        for one, other in alike(ones, others):
            if other is None and one is not None:
                alone.append(one)
                continue
            if one is None:
                around = [f for wide, f in wider.get(finding_id, ()) if subject and set(subject) < wide]
                one = min(around, key=_worst, default=None)
                used.add(id(one))
            yield one, other
    yield from ((one, None) for one in alone if id(one) not in used)


def alike(ones: Sequence[Finding], others: Sequence[Finding]) -> list[Pair]:
    """Pairs of findings of the same subject: those of the same words, then the worst with the worst."""
    pairs: list[Pair] = []
    left, rest = [], sorted(others, key=_worst)
    for one in sorted(ones, key=_worst):
        same = next((o for o in rest if (o.title, o.status) == (one.title, one.status)), None)
        if same is None:
            left.append(one)
        else:
            rest.remove(same)
            pairs.append((one, same))
    shared = min(len(left), len(rest))
    pairs += zip(left[:shared], rest[:shared], strict=True)
    return [*pairs, *((one, None) for one in left[shared:]), *((None, other) for other in rest[shared:])]


def _worst(finding: Finding) -> tuple[int, str]:
    return (STATUS_RANK[finding.status], finding.title)


# -- devices ------------------------------------------------------------------------------------------------------


@record
class DevicesGone:
    """How many devices of the first report are not in the second, and which may be meant: more than `count`, where others
    came for some of them. `blind`: why they may be there all the same."""

    count: int = 0
    devices: tuple[Component, ...] = ()
    blind: str = ""


def devices_gone(before: Report, after: Report, device_probes: Set[str] = frozenset()) -> DevicesGone:
    """The devices of the first report that are no more. As many of a kind as before, of another name or in another place:
    devices were changed, none is missing. What could not be looked at (a device that is missed, or by one of the
    `device_probes`) may be there."""
    ones, others = ([c for c in r.components if c.kind in DEVICE_KINDS] for r in (before, after))

    def by_place(_: int, c: Component) -> Hashable:
        return c.key.partition(":")[2]  # what has another kind now got a driver, or lost it

    lost: dict[str, list[Component]] = {}
    came: dict[str, int] = {}
    for one, other in matched(ones, others, lambda _, c: c.key, by_place):
        if one is not None and other is None:
            lost.setdefault(one.kind, []).append(one)
        elif one is None and other is not None:
            came[other.kind] = came.get(other.kind, 0) + 1
    missed = {kind: len(there) - came.get(kind, 0) for kind, there in lost.items()}
    devices = tuple(c for kind, there in lost.items() if missed[kind] > 0 for c in there)
    if not devices:
        return DevicesGone()
    blind = _why_unseen(before, after, {ANY_DEVICE, *(c.key for c in devices)}, device_probes)
    return DevicesGone(count=sum(n for n in missed.values() if n > 0), devices=devices, blind=blind)


def _why_unseen(before: Report, after: Report, keys: Set[str], device_probes: Set[str]) -> str:
    for finding in after.findings:
        if finding.status is Status.ERROR and keys & set(finding.subject):
            return finding.detail or finding.title
    looked = {p.id for p in before.probes if p.status is Status.PASS}
    for probe in after.probes:
        if probe.id in device_probes and probe.id in looked and probe.status is not Status.PASS:
            return f"{probe.title or probe.id}: {probe.reason or probe.status.value}"
    return ""
