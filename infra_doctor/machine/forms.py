"""The forms of machine: live, under another root, replayed. A remote one is the same agent over JSON lines."""

import posixpath
from collections.abc import Iterable
from typing import Any

from infra_doctor.errors import InputError, TargetError
from infra_doctor.machine.agent import Agent
from infra_doctor.machine.child import call_child
from infra_doctor.machine.machine import Machine
from infra_doctor.machine.types import Capability, MachineForm

# What a snapshot keeps as the key of an observation; the other arguments (caps, deadlines, allow-lists) do not tell
# one observation from another.
_KEY_ARGUMENTS = {"environ": 1, "run": 1, "read": 1, "system": 0}


def live_machine(environment_names: Iterable[str] = ()) -> Machine:
    """This computer, with our own environment."""
    return Machine(
        Agent("/"),
        form=MachineForm.LIVE,
        capabilities=Capability,
        environment_names=environment_names,
        call_child=call_child,
    )


def rooted_machine(root: str, environment_names: Iterable[str] = ()) -> Machine:
    """The files of another machine under a folder: an unpacked image, or a host mounted into a container.

    Its kernel state is visible only where /proc and /sys of that machine are mounted there (as with `/host`).
    Raises TargetError where the folder is none."""
    agent = Agent(root)
    found = Agent("/").ask("stat", agent.root)
    if not isinstance(found, list) or found[0] != "dir":
        raise TargetError(
            f"--root {root}: no such directory", help="Give the folder that holds the other machine's files."
        )
    capabilities = {Capability.FILES}
    if isinstance(agent.ask("stat", "/proc/version"), list) and isinstance(agent.ask("stat", "/sys/bus"), list):
        capabilities.add(Capability.KERNEL_STATE)
    return Machine(agent, form=MachineForm.ROOTED, capabilities=capabilities, environment_names=environment_names)


def observation_key(name: str, arguments: Iterable[Any]) -> tuple[Any, ...]:
    """What tells one observation from another."""
    kept = list(arguments)[: _KEY_ARGUMENTS.get(name, 9)]
    return (name, *[tuple(a) if isinstance(a, list) else a for a in kept])


class Replay:
    """Answers out of a snapshot's observations. What was not recorded counts as absent and is remembered."""

    def __init__(self, observations: Iterable[tuple[str, list[Any], Any]]) -> None:
        self.answers: dict[tuple[Any, ...], Any] = {}
        for name, arguments, result in observations:
            key = observation_key(name, arguments)
            if key not in self.answers or longer(result, self.answers[key]):
                self.answers[key] = result
        self.unrecorded: set[tuple[Any, ...]] = set()

    def ask(self, name: str, *arguments: Any) -> Any:
        """The recorded result, or what the recorded listings and links tell; None where neither is there."""
        key = observation_key(name, arguments)
        if key in self.answers:
            return self.answers[key]
        path = str(arguments[0]) if arguments else ""
        if name == "realpath":
            return self._resolve(path)
        real = self._resolve(path)
        if real != path and (name, real, *key[2:]) in self.answers:
            return self.answers[(name, real, *key[2:])]
        if name == "stat":
            kind = self._listed_kind(real if arguments[1] else path)
            if kind is not None:
                return [kind, 0, 0o755, 0, f"replayed:{real}", None]
        if name in {"stat", "read", "list", "readlink", "elf"} and self._known_absent(real):
            return None
        self.unrecorded.add(key)
        return None

    def _resolve(self, path: str) -> str:
        """The real path as far as the recorded links tell."""
        parts = [p for p in reversed(path.split("/")) if p not in {"", "."}]
        done: list[str] = []
        for _ in range(400):
            if not parts:
                break
            part = parts.pop()
            if part == "..":
                done = done[:-1]
                continue
            link = self.answers.get(("readlink", "/" + "/".join([*done, part])))
            if isinstance(link, str):
                if link.startswith("/"):
                    done = []
                parts.extend(p for p in reversed(link.split("/")) if p not in {"", "."})
            else:
                done.append(part)
        return "/" + "/".join(done)

    def _listed_kind(self, path: str) -> str | None:
        """The type that the recorded listing of the parent gives."""
        folder, name = posixpath.split(path)
        listing = self.answers.get(("list", folder))
        for entry in listing if isinstance(listing, list) else ():
            if entry[0] == name:
                return "file" if entry[1] == "other" else str(entry[1])
        return None

    def _known_absent(self, path: str) -> bool:
        """Whether a recorded listing shows that the path does not exist."""
        while path not in {"/", ""}:
            path, name = posixpath.split(path)
            listing = self.answers.get(("list", path or "/"))
            if isinstance(listing, list):
                return all(entry[0] != name for entry in listing)
            if ("list", path or "/") in self.answers and listing is None:
                return True
        return False


def longer(new: Any, old: Any) -> bool:
    """Whether an answer holds more of a file than another one, which was cut."""
    if not (isinstance(new, dict) and isinstance(old, dict) and old.get("truncated")) or new.get("error"):
        return False
    return not new.get("truncated") or len(new.get("text") or "") > len(old.get("text") or "")


def replayed_machine(snapshot: dict[str, Any], *, where: str, environment_names: Iterable[str] = ()) -> Machine:
    """The machine that a snapshot was taken of. Raises InputError where the document is damaged."""
    observations = snapshot.get("observations")
    known = [str(c) for c in Capability]  # a list: what is looked up in it may be of any type
    machine = snapshot.get("machine")
    if not isinstance(observations, list) or not isinstance(machine, dict):
        raise InputError(
            f"{where}: damaged snapshot: no observations", help="Take it again: `infra-doctor snapshot FILE`."
        )
    from infra_doctor.machine.shapes import wrong, wrong_request  # msgspec, which only a replay needs

    if reason := wrong_request(snapshot.get("request")):
        raise InputError(f"{where}: damaged snapshot: request: {reason}")
    for number, item in enumerate(observations):
        if not (isinstance(item, list) and len(item) == 3 and isinstance(item[0], str) and isinstance(item[1], list)):
            raise InputError(f"{where}: damaged snapshot: observation {number} is not [name, arguments, result]")
        if reason := wrong(*item):
            raise InputError(f"{where}: damaged snapshot: observation {number} ({item[0][:20]}): {reason}")
    named = machine.get("capabilities")
    capabilities = {Capability(c) for c in named if c in known} if isinstance(named, list) else set()
    return Machine(
        Replay(observations), form=MachineForm.REPLAYED, capabilities=capabilities, environment_names=environment_names
    )
