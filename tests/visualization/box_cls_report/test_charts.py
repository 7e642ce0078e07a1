import re

import numpy as np
import pytest

from harmoclip_mm.evaluation.functional import reliability_bins
from harmoclip_mm.visualization.box_cls_report.charts import (
    reliability_chart,
    size_chart,
    size_name,
)


def rects(svg, kind):
    """x, y, width and height of the rectangles of a kind."""
    pattern = rf'<rect class="{kind}" x="(.*?)" y="(.*?)" width="(.*?)" '
    found = re.findall(pattern + r'height="(.*?)"', svg)
    return np.array(found, dtype=float)


def test_bars_of_the_reliability_diagram():
    """Accuracy 1/2 at .75: a bar of 50 % and a gap of 25 % above it."""
    bins = reliability_bins([0.7, 0.8, 0.9], [True, False, True], 2)
    svg = reliability_chart(bins)
    (bar,), (gap,) = rects(svg, 'bar'), rects(svg, 'gap')
    assert bar[3] == pytest.approx(300 * 2 / 3, abs=0.1)
    assert gap[3] == pytest.approx(300 * (0.8 - 2 / 3), abs=0.1)
    assert gap[1] + gap[3] == pytest.approx(bar[1], abs=0.2)
    assert 'probability 0.50 to 1.00: 3 boxes' in svg


def test_bars_of_the_sizes():
    rows = [('', 16, 24, 1, 4), ('', 24, 32, 0, 0), ('', 32, np.inf, 3, 3)]
    svg = size_chart(rows)
    bars = rects(svg, 'bar')
    assert bars[:, 3].tolist() == [75, 300]  # none where there is no box
    assert svg.count('class="whisker"') == 6
    assert '>32+<' in svg and 'n=0' in svg and 'nan' not in svg


def test_names_of_sizes():
    assert size_name(0, 8) == '0 to 8'
    assert size_name(512, float('inf')) == 'from 512'
