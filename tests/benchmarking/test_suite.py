"""What a run says, skips, keeps and does not do twice."""

import copy
import json
import tarfile
from pathlib import Path

import pytest
from PIL import Image

import harmoclip_mm
from harmoclip_mm.benchmarking.results_file import hash_of_weights
from harmoclip_mm.errors import UsageError
from harmoclip_mm.registry import MODELS

FOLDER = Path(__file__).resolve().parents[2] / 'configs/evaluation'
pytestmark = pytest.mark.usefixtures('few_templates')
SUITE = ['box-cls_fgclip_coco', 'retrieval_coco5k', 'retrieval_flickr30k']


def run(model, out, suite=SUITE, **settings):
    rows = harmoclip_mm.benchmark(
        model, suite, out=str(out), limit=3, num_workers=0, **settings
    )
    return {(row['checkpoint'], row['protocol']): row for row in rows}


def test_missing_data_are_a_skipped_row(roots, make_model, tmp_path, capsys):
    model = make_model(layers=1)
    rows = list(run(model.train(), tmp_path).values())
    assert model.training  # as it was
    assert [row['protocol'] for row in rows] == SUITE
    assert 'COCO_KARPATHY' in rows[1]['skipped']
    assert 'figures' not in rows[1] and 'skipped' not in rows[0]
    said = capsys.readouterr().out
    assert '2 of 3 protocols have their data' in said
    # no line of the table nor a link is broken
    assert 'https://cs.stanford.edu/people/karpathy/deepimagesent/' in said
    lines = (tmp_path / 'results.jsonl').read_text().splitlines()
    assert [json.loads(x)['protocol'] for x in lines] == [SUITE[0], SUITE[2]]
    row = json.loads(lines[0])
    assert row == rows[0]
    assert {'torch', 'mmdet'} <= set(row['versions'])
    assert row['device'] == 'cpu' and row['seconds'] > 0
    assert len(row['checkpoint_hash']) == len(row['data_hash']) == 64


def test_a_bad_folder_is_told_before_measuring(roots, make_model, tmp_path):
    model = make_model()
    model.backbone.visual.conv1.register_forward_hook(
        lambda *_: pytest.fail('measured')
    )
    file = tmp_path / 'file'
    file.write_text('')
    with pytest.raises(OSError) as told:
        run(model, file)
    assert str(file) in str(told.value.filename)


def test_nothing_is_measured_twice(roots, make_model, tmp_path):
    """What an earlier run measured, to its end or not."""
    model, file = make_model(layers=1), tmp_path / 'results.jsonl'
    passes = []
    model.backbone.visual.conv1.register_forward_hook(
        lambda *_: passes.append(1)
    )
    run(model, tmp_path, SUITE[:1])
    before = file.read_text()
    assert len(passes) == 1
    first = run(model, tmp_path)
    assert file.read_text().startswith(before)
    assert len(passes) == 2
    assert run(model, tmp_path) == first
    assert len(passes) == 2
    # other weights are measured
    run(make_model(seed=1, layers=1), tmp_path, SUITE[:1])
    lines = file.read_text().splitlines()
    assert len(lines) == 2 + 1
    assert len({json.loads(line)['checkpoint_hash'] for line in lines}) == 2
    with open(file, 'a') as stream:
        stream.write('{"protocol": ')
    with pytest.raises(UsageError, match=r'results.jsonl, line 4'):
        run(model, tmp_path)


@pytest.mark.slow
def test_changed_data_are_measured_anew(
    roots, make_model, tmp_path, monkeypatch
):
    model = make_model()
    run(model, tmp_path / 'out', ['fgovd'])
    root = tmp_path / 'data'
    (root / 'fgovd').mkdir(parents=True)
    source = roots['COCO_ROOT']
    for name in ('train2017', 'val2017'):
        (root / name).symlink_to(f'{source}/{name}')
    with open(f'{source}/fgovd/region_phrases.jsonl') as file:
        text = ''.join(file.readlines()[:-1])
    (root / 'fgovd/region_phrases.jsonl').write_text(text)
    monkeypatch.setenv('COCO_ROOT', str(root))
    run(model, tmp_path / 'out', ['fgovd'])
    lines = (tmp_path / 'out/results.jsonl').read_text().splitlines()
    assert len({json.loads(line)['data_hash'] for line in lines}) == 2


@pytest.mark.parametrize(
    'harm', [pytest.param('missing', marks=pytest.mark.slow), 'broken']
)
def test_a_bad_image_costs_its_protocols_alone(
    harm, roots, make_model, tmp_path, monkeypatch
):
    root = tmp_path / 'flickr'
    (root / 'flickr30k-images').mkdir(parents=True)
    source = roots['FLICKR30K_ROOT']
    with open(f'{source}/dataset_flickr30k.json') as file:
        text = file.read()
    (root / 'dataset_flickr30k.json').write_text(text)
    names = [each['filename'] for each in json.loads(text)['images']]
    for name in names[1:]:
        target = f'{source}/flickr30k-images/{name}'
        (root / 'flickr30k-images' / name).symlink_to(target)
    if harm == 'broken':
        (root / 'flickr30k-images' / names[0]).write_bytes(b'no photo')
    monkeypatch.setenv('FLICKR30K_ROOT', str(root))
    rows = list(run(make_model(), tmp_path / 'out').values())
    assert 'figures' in rows[0]
    assert names[0] in rows[2]['skipped']


