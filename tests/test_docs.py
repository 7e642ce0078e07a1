"""What the documentation names exists, and its examples run."""

import json
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from harmoclip_mm.apis import load_config
from harmoclip_mm.datasets import RegionPhraseDataset
from harmoclip_mm.models.utils import CLIPFeatures
from harmoclip_mm.registry import DATASETS, METRICS, MODELS, TRANSFORMS
from harmoclip_mm.text import phrases_of

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / 'docs'
README = ROOT / 'README.md'
SITE = ROOT / 'mkdocs.yml'


def blocks(path: Path, language: str) -> list:
    """Fenced code blocks of a language."""
    return re.findall(
        rf'^```{language}\n(.*?)^```', path.read_text(), re.MULTILINE | re.S
    )


@pytest.fixture(scope='module')
def examples() -> dict:
    """The names that the examples define; what they register is forgotten
    afterwards."""
    registries = (DATASETS, METRICS, MODELS, TRANSFORMS)
    for registry in registries:
        registry.import_from_location()
    before = [dict(registry.module_dict) for registry in registries]
    namespace = {}
    pages = [
        code
        for code in blocks(DOCS / 'add_data.md', 'python')
        if '.register_module()' in code
    ]
    pages += [
        code
        for code in blocks(DOCS / 'add_a_method.md', 'python')
        if '@MODELS.register_module()' in code
    ]
    for code in pages:
        exec(compile(code, 'docs', 'exec'), namespace)
    yield namespace
    for registry, modules in zip(registries, before):
        registry._module_dict.clear()
        registry._module_dict.update(modules)


PAGES = [README, *sorted(DOCS.rglob('*.md'))]


@pytest.mark.parametrize('path', [DOCS / 'architecture.md', README])
def test_files_that_are_named_exist(path):
    text = path.read_text()
    named = set(re.findall(r'[\w./-]*\w+\.(?:py|sh|txt|md)\b', text))
    named |= set(re.findall(r'(?<=`)[\w/]+/(?=`)', text))
    named = {
        name
        for name in named
        if not Path(name).name.startswith('my_')
        and not name.startswith(('/', 'work_dirs'))
    }
    assert len(named) > 10
    files = [
        str(found.relative_to(ROOT))
        for top in ROOT.iterdir()
        if not top.name.startswith('.') and top.name != 'work_dirs'
        for found in [top, *top.rglob('*')]
    ]
    for name in named:
        end = name.strip('/')
        end = end[2:] if end.startswith('./') else end
        assert any(f == end or f.endswith('/' + end) for f in files), name


def test_links_inside_the_repository():
    for path in PAGES:
        for target in re.findall(r'\]\(([^)\s]+)\)', path.read_text()):
            if target.startswith('http') or '/images/' in target:
                continue
            name, _, anchor = target.partition('#')
            other = path.parent / name if name else path
            assert other.exists(), target
            if other.suffix != '.md':
                continue
            titles = re.findall(r'^#+ (.*)$', other.read_text(), re.MULTILINE)
            anchors = {
                re.sub(r'[^\w -]', '', title.lower()).replace(' ', '-')
                for title in titles
            }
            assert not anchor or anchor in anchors, target


def test_every_page_is_in_the_site():
    """As `make docs` has it; MkDocs itself is not needed to tell."""
    named = set(re.findall(r': (\S+\.md)$', SITE.read_text(), re.MULTILINE))
    pages = [*PAGES, *(ROOT / 'configs').rglob('*.md')]
    assert {str(page.relative_to(ROOT)) for page in pages} <= named
    assert all((ROOT / name).is_file() for name in named)


def test_example_of_a_head(examples, harmoclip_scope):
    head = MODELS.build(dict(type='LexemePhraseHead'))
    eye = torch.eye(2)
    features = CLIPFeatures(
        scale=torch.tensor(1.0),
        lexemes=eye,
        phrases=eye,
        phrase_keys=torch.arange(2),
    )
    # log(e^1 + e^0) - 1 in both directions
    losses = head.loss(features)
    assert losses['loss_lexeme_phrase'] == pytest.approx(0.313262, abs=1e-5)


def test_example_of_a_data_set(examples, tiny_data):
    tiny_data.image('a.png')
    (tiny_data.root / 'boxes.csv').write_text(
        'a.png,64,48,1,2,30,40,a dog\na.png,64,48,5,5,60,40,a cat\n'
    )
    pipeline = [
        dict(type='LoadCheckedImage'),
        dict(type='mmdet.LoadAnnotations', with_bbox=True),
        dict(type='RandomDropCaption', prob=1.0),
        dict(type='TokenizeRegionText', clip='ViT-B-16'),
        dict(type='PackRegionTextInputs'),
    ]
    dataset = DATASETS.build(
        dict(
            type='CSVRegionDataset',
            data_root=str(tiny_data.root),
            ann_file='boxes.csv',
            data_prefix=dict(img='images'),
            pipeline=pipeline,
        )
    )
    (sample,) = [each['data_samples'] for each in dataset]
    assert phrases_of(sample.metainfo) == ['a dog', 'a cat']
    assert sample.gt_instances.labels.tolist() == [0, 1]
    assert sample.gt_instances.bboxes.tensor.tolist()[1] == [5, 5, 60, 40]
    assert sample.caption_ids.shape == (0, 77)


