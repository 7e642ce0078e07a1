"""The benchmark of training steps, run for real at tiny width."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / 'tools/analysis_tools/benchmark_training.py'
CONFIG = ROOT / 'configs/harmoclip_tiny_photos.py'
RATIOS = {
    'gc_over_open_clip',
    'regions_100_over_1',
    'harmoclip_over_gc',
    'gemm_utilisation',
}


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
    assert set(ratios) == RATIOS - {'gc_over_open_clip'}
    for name, case in cases.items():
        if name != 'adamw':
            parts = case['gflop_forward'], case['gflop_backward']
            assert sum(parts) == pytest.approx(case['gflop'])
            # a product has two in the backward; crops have no gradient, and
            # the loss of one tile makes its gradient in the forward
            assert 0.3 < parts[1] / parts[0] < 2.1
    assert cases['gc']['gflop_backward'] > 1.8 * cases['gc']['gflop_forward']
    assert result['loader']['images_per_second'] > 0
    # Operations are counts, not times: more regions need no further dense
    # map, a crop each needs a forward.
    one, many = (cases[f'harmoclip_{n}']['gflop'] for n in (1, 100))
    assert cases['gc']['gflop'] < one < many < 1.1 * one
    assert cases['few_crop']['gflop'] > 1.2 * cases['few_text']['gflop']
    assert set(result['crop_ratios']) == {
        'few_text_over_gc',
        'crop_over_text',
        'both_over_text',
    }
    for name in ('gc_over_open_clip', 'harmoclip_over_gc', 'crop_over_text'):
        assert (name in done.stdout) == (name != 'gc_over_open_clip')


@pytest.mark.slow
@pytest.mark.usefixtures('much_memory')
def test_the_default_models_give_all_ratios(tmp_path):
    """open_clip's ViT-B/16 and ours, one image, once."""
    out = tmp_path / 'training.json'
    done = run(
        *('--batch-size', 1, '--crop-batch-size', 0, '--rounds', 1),
        *('--loader-images', 0, '--out', out),
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(out.read_text())
    assert set(result['ratios']) == RATIOS
    cases = result['cases']
    # 197 tokens, 12 blocks: MLP and projections 24 C^2, attention 4 s C; 77
    # tokens of text, 12 blocks; 196 patches of 16 x 16 x 3
    forward = 197 * 12 * (24 * 768**2 + 4 * 197 * 768)
    forward += 77 * 12 * (24 * 512**2 + 4 * 77 * 512)
    forward += 196 * 2 * 768 * 768
    theirs = cases['open_clip']['gflop_forward']
    assert theirs == pytest.approx(forward / 1e9, rel=0.002)
    assert cases['gc']['gflop_forward'] < theirs


def test_attention_is_counted_on_the_cpu_too(monkeypatch):
    """torch's own counter leaves it out there."""
    monkeypatch.syspath_prepend(str(TOOL.parent))
    from operations import count_operations

    query, key, value = torch.randn(3, 2, 3, 7, 4).requires_grad_()
    with count_operations() as forward:
        found = F.scaled_dot_product_attention(query, key, value)
    with count_operations() as backward:
        found.sum().backward()
    # two products of 2 x 3 matrices (7, 4) and (4, 7), or (7, 7) and (7, 4)
    assert forward.get_total_flops() == 2 * 2 * 2 * 3 * 7 * 7 * 4
    assert backward.get_total_flops() == 2 * forward.get_total_flops()


def test_says_what_is_wrong_in_one_line():
    done = run('--rounds', 0)
    assert done.returncode != 0
    assert '--rounds and --batch-size must be at least 1' in done.stderr
    assert 'Traceback' not in done.stderr
