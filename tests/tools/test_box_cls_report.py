"""The tool from a dumped file to a page."""

import pytest
import torch

from harmoclip_mm.errors import UsageError
from harmoclip_mm.evaluation import DumpRegionResults

TOOL = 'analysis_tools/box_cls_report.py'


@pytest.fixture
def results(tiny_data):
    """Two images of two boxes each; one of four is right."""
    samples = []
    for i, name in enumerate(('0.png', '1.png')):
        topk = torch.tensor([[0, 1, 2], [1, 2, 0]])
        samples.append(
            {
                'img_id': i,
                'img_path': str(tiny_data.image(name)),
                'gt_instances': {
                    'bboxes': torch.tensor([[1.0, 1, 20, 20], [5, 5, 40, 40]]),
                    'labels': torch.tensor([i, 0]),
                },
                'pred_instances': {
                    'bboxes': torch.tensor([[1.0, 1, 20, 20], [5, 5, 40, 40]]),
                    'labels': topk[:, 0],
                    'scores': torch.tensor([0.7, 0.6]),
                    'topk_labels': topk,
                    'topk_scores': torch.tensor(
                        [[0.7, 0.2, 0.1], [0.6, 0.3, 0.1]]
                    ),
                },
            }
        )
    path = tiny_data.root / 'results.pkl'
    metric = DumpRegionResults(out_file_path=str(path))
    metric.dataset_meta = {'classes': ('ant', 'bee', 'cow')}
    metric.process(None, samples)
    metric.evaluate(len(samples))
    return path


def test_page_beside_the_results(results, run_tool, capsys):
    run_tool(TOOL, results)
    text = results.with_suffix('.html').read_text(encoding='utf-8')
    assert 'bee' in text and text.count('data:image/jpeg') == 2
    assert 'Top-1 25.00 %' in capsys.readouterr().out


def test_options_and_what_does_not_fit(results, run_tool, tmp_path):
    out = tmp_path / 'new' / 'page.html'
    run_tool(TOOL, results, '--out', out)
    text = out.read_text(encoding='utf-8')
    assert 'bee' in text
    with pytest.raises(UsageError, match=r'no.pkl does not exist'):
        run_tool(TOOL, tmp_path / 'no.pkl')
    assert not results.with_suffix('.html').exists()
