"""Fixtures of the tests of checkpoints."""

import pytest


@pytest.fixture
def info_log(monkeypatch):
    """What is logged, as a list of (level, message)."""
    from harmoclip_mm.apis import clip
    from harmoclip_mm.models.checkpoints import huggingface, loading

    logged = []

    def record(message, logger=None, level=20):
        logged.append((level, message))

    for module in (clip, huggingface, loading):
        monkeypatch.setattr(module, 'print_log', record)
    return logged
