"""What of a run reaches the terminal."""

import logging

import pytest

from harmoclip_mm.engine.console import is_no_dump


@pytest.mark.parametrize(
    'message, shown',
    [
        ('Config:\nmodel = dict()', False),
        ('\n' + '-' * 60 + '\nSystem environment:', False),
        ('Hooks will be executed in the following order:\n', False),
        ('paramwise_options -- backbone.visual.proj:lr=1e-05', False),
        ('visual.proj is skipped since its requires_grad=False', False),
        ('Epoch(train) [1][1/3]  loss: 1.0', True),
        ('The training starts from random weights', True),
    ],
)
def test_dumps_stay_in_the_log_file(message, shown):
    record = logging.LogRecord('a', 20, 'f.py', 1, message, (), None)
    assert is_no_dump(record) == shown
