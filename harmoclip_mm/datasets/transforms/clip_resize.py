"""Resizing of images as a CLIP was trained with."""

from typing import Any, Mapping, Optional, Tuple, Union

import numpy as np
from mmcv.transforms import BaseTransform, CenterCrop
from mmdet.datasets.transforms import Pad, Resize
from mmengine.utils import to_2tuple

from harmoclip_mm.errors import check_choice
from harmoclip_mm.registry import CLIPS, TRANSFORMS

MODES = ('squash', 'longest', 'native')


@TRANSFORMS.register_module()
class CLIPResize(BaseTransform):
    """Resize images to a CLIP's size by Pillow, with its interpolation.

    Boxes, masks and segmentation maps follow as in mmdet's ``Resize``. An
    image of the right size is left as it is.

    Required key: ``img``; ``scale_factor`` where the image was resized before,
    which becomes that of both together.
    Modified and added keys: those of mmdet's ``Resize``, and ``pad_shape``
    where the mode pads or crops.

    Args:
        clip (str | Mapping): The CLIP: a name of open_clip's, a config or a
            folder.
        mode (str): One of

            - ``'squash'``: both sides to the size;
            - ``'longest'``: the image fits into the size, black to the right
              or below;
            - ``'native'``: as open_clip prepares images for this CLIP,
              which is a squash, or the shorter side to the size and a centre
              crop, or the longer side and centred padding. Only in a squash
              may samples have boxes.

            Defaults to ``'squash'``.
        size (int | Tuple[int, int], optional): Height and width in pixels.
            Defaults to None: those that the CLIP was trained at.
        map_cells (int, optional): In place of ``size``, how many cells a
            side the dense map is to have. Defaults to None.

    Raises:
        UsageError: If there is no such CLIP.
        ValueError: If the mode is unknown or both ``size`` and ``map_cells``
            are given.
    """

    def __init__(
        self,
        clip: Union[str, Mapping[str, Any]],
        mode: str = 'squash',
        size: Optional[Union[int, Tuple[int, int]]] = None,
        map_cells: Optional[int] = None,
    ) -> None:
        check_choice('CLIPResize', 'mode', mode, MODES)
        if size is not None and map_cells is not None:
            raise ValueError(
                f'size {size} and map_cells {map_cells} both say how large '
                'images become: give one of them'
            )
        self.spec = CLIPS.get('CLIPSpec')(clip)
        if map_cells is not None:
            size = map_cells * self.spec.patch_size
        self.mode = mode
        self.size = tuple(to_2tuple(size or self.spec.img_size))  # h, w

    def transform(self, results: dict) -> dict:
        """Resize a sample."""
        shape = results['img'].shape[:2]
        if shape == self.size:
            return results
        native = self.mode == 'native'
        mode = self.spec.resize_mode if native else self.mode
        if native and mode != 'squash' and 'gt_bboxes' in results:
            raise ValueError(
                f"CLIPResize(mode='native') of {self.spec.name} resizes by "
                f'the {mode} side and cuts or pads around the centre, which '
                "boxes do not follow: use mode='squash' or 'longest'"
            )
        height, width = self._resized(shape, mode)
        before = results.get('scale_factor', (1.0, 1.0))
        results = Resize(
            scale=(width, height),
            keep_ratio=False,
            backend='pillow',
            interpolation=self.spec.interpolation,
        )(results)
        ratios = zip(before, results['scale_factor'])
        results['scale_factor'] = tuple(x * y for x, y in ratios)
        if mode == 'shortest':
            return CenterCrop(self.size[::-1])(results)
        if (height, width) == self.size:
            return results
        if not native:
            return Pad(size=self.size[::-1])(results)
        canvas = np.empty((*self.size, 3), dtype=np.uint8)
        fill = np.broadcast_to(self.spec.preprocess_cfg['fill_color'], 3)
        canvas[:] = fill[::-1]  # as RGB, where images are BGR
        top, left = (self.size[0] - height) // 2, (self.size[1] - width) // 2
        canvas[top : top + height, left : left + width] = results['img']
        results['img'] = canvas
        results['img_shape'] = results['pad_shape'] = self.size
        return results

    def _resized(self, shape: Tuple[int, int], mode: str) -> Tuple[int, int]:
        """Height and width before padding or cropping, as open_clip's."""
        if mode == 'squash':
            return self.size
        if mode == 'shortest' and self.size[0] == self.size[1]:
            # torchvision's Resize, which cuts fractions off
            return tuple(
                int(self.size[0] * side / min(shape)) for side in shape
            )
        ratios = [side / target for side, target in zip(shape, self.size)]
        ratio = min(ratios) if mode == 'shortest' else max(ratios)
        return tuple(max(round(side / ratio), 1) for side in shape)
