"""A printed pipeline tells the settings of its transforms."""

from harmoclip_mm.datasets.transforms import (
    CaptionMosaic,
    CLIPResize,
    SampleRegions,
)


def test_settings_are_told():
    assert repr(SampleRegions(3, random=False)) == (
        'SampleRegions(max_regions=3, min_size=0, random=False, min_score=0)'
    )
    assert repr(CLIPResize('ViT-B-16', size=64)) == (
        "CLIPResize(clip='ViT-B-16', mode='squash', size=(64, 64))"
    )
    assert repr(CaptionMosaic('ViT-B-16', grids=(2,))) == (
        'CaptionMosaic(grids=(2,))'
    )
