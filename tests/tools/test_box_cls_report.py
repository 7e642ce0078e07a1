"""The tool from a dumped file to a page."""

import hashlib
import json

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
    metric.process(None, samples)
    metric.evaluate(len(samples))
    return path


def test_page_beside_the_results(results, run_tool, capsys):
    run_tool(TOOL, results, '--per-class')
    text = results.with_suffix('.html').read_text(encoding='utf-8')
    assert 'class 1' in text and text.count('data:image/jpeg') == 2
    said = capsys.readouterr().out
    assert '| class 0 |     3 | 33.33 |' in said
    assert 'Top-1 25.00 %' in said and '--config' in said


def test_names_from_annotations_and_vocabulary(results, run_tool, tmp_path):
    ann_file = tmp_path / 'a.json'
    names = [{'id': i, 'name': f'thing {i}'} for i in range(3)]
    images = [{'id': i} for i in range(2)]
    ann_file.write_text(json.dumps({'images': images, 'categories': names}))
    out = tmp_path / 'new' / 'page.html'
    run_tool(
        *(TOOL, results, '--ann-file', ann_file, '--out', out),
        *('--title', 'Mine', '--num-pictures', 0),
    )
    text = out.read_text(encoding='utf-8')
    assert '<h1>Mine</h1>' in text and 'thing 1' in text
    assert 'data:image/jpeg' not in text
    vocabulary = tmp_path / 'v.txt'
    vocabulary.write_text('ant\nbee\ncow\n')
    run_tool(TOOL, results, '--vocabulary', vocabulary, '--out', out)
    assert 'bee' in out.read_text(encoding='utf-8')


def test_what_does_not_fit_is_one_sentence(results, run_tool, tmp_path):
    vocabulary = tmp_path / 'v.txt'
    vocabulary.write_text('ant\n')
    with pytest.raises(UsageError, match='only 1 classes'):
        run_tool(TOOL, results, '--vocabulary', vocabulary)
    with pytest.raises(UsageError, match='neither a file nor one of'):
        run_tool(TOOL, results, '--vocabulary', 'none')
    with pytest.raises(UsageError, match=r'config file .* does not exist'):
        run_tool(TOOL, results, '--config', tmp_path / 'no.py')
    with pytest.raises(SystemExit):
        run_tool(TOOL, results, '--num-bins', 0)
    assert not results.with_suffix('.html').exists()


@pytest.fixture
def of_a_run(tmp_path):
    """A config, its annotations, and the results of a run of it."""
    ann_file = tmp_path / 'boxes.json'
    content = {
        'images': [{'id': 0}],
        'categories': [{'name': 'cat'}, {'name': 'dog'}],
    }
    ann_file.write_text(json.dumps(content))
    config = tmp_path / 'config.py'
    config.write_text(
        "test_dataloader = dict(dataset=dict(type='mmdet.CocoDataset', "
        f"ann_file='{ann_file}', metainfo=dict(classes=('cat', 'dog'))))\n"
        "custom_imports = dict(imports=['mmdet.datasets'])\n"
        "default_scope = 'mmdet'\n"
    )
    path = tmp_path / 'results.pkl'
    checksum = hashlib.sha256(ann_file.read_bytes()).hexdigest()
    metric = DumpRegionResults(str(path), {'ann_sha256': checksum})
    metric.dataset_meta = {'classes': ('cat', 'dog')}
    box = {'bboxes': torch.ones(1, 4), 'labels': torch.tensor([0])}
    pred = {'labels': torch.tensor([0]), 'scores': torch.tensor([0.5])}
    sample = {'img_id': 0, 'gt_instances': box, 'pred_instances': pred}
    metric.process(None, [sample])
    metric.evaluate(1)
    return config, ann_file, path


def test_results_of_other_classes_are_refused(of_a_run, run_tool):
    config, _, path = of_a_run
    run_tool(TOOL, path, '--config', config)
    classes = ('test_dataloader.dataset.metainfo.classes=("ant","bee")',)
    with pytest.raises(UsageError, match=r'is of another run .*class 0 is'):
        run_tool(TOOL, path, '--config', config, '--cfg-options', *classes)


def test_results_of_other_annotations_are_refused(of_a_run, run_tool):
    config, ann_file, path = of_a_run
    run_tool(TOOL, path, '--ann-file', ann_file)
    content = json.loads(ann_file.read_text())
    content['categories'].reverse()
    ann_file.write_text(json.dumps(content))
    with pytest.raises(UsageError, match=r'another run .* is not this one'):
        run_tool(TOOL, path, '--config', config)
    # labels would get each other's names
    with pytest.raises(UsageError, match=r'another run .*class 0 is "dog"'):
        run_tool(TOOL, path, '--ann-file', ann_file)
    # where the data are not at hand the names still are
    ann_file.unlink()
    run_tool(TOOL, path, '--config', config)
