"""Tests that need a GPU run only where they are asked for: `pytest -m gpu`."""

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "gpu" in (config.getoption("-m") or ""):
        return
    skip = pytest.mark.skip(reason="needs a GPU: pytest -m gpu")
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(skip)
