"""A simulated process: a Loader, and a record of what was opened for whom, under what name, and with what result."""

import posixpath
from dataclasses import dataclass, field

from infra_doctor.plugin import LoadedObject, Loader, Machine, Resolution, record
from infra_doctor_probes.loading.names import library_name


@record
class Missing:
    """A library that is not found: `soname`, who needs it (a path), where was looked, and why it is refused if it is
    there after all. `on_first_use`: nothing fails before the first operation that needs it."""

    soname: str
    needed_by: str
    searched: tuple[str, ...] = ()
    reason: str = ""
    on_first_use: bool = False


@record
class Use:
    """One copy of a library that a consumer (a component key) gets, and why that copy."""

    consumer: str
    object: LoadedObject
    via: str
    on_first_use: bool = False


@dataclass(kw_only=True)
class Process:
    """One import order, as far as it is played. `missing` is by consumer."""

    machine: Machine
    loader: Loader
    uses: list[Use] = field(default_factory=list)
    missing: list[tuple[str, Missing]] = field(default_factory=list)
    unknown: str = ""

    def dlopen(
        self, consumer: str, step: str, name: str, *, by: str | None = None, optional: bool = False, late: bool = False,
    ) -> Resolution:  # fmt: skip
        """Open `name` as `step` of this consumer. What is missing is noted unless `optional`; `late` marks what is opened
        by the first operation that needs it, not by the import or the session."""
        result = self.loader.load(name, by=by)
        self.unknown = self.unknown or result.unknown
        if result.object is None:
            if not optional:
                self.missing += [
                    (consumer, Missing(soname=posixpath.basename(s), needed_by=b, searched=d, on_first_use=late))
                    for s, b, d in result.missing
                ]
                self.missing += [
                    (
                        consumer,
                        Missing(
                            soname=posixpath.basename(p), needed_by=b, searched=(posixpath.dirname(p),), reason=r,
                            on_first_use=late,
                        ),
                    )
                    for p, b, r in result.broken
                ]  # fmt: skip
            return result
        self._note_uses(consumer, step, result.object, result, late)
        return result

    def say_missing(self, consumer: str, soname: str, needed_by: str) -> None:
        """Note what a program looks for by itself and does not find."""
        self.missing.append((consumer, Missing(soname=soname, needed_by=needed_by)))

    def forgive(self, consumer: str) -> None:
        """Drop what this consumer's attempts missed so far: the program catches that and tries otherwise."""
        self.missing = [(c, m) for c, m in self.missing if c != consumer]

    def _note_uses(self, consumer: str, step: str, opened: LoadedObject, result: Resolution, late: bool) -> None:
        """The object and all that it needs, loaded now or before, each copy once per consumer."""
        known = {u.object.real_path for u in self.uses if u.consumer == consumer}
        fresh = {o.real_path for o in result.loaded}
        waiting = [opened]
        seen = {opened.real_path}
        while waiting:
            found = waiting.pop()
            if found.real_path not in known and library_name(posixpath.basename(found.path)) is not None:
                via = self._via(consumer, step, found, found.real_path in fresh)
                self.uses.append(Use(consumer=consumer, object=found, via=via, on_first_use=late))
                known.add(found.real_path)
            elf = self.machine.elf(found.path, quiet=True)
            for name in elf.needed if elf is not None else ():
                needed = self.loader.find(name)
                if needed is not None and needed.real_path not in seen:
                    seen.add(needed.real_path)
                    waiting.append(needed)

    def _via(self, consumer: str, step: str, found: LoadedObject, fresh: bool) -> str:
        if not fresh:
            owner = next((u for u in self.uses if u.object.real_path == found.real_path), None)
            before = f"already loaded for {owner.consumer.removeprefix('wheel:').partition('@')[0]}" if owner else None
            return before if owner and owner.consumer != consumer and before else "already loaded"
        if found.via == "path given":
            return f"by path, {step}"
        needed_by = posixpath.basename(found.by)
        return f"{found.via}, for {needed_by}" if needed_by else found.via
