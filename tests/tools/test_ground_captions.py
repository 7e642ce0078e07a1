import io
import json
import tarfile
from collections import Counter
from pathlib import Path

import grounding
import numpy as np
import pytest
import torch
from grounding import find_phrases, link, load_detector
from mmdet.models.layers.transformer.utils import coordinate_to_encoding
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from odvg_formats.lines import Tally
from PIL import Image
from transformers import BertConfig, BertModel, BertTokenizerFast

from harmoclip_mm.apis import load_config
from harmoclip_mm.datasets.odvg import parse_odvg_line
from harmoclip_mm.errors import DataError, UsageError

TOOL = 'dataset_converters/ground_captions.py'
OPTIONS = '--box-thr=0', '--text-thr=0', '--chunk=2', '--batch-size=2'
WORDS = 'a the red blue dog car on man with ball . ? in park'
CAPTIONS = (
    ('0.png', 'A dog on the red car.'),
    ('0.png', 'A man with a blue ball'),
    ('1.png', 'The park'),
    ('2.png', 'In the'),  # no phrase
    ('2.png', 'A red ball in the park.'),
)
DETECTORS = {
    'dino': """
_base_ = 'mmdet::mm_grounding_dino/grounding_dino_swin-t_pretrain_obj365.py'
test_pipeline = _base_.test_pipeline
test_pipeline[1]['scale'] = (64, 96)
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
ffn = dict(feedforward_channels=32)
model = dict(
    num_queries=30,
    language_model=dict(name={bert!r}),
    backbone=dict(
        _delete_=True, type='ResNet', depth=18, base_channels=8,
        out_indices=(1, 2, 3), norm_cfg=dict(type='BN')),
    neck=dict(in_channels=[16, 32, 64]),
    encoder=dict(
        num_layers=1, layer_cfg=dict(ffn_cfg=ffn),
        text_layer_cfg=dict(ffn_cfg=ffn),
        fusion_layer_cfg=dict(embed_dim=32)),
    decoder=dict(num_layers=1, layer_cfg=dict(ffn_cfg=ffn)),
    test_cfg=dict(max_per_img=20))
""",
    'glip': """
_base_ = 'mmdet::glip/glip_atss_swin-t_a_fpn_dyhead_pretrain_obj365.py'
test_pipeline = _base_.test_pipeline
test_pipeline[1]['scale'] = (64, 96)
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
model = dict(
    language_model=dict(name={bert!r}),
    backbone=dict(
        _delete_=True, type='ResNet', depth=18, base_channels=8,
        out_indices=(1, 2, 3), norm_cfg=dict(type='BN')),
    neck=dict(in_channels=[16, 32, 64], out_channels=32),
    bbox_head=dict(
        lang_model_name={bert!r}, num_dyhead_blocks=1, in_channels=32,
        feat_channels=32),
    test_cfg=dict(score_thr=0.0, nms_pre=20, max_per_img=20))
""",
}


@pytest.fixture(scope='module')
def detectors(tmp_path_factory):
    """Tiny detectors of random weights: config and checkpoint of each."""
    folder = tmp_path_factory.mktemp('detectors')
    bert = folder / 'bert'
    bert.mkdir()
    special = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']
    (bert / 'vocab.txt').write_text('\n'.join([*special, *WORDS.split()]))
    tokenizer = BertTokenizerFast(str(bert / 'vocab.txt'))
    tokenizer.save_pretrained(bert)
    shape = dict(num_attention_heads=2, num_hidden_layers=1)
    size = dict(hidden_size=32, intermediate_size=32, vocab_size=30)
    torch.manual_seed(0)
    BertModel(BertConfig(**shape, **size), False).save_pretrained(bert)
    made = {}
    for name, text in DETECTORS.items():
        config = folder / f'{name}.py'
        config.write_text(text.format(bert=str(bert)))
        cfg = load_config(str(config))
        init_default_scope('mmdet')
        if name == 'dino':
            cfg.model.encoder.num_cp = 0
        model = MODELS.build(cfg.model)
        model.init_weights()  # till then level embeddings are raw memory
        checkpoint = folder / f'{name}.pth'
        torch.save({'state_dict': model.state_dict()}, checkpoint)
        made[name] = config, checkpoint
    return made


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / 'images'
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        pixels = rng.integers(256, size=(60, 90 + 10 * number), dtype='uint8')
        Image.fromarray(pixels).save(folder / f'{number}.png')
    return folder


def write_jsonl(folder, rows) -> Path:
    path = folder / 'captions.jsonl'
    rows = [dict(filename=name, caption=text) for name, text in rows]
    path.write_text('\n'.join(map(json.dumps, rows)))
    return path


@pytest.fixture
def captions(tmp_path):
    return write_jsonl(tmp_path, CAPTIONS)


