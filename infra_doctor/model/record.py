"""Frozen, keyword-only dataclasses that are cheap to define: facts, findings, components, plug-ins.

`dataclass(frozen=True, kw_only=True)` writes six methods of each class as text and compiles them: 0.45 ms a class with
Python 3.11, a third of a whole check with its 190 classes. A record is a dataclass as well (`fields`, `replace` and msgspec
see no difference); its methods are those below, shared by all classes: 0.03 ms."""

from collections.abc import Set
from dataclasses import MISSING, FrozenInstanceError, dataclass, field, fields
from typing import Any, NoReturn, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    """Make the class a frozen dataclass whose fields are given by keyword; equal and hashed by its fields."""
    made: Any = dataclass(init=False, repr=False, eq=False, match_args=False, kw_only=True)(cls)
    names = tuple(f.name for f in fields(made))
    defaults = {f.name: f.default for f in fields(made) if f.default is not MISSING}
    factories = {f.name: f.default_factory for f in fields(made) if f.default_factory is not MISSING}
    known, required = frozenset(names), frozenset(names) - defaults.keys() - factories.keys()
    for name in defaults:
        delattr(cls, name)  # where the class has it, msgspec does not give it to the instance

    def init(self: Any, /, **given: Any) -> None:
        if not required <= given.keys() <= known:
            raise TypeError(_wrong_arguments(cls, required - given.keys(), given.keys() - known))
        self.__dict__.update(defaults, **given)
        for name, factory in factories.items():
            if name not in given:
                self.__dict__[name] = factory()

    def values(self: Any) -> tuple[Any, ...]:
        return tuple([self.__dict__[name] for name in names])

    def equal(self: Any, other: object) -> Any:
        return values(self) == values(other) if type(self) is type(other) else NotImplemented

    def text(self: Any) -> str:
        return f"{cls.__qualname__}({', '.join(f'{n}={v!r}' for n, v in zip(names, values(self), strict=True))})"

    made.__init__, made.__eq__, made.__repr__ = init, equal, text
    made.__hash__ = lambda self: hash(values(self))
    made.__setattr__, made.__delattr__ = _frozen, _frozen
    return cls


def _frozen(self: object, name: str, value: object = None) -> NoReturn:
    raise FrozenInstanceError(f"{type(self).__name__} is frozen: {name!r} cannot be changed")


def _wrong_arguments(cls: type, missing: Set[str], unknown: Set[str]) -> str:
    wrong = [f"{word} {', '.join(map(repr, sorted(names)))}"
             for word, names in (("needs", missing), ("knows no", unknown)) if names]  # fmt: skip
    return f"{cls.__name__} {' and '.join(wrong)}"
