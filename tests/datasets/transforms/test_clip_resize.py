"""Images against open_clip's own transform, boxes against arithmetic."""

import pickle

import numpy as np
import open_clip
import pytest
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from open_clip.transform import image_transform
from PIL import Image

from harmoclip_mm.datasets.transforms import CLIPResize
from harmoclip_mm.errors import UsageError
from harmoclip_mm.registry import TRANSFORMS

TINY = dict(
    embed_dim=8,
    vision_cfg=dict(image_size=32, patch_size=8, width=64, layers=1),
    text_cfg=dict(width=64, heads=1, layers=1),
)
SIDES = (48, 32)  # height and width that differ


def picture(width, height):
    """Smooth colours, so that filters differ."""
    y, x = np.mgrid[:height, :width] / 9.0
    channels = [np.sin(x), np.cos(y), np.sin(x * y / 9)]
    return np.uint8(np.stack(channels, -1) * 120 + 128)


def as_open_clip(clip, image):
    """(H, W, 3) RGB in [0, 255] before normalisation."""
    cfg = dict(clip.get('preprocess_cfg', {}))
    transform = image_transform(
        clip['vision_cfg']['image_size'],
        is_train=False,
        mean=(0, 0, 0),
        std=(1, 1, 1),
        interpolation=cfg.get('interpolation'),
        resize_mode=cfg.get('resize_mode'),
        fill_color=cfg.get('fill_color', 0),
    )
    tensor = transform(Image.fromarray(image))
    return (tensor * 255).round().numpy().transpose(1, 2, 0)


@pytest.mark.parametrize('size', [32, SIDES], ids=str)
@pytest.mark.parametrize('shape', [(97, 64), (41, 100), (20, 31), (64, 64)])
@pytest.mark.parametrize('interpolation', ['bicubic', 'bilinear'])
@pytest.mark.parametrize('resize_mode', ['shortest', 'squash', 'longest'])
def test_native_is_what_open_clip_does(
    size, shape, interpolation, resize_mode
):
    if (size, interpolation, resize_mode) == (SIDES, 'bilinear', 'shortest'):
        pytest.skip('open_clip is bicubic here, whatever the CLIP says')
    clip = dict(
        TINY,
        vision_cfg=dict(TINY['vision_cfg'], image_size=size),
        preprocess_cfg=dict(
            interpolation=interpolation,
            resize_mode=resize_mode,
            fill_color=7,
        ),
    )
    image = picture(*shape)
    results = CLIPResize(clip, mode='native')({'img': image[..., ::-1]})
    expected = as_open_clip(clip, image)
    assert np.array_equal(results['img'][..., ::-1], expected)
    assert results['img_shape'] == expected.shape[:2]


@pytest.mark.parametrize(
    ('name', 'size', 'interpolation', 'native'),
    [
        ('ViT-B-16-quickgelu', 224, 'bicubic', 'shortest'),
        ('EVA02-L-14-336', 336, 'bicubic', 'shortest'),
        ('ViT-B-16-SigLIP2', 224, 'bicubic', 'squash'),
        ('convnext_base_w', 256, 'bicubic', 'shortest'),
        ('RN50', 224, 'bicubic', 'shortest'),
        ('ViT-L-14-CLIPA-336', 336, 'bilinear', 'squash'),
        ('MobileCLIP-B', 224, 'bilinear', 'shortest'),
    ],
)
def test_clips_are_seen_as_they_were_trained(
    name, size, interpolation, native
):
    image = picture(300, 401)
    native_cfg = open_clip.get_pretrained_cfg(
        name, open_clip.list_pretrained_tags_by_model(name)[0]
    )
    clip = dict(vision_cfg=dict(image_size=size), preprocess_cfg=native_cfg)
    resize = CLIPResize(name, mode='native')
    assert resize.spec.interpolation == interpolation
    assert resize.spec.resize_mode == native
    found = resize({'img': image})['img']
    assert np.array_equal(found, as_open_clip(clip, image))
    filters = dict(bicubic=Image.BICUBIC, bilinear=Image.BILINEAR)
    squashed = Image.fromarray(image).resize(
        (size, size), filters[interpolation]
    )
    found = CLIPResize(name)({'img': image})
    assert np.array_equal(found['img'], np.array(squashed))


