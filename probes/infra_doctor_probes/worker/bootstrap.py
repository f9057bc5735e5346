"""Starts the worker in the target's interpreter: `python bootstrap.py`.

The package is loaded from its folder under a name of its own, so that nothing of the doctor's environment gets onto the
target's `sys.path`: a library must come from the target, or be missing."""

import importlib
import importlib.util
import os
import sys

NAME = "infra_doctor_worker"


def load():
    """The worker's package."""
    folder = os.path.dirname(os.path.abspath(__file__))
    # `python FILE` puts the file's folder first: a module there must not hide one of the target's.
    sys.path[:] = [p for p in sys.path if os.path.abspath(p or ".") != folder]
    spec = importlib.util.spec_from_file_location(
        NAME, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    package = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = package
    spec.loader.exec_module(package)
    return package


if __name__ == "__main__":
    load()
    importlib.import_module(NAME + ".serve").main()
