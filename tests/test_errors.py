"""How the command line ends."""

import pytest

from harmoclip_mm.errors import UsageError, run_command


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
