"""How the command line ends."""

import os

import pytest
import torch

from harmoclip_mm.errors import DataError, UsageError, run_command


def test_a_usage_error_is_a_message():
    def main():
        raise UsageError('do something else')

    with pytest.raises(SystemExit) as end:
        run_command(main)
    assert end.value.code == 'Error: do something else'


def test_an_interrupt_is_no_traceback(capsys):
    def main():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as end:
        run_command(main)
    assert end.value.code == 130
    assert 'Traceback' not in capsys.readouterr().err


def test_a_defect_keeps_its_traceback():
    def main():
        raise ValueError('a defect')

    with pytest.raises(ValueError, match='a defect'):
        run_command(main)


def test_a_missing_file_is_a_message():
    with pytest.raises(SystemExit) as end:
        run_command(lambda: os.stat('/none/a.json'))
    assert end.value.code == 'Error: /none/a.json: No such file or directory'


class Broken(torch.utils.data.Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise DataError('a.jpg: the image is cut off')


def test_an_error_of_a_worker_is_one_sentence():
    loader = torch.utils.data.DataLoader(Broken(), num_workers=1)
    with pytest.raises(SystemExit) as end:
        run_command(lambda: list(loader))
    assert end.value.code == 'Error: a.jpg: the image is cut off'
