import base64
import io
import json
import re

import mmcv
import numpy as np
import pytest
from PIL import Image

from harmoclip_mm.errors import UsageError

TOOL = 'analysis_tools/browse_dataset.py'
CONFIG = """
default_scope = 'harmoclip_mm'
train_dataloader = dict(dataset=dict(
    type='RegionPhraseDataset',
    ann_file='odvg.jsonl',
    data_root={root!r},
    data_prefix=dict(img='images'),
    pipeline=[
        dict(type='LoadCheckedImage'),
        dict(type='mmdet.LoadAnnotations', with_bbox=True),
        dict(type='TextAwareRandomFlip', prob=0.5),
        dict(type='mmdet.Resize', scale=(96, 96)),
        dict(type='TokenizeRegionText', clip='ViT-B-16'),
        dict(type='PackRegionTextInputs')]))
"""


@pytest.fixture
def config(tiny_data):
    region = {'bbox': [4, 4, 30, 30], 'phrase': 'dog'}
    names = [f'{i}.png' for i in range(3)]
    for name in names:
        tiny_data.image(name)
    tiny_data.jsonl(*(tiny_data.grounding(n, 'a dog', region) for n in names))
    path = tiny_data.root / 'config.py'
    path.write_text(CONFIG.format(root=str(tiny_data.root)))
    return path


@pytest.mark.parametrize('mode', ['original', 'pipeline'])
def test_pictures_are_saved(config, tiny_data, run_tool, capsys, mode):
    out_dir = tiny_data.root / 'out'
    args = ('--output-dir', out_dir, '--mode', mode, '--number', 2)
    run_tool(TOOL, config, *args)
    files = sorted(path.name for path in out_dir.iterdir())
    assert files == ['000000_0.png', '000001_1.png']
    picture = mmcv.imread(str(out_dir / files[0]))
    # 64 x 48 enlarged by 10, or 96 x 96 by 5, and the caption below.
    height, width = {'original': (480, 640), 'pipeline': (480, 480)}[mode]
    assert picture.shape[1] == width and picture.shape[0] > height
    assert '2 pictures of 3 samples' in capsys.readouterr().out


def test_bad_images_are_left_out_and_named(
    config, tiny_data, run_tool, capsys
):
    (tiny_data.root / 'images' / '1.png').unlink()
    out_dir = tiny_data.root / 'out'
    run_tool(TOOL, config, '--output-dir', out_dir, '--number', 0)
    assert len(list(out_dir.iterdir())) == 2
    output = capsys.readouterr().out
    assert 'left out: ' in output and '1.png' in output


def test_pictures_have_the_names_of_what_they_show(
    config, tiny_data, run_tool
):
    (tiny_data.root / 'images' / '1.png').unlink()  # another is in its place
    out_dir = tiny_data.root / 'out'
    args = ('--output-dir', out_dir, '--mode', 'pipeline')
    run_tool(TOOL, config, *args)
    first, replaced, last = sorted(path.name for path in out_dir.iterdir())
    assert (first, last) == ('000000_0.png', '000002_2.png')
    assert replaced in ('000001_0.png', '000001_2.png')


def test_a_split_that_the_config_lacks(config, run_tool):
    with pytest.raises(UsageError, match='has no val_dataloader'):
        run_tool(TOOL, config, '--split', 'val')


@pytest.mark.parametrize('option', ['--page', '--number=1'])
def test_no_sample_is_an_error(config, tiny_data, run_tool, option):
    boxes = dict(images=[], annotations=[], categories=[])
    (tiny_data.root / 'odvg.jsonl').write_text(json.dumps(boxes))
    text = config.read_text().replace('RegionPhrase', 'mmdet.Coco')
    config.write_text(text)
    with pytest.raises(UsageError, match=r'odvg\.jsonl has no sample'):
        run_tool(TOOL, config, option, '--output-dir', tiny_data.root / 'out')
    assert not (tiny_data.root / 'out').exists()


