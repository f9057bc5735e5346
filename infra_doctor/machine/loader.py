"""Which copy of a library the real loader takes: glibc's algorithm over files, without loading anything."""

from dataclasses import dataclass
from typing import Literal

from infra_doctor.machine.machine import Machine


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedObject:
    """One object of the simulated process. `requested` is what was asked for (a soname or a path), `via` why this copy
    was taken, `by` the path of the object that asked."""

    path: str  # as found by the loader
    real_path: str
    soname: str | None
    requested: str
    via: str
    by: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolution:
    """The answer for one `load`: what was newly loaded (breadth first, the object itself first) and what is missing.
    `missing` holds (soname, path of the object that needs it, directories searched)."""

    object: LoadedObject | None
    loaded: tuple[LoadedObject, ...]
    missing: tuple[tuple[str, str, tuple[str, ...]], ...]
    unknown: str = ""  # why nothing can be said (musl, foreign architecture, unreadable cache)


class Loader:
    """A simulated process: what is loaded stays loaded, and a soname that is loaded wins."""

    def __init__(
        self, machine: Machine, executable: str, *, ld_library_path: str | None, ld_preload: str | None = None
    ) -> None:
        raise NotImplementedError

    def load(self, name: str, *, by: str | None = None, how: Literal["dlopen", "needed"] = "dlopen") -> Resolution:
        """dlopen a soname or a path, as the object at path `by` (None: the executable) would."""
        raise NotImplementedError

    @property
    def objects(self) -> tuple[LoadedObject, ...]:
        """All that is loaded, in order."""
        raise NotImplementedError