def sample(width, height):
    """A picture with one box and its mask."""
    mask = np.zeros((1, height, width), dtype=np.uint8)
    mask[:, 10:30, 20:60] = 1
    return {
        'img': picture(width, height),
        'gt_bboxes': HorizontalBoxes(np.float32([[20, 10, 60, 30]])),
        'gt_masks': BitmapMasks(mask, height, width),
    }


def test_boxes_and_masks_follow_a_squash():
    results = CLIPResize(TINY, size=(40, 80))(sample(160, 60))
    assert results['img'].shape == (40, 80, 3)
    assert results['img_shape'] == (40, 80)
    box = results['gt_bboxes'].tensor[0]
    # widths by 1/2, heights by 2/3
    assert box.tolist() == pytest.approx([10, 20 / 3, 30, 20])
    assert results['scale_factor'] == pytest.approx((1 / 2, 2 / 3))
    mask = results['gt_masks'].masks[0]
    assert mask.shape == (40, 80)
    rows, columns = np.nonzero(mask)
    assert (columns.min(), columns.max() + 1) == (10, 30)
    assert (rows.min(), rows.max() + 1) == (7, 20)


@pytest.mark.parametrize('turned', [False, True], ids=['wide', 'high'])
def test_the_longest_side_fits_and_the_rest_is_black(turned):
    """64 x 16 cells of 8 px: 128 x 128 pixels."""
    width, height = (64, 256) if turned else (256, 64)
    results = CLIPResize(TINY, mode='longest', map_cells=16)(
        sample(width, height)
    )
    image, mask = results['img'], results['gt_masks'].masks[0]
    if turned:
        image, mask = image.transpose(1, 0, 2), mask.T
    assert image.shape == (128, 128, 3) and mask.shape == (128, 128)
    assert image[:32].any() and not image[32:].any()
    assert not mask[32:].any()
    assert results['scale_factor'] == (0.5, 0.5)
    box = results['gt_bboxes'].tensor[0]
    assert box.tolist() == pytest.approx([10, 5, 30, 15])
    # a size that is not square fits both ways
    wide = CLIPResize(TINY, mode='longest', size=(16, 64))(
        {'img': picture(width, height)}
    )
    assert wide['img'].shape == (16, 64, 3)
    factor = 1 / 16 if turned else 1 / 4
    assert wide['scale_factor'] == (factor, factor)


@pytest.mark.parametrize(
    ('name', 'side'),
    [
        ('ViT-B-16-quickgelu', 1024),
        ('EVA02-L-14-336', 896),
        ('convnext_base_w', 2048),
    ],
)
def test_the_size_of_a_map_follows_from_its_cells(name, side):
    resize = CLIPResize(name, mode='longest', map_cells=64)
    assert resize.size == (side, side)


@pytest.mark.parametrize('mode', ['squash', 'longest', 'native'])
def test_an_image_of_the_right_size_is_left_alone(mode):
    image = picture(32, 32)
    results = CLIPResize(TINY, mode=mode)({'img': image})
    assert results['img'] is image


def test_boxes_have_no_place_in_a_crop():
    crop = CLIPResize(TINY, mode='native')
    with pytest.raises(ValueError, match='squash'):
        crop(sample(160, 60))
    squash = dict(TINY, preprocess_cfg=dict(resize_mode='squash'))
    results = CLIPResize(squash, mode='native')(sample(160, 60))
    assert results['gt_bboxes'].tensor[0, 0] == 4


def test_what_is_wrong_is_said():
    with pytest.raises(ValueError, match='squash'):
        CLIPResize(TINY, mode='crop')
    with pytest.raises(ValueError, match='map_cells'):
        CLIPResize(TINY, size=3, map_cells=4)
    with pytest.raises(UsageError, match='load_config'):
        CLIPResize(None)
    with pytest.raises(UsageError, match='ViT-B-16'):
        CLIPResize('ViT-B-61')


def test_it_is_built_by_name_and_travels(harmoclip_scope):
    resize = TRANSFORMS.build(
        dict(type='CLIPResize', clip=TINY, mode='longest')
    )
    again = pickle.loads(pickle.dumps(resize))
    assert again({'img': picture(90, 50)})['img'].shape == (32, 32, 3)
