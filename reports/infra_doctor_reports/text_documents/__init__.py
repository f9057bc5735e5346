"""Plain text of the other documents, a module for each kind. `check` needs none of them, so each is loaded when it is
rendered."""

import importlib
from collections.abc import Callable
from typing import Any

KINDS = ("difference", "plan", "triage")


def renderer(kind: str) -> Callable[[Any, dict[str, Any]], str]:
    """The `render` of this kind's module."""

    def render(document: Any, options: dict[str, Any]) -> str:
        text: str = importlib.import_module(f"{__name__}.{kind}").render(document, options)
        return text

    return render
