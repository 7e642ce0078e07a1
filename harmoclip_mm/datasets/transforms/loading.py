"""Loading of images, with errors that say what to do, and of captions."""

import os.path as osp
from functools import lru_cache
from typing import Any, Dict, List, Optional, Tuple

import mmcv
import mmengine.fileio as fileio
from mmcv.transforms import BaseTransform, LoadImageFromFile
from PIL import UnidentifiedImageError

from harmoclip_mm.coco_file import check_members, check_records, read_json
from harmoclip_mm.errors import DataError
from harmoclip_mm.registry import TRANSFORMS

__all__ = ['BadImageError', 'LoadCaptions', 'LoadCheckedImage']


class BadImageError(DataError):
    """An image that is missing, cannot be decoded or is cut off."""


@TRANSFORMS.register_module()
class LoadCheckedImage(LoadImageFromFile):
    """mmcv's loader by Pillow, whose errors name the path and the remedy.

    Images are decoded as those that CLIPs were trained on: by Pillow, and
    not turned by their EXIF data.

    It also refuses an image whose size is not the one its boxes were
    annotated for. Of one that is cut off, some versions of OpenCV decode the
    upper part; Pillow refuses it.

    Required keys: ``img_path``; ``height`` and ``width`` (px) where known.
    Added keys: ``img`` (uint8 BGR (H, W, 3)), ``img_shape``, ``ori_shape``.

    Args:
        color_type (str): As in mmcv. Defaults to
            ``'color_ignore_orientation'``.
        **kwargs: Other arguments of mmcv's.

    Raises:
        BadImageError: For an image that cannot be used.
    """

    def __init__(
        self, color_type: str = 'color_ignore_orientation', **kwargs: Any
    ) -> None:
        super().__init__(
            color_type=color_type, imdecode_backend='pillow', **kwargs
        )

    def transform(self, results: dict) -> dict:
        """Load the image.

        Args:
            results (dict): A sample.

        Returns:
            dict: The sample with its image.
        """
        path = results['img_path']
        try:
            content = fileio.get(path, backend_args=self.backend_args)
        except OSError as error:
            raise BadImageError(
                f'{path}: the image cannot be read '
                f'({error.strerror or error}). Check data_root and '
                'data_prefix, or delete its lines from the annotations'
            ) from error
        try:
            img = mmcv.imfrombytes(content, self.color_type, backend='pillow')
        except Exception as error:  # each decoder has its own exceptions
            unknown = isinstance(error, UnidentifiedImageError)
            reason = 'unknown format' if unknown else error
            raise BadImageError(
                f'{path}: the image cannot be decoded ({reason}; '
                f'{len(content)} bytes). Fetch the file again, or delete its '
                'lines from the annotations'
            ) from error
        # Of Pillow's pixels mmcv gives a view from the last channel to the
        # first, which takes Pillow's resizing three times as long.
        if not img.flags.c_contiguous:
            img = mmcv.rgb2bgr(img[..., ::-1])  # faster than NumPy
        results['img'] = img
        results['img_shape'] = results['img'].shape[:2]
        results['ori_shape'] = results['img_shape']
        self._check_size(results)
        if self.to_float32:
            results['img'] = results['img'].astype('float32')
        return results

    @staticmethod
    def _check_size(results: dict) -> None:
        height, width = results['img_shape']
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


@TRANSFORMS.register_module()
class LoadCaptions(BaseTransform):
    """Add the captions of an image, so that a data set of boxes can also be
    used for retrieval.

    Required keys: ``img_id``. Added keys: ``captions`` (list[str], empty for
    an image without captions).

    Args:
        ann_file (str): COCO captions json. It is read once a process, when
            the first sample needs it.
        max_captions (int, optional): Keep the first so many captions of an
            image; protocols of COCO retrieval keep 5. None keeps all.
        backend_args (dict, optional): File backend of ``ann_file``.

    Raises:
        DataError: If ``ann_file`` does not exist or is not a COCO captions
            file, or an image is not among its ``images``: it is then of
            another split.
    """

    def __init__(
        self,
        ann_file: str,
        max_captions: Optional[int] = None,
        backend_args: Optional[dict] = None,
    ) -> None:
        self.ann_file = ann_file
        self.max_captions = max_captions
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        """Add the captions.

        Args:
            results (dict): A sample.

        Returns:
            dict: The sample with its captions.
        """
        backend = tuple(sorted((self.backend_args or {}).items()))
        captions = read_coco_captions(self.ann_file, backend)
        found = captions.get(results['img_id'])
        if found is None:
            raise DataError(
                f'image {results["img_id"]} ({results.get("img_path", "?")}) '
                f'is not in {self.ann_file}, which lists {len(captions)} '
                'images: give LoadCaptions the captions of the same split, '
                'or list the image there, without captions'
            )
        results['captions'] = list(found[: self.max_captions])
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(ann_file={self.ann_file!r}, '
            f'max_captions={self.max_captions})'
        )


@lru_cache(maxsize=4)
def read_coco_captions(
    path: str, backend: Tuple[tuple, ...] = ()
) -> Dict[int, List[str]]:
    """Read a COCO captions file, once a process.

    Args:
        path (str): The json file.
        backend (tuple): Items of ``backend_args``.

    Returns:
        dict[int, list[str]]: Captions by image id, in the order of the file,
        none for a listed image without a caption.

    Raises:
        DataError: If it does not exist or is not a COCO captions file.
    """
    remedy = 'check ann_file and the data root of the config'
    content = read_json(osp.abspath(path), remedy, dict(backend) or None)
    images = check_records(content, 'images', path, id='id')
    captions: Dict[int, List[str]] = {image['id']: [] for image in images}
    kinds = dict(id='id?', image_id='id', caption='text')
    annotations = check_records(content, 'annotations', path, **kinds)
    check_members(annotations, 'image_id', captions, path)
    for annotation in annotations:
        captions[annotation['image_id']].append(annotation['caption'])
    return captions
