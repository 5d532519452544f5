"""Hunts are not traced: they take three times as long with coverage, and what they reach is reached by other tests."""

import sys
from collections.abc import Generator

import pytest


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    """Trace nothing meanwhile: the mark `no_cover` stops one of the two collectors that pytest-cov has in a worker."""
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(tracer)