@pytest.mark.slow
def test_several_checkpoints_and_none(
    roots, make_model, tmp_path, run_tool, capsys
):
    model = make_model(seed=3)
    harmoclip_mm.export_clip(model, str(tmp_path / 'a.pt'))
    # which tells that it is another CLIP
    harmoclip_mm.export_clip(make_model(layers=1), str(tmp_path / 'b'))
    run_tool(
        'benchmark.py', 'none', tmp_path / 'a.pt', tmp_path / 'b',
        '--clip', model.spec.name, '--suite', ','.join(SUITE),
        '--limit', 3, '--num-workers', 0, '--out', tmp_path / 'out',
    )  # fmt: skip
    text = (tmp_path / 'out/results.jsonl').read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    assert [row['checkpoint'] for row in rows[::2]] == [
        'none',
        str(tmp_path / 'a.pt'),
        str(tmp_path / 'b'),
    ]
    # whatever the format: weights are the same, figures too
    again = run(make_model(seed=3), tmp_path / 'out', SUITE[:1])
    (row,) = again.values()
    assert row['checkpoint_hash'] == rows[2]['checkpoint_hash']
    said = capsys.readouterr().out
    assert 'a.pt' in said and 'skipped' in said


def test_models_of_one_name_are_told_apart(roots, make_model, tmp_path):
    model = make_model(layers=1)
    trained = copy.deepcopy(model)
    trained.backbone.visual.proj.data.mul_(-1)
    rows = harmoclip_mm.benchmark(
        [model, trained], SUITE[:1], limit=2, num_workers=0, out=tmp_path
    )
    page = (tmp_path / 'report.md').read_text()
    for each in rows:
        assert each['checkpoint'].endswith(each['checkpoint_hash'][:8])
        # what it is, and its figures
        assert page.count(f'`{each["checkpoint"]}`') == 2


def test_equal_weights_are_not_one_model(make_model):
    """What is made of them is: another map, activation or normalisation."""
    model, hashes = make_model(layers=1), []
    clip = model.spec.model_cfg
    for settings in (
        dict(clip=clip),
        dict(clip=dict(clip, quick_gelu=False)),
        dict(clip=dict(clip, preprocess_cfg=dict(mean=[0.5] * 3))),
        dict(clip=clip, backbone=dict(dense_mode='token')),
        dict(clip=clip, backbone=dict(window_size=2)),
    ):
        other = MODELS.build(dict(type='HarmoCLIP', **settings))
        other.load_state_dict(model.state_dict())
        hashes.append(hash_of_weights(other))
    assert len(set(hashes)) == len(hashes)


def test_words_that_are_wrong(roots, make_model, tmp_path, run_tool):
    with pytest.raises(UsageError, match='is it box-cls_fgclip_coco'):
        harmoclip_mm.benchmark(make_model(), 'box-cls_fgclip')
    with pytest.raises(UsageError, match='limit'):
        harmoclip_mm.benchmark('none', ['fgovd'], limit=0)
    with pytest.raises(UsageError, match=r'no\.pt does not exist'):
        run_tool('benchmark.py', 'none', 'no.pt')


@pytest.mark.slow
def test_images_in_a_tar(roots, make_model, tmp_path):
    """A config of one's own, whose images lie in tars."""
    source = Path(roots['FLICKR30K_ROOT'])
    photos = sorted((source / 'flickr30k-images').iterdir())
    with tarfile.open(tmp_path / 'a.tar', 'w') as tar:
        for path in photos[1:]:
            tar.add(path.resolve(), path.name)
    config = tmp_path / 'in_tars.py'
    config.write_text(
        f'_base_ = {str(FOLDER / "retrieval_flickr30k.py")!r}\n'
        'test_dataloader = dict(dataset=dict(data_prefix=dict('
        f"img='{tmp_path}/{{a,b}}.tar')))\n"
    )
    suite = ['retrieval_flickr30k', str(config)]
    model, out = make_model(layers=1), tmp_path / 'out'
    _, row = run(model, out, suite).values()
    assert f'{tmp_path}/b.tar is missing' in row['skipped']
    with tarfile.open(tmp_path / 'b.tar', 'w') as tar:
        tar.add(photos[0].resolve(), photos[0].name)
    files, tars = run(model, out, suite).values()
    assert tars['figures'] == files['figures']
    assert tars['data_hash'] != files['data_hash']
    assert '## in_tars' in (out / 'report.md').read_text()


def test_annotations_of_no_use(roots, make_model, tmp_path, monkeypatch):
    """Boxes of another file's classes: told, and others run."""
    root = tmp_path / 'coco'
    (root / 'annotations').mkdir(parents=True)
    (root / 'val2017').mkdir()
    Image.new('RGB', (9, 9)).save(root / 'val2017/1.jpg')
    content = dict(
        images=[dict(id=1, file_name='1.jpg', width=9, height=9)],
        annotations=[],
        categories=[dict(id=1, name='thing')],
    )
    path = root / 'annotations/instances_val2017.json'
    path.write_text(json.dumps(content))
    monkeypatch.setenv('COCO_ROOT', str(root))
    rows = list(run(make_model(), tmp_path / 'out').values())
    assert 'has no category' in rows[0]['skipped']
    assert 'figures' in rows[2]


def test_a_part_of_imagenet(roots, make_model, tmp_path, monkeypatch):
    """Fewer folders than classes: told, and others run."""
    folder = tmp_path / 'inet' / 'val' / 'n01440764'
    folder.mkdir(parents=True)
    Image.new('RGB', (9, 9)).save(folder / '1.jpg')
    monkeypatch.setenv('IMAGENET_ROOT', str(tmp_path / 'inet'))
    suite = ['zero-shot_imagenet', SUITE[0]]
    rows = list(run(make_model(), tmp_path / 'out', suite).values())
    assert 'subfolders (1)' in rows[0]['skipped']
    assert 'figures' in rows[1]
