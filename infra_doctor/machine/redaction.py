"""The one boundary: what leaves a run is redacted here, and nowhere else.

Aliases are stable within a machine, so that reports can still be compared: homes become /home/user1, UUIDs of
devices and the machine's name keyed hashes. What is redacted already stays as it is.

Python 3.7 syntax: the collector packs this file."""

import hashlib
import hmac
import re
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from typing import Any, Dict, Optional, Tuple, TypeVar

T = TypeVar("T")

_HOME = re.compile(r"(/(?:home|Users|export/home|mnt/home|nfs/home)/)([^/\s:'\"]+)")
_UUID = re.compile(r"\b(GPU|MIG|NPU)-[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
# Every repetition is bounded and starts at a fixed word: a line of 10 MB must not take quadratic time.
_CREDENTIALS = re.compile(r"(://)[^/\s@]{1,256}@")
_SECRET = re.compile(
    r"(?i)((?:token|secret|passw(?:or)?d|api[_-]?key|access[_-]?key|credential)[\w.-]{0,40}\s{0,3}[=:]\s{0,3})[^\s,;'\"]+"
)
_TOKEN = re.compile(r"\b(?:gh[pousr]_|github_pat_|hf_|sk-|xox[abprs]-|glpat-|AKIA|planted-)[A-Za-z0-9_-]{6,}")
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}\.[A-Za-z][\w.-]{0,200}")
_ALIAS = re.compile(r"user\d+")
# Names of accounts that tell nothing of a person.
_GENERIC = frozenset({"root", "user", "ubuntu", "runner", "vscode", "app", "admin", "nobody", "ma-user", "ec2-user"})


class Redactor:
    """Redacts strings, documents and dataclasses. `replayed` says that aliases such as user1 are already aliases."""

    def __init__(self, *, key: bytes, home: Optional[str], replayed: bool = False, enabled: bool = True) -> None:
        self._key = key
        # user1 is always the one whose machine is looked at; others come after.
        self._users: Dict[str, str] = {"\0home": "user1"}
        self._replayed = replayed
        self._home = ""
        self._enabled = enabled
        self._known: Dict[str, str] = {}
        if home and home not in {"/", "/root"} and not replayed:
            match = _HOME.match(home + "/")
            if match is None:
                self._home = home.rstrip("/")
            elif match.group(2) not in _GENERIC:
                self._users[match.group(2)] = "user1"

    def text(self, text: str) -> str:
        """The string as it may leave."""
        if not self._enabled:
            return text
        found = self._known.get(text)
        if found is None:
            found = self._known[text] = self._text(text)
        return found

    def _user(self, name: str) -> str:
        if name in _GENERIC or (self._replayed and _ALIAS.fullmatch(name)):
            return name
        if name not in self._users:
            self._users[name] = "user%d" % (len(set(self._users.values())) + 1)
        return self._users[name]

    def hashed(self, text: str) -> str:
        """A keyed hash: equal for equal texts of one machine."""
        return hmac.new(self._key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:12]

    def _text(self, text: str) -> str:
        if self._home and self._home in text:
            # The mark keeps the alias from being taken for a name.
            text = re.sub(re.escape(self._home) + r"(?=$|[/\s:'\"])", "\0", text)
        if "home/" in text or "/Users/" in text:
            text = _HOME.sub(lambda m: m.group(1) + self._user(m.group(2)), text)
        if "-" in text or "_" in text or "AKIA" in text:
            text = _UUID.sub(lambda m: "%s-%s" % (m.group(1), self.hashed(m.group(0))), text)
            text = _TOKEN.sub("***", text)
        if "@" in text:
            text = _EMAIL.sub("***", _CREDENTIALS.sub(r"\1***@", text))
        if "=" in text or ":" in text:
            text = _SECRET.sub(r"\1***", text)
        return text.replace("\0", "/home/user1") if self._home else text

    def document(self, value: Any) -> Any:
        """A JSON value with its strings redacted; keys stay (they are names of ours or of variables)."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {k: self.document(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.document(v) for v in value]
        return value

    def typed(self, value: T) -> T:
        """A dataclass (or a tuple, dict or string) with its strings redacted, of the same type."""
        return self._typed(value)  # type: ignore[no-any-return]

    def _typed(self, value: Any) -> Any:
        if isinstance(value, str):
            # An enum member is a str too, and holds nothing to redact.
            return self.text(value) if type(value) is str else value
        if isinstance(value, tuple):
            return tuple(map(self._typed, value))
        if isinstance(value, dict):
            return {k: self._typed(v) for k, v in value.items()}
        if is_dataclass(value) and not isinstance(value, type):
            changed = {}
            for name in _field_names(type(value)):
                old = getattr(value, name)
                if old is None or old == () or old == "":
                    continue
                new = self._typed(old)
                if new != old:
                    changed[name] = new
            if changed:
                return replace(value, **changed)
        return value


@lru_cache(maxsize=256)
def _field_names(kind: Any) -> Tuple[str, ...]:
    return tuple(f.name for f in fields(kind))
