"""Loading of images, with errors that say what to do."""

import io
from typing import Any, Optional, Tuple

import mmcv
import numpy as np
from mmcv.transforms import LoadImageFromFile
from PIL import Image, ImageOps, UnidentifiedImageError

from harmoclip_mm.errors import DataError, check_choice
from harmoclip_mm.pixels import rgb_of
from harmoclip_mm.registry import TRANSFORMS

from ..shards import read_image


class BadImageError(DataError):
    """An image that is missing, cannot be decoded or is cut off."""


@TRANSFORMS.register_module()
class LoadCheckedImage(LoadImageFromFile):
    """mmcv's loader by Pillow, whose errors name the path and the remedy.

    Images are decoded as those that CLIPs were trained on: by Pillow, see
    :func:`rgb_of`, and not turned by their EXIF data.

    It also refuses an image whose size is not the one its boxes were
    annotated for. Of one that is cut off, some versions of OpenCV decode the
    upper part; Pillow refuses it.

    Required keys: ``img_path``, which may name an image in tars, see
    :mod:`harmoclip_mm.datasets.shards`; ``height`` and ``width`` (px) where
    known.
    Added keys: ``img`` (uint8 BGR (H, W, 3)), ``img_shape``, ``ori_shape``;
    of an image that was reduced ``scale_factor`` too.

    Args:
        color_type (str): ``'color'`` turns images by their EXIF data.
            Defaults to ``'color_ignore_orientation'``.
        reduced (bool): Decode JPEGs at the smallest scale of 1, 1/2, 1/4 and
            1/8, which libjpeg decodes without computing the rest, that leaves
            both sides at least as long as the ``CLIPResize`` of the pipeline
            makes them. The boxes of ``instances`` follow. Our data sets say
            how long that is; between the two transforms nothing may measure
            pixels. Defaults to False.
        **kwargs: Other arguments of mmcv's.

    Attributes:
        least_size (Tuple[int, int], optional): Height and width in px that a
            reduced image keeps at least; None decodes all of it.

    Raises:
        BadImageError: For an image that cannot be used.
        ValueError: If ``color_type`` is none of these, or ``reduced`` meets
            ``'color'``.
    """

    def __init__(
        self,
        color_type: str = 'color_ignore_orientation',
        reduced: bool = False,
        **kwargs: Any,
    ) -> None:
        kinds = 'color_ignore_orientation', 'color'
        check_choice('LoadCheckedImage', 'color_type', color_type, kinds)
        super().__init__(
            color_type=color_type, imdecode_backend='pillow', **kwargs
        )
        if reduced and color_type != 'color_ignore_orientation':
            raise ValueError(
                f'reduced=True decodes no images of color_type={color_type!r}'
            )
        self.reduced = reduced
        self.least_size: Optional[Tuple[int, int]] = None

    def transform(self, results: dict) -> dict:
        """Load the image."""
        path = results['img_path']
        try:
            content = read_image(path, self.backend_args)
        except OSError as error:
            raise BadImageError(
                f'{path}: the image cannot be read '
                f'({error.strerror or error}). Check data_root and '
                'data_prefix, or delete its lines from the annotations'
            ) from error
        try:
            img, shape = self._decode(content)
        except DataError as error:
            raise BadImageError(f'{path}: {error}') from error
        except Exception as error:  # each decoder has its own exceptions
            unknown = isinstance(error, UnidentifiedImageError)
            reason = 'unknown format' if unknown else error
            raise BadImageError(
                f'{path}: the image cannot be decoded ({reason}; '
                f'{len(content)} bytes). Fetch the file again, or delete its '
                'lines from the annotations'
            ) from error
        results['img'] = img
        results['img_shape'] = img.shape[:2]
        results['ori_shape'] = shape
        self.check_size(results)
        if img.shape[:2] != shape:
            _scale_boxes(results)
        if self.to_float32:
            results['img'] = results['img'].astype('float32')
        return results

    def _decode(self, content: bytes) -> Tuple[np.ndarray, Tuple[int, int]]:
        """Pixels, and height and width of the image as it is stored."""
        image = Image.open(io.BytesIO(content))
        if self.color_type == 'color':
            image = ImageOps.exif_transpose(image)
        shape = image.size[::-1]
        if self.least_size is not None:
            image.draft(None, self.least_size[::-1])  # of JPEGs alone
        return mmcv.rgb2bgr(np.asarray(rgb_of(image))), shape

    @staticmethod
    def check_size(results: dict) -> None:
        """Refuse an image that its annotations are not of.

        Raises:
            BadImageError: If its size is not the annotated one.
        """
        height, width = results['ori_shape']
        annotated = (
            results.get('height', height),
            results.get('width', width),
        )
        if annotated != (height, width):
            raise BadImageError(
                f'{results["img_path"]}: the image is {width} x {height} px, '
                f'but its annotations are for {annotated[1]} x {annotated[0]} '
                'px, so its boxes would be wrong. Use the original image, or '
                "color_type='color' if its EXIF data turns it as annotated"
            )


def _scale_boxes(results: dict) -> None:
    """Let annotated boxes follow an image that was reduced."""
    sides = zip(results['img_shape'], results['ori_shape'])
    vertical, horizontal = (side / whole for side, whole in sides)
    results['scale_factor'] = ratios = horizontal, vertical
    if 'instances' in results:
        results['instances'] = [
            dict(each, bbox=[x * y for x, y in zip(each['bbox'], 2 * ratios)])
            for each in results['instances']
        ]
