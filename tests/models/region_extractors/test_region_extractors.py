"""Region features against torchvision and brute force."""

import math

import numpy as np
import pytest
import tiny_clips
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.ops import roi_align

from harmoclip_mm.models import (
    CropFeatureExtractor,
    HarmoCLIPBackbone,
    MaskFeatureExtractor,
    RoIFeatureExtractor,
)
from harmoclip_mm.models.region_extractors import crop_feature_extractor
from harmoclip_mm.models.region_extractors.mask_feature_extractor import (
    mask_coverage,
)
from harmoclip_mm.models.utils import RegionBatch


@pytest.fixture
def tower():
    """16 joint dimensions, images of 32 px, patches of 8."""
    return HarmoCLIPBackbone(dict(tiny_clips.VIT, embed_dim=16)).eval()


def batch(rois, images=2):
    """Regions of rows (image, box), sorted by image."""
    counts = torch.bincount(rois[:, 0].long(), minlength=images)
    return RegionBatch(rois, counts.tolist())


ROIS = torch.tensor(
    [
        [0, 0.0, 0.0, 32.0, 32.0],
        [1, 3.0, 5.0, 21.0, 30.0],
        [1, 10.0, 10.0, 11.0, 12.0],
    ]
)


def test_roi_features_equal_torchvision(tower):
    img = torch.randn(2, 3, 32, 40)
    dense = torch.randn(2, 16, 4, 5)
    ours = RoIFeatureExtractor()(dense, batch(ROIS), img, tower)
    pooled = roi_align(
        F.normalize(dense, dim=1), ROIS, 1, 1 / 8, 0, aligned=True
    )
    expected = F.normalize(pooled.flatten(1), dim=1)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)
    raw = RoIFeatureExtractor(normalise_map=False)(
        dense, batch(ROIS), img, tower
    )
    pooled = roi_align(dense, ROIS, 1, 1 / 8, 0, aligned=True)
    torch.testing.assert_close(
        raw, F.normalize(pooled.flatten(1), dim=1), rtol=1e-5, atol=1e-6
    )


def test_maps_need_not_be_contiguous(tower):
    """A kernel that took them for contiguous would silently read other
    locations' features, as mmcv's does."""
    img = torch.randn(2, 3, 32, 32)
    dense = torch.randn(2, 16, 16).transpose(1, 2).unflatten(2, (4, 4))
    assert not dense.is_contiguous()
    extractor = RoIFeatureExtractor()
    torch.testing.assert_close(
        extractor(dense, batch(ROIS), img, tower),
        extractor(dense.contiguous(), batch(ROIS), img, tower),
    )


def test_towers_give_contiguous_maps(tower):
    img = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert tower.encode(img).dense.is_contiguous()
        assert all(each.is_contiguous() for each in tower(img))


def test_aligned_box_is_the_mean_of_its_cells(tower):
    """A box of whole cells: RoIAlign samples each cell's centre."""
    dense = torch.randn(1, 16, 4, 4, dtype=torch.float64)
    rois = torch.tensor([[0, 8.0, 16.0, 24.0, 32.0]], dtype=torch.float64)
    feature = RoIFeatureExtractor()(dense, batch(rois, 1), dense, tower)
    cells = F.normalize(dense, dim=1)[0, :, 2:4, 1:3]
    expected = F.normalize(cells.flatten(1).mean(dim=1), dim=0)
    torch.testing.assert_close(feature[0], expected)


def test_half_precision_maps_are_pooled_in_float32(tower):
    dense = torch.randn(2, 16, 4, 4)
    img = torch.zeros(2, 3, 32, 32)
    feature = RoIFeatureExtractor()(dense.bfloat16(), batch(ROIS), img, tower)
    assert feature.dtype == torch.float32
    expected = RoIFeatureExtractor()(
        dense.bfloat16().float(), batch(ROIS), img, tower
    )
    torch.testing.assert_close(feature, expected)


