"""The arithmetic of ``docs/scaling.md`` is what its code gives."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[1] / 'docs' / 'scaling.md'


@pytest.fixture(scope='module')
def code():
    blocks = re.findall(
        r'^```python\n(.*?)^```', PAGE.read_text(), re.M | re.S
    )
    (code,) = [block for block in blocks if 'def plan' in block]
    return code


def test_the_table_is_what_its_code_prints(code, capsys):
    exec(compile(code, str(PAGE), 'exec'), {})
    rows = capsys.readouterr().out
    assert len(rows.splitlines()) == 12
    assert rows in PAGE.read_text()


def test_a_row_by_hand(code):
    """Numbers small enough to be worked out without the code."""
    names = {}
    exec(compile(code, str(PAGE), 'exec'), names)
    row = names['plan'](
        'tiny', gpus=2, params=1e9, width=10, blocks=1, tokens=100,
        text_width=10, dims=1000, images=5, regions=1, caption=6, phrase=4,
    )  # fmt: skip
    # state 16 GB, half of it with FSDP; activations 5 x (100 x 360 + 10 x
    # 4320) bytes; gathered 4 x 1000 x 10 x 6 bytes = 0.24 MB; ring 2 x 1/2
    assert row == (
        '| tiny | 2 | 10 | 16.0 | 8.000 | 0.0 | 0 | 4000 | 0 | '
        # losses 12 x 1000 x 5 x 10 x 3 = 1.8e6; towers 3 x 5 x (100 x (2400
        # + 4000) + 10 x 12 x 2400) = 13.92e6
        '12.93 |'
    )
