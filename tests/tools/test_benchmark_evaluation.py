"""The benchmark of box features, and the timing it stands on."""

import json
import time

import pytest
import torch

from harmoclip_mm.apis import UsageError

TOOL = 'analysis_tools/benchmark_evaluation.py'


@pytest.fixture(autouse=True)
def _folder_of_the_tool(monkeypatch, pytestconfig):
    # which Python itself puts first when it runs a file
    folder = pytestconfig.rootpath / 'tools' / 'analysis_tools'
    monkeypatch.syspath_prepend(str(folder))


def test_measure_gives_the_median_without_the_warmup():
    from timing import measure

    pauses = [0.9, 0.0, 0.8, 0.05]  # the first warms up
    calls = iter(pauses)
    seconds = measure(lambda: time.sleep(next(calls)), repeats=3, warmup=1)
    assert 0.05 <= seconds < 0.8
    with pytest.raises(ValueError, match='at least 1, not 0'):
        measure(time.time, repeats=0)


@pytest.mark.parametrize('precision', ['fp32', 'bf16'])
def test_all_figures_are_written(
    run_tool, harmoclip_scope, tmp_path, capsys, precision
):
    out = tmp_path / 'new' / 'speed.json'
    run_tool(
        TOOL, '--arch', 'tiny', '--sizes', 32, 64, '--boxes', 1, 3,
        '--batch-size', 2, '--crop-size', 32, '--repeats', 1, '--warmup', 0,
        '--vocabulary', 'coco80', '--device', 'cpu', '--precision', precision,
        '--out', out,
    )  # fmt: skip
    content = json.loads(out.read_text())
    assert content['settings']['precision'] == precision
    assert content['settings']['threads'] == torch.get_num_threads()
    classifier = content['classifier']
    assert (classifier['classes'], classifier['templates']) == (80, 1)
    assert classifier['build_seconds'] > 0
    rows = content['results']
    pairs = [(row['size'], row['boxes']) for row in rows]
    assert pairs == [(32, 1), (32, 3), (64, 1), (64, 3)]
    for row in rows:
        ratio = row['dense_images_per_second'] / row['crop_images_per_second']
        assert row['speedup'] == pytest.approx(ratio)
        assert row['dense_images_per_second'] > 0
    printed = capsys.readouterr().out
    assert 'speed-up' in printed and 'Classifier of 80 classes' in printed


def test_sizes_must_fit_the_patches(run_tool):
    with pytest.raises(UsageError, match=r'225 px .* take 224 or 240'):
        run_tool(TOOL, '--sizes', 225)


@pytest.mark.parametrize(
    'args',
    [('--boxes', 0), ('--repeats', 0), ('--warmup', -1), ('--out', 'a.txt')],
)
def test_bad_options(run_tool, capsys, args):
    with pytest.raises(SystemExit):
        run_tool(TOOL, *args)
    assert args[0] in capsys.readouterr().err
