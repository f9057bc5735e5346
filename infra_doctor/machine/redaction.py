"""The one boundary: what leaves a run is redacted here, and nowhere else.

Aliases are stable within a machine, so that reports can still be compared: homes become /home/user1, UUIDs of
devices and the machine's name keyed hashes. What is redacted already stays as it is.

Python 3.7 syntax: the collector packs this file."""

import base64
import hashlib
import hmac
import re
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from typing import Any, Dict, Iterable, List, Optional, Tuple, TypeVar

from .essence import essence, message, output

T = TypeVar("T")

# Where no key of the machine's own can be read; hashes of random UUIDs stay unguessable with it.
FALLBACK_KEY = b"infra-doctor"


def machine_key() -> bytes:
    """The key of this machine's aliases."""
    try:
        with open("/etc/machine-id", "rb") as file:
            return FALLBACK_KEY + file.read(64).strip()
    except OSError:
        return FALLBACK_KEY


_HOME = re.compile(r"(/(?:home|Users|export/home|mnt/home|nfs/home)/)([^/\s:'\"]+)")
_UUID = re.compile(r"\b(GPU|MIG|NPU)-[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
# Every repetition is bounded and starts at a fixed word: a line of 10 MB must not take quadratic time.
_CREDENTIALS = re.compile(r"(://)[^/\s@]{1,256}@")
# A lower-case letter after the word makes it another one: `tokenizers==0.22.1` is no secret.
_SECRET = re.compile(
    r"(?i)((?:token|secret|passw(?:or)?d|api[_-]?key|access[_-]?key|credential)s?(?-i:(?![a-z]))[\w.-]{0,40}"
    r"['\")\]]{0,3}\s{0,3}[=:]\s{0,3}['\"]?)[^\s,;'\"]+"
)
# As an option of a command: `--token abc`, `--hf-api-key abc`.
_SECRET_OPTION = re.compile(
    r"(?i)((?<!\S)--?[\w-]{0,40}(?:token|secret|passw(?:or)?d|api[_-]?key|access[_-]?key|credentials?) {1,3})[^\s-]\S{0,400}"
)
_TOKEN = re.compile(
    r"\b(?:gh[pousr]_|github_pat_|hf_|sk-|xox[abprs]-|glpat-|nvapi-|npm_|pypi-|AKIA|ASIA|AIza)[A-Za-z0-9_-]{6,}"
    r"|\beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_.-]{6,}"  # a JSON web token
)
_TOKEN_HINTS = ("-", "_", "AKIA", "ASIA", "AIza", "eyJ")
_ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}|(?=[^0-9]*[0-9])[0-9A-Fa-f]*:[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*")
# Folders of which each entry is the name of a person.
_HOME_FOLDERS = frozenset({"/home", "/Users", "/export/home", "/mnt/home", "/nfs/home"})
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
        if home and home.startswith("/") and home not in {"/", "/root", *_HOME_FOLDERS} and not replayed:
            match = _HOME.match(home + "/")
            if match is None:
                self._home = home.rstrip("/")
            elif match.group(2) not in _GENERIC:
                self._users[match.group(2)] = "user1"

    @property
    def enabled(self) -> bool:
        """Whether anything is redacted."""
        return self._enabled

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
        if not text.isascii():  # half characters, of names that are no UTF-8, are spelt out: JSON does not know them
            text = text.encode("utf-8", "backslashreplace").decode("utf-8")
        if self._home and self._home in text:
            # The mark keeps the alias from being taken for a name.
            text = re.sub(re.escape(self._home) + r"(?=$|[/\s:'\"])", "\0", text)
        if "home/" in text or "/Users/" in text:
            text = _HOME.sub(lambda m: m.group(1) + self._user(m.group(2)), text)
        if any(hint in text for hint in _TOKEN_HINTS):
            text = _UUID.sub(lambda m: "%s-%s" % (m.group(1), self.hashed(m.group(0))), text)
            text = _TOKEN.sub("***", text)
        if "@" in text:
            text = _EMAIL.sub("***", _CREDENTIALS.sub(r"\1***@", text))
        if "=" in text or ":" in text:
            text = _SECRET.sub(r"\1***", text)
        if " -" in text or text.startswith("-"):
            text = _SECRET_OPTION.sub(r"\1***", text)
        return text.replace("\0", "/home/user1") if self._home else text

    def observations(self, asked: Iterable[Tuple[str, List[Any], Any]]) -> List[List[Any]]:
        """The observations of a snapshot: [name, arguments, result] in a total order, with no more than what is asked of
        each. The order comes first, as aliases are given in the order in which names are met."""
        items = sorted(([*item] for item in asked), key=lambda item: repr(item[:2]))
        if self._enabled:
            items = [[name, args, _essence(name, args, result)] for name, args, result in self._without_homes(items)]
            for item in items:
                if item[0] == "list" and item[2] and str(item[1][0]).rstrip("/") in _HOME_FOLDERS:
                    item[2] = sorted([self._user(entry), kind] for entry, kind in item[2])
        return sorted((self.document(item) for item in items), key=lambda item: repr(item[:2]))

    def _without_homes(self, items: List[List[Any]]) -> List[List[Any]]:
        """Without the names in a home folder below which nothing was found: a search for environments looks into each of
        its folders, and what else somebody has there is nobody's business."""
        for home in [i[1][0] for i in items if i[0] == "list" and isinstance(i[2], list) and self._is_home(i[1][0])]:
            within = home.rstrip("/") + "/"

            def name_in_home(item: List[Any], within: str = within) -> Optional[str]:
                path = item[1][0] if item[1] else None
                if not isinstance(path, str) or not path.startswith(within):
                    return None
                return path[len(within) :].partition("/")[0]

            found = {name_in_home(item) for item in items if item[2] is not None and item[0] != "realpath"}
            items = [item for item in items if name_in_home(item) in found | {None}]
            for item in items:
                if item[0] == "list" and item[1][0] == home:
                    item[2] = [entry for entry in item[2] if entry[0] in found]
        return items

    def _is_home(self, path: str) -> bool:
        path = path.rstrip("/")
        return path in {self._home, "/root"} or _HOME.fullmatch(path) is not None

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


def _essence(name: str, arguments: List[Any], result: Any) -> Any:
    """What is kept of an answer: of files that may hold anything no more than what is asked of them."""
    if name == "read" and isinstance(result, dict) and "error" not in result:
        # Bytes that are no UTF-8 would hide names and secrets from what looks for them.
        text = base64.b64decode(result["base64"]).decode("utf-8", "replace") if "base64" in result else result["text"]
        kept = {key: value for key, value in result.items() if key != "base64"}
        return dict(kept, text=essence(arguments[0], text))
    if name == "run" and isinstance(result, dict):
        return {key: output(value) if isinstance(value, str) else value for key, value in result.items()}
    if name == "kernel_log" and isinstance(result, dict) and "lines" in result:
        return dict(result, lines=[[seconds, message(text)] for seconds, text in result["lines"]])
    if name == "environ" and isinstance(result, dict):
        return {key: "***" if _ADDRESS.fullmatch(value) else value for key, value in result.items()}
    return result


@lru_cache(maxsize=256)
def _field_names(kind: Any) -> Tuple[str, ...]:
    return tuple(f.name for f in fields(kind))
