"""Names that are registered, beside those of the libraries below."""

import importlib

import mmcv  # noqa: F401  registers in mmengine's registries
import pytest
from mmengine.registry import Registry

from harmoclip_mm import registry

OURS = {
    name: each
    for name, each in vars(registry).items()
    if isinstance(each, Registry)
}
LIBRARIES = ('mmengine', 'mmdet', 'mmpretrain')


def registered(registry):
    """The members, with all that would be imported to find one."""
    registry.import_from_location()
    return set(registry.module_dict)


@pytest.mark.parametrize('kind', OURS)
def test_no_known_name_has_a_second_meaning(kind):
    """What a name means does not hang on ``default_scope``."""
    names = registered(OURS[kind])
    for library in LIBRARIES:
        theirs = importlib.import_module(f'{library}.registry')
        for each in vars(theirs).values():
            if isinstance(each, Registry) and each.name == OURS[kind].name:
                assert not names & registered(each), library


def test_there_are_members_to_walk():
    assert 'HarmoCLIP' in registered(registry.MODELS)
    assert 'ExactResumeHook' in registered(registry.HOOKS)
    theirs = importlib.import_module('mmdet.registry').MODELS
    assert theirs.name == registry.MODELS.name
    assert 'RetinaNet' in registered(theirs)
