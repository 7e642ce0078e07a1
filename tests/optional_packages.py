"""Marks of tests that need a package that the project does not require."""

import importlib.util

import pytest

needs_lvis = pytest.mark.skipif(
    importlib.util.find_spec('lvis') is None, reason='pip install lvis'
)