def test_real_photos_of_mmdets_coco(coco_photos, tmp_path, run_tool):
    """The test split as the evaluation reads it: boxes and captions."""
    annotations = coco_photos / 'annotations'
    settings = {
        'type': 'mmdet.CocoDataset',
        'ann_file': str(annotations / 'instances_val2017.json'),
        'data_prefix': {'img': str(coco_photos / 'val2017')},
        'test_mode': True,
        'pipeline': [
            {'type': 'LoadCheckedImage'},
            {'type': 'mmdet.LoadAnnotations', 'with_bbox': True},
            {'type': 'mmdet.Resize', 'scale': [224, 224]},
            {
                'type': 'LoadCaptions',
                'ann_file': str(annotations / 'captions_val2017.json'),
            },
            {'type': 'TokenizeRegionText', 'clip': 'ViT-B-16'},
            {'type': 'PackRegionTextInputs'},
        ],
    }
    config = tmp_path / 'config.json'
    config.write_text(
        json.dumps(
            {
                'default_scope': 'harmoclip_mm',
                'test_dataloader': {'dataset': settings},
            }
        )
    )
    for mode in ('original', 'pipeline'):
        out_dir = tmp_path / mode
        args = ('--split', 'test', '--mode', mode, '--number', 2)
        run_tool(TOOL, config, '--output-dir', out_dir, *args)
        assert len(list(out_dir.iterdir())) == 2


def test_page(config, tiny_data, run_tool, capsys):
    (tiny_data.root / 'images' / '1.png').unlink()
    out_dir = tiny_data.root / 'out'
    run_tool(TOOL, config, '--output-dir', out_dir, '--page')
    assert [path.name for path in out_dir.iterdir()] == ['index.html']
    text = (out_dir / 'index.html').read_text(encoding='utf-8')
    assert text.count('data:image/jpeg') == 2
    said = capsys.readouterr().out
    assert '3 samples with 3 boxes, one for each phrase of a box:' in said
    assert '1 of the 3 images below cannot be read' in said
    assert '100 % of the regions have the phrase' in said


@pytest.mark.parametrize('what', ['turned', 'too small', '16 bits'])
def test_images_are_those_that_the_data_set_takes(
    config, tiny_data, run_tool, what
):
    """Stored on its side, as photos are, and two that a training refuses."""
    path = tiny_data.root / 'images' / '0.png'
    pixels = np.zeros((48, 64, 3), dtype=np.uint8)
    if what == 'turned':
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(pixels).rotate(90, expand=True).save(path, exif=exif)
        text = config.read_text()
        text = text.replace("Image')", "Image', color_type='color')")
        config.write_text(text)
    elif what == 'too small':
        Image.fromarray(pixels[::2, ::2]).save(path)
    else:
        Image.fromarray(pixels[..., 0].astype(np.uint16) + 999).save(path)
    out_dir = tiny_data.root / 'out'
    run_tool(TOOL, config, '--output-dir', out_dir, '--page')
    text = (out_dir / 'index.html').read_text(encoding='utf-8')
    assert ('1 of the 3 images' in text) == (what != 'turned')
    pictures = re.findall('data:image/jpeg;base64,([^"]+)', text)
    assert len(pictures) == (3 if what == 'turned' else 2)
    for code in pictures:
        width, height = Image.open(io.BytesIO(base64.b64decode(code))).size
        assert width > height


def test_page_of_joined_sets(config, tiny_data, run_tool):
    text = config.read_text() + (
        "step = dict(type='CLIPResize', clip='ViT-B-16')\n"
        "train_dataloader['dataset']['pipeline'][3] = step\n"
        "each = train_dataloader['dataset']\n"
        'train_dataloader = dict(dataset=dict(\n'
        "    type='mmengine.ConcatDataset', datasets=[each, each]))\n"
    )
    config.write_text(text)
    run_tool(TOOL, config, '--output-dir', tiny_data.root / 'out', '--page')
    text = (tiny_data.root / 'out' / 'index.html').read_text(encoding='utf-8')
    assert '6 samples of' in text and 'at 224 x 224 px' in text


def test_page_of_a_mosaic(config, tiny_data, run_tool):
    text = (
        config.read_text()
        + """
train_dataloader['dataset'] = dict(
    type='mmdet.MultiImageMixDataset', dataset=train_dataloader['dataset'],
    pipeline=[dict(type='CaptionMosaic', clip='ViT-B-16')])
"""
    )
    config.write_text(text)
    run_tool(TOOL, config, '--output-dir', tiny_data.root / 'out', '--page')
    page = (tiny_data.root / 'out' / 'index.html').read_text()
    assert '3 samples of ' in page


def test_page_of_some_samples(config, tiny_data, run_tool):
    args = ('--page', '--page-samples', 2, '--number', 1)
    run_tool(TOOL, config, '--output-dir', tiny_data.root / 'out', *args)
    text = (tiny_data.root / 'out' / 'index.html').read_text(encoding='utf-8')
    assert 'figures are of 2 of them' in text
    assert text.count('data:image/jpeg') == 1


def test_a_page_has_no_mode(config, run_tool, capsys):
    with pytest.raises(SystemExit):
        run_tool(TOOL, config, '--page', '--mode', 'pipeline')
    assert 'leave out --mode' in capsys.readouterr().err