@pytest.mark.parametrize('kind', [RoIFeatureExtractor, CropFeatureExtractor])
def test_no_regions(tower, kind):
    dense = torch.randn(2, 16, 4, 4)
    img = torch.randn(2, 3, 32, 32)
    assert kind()(dense, batch(ROIS[:0]), img, tower).shape == (0, 16)


def test_whole_image_crop_is_the_image(tower):
    img = torch.randn(2, 3, 32, 32)
    extractor = CropFeatureExtractor()
    torch.testing.assert_close(
        extractor.crop(img, ROIS[:1], (32, 32)), img[:1], rtol=1e-5, atol=1e-5
    )
    with torch.no_grad():
        feature = extractor(None, batch(ROIS[:1]), img, tower)
        expected = F.normalize(tower.encode(img[:1]).pooled, dim=1)
    torch.testing.assert_close(feature, expected, rtol=1e-4, atol=1e-5)


def test_crops_in_chunks_equal_crops_at_once(tower, monkeypatch):
    img = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        once = CropFeatureExtractor()(None, batch(ROIS), img, tower)
        monkeypatch.setattr(crop_feature_extractor, 'CHUNK', 1)
        chunks = CropFeatureExtractor()(None, batch(ROIS), img, tower)
    torch.testing.assert_close(once, chunks, rtol=1e-4, atol=1e-5)


def test_context_grows_the_box_and_stops_at_the_image():
    # Box 10..20 x 10..20, context 1.5: 7.5..22.5. A ramp's crop has the
    # mean of its ends; at the border the box is cut to 0..12.5.
    ramp = torch.arange(32.0).add(0.5).expand(1, 1, 32, 32)
    extractor = CropFeatureExtractor(context=1.5)
    rois = torch.tensor([[0, 10.0, 10, 20, 20], [0, 0.0, 0, 10, 10]])
    crops = extractor.crop(ramp, rois, (1, 1)).flatten()
    torch.testing.assert_close(
        crops, torch.tensor([15.0, 6.25]), rtol=0, atol=0.01
    )
    with pytest.raises(ValueError, match='at least 1'):
        CropFeatureExtractor(context=0.5)


def sample_bilinear(fmap, y, x):
    """Value of a map at a point between cell centres, by hand, float64.

    RoIAlign with aligned=True: cell i lies at coordinate i, points up to one
    cell outside take the nearest border, farther ones are 0.
    """
    height, width = fmap.shape[1:]
    if y < -1 or y > height or x < -1 or x > width:
        return np.zeros(len(fmap))
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    value = np.zeros(len(fmap))
    for row, wy in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, wx in ((left, 1 - (x - left)), (left + 1, x - left)):
            if wy * wx:
                value += wy * wx * fmap[:, row, column]
    return value


def test_a_box_grows_within_its_image_and_not_into_the_padding(tower):
    """Box 4..20 x 10..20 of 32 x 20 px: 0..24 x 7.5..22.5, cut at 20."""
    img = torch.randn(1, 3, 32, 32)
    box = batch(torch.tensor([[0, 4.0, 10.0, 20.0, 20.0]]), 1)
    found = CropFeatureExtractor(context=1.5)(
        None, box._replace(sizes=[(32.0, 20.0)]), img, tower
    )
    grown = batch(torch.tensor([[0, 0.0, 7.5, 24.0, 20.0]]), 1)
    expected = CropFeatureExtractor()(None, grown, img, tower)
    torch.testing.assert_close(found, expected)


def test_roi_features_equal_a_brute_force_average(tower):
    dense = torch.randn(2, 16, 4, 5, dtype=torch.float64)
    img = torch.zeros(2, 3, 32, 40)
    ours = RoIFeatureExtractor()(dense, batch(ROIS), img, tower)
    maps = dense.numpy() / np.linalg.norm(dense.numpy(), axis=1)[:, None]
    for feature, (image, *box) in zip(ours, ROIS.tolist()):
        x1, y1, x2, y2 = (side / 8 - 0.5 for side in box)
        # as many samples as the box has cells, in the middle of equal parts
        rows, columns = math.ceil(y2 - y1), math.ceil(x2 - x1)
        mean = np.zeros(16)
        for row in range(rows):
            for column in range(columns):
                y = y1 + (row + 0.5) * (y2 - y1) / rows
                x = x1 + (column + 0.5) * (x2 - x1) / columns
                mean += sample_bilinear(maps[int(image)], y, x)
        mean /= np.linalg.norm(mean)
        np.testing.assert_allclose(feature.numpy(), mean, atol=1e-12)


