"""What a Python environment holds, told from files alone: its distributions, and who owns which file."""

import posixpath
from functools import cached_property

from infra_doctor.machine.import_path import read_finder
from infra_doctor.machine.machine import Machine
from infra_doctor.machine.target import find_target as find_target
from infra_doctor.machine.types import Distribution, RecordScan
from infra_doctor.model.component import Target
from infra_doctor.model.record import record


@record
class PythonEnvironment:
    """What a target holds. `distributions` are those that import would see (first on sys.path wins), by name;
    `shadowed` those hidden by an earlier entry. `editable_modules` are (module, path of its source) pairs that a
    finder maps, so that they lie in no site directory."""

    target: Target
    distributions: tuple[Distribution, ...]
    shadowed: tuple[Distribution, ...]
    records: RecordScan
    editable_modules: tuple[tuple[str, str], ...] = ()
    real_site_dirs: tuple[tuple[str, str], ...] = ()  # (site directory, its real path) where these differ

    @cached_property
    def _by_name(self) -> dict[str, Distribution]:
        return {d.normalized: d for d in self.distributions}

    @cached_property
    def _owners(self) -> dict[str, Distribution]:
        by_path = {d.path: d for d in (*self.distributions, *self.shadowed)}
        owners = {path: by_path[info] for path, info in self.records.libraries if info in by_path}
        for folder, real in self.real_site_dirs:
            for path in [p for p in owners if p.startswith(folder + "/")]:
                owners.setdefault(real + path[len(folder) :], owners[path])
        return owners

    def distribution(self, name: str) -> Distribution | None:
        """By name, in any spelling that PEP 503 takes for the same."""
        return self._by_name.get(Distribution(name=name, version="", path="", site_dir="").normalized)

    def owner_of(self, path: str) -> Distribution | None:
        """The distribution whose RECORD lists this shared object."""
        return self._owners.get(posixpath.normpath(path))


def find_all_targets(machine: Machine) -> tuple[Target, ...]:
    """All Python environments that can be found by files, the active one first."""
    from infra_doctor.machine.all_targets import find_all_targets as search  # the default run has no need of it

    return search(machine)


def python_environment(machine: Machine, target: Target) -> PythonEnvironment:
    """The environment of a target; made once per machine and target."""
    made: PythonEnvironment = machine.memo(("python environment", target.key), lambda: _environment(machine, target))
    return made


def _environment(machine: Machine, target: Target) -> PythonEnvironment:
    real_paths = {folder: machine.realpath(folder) for folder in target.site_dirs}
    # lib64 is often a link to lib: what is one directory is read once.
    folders = [f for i, f in enumerate(target.site_dirs) if real_paths[f] not in [*real_paths.values()][:i]]
    records = machine.records(tuple(folders))
    distributions, shadowed = _visible([machine.distributions(folder) for folder in folders], records)
    finders = [
        read_finder(machine, posixpath.join(folder, name))
        for folder in folders
        for name in machine.names(folder)
        if name.startswith("__editable__") and name.endswith("_finder.py")
    ]
    return PythonEnvironment(
        target=target, distributions=distributions, shadowed=shadowed, records=records,
        editable_modules=tuple(pair for finder in finders if finder for pair in finder[0]),
        real_site_dirs=tuple((f, real_paths[f]) for f in folders if real_paths[f] != f),
    )  # fmt: skip


def _visible(
    by_folder: list[tuple[Distribution, ...]], records: RecordScan
) -> tuple[tuple[Distribution, ...], tuple[Distribution, ...]]:
    """The first of each name, and the others. Where one directory holds a name twice (an upgrade that was broken off),
    the one whose bytes are on disk comes first."""
    wins: dict[str, int] = {}
    for file in records.contested:
        for path in file.winners or ():
            wins[path] = wins.get(path, 0) + 1
    seen: dict[str, Distribution] = {}
    shadowed = []
    paths = set()
    for distributions in by_folder:
        for one in sorted(distributions, key=lambda d: -wins.get(d.path, 0)):
            if one.path in paths:
                continue  # an .egg-link and the directory that it leads to
            paths.add(one.path)
            if seen.setdefault(one.normalized, one) is not one:
                shadowed.append(one)
    return tuple(seen[name] for name in sorted(seen)), tuple(sorted(shadowed, key=lambda d: d.path))
