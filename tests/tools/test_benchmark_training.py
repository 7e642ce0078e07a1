"""The benchmark of training steps, run for real at tiny width."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / 'tools/analysis_tools/benchmark_training.py'
CONFIG = ROOT / 'configs/harmoclip_tiny_photos.py'


def run(*args):
    return subprocess.run(
        [sys.executable, str(TOOL), *map(str, args)],
        cwd=ROOT,
        env={'PYTHONPATH': str(ROOT), 'PATH': '/usr/bin:/bin'},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_figures_of_one_run_fit_together(tmp_path):
    out = tmp_path / 'sub' / 'training.json'
    done = run(
        *('--config', CONFIG, '--open-clip', 'none', '--batch-size', 2),
        *('--crop-batch-size', 1, '--crop-regions', 2, '--rounds', 1),
        *('--loader-images', 16, '--out', out),
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(out.read_text())
    cases, ratios = result['cases'], result['ratios']
    quotient = cases['harmoclip_10']['seconds'] / cases['gc']['seconds']
    assert ratios['harmoclip_over_gc'] == pytest.approx(quotient)
    for case in cases.values():
        speed = case['gflop'] / case['seconds']
        expected = speed / result['peak_gflops']
        assert case['utilisation'] == pytest.approx(expected, rel=1e-6)
    assert ratios['gemm_utilisation'] == cases['gc']['utilisation']
    assert result['loader']['images_per_second'] > 0
    # Operations are counts, not times: more regions need no further dense
    # map, a crop each needs a forward.
    one, many = (cases[f'harmoclip_{n}']['gflop'] for n in (1, 100))
    assert cases['gc']['gflop'] < one < many < 1.1 * one
    assert cases['few_crop']['gflop'] > 1.2 * cases['few_text']['gflop']
    for name in ('gc_over_open_clip', 'harmoclip_over_gc', 'crop_over_text'):
        assert (name in done.stdout) == (name in ratios)


def test_says_what_is_wrong_in_one_line():
    done = run('--rounds', 0)
    assert done.returncode != 0
    assert '--rounds and --batch-size must be at least 1' in done.stderr
    assert 'Traceback' not in done.stderr