@pytest.fixture
def ground(detectors, images, tmp_path, run_tool):
    """Run the command in this process; its lines."""

    def run(captions, *words, name='dino', images=images):
        out = tmp_path / 'out' / f'{name}.jsonl'
        run_tool(
            TOOL, *detectors[name], captions, '--images', images, '--out', out,
            *OPTIONS, '--num-workers=0', *words,
        )  # fmt: skip
        assert [each.name for each in out.parent.iterdir()] == [out.name]
        return [json.loads(line) for line in out.read_text().splitlines()]

    return run


def test_boxes_go_to_their_best_phrase_above_the_thresholds():
    # phrases: 0 "dog", 1 "red car", 2 "park", 3 "ball"
    found = [
        ([0, 0, 10, 10], 0.50, 0),
        ([0, 0, 10, 10], 0.45, 1),  # the box of phrase 0 again
        ([0, 0, 10, 5], 0.40, 0),  # IoU 0.5 with the first
        ([0, 0, 10, 7], 0.38, 0),  # 0.7 with the first
        ([20, 0, 40, 20], 0.90, 1),
        ([20, 0, 40, 19], 0.80, 3),  # IoU 0.95 with that
        ([50, 50, 60, 60], 0.35, 2),  # above 0.3, but its best is below 0.4
        ([70, 0, 80, 10], 0.30, 1),  # at the threshold
        ([90, 0, 99, 10], 0.29, 1),
    ]
    boxes, scores, labels = map(torch.tensor, zip(*found))
    kinds = boxes.float(), scores, labels
    linked = [
        (0, [0, 0, 10, 10], 0.50),
        (0, [0, 0, 10, 5], 0.40),
        (1, [20, 0, 40, 20], 0.90),
        (1, [70, 0, 80, 10], 0.30),
    ]
    got = link(*kinds, 0.3, 0.4, 0.6)
    assert [(*each, round(score, 6)) for *each, score in got] == linked
    # nothing suppresses, one box of two phrases included
    assert Counter(each[0] for each in link(*kinds, 0.3, 0.4, 1)) == {
        0: 3, 1: 3, 3: 1,
    }  # fmt: skip
    empty = boxes[:0].float(), scores[:0], labels[:0]
    assert link(*empty, 0.3, 0.4, 0.6) == []


@pytest.mark.parametrize('name', DETECTORS)
def test_detectors_of_mmdet(ground, captions, images, name):
    lines = ground(captions, name=name)
    assert [
        (line['filename'], line['grounding']['caption']) for line in lines
    ] == list(CAPTIONS)
    phrases = []
    for line in lines:
        tally = Counter()
        sample = parse_odvg_line(json.dumps(line).encode(), 'line', tally)
        assert not +tally
        with Image.open(images / line['filename']) as image:
            assert (line['width'], line['height']) == image.size
        regions = line['grounding']['regions']
        assert all(0 <= each['score'] <= 1 for each in regions)
        caption = sample['text']
        for each in sample['phrases'].values():
            ((start, end),) = each['tokens_positive']
            assert caption[start:end] == each['phrase']
        phrases.append({each['phrase'] for each in regions})
    wanted = [{'dog', 'red car'}, {'man', 'blue ball'}, {'park'}, set()]
    wanted.append({'red ball', 'park'})
    assert all(found <= own for found, own in zip(phrases, wanted))
    assert sum(map(len, phrases)) >= 4  # the rest were suppressed


def test_the_same_command_goes_on(ground, captions, monkeypatch, capsys):
    whole = ground(captions)
    did = []

    def stop(chunk, *others):
        did.append(chunk[0])
        if stops and len(did) == 2:
            raise KeyboardInterrupt
        return actual(chunk, *others)

    actual, stops = grounding.ground, True
    monkeypatch.setattr(grounding, 'ground', stop)
    with pytest.raises(KeyboardInterrupt):
        ground(captions)
    stops = False
    assert ground(captions) == whole
    assert did == [CAPTIONS[0], CAPTIONS[2], CAPTIONS[2], CAPTIONS[4]]
    assert '1 chunks are in it' in capsys.readouterr().out

    stops, did[:] = True, []
    with pytest.raises(KeyboardInterrupt):
        ground(captions)
    captions.write_text(captions.read_text() + '\n')
    stops = False
    assert ground(captions) == whole
    assert did[2:] == [CAPTIONS[0], CAPTIONS[2], CAPTIONS[4]]
    assert 'anew' in capsys.readouterr().out


@pytest.mark.slow
def test_two_processes_write_the_same_file(
    ground, captions, detectors, images, tmp_path, run_apart
):
    lines, out = ground(captions), tmp_path / 'two.jsonl'
    printed = run_apart(
        TOOL, *detectors['dino'], captions, '--images', images, '--out', out,
        *OPTIONS, '--num-workers=1', ranks=2,
    )  # fmt: skip
    assert [json.loads(each) for each in out.read_text().splitlines()] == lines
    assert printed.count('Wrote') == 1


