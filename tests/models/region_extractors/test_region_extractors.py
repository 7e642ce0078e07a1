"""Region features against torchvision and brute force."""

import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import roi_align

from harmoclip_mm.models import (
    CropFeatureExtractor,
    HarmoCLIPViT,
    RoIFeatureExtractor,
)


@pytest.fixture
def tower():
    model = HarmoCLIPViT(
        arch=dict(
            embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64
        ),
        img_size=32,
        patch_size=8,
        out_dims=16,
    )
    model.init_weights()
    return model.eval()


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
    ours = RoIFeatureExtractor()(dense, ROIS, img, tower)
    pooled = roi_align(
        F.normalize(dense, dim=1), ROIS, 1, 1 / 8, 0, aligned=True
    )
    expected = F.normalize(pooled.flatten(1), dim=1)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)
    raw = RoIFeatureExtractor(normalise_map=False)(dense, ROIS, img, tower)
    pooled = roi_align(dense, ROIS, 1, 1 / 8, 0, aligned=True)
    torch.testing.assert_close(
        raw, F.normalize(pooled.flatten(1), dim=1), rtol=1e-5, atol=1e-6
    )


def test_maps_need_not_be_contiguous(tower):
    """mmcv's kernel alone would silently read other locations' features."""
    img = torch.randn(2, 3, 32, 32)
    dense = torch.randn(2, 16, 16).transpose(1, 2).unflatten(2, (4, 4))
    assert not dense.is_contiguous()
    extractor = RoIFeatureExtractor()
    torch.testing.assert_close(
        extractor(dense, ROIS, img, tower),
        extractor(dense.contiguous(), ROIS, img, tower),
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
    feature = RoIFeatureExtractor()(dense, rois, dense, tower)
    cells = F.normalize(dense, dim=1)[0, :, 2:4, 1:3]
    expected = F.normalize(cells.flatten(1).mean(dim=1), dim=0)
    torch.testing.assert_close(feature[0], expected)


def test_half_precision_maps_are_pooled_in_float32(tower):
    dense = torch.randn(2, 16, 4, 4)
    img = torch.zeros(2, 3, 32, 32)
    feature = RoIFeatureExtractor()(dense.bfloat16(), ROIS, img, tower)
    assert feature.dtype == torch.float32
    expected = RoIFeatureExtractor()(
        dense.bfloat16().float(), ROIS, img, tower
    )
    torch.testing.assert_close(feature, expected)


@pytest.mark.parametrize('kind', [RoIFeatureExtractor, CropFeatureExtractor])
def test_no_regions(tower, kind):
    dense = torch.randn(2, 16, 4, 4)
    img = torch.randn(2, 3, 32, 32)
    assert kind()(dense, ROIS[:0], img, tower).shape == (0, 16)


def test_whole_image_crop_is_the_image(tower):
    img = torch.randn(2, 3, 32, 32)
    extractor = CropFeatureExtractor(crop_size=32)
    torch.testing.assert_close(
        extractor.crop(img, ROIS[:1]), img[:1], rtol=1e-5, atol=1e-5
    )
    with torch.no_grad():
        feature = extractor(None, ROIS[:1], img, tower)
        expected = F.normalize(tower.encode(img[:1]).pooled, dim=1)
    torch.testing.assert_close(feature, expected, rtol=1e-4, atol=1e-5)


def test_crops_in_chunks_equal_crops_at_once(tower):
    img = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        once = CropFeatureExtractor(16)(None, ROIS, img, tower)
        chunks = CropFeatureExtractor(16, chunk_size=1)(None, ROIS, img, tower)
    torch.testing.assert_close(once, chunks, rtol=1e-4, atol=1e-5)


def test_context_grows_the_box_and_stops_at_the_image():
    # Box 10..20 x 10..20, context 1.5: 7.5..22.5. A ramp's crop has the
    # mean of its ends; at the border the box is cut to 0..12.5.
    ramp = torch.arange(32.0).add(0.5).expand(1, 1, 32, 32)
    extractor = CropFeatureExtractor(1, context=1.5)
    rois = torch.tensor([[0, 10.0, 10, 20, 20], [0, 0.0, 0, 10, 10]])
    crops = extractor.crop(ramp, rois).flatten()
    torch.testing.assert_close(
        crops, torch.tensor([15.0, 6.25]), rtol=0, atol=0.01
    )
    with pytest.raises(ValueError, match='at least 1'):
        CropFeatureExtractor(context=0.5)