def test_configs_of_data(tiny_data, tmp_path):
    """Hard negatives, tars, and a mixture, as the page shows them."""
    negatives, tars, mixture = (
        code
        for code in blocks(DOCS / 'add_data.md', 'python')
        if '.register_module()' not in code
    )
    steps = {}
    exec(negatives, steps)
    exchange = dict(steps['with_negatives'][0], forbidden=['blue car'])
    exchange = TRANSFORMS.build(exchange)
    words = ['small green car', 'small red bus', 'small red truck']
    assert exchange.negatives('small red car') == words
    members = [tiny_data.image(f'{name}.jpg') for name in 'abcd']
    for place, folder in enumerate(('coco', 'grit')):
        root = tmp_path / 'data' / folder
        (root / 'shards').mkdir(parents=True)
        (root / 'annotations').mkdir()
        (root / 'train2017').symlink_to(tiny_data.root / 'images')
        lines = [
            json.dumps(tiny_data.grounding(path.name, 'A dog.'))
            for path in members[2 * place :]
        ]
        for name in ('phrases', 'annotations/phrases_train2017'):
            (root / f'{name}.jsonl').write_text('\n'.join(lines))
    for number in range(2):
        shard = root / 'shards' / f'{number:05d}.tar'
        with tarfile.open(shard, 'w') as tar:
            tar.add(members[2 + number], members[2 + number].name)
    few = [each.replace('00831', '00001') for each in (tars, mixture)]
    few[1] = few[1].replace("'data/", f"'{tmp_path}/data/")
    (tmp_path / 'mixture.py').write_text(
        f"_base_ = '{ROOT}/configs/harmoclip_vitb16_coco.py'\n{few[1]}"
    )
    init_default_scope('harmoclip_mm')
    config = load_config(str(tmp_path / 'mixture.py'))
    dataset = DATASETS.build(config.train_dataloader.dataset)
    assert [len(each) for each in dataset.datasets] == [4, 2]
    samples = [dataset[index]['data_samples'] for index in range(6)]
    assert [each.source for each in samples] == ['coco'] * 4 + ['grit'] * 2
    assert samples[5].img_path.endswith('{00000..00001}.tar/d.jpg')
    sampler = Runner.build_dataloader(
        dict(
            config.train_dataloader,
            dataset=dataset,
            num_workers=0,
            persistent_workers=False,
        ),
        seed=0,
    ).sampler
    assert sampler.mixture.counts == [5, 1]  # 3 in 4 of 6 is 4.5
    alone = {}
    exec(few[0], alone)
    alone = dict(alone['data'], data_root=str(root), pipeline=[])
    assert len(DATASETS.build(alone)) == 2


def test_example_of_a_transform(examples):
    transform = TRANSFORMS.build(dict(type='RandomDropCaption', prob=0.5))
    np.random.seed(0)
    captions = []
    for _ in range(100):
        phrase = dict(phrase='dog', tokens_positive=[[2, 5]])
        sample = transform(dict(text='a dog', phrases={0: phrase}))
        captions.append(sample['text'])
        spans = [[2, 5]] if sample['text'] else []
        assert sample['phrases'][0]['tokens_positive'] == spans
    assert 30 < captions.count('') < 70


def test_configs_of_the_added_method():
    """docs/add_a_method.md shows the files as they are."""
    path = ROOT / 'docs' / 'add_a_method.md'
    code = blocks(path, 'python')
    for name in (
        '_base_/methods/siglip.py',
        'baselines/siglip_vitb16_8xb32-10e_coco.py',
    ):
        lines = (ROOT / 'configs' / name).read_text().splitlines()
        plain = [line for line in lines if not line.startswith('#')]
        assert '\n'.join(plain) + '\n' in code, name
    text = path.read_text()
    tops = 'configs|docs|harmoclip_mm|projects|tests|tools'
    new = 'harmoclip_mm/models/heads/lexeme_phrase_head.py'  # an example's
    for name in re.findall(rf'`((?:{tops})/[^`]+)`', text):
        assert (ROOT / name).exists() or name == new, name
    # the diff's lines are those of the files
    for name, lines in re.findall(r'\| `(\S+)` \| (\d+)', text):
        if not name.endswith('__init__.py'):
            found = (ROOT / name).read_text().splitlines()
            assert len(found) == int(lines), name


def test_own_data_of_the_readme(tiny_data, tmp_path):
    """The jsonl line and the config of the section on one's own data."""
    (line,) = blocks(README, 'json')
    tiny_data.image('0001.jpg', 640, 480)
    tiny_data.jsonl(line.strip(), name='phrases.jsonl')
    (code,) = blocks(README, 'python')
    config = tmp_path / 'my_config.py'
    base = ROOT / 'configs' / 'harmoclip_vitb16_coco.py'
    assert './harmoclip_vitb16_coco.py' in code
    code = code.replace('./harmoclip_vitb16_coco.py', str(base))
    config.write_text(code.replace('data/mine/', f'{tiny_data.root}/'))
    cfg = load_config(str(config)).train_dataloader.dataset
    dataset = DATASETS.build(cfg)
    assert isinstance(dataset, RegionPhraseDataset)
    sample = dataset[0]['data_samples']
    assert phrases_of(sample.metainfo) == ['dog', 'a red car']
    assert sample.phrase_masks.sum(dim=1).tolist() == [1, 3]
