"""ImageNet for zero-shot classification."""

from mmpretrain.datasets import ImageNet

from harmoclip_mm.registry import DATASETS
from harmoclip_mm.text import load_vocabulary


@DATASETS.register_module()
class ZeroShotImageNet(ImageNet):
    """mmpretrain's ``ImageNet`` whose samples name their classes.

    The classes are open_clip's 1000 names (``imagenet1000`` of the package),
    in ImageNet's order, and every sample has them as ``text``.

    Args:
        *args: As of mmpretrain.
        **kwargs: As of mmpretrain.
    """

    METAINFO = dict(classes=load_vocabulary('imagenet1000').classes)

    def get_data_info(self, idx: int) -> dict:
        """Read a sample."""
        info = super().get_data_info(idx)
        info['text'] = self.metainfo['classes']
        return info