def test_captions_of_tars_and_of_coco(ground, images, tmp_path):
    wanted = ground(write_jsonl(tmp_path, CAPTIONS[::2]))
    tars = tmp_path / 'shards/{00..01}.tar'
    tars.parent.mkdir()
    for shard, rows in enumerate((CAPTIONS[:1], CAPTIONS[2::2])):
        with tarfile.open(tars.parent / f'0{shard}.tar', 'w') as tar:
            for name, caption in rows:
                text = json.dumps(dict(caption=caption)).encode()
                for member, content in (
                    (name, (images / name).read_bytes()),
                    (f'{name[:-4]}.json', text),
                ):
                    info = tarfile.TarInfo(member)
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
    lines = ground(tars, images=tars)
    names = [line.pop('filename') for line in lines]
    assert names == ['00/0.png', '01/1.png', '01/2.png']
    for line in wanted:
        line.pop('filename')
    # batches differ, and padding of an image with them
    assert [line['grounding']['caption'] for line in lines] == [
        line['grounding']['caption'] for line in wanted
    ]
    assert lines[0]['grounding']['regions']

    coco = tmp_path / 'captions.json'
    names = sorted({name for name, _ in CAPTIONS})
    rows = [
        dict(id=i, image_id=names.index(name), caption=f' {caption} ')
        for i, (name, caption) in enumerate(CAPTIONS[::2])
    ]
    pictures = [dict(id=i, file_name=name) for i, name in enumerate(names)]
    coco.write_text(json.dumps(dict(images=pictures, annotations=rows)))
    lines = ground(coco)
    for line in lines:
        line.pop('filename')
    assert lines == wanted


def test_bad_images_and_captions_are_counted(ground, images, tmp_path):
    (images / '1.png').write_bytes(b'none')
    half = ('0.png', 'A dog \ud83d in the park')  # of an escaped pair
    rows = (half, *CAPTIONS[1:3], ('none.png', 'A dog'), ('0.png', ' '))
    lines = ground(write_jsonl(tmp_path, rows))
    assert [line['filename'] for line in lines] == ['0.png', '0.png']
    assert lines[0]['grounding']['caption'] == 'A dog ? in the park'
    with pytest.raises(
        DataError, match=r'cannot be read: 1, first at .*1\.png'
    ):
        ground(write_jsonl(tmp_path, rows[2:3]))


def test_wrong_input_is_told(ground, captions, detectors, tmp_path):
    with pytest.raises(UsageError, match='is read, too'):
        ground(captions, '--out', captions)
    captions.write_text(captions.read_text() + '\n{"filename": "1.png"')
    with pytest.raises(DataError, match=r'captions.jsonl:6: not valid JSON'):
        ground(captions)
    captions.write_text('{"filename": "1.png"}')
    with pytest.raises(DataError, match=r"captions.jsonl:1.*'caption'"):
        ground(captions)
    config, checkpoint = detectors['dino']
    cfg = load_config(str(config))
    with pytest.raises(UsageError, match='has 0 of the'):
        other = tmp_path / 'other.pth'
        torch.save({'state_dict': {'weight': torch.ones(1)}}, other)
        load_detector(cfg, str(other))
    cfg.model.language_model.name = str(tmp_path / 'none')
    with pytest.raises(UsageError, match=r'none.*bert-base-uncased'):
        load_detector(cfg, str(checkpoint))
    del cfg.model['language_model']
    with pytest.raises(UsageError, match='reads no captions'):
        load_detector(cfg, str(checkpoint))


def test_phrases_that_the_text_model_reads(detectors):
    config, checkpoint = detectors['dino']
    model = load_detector(load_config(str(config)), str(checkpoint))
    tally = Tally()

    def find(caption):
        spans = find_phrases(caption, model.language_model, tally)
        return [caption[start:end] for start, end in spans]

    assert find('A red car and a dog') == ['red car', 'dog']
    long = 'on ' * 251 + 'a dog on a car'  # [CLS], 254 words, [SEP]
    assert find(long) == ['dog']
    assert tally.dropped == {'phrases that the text model does not read': 1}
    assert tally.read['phrases'] == 4


def test_coordinates_are_encoded_as_the_weights_are(detectors):
    config, checkpoint = detectors['dino']
    model = load_detector(load_config(str(config)), str(checkpoint))
    head = model.decoder.ref_point_head
    points = torch.rand(2, 5, 4)
    wanted = head(coordinate_to_encoding(points, num_feats=128))
    doubled = coordinate_to_encoding(points, num_feats=256)
    torch.testing.assert_close(head(doubled), wanted, rtol=0, atol=0)


def test_scores_that_are_no_numbers_are_told(
    ground, captions, detectors, tmp_path, monkeypatch
):
    config, checkpoint = detectors['dino']
    state = torch.load(checkpoint)
    state['state_dict']['level_embed'].fill_(float('nan'))
    torch.save(state, tmp_path / 'nan.pth')
    monkeypatch.setitem(detectors, 'dino', (config, tmp_path / 'nan.pth'))
    with pytest.raises(DataError, match=r'0\.png: .*no numbers'):
        ground(captions)