def test_mask_features_equal_brute_force_loops(tower):
    """Float64 loops over all pixels, images of a batch of unequal size."""
    torch.manual_seed(3)
    dense = torch.randn(3, 16, 4, 5, dtype=torch.float64)
    img = torch.zeros(3, 3, 32, 37)  # the last cells are cut
    masks = [
        torch.rand(3, 32, 37) < 0.4,
        torch.zeros(0, 32, 37, dtype=torch.bool),
        (torch.rand(2, 20, 37) < 0.7).to(torch.uint8),  # padded below
    ]
    boxes = [torch.rand(len(each), 4) for each in masks]
    regions = RegionBatch.from_boxes(boxes, masks)
    for normalise in (True, False):
        extractor = MaskFeatureExtractor(normalise_map=normalise)
        ours = extractor(dense, regions, img, tower).numpy()
        row = 0
        for fmap, image_masks in zip(dense.numpy(), masks):
            if normalise:
                fmap = fmap / np.linalg.norm(fmap, axis=0)
            for mask in image_masks.numpy():
                total, area = np.zeros(16), 0.0
                for y, x in zip(*np.nonzero(mask)):
                    total += fmap[:, y // 8, x // 8] / 64
                    area += 1 / 64
                mean = total / area
                mean /= np.linalg.norm(mean)
                np.testing.assert_allclose(ours[row], mean, atol=1e-6)
                row += 1
        assert row == len(ours) == 5


def test_masks_are_pooled_in_float32_under_autocast(tower):
    dense, img = torch.randn(2, 16, 4, 4), torch.zeros(2, 3, 32, 32)
    masks = [torch.rand(len(each), 32, 32) < 0.5 for each in ([0], [0, 1])]
    regions = batch(ROIS)._replace(masks=masks)
    expected = MaskFeatureExtractor()(dense, regions, img, tower)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = MaskFeatureExtractor()(dense, regions, img, tower)
    assert torch.equal(found, expected)


def test_coverage_is_the_share_of_a_cell():
    # 16 x 16 px in cells of 8: columns 4 to 11, rows 0 to 9 are covered.
    mask = torch.zeros(1, 16, 16, dtype=torch.bool)
    mask[:, :10, 4:12] = True
    expected = torch.tensor([[[0.5, 0.5, 0], [0.125, 0.125, 0]]])
    assert torch.equal(mask_coverage(mask, (2, 3), 8), expected)
    # 384 px are 27 cells of 14, and the rest is cut off
    assert torch.equal(
        mask_coverage(mask[:, :15, :15], (1, 1), 8)[0, 0, 0], expected[0, 0, 0]
    )
    with pytest.raises(ValueError, match='16 x 16 px belong to no image'):
        mask_coverage(mask, (1, 2), 8)


def test_a_mask_of_nothing_becomes_its_box(tower):
    dense = torch.randn(2, 16, 4, 4)
    img = torch.zeros(2, 3, 32, 32)
    masks = [torch.zeros(1, 32, 32), torch.zeros(2, 32, 32)]
    masks[1][0, 3:9, 20:30] = 1
    masks = [each.bool() for each in masks]
    regions = batch(ROIS)._replace(masks=masks)
    ours = MaskFeatureExtractor()(dense, regions, img, tower)
    boxes = RoIFeatureExtractor()(dense, regions, img, tower)
    torch.testing.assert_close(ours[[0, 2]], boxes[[0, 2]])
    assert not torch.allclose(ours[1], boxes[1], atol=1e-3)


def test_a_mask_of_whole_cells_is_its_box(tower):
    """Where both pool the same cells, both agree."""
    dense = torch.randn(1, 16, 4, 4, dtype=torch.float64)
    boxes = [torch.tensor([[8.0, 16.0, 24.0, 32.0]])]
    mask = torch.zeros(1, 32, 32, dtype=torch.bool)
    mask[0, 16:32, 8:24] = True
    regions = RegionBatch.from_boxes(boxes, [mask])
    torch.testing.assert_close(
        MaskFeatureExtractor()(dense, regions, dense, tower),
        RoIFeatureExtractor()(dense, regions, dense, tower),
    )


def test_missing_masks_are_told(tower):
    dense, img = torch.randn(2, 16, 4, 4), torch.zeros(2, 3, 32, 32)
    with pytest.raises(ValueError, match='needs the masks'):
        MaskFeatureExtractor()(dense, batch(ROIS), img, tower)
    with pytest.raises(ValueError, match=r'\[1, 2\] boxes, but \[2, 1\]'):
        RegionBatch.from_boxes(
            [ROIS[:1, 1:], ROIS[1:, 1:]],
            [torch.zeros(2, 8, 8), torch.zeros(1, 8, 8)],
        )


def test_crops_equal_one_encoding_a_box(tower):
    """Boxes of whole pixels, cut out and resized by torch itself."""
    img = torch.randn(2, 3, 32, 32)
    rois = torch.tensor(
        [[0, 4.0, 2, 20, 18], [1, 0.0, 0, 32, 32], [1, 8.0, 8, 24, 24]]
    )
    with torch.no_grad():
        ours = CropFeatureExtractor()(None, batch(rois), img, tower)
        for feature, (image, *box) in zip(ours, rois.long().tolist()):
            x1, y1, x2, y2 = box
            crop = img[image : image + 1, :, y1:y2, x1:x2]
            # RoIAlign sees the pixels around the box at its border, so the
            # crop is cut with them before it is resized.
            if crop.shape[-1] < 32:
                wide = img[image : image + 1, :, y1 - 1 : y2 + 1]
                wide = wide[..., x1 - 1 : x2 + 1]
                crop = F.interpolate(wide, scale_factor=2, mode='bilinear')
                crop = crop[..., 2:-2, 2:-2]
            expected = F.normalize(tower.encode(crop).pooled, dim=1)[0]
            torch.testing.assert_close(feature, expected, atol=1e-4, rtol=0)


def test_crops_take_the_size_of_the_tower(tower):
    img = torch.randn(2, 3, 48, 64)
    seen = []
    encode = tower.encode

    def record(crops, **kwargs):
        seen.append(tuple(crops.shape))
        return encode(crops, **kwargs)

    tower.encode = record
    CropFeatureExtractor()(None, batch(ROIS), img, tower)
    assert seen == [(3, 3, 32, 32)]


def test_crops_may_keep_their_ratio():
    """16 x 8 px into 8 x 8: rows 2 to 5 hold it, black above and below."""
    img = torch.rand(1, 3, 32, 32) + 1
    black = (-1.5, -1.25, -1.0)
    extractor = CropFeatureExtractor(keep_ratio=True)
    rois = torch.tensor([[0, 8.0, 4, 24, 12], [0, 4.0, 8, 12, 24]])
    wide, high = extractor.crop(img, rois, (8, 8), black)
    inner = F.avg_pool2d(img[:, :, 4:12, 8:24], 2)[0]
    torch.testing.assert_close(wide[:, 2:6], inner)
    black = torch.tensor(black)[:, None, None].expand(3, 2, 8)
    assert torch.equal(wide[:, :2], black) and torch.equal(wide[:, 6:], black)
    inner = F.avg_pool2d(img[:, :, 8:24, 4:12], 2)[0]
    torch.testing.assert_close(high[:, :, 2:6], inner)
    assert torch.equal(high[:, :, 6:], black.transpose(1, 2))
    # a square is the same either way, and so is one at the border
    square = torch.tensor([[0, 0.0, 0, 16, 16]])
    torch.testing.assert_close(
        extractor.crop(img, square, (8, 8), (0, 0, 0)),
        CropFeatureExtractor().crop(img, square, (8, 8)),
    )


@pytest.mark.parametrize('name', sorted(tiny_clips.ALL))
def test_crops_are_padded_with_black_of_the_clip(name, monkeypatch):
    """0 before the normalisation; crops have the size of the CLIP."""
    tower = HarmoCLIPBackbone(tiny_clips.ALL[name]).eval()
    spec, seen = tower.spec, []
    encode = tower.encode

    def record(crops, **kwargs):
        seen.append(crops)
        return encode(crops, **kwargs)

    monkeypatch.setattr(tower, 'encode', record)
    img = torch.randn(2, 3, 48, 64)
    with torch.no_grad():
        features = CropFeatureExtractor(keep_ratio=True)(
            None, batch(ROIS[1:]), img, tower
        )
    assert features.shape == (2, tower.out_dims)
    (crops,) = seen
    assert crops.shape == (2, 3, *spec.img_size)
    # 18 x 25 px: columns are missing on both sides
    pixel = crops[0, :, 0, 0] * torch.tensor(spec.std)
    torch.testing.assert_close(pixel, -torch.tensor(spec.mean))


@pytest.mark.parametrize('name', sorted(tiny_clips.ALL))
@pytest.mark.parametrize('size', [(64, 96), (70, 101)], ids=str)
@pytest.mark.parametrize(
    'extractor', [RoIFeatureExtractor, MaskFeatureExtractor]
)
def test_boxes_of_any_stride_are_found(name, size, extractor):
    """A box of one cell has the feature of that cell, whatever the CLIP's
    stride, also where the image is not square or ends within a cell."""
    tower = HarmoCLIPBackbone(tiny_clips.ALL[name]).eval()
    stride = tower.patch_size
    img = torch.randn(1, 3, *size)
    with torch.no_grad():
        dense = tower.encode(img, with_pooled=False).dense
    rows, columns = (math.ceil(side / stride) for side in size)
    assert dense.shape[-2:] == (rows, columns)
    cells = [(0, 0), (0, 1), (1, 0), (size[0] // stride - 1, 2)]
    boxes = torch.tensor(
        [
            [x * stride, y * stride, (x + 1) * stride, (y + 1) * stride]
            for y, x in cells
        ]
    )
    masks = torch.zeros(len(cells), *size, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.tolist()):
        mask[y1:y2, x1:x2] = True
    regions = RegionBatch.from_boxes([boxes.float()], [masks])
    features = extractor()(dense, regions, img, tower)
    for feature, (y, x) in zip(features, cells):
        expected = F.normalize(dense[0, :, y, x], dim=0)
        torch.testing.assert_close(feature, expected, rtol=0, atol=1e-6)


class LargestTensor(TorchDispatchMode):
    """Records the largest tensor that any operator makes."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for each in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(each, torch.Tensor):
                self.elements = max(self.elements, each.numel())
        return out


@pytest.mark.parametrize('clip', ['VIT', 'EVA02', 'SIGLIP'])
@pytest.mark.parametrize(
    'extractor', [RoIFeatureExtractor, MaskFeatureExtractor]
)
def test_512_px_make_no_square_of_tokens(clip, extractor):
    """4096 patches: nothing as large as 4096 x 4096 is ever made."""
    tower = HarmoCLIPBackbone(getattr(tiny_clips, clip)).eval()
    boxes = torch.tensor([[0.0, 0, 512, 350], [15, 20, 150, 450]])
    masks = torch.zeros(2, 512, 512, dtype=torch.bool)
    masks[:, 25:300, 10:450] = True
    regions = RegionBatch.from_boxes([boxes], [masks])
    img = torch.zeros(1, 3, 512, 512)
    with torch.no_grad(), LargestTensor() as largest:
        dense = tower.encode(img, with_pooled=False).dense
        features = extractor()(dense, regions, img, tower)
    dims = tower.out_dims
    assert dense.shape == (1, dims, 64, 64) and features.shape == (2, dims)
    assert 4096 * 32 <= largest.elements < 4096 * 4096 / 4
    with LargestTensor() as largest:
        torch.ones(4096, 1) @ torch.ones(1, 4096)
    assert largest.elements == 4096 * 4096
