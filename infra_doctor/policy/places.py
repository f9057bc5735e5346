"""On which line each key of a TOML document stands: tomllib tells none, and a message without its line costs a search.

Reads TOML 1.0 (https://toml.io/en/v1.0.0) as far as the place of keys needs it. What is no TOML has no lines from there
on: a wrong line would be worse than none. It runs before tomllib, and refuses keys of so many parts that tomllib would
take minutes and gigabytes over them."""

import re
import tomllib
from collections.abc import Iterator

Path = tuple[str | int, ...]  # keys, and the places of array elements, counted from 0
PARTS_CAP = 64  # of one key: a.b.c has three

_TOKEN = re.compile(
    r"""
      (?P<blank>[ \t]++)
    | (?P<end>(?:\#[^\n]*+)?(?:\n|\Z))
    | (?P<text>\"{3}(?:[^"\\]++|\\.|"{1,2}(?!"))*+"{3,5} | '{3}(?:[^']++|'{1,2}(?!'))*+'{3,5}
        | "(?:[^"\\\n]++|\\.)*+" | '[^'\n]*+')
    | (?P<sign>[\[\]{}=,.])
    | (?P<bare>[A-Za-z0-9_+:-]++)
    """,
    re.VERBOSE | re.DOTALL,
)


class TooDeepError(ValueError):
    """A key of more parts than anybody writes, on this line."""

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


class _LostError(Exception):
    """This is no TOML."""


def key_lines(text: str) -> dict[Path, int]:
    """The line, from 1 on, of each key, table and array element: ("require", "gpu", "count"), ("waivers", 0, "until").
    A table that several lines speak of stands where it is named first. Raises TooDeepError."""
    scan = _Scan(text)
    try:
        scan.document()
    except (_LostError, RecursionError):
        pass
    return scan.lines


class _Scan:
    """One pass over the tokens. `kind`, `token` and `line` are of the next one."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Path, int] = {}
        self._arrays: dict[Path, int] = {}  # how many tables each [[array]] has so far
        self._tokens = self._read(text)
        self.kind, self.token, self.line = "", "", 0
        self.next()

    @staticmethod
    def _read(text: str) -> Iterator[tuple[str, str, int]]:
        at, line = 0, 1
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None or found.end() == at:
                break
            token = found.group()
            if found.lastgroup != "blank":
                yield str(found.lastgroup), token, line
            line += token.count("\n")
            at = found.end()
        yield ("end", "", line) if at == len(text) else ("lost", "", line)
        yield "over", "", line

    def next(self) -> None:
        """Go on to the next token."""
        self.kind, self.token, self.line = next(self._tokens, ("over", "", self.line))

    def take(self, sign: str) -> bool:
        """Whether the next token is this sign, which is then taken."""
        if self.kind == "sign" and self.token == sign:
            self.next()
            return True
        return False

    def want(self, sign: str) -> None:
        """Take this sign."""
        if not self.take(sign):
            raise _LostError

    def ends(self) -> None:
        """Skip ends of lines, and what is said in comments."""
        while self.kind == "end":
            self.next()

    def found(self, path: Path, line: int) -> None:
        """This key stands here."""
        if len(path) <= PARTS_CAP:
            self.lines.setdefault(path, line)

    def document(self) -> None:
        """All statements: tables' headers, and keys with their values."""
        table: Path = ()
        while True:
            self.ends()
            if self.kind == "over":
                return
            line = self.line
            if self.take("["):
                table = self.header(line)
            else:
                self.pair(table)
            if self.kind not in {"end", "over"}:
                raise _LostError

    def header(self, line: int) -> Path:
        """[table] or [[array of tables]]; its first bracket is taken."""
        several = self.take("[")
        names = self.key()
        self.want("]")
        if several:
            self.want("]")
        path: Path = ()
        for name in names[:-1]:
            path = self.within((*path, name), line)
        path = (*path, names[-1])
        if not several:
            return self.within(path, line)
        number = self._arrays[path] = self._arrays.get(path, -1) + 1
        self.found(path, line)
        self.found((*path, number), line)
        return (*path, number)

    def within(self, path: Path, line: int) -> Path:
        """The path of what is added to a table: of an array's tables, to the last."""
        self.found(path, line)
        return (*path, self._arrays[path]) if path in self._arrays else path

    def pair(self, table: Path) -> None:
        """key = value"""
        line = self.line
        path = table
        for name in self.key():
            path = (*path, name)
            self.found(path, line)
        self.want("=")
        self.value(path)

    def key(self) -> list[str]:
        """The parts of a key, unquoted."""
        parts: list[str] = []
        while True:
            if self.kind not in {"bare", "text"} or self.token.startswith(('"""', "'''")):
                raise _LostError
            parts.append(_unquoted(self.token) if self.kind == "text" else self.token)
            if len(parts) > PARTS_CAP:
                raise TooDeepError(self.line)
            self.next()
            if not self.take("."):
                return parts

    def value(self, path: Path) -> None:
        """One value; what arrays and inline tables hold has places of its own."""
        if self.take("["):
            number = 0
            self.ends()
            while not self.take("]"):
                self.found((*path, number), self.line)
                self.value((*path, number) if len(path) <= PARTS_CAP else path)
                number += 1
                self.ends()
                if not self.take(","):
                    self.ends()
                    self.want("]")
                    return
                self.ends()
        elif self.take("{"):
            self.ends()
            while not self.take("}"):
                self.pair(path)
                self.ends()
                if not self.take(","):
                    self.want("}")
                    return
                self.ends()
        else:
            self.scalar()

    def scalar(self) -> None:
        """A text, a number, a date with or without a blank in it."""
        if self.kind == "text":
            self.next()
            return
        if self.kind != "bare":
            raise _LostError
        while self.kind == "bare" or self.take("."):
            if self.kind == "bare":
                self.next()


def _unquoted(text: str) -> str:
    if text.startswith("'"):
        return text[1:-1]
    try:
        return str(tomllib.loads(f"key = {text}")["key"])
    except tomllib.TOMLDecodeError as error:
        raise _LostError from error
