"""What the inferencers of a CLIP share."""

import os
import os.path as osp
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from mmcv.transforms import Compose
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.dataset import pseudo_collate
from mmengine.fileio import (
    get_file_backend,
    isdir,
    join_path,
    list_dir_or_file,
)
from mmengine.infer import BaseInferencer
from mmengine.structures import InstanceData
from PIL import Image
from rich.progress import track
from torchvision.datasets.folder import IMG_EXTENSIONS

from harmoclip_mm.datasets.transforms import CLIPResize, LoadCheckedImage
from harmoclip_mm.errors import DataError, UsageError
from harmoclip_mm.models import HarmoCLIP
from harmoclip_mm.pixels import rgb_of

from .clip import load_clip
from .region_boxes import (
    boxes_of,
    check_inside,
    grid_of,
    read_box_file,
)

ImageLike = Union[str, os.PathLike, np.ndarray, Image.Image]


class CLIPInferencer(BaseInferencer):
    """mmengine's inferencer around :func:`load_clip`.

    Images are paths, addresses, folders, arrays (uint8 BGR (H, W, 3), as
    mmcv reads them) or Pillow's. They are not turned by their EXIF data, as
    boxes of COCO are not.

    Args:
        model (str | Path | HarmoCLIP): A checkpoint of any format, see
            :func:`load_clip`, or a model.
        arch (str, optional): The CLIP, where the checkpoint does not tell.
        device (str, optional): Device. Defaults to a GPU if there is one.
        img_size (int | Tuple[int, int], optional): Height and width in
            pixels that images with boxes are resized to. Larger ones show
            smaller regions and cost more. Defaults to the CLIP's own.
        trust_pickle (bool): See :func:`load_clip`. Defaults to False.
        show_progress (bool): Whether to show a bar. Defaults to True.

    Raises:
        CheckpointError: If the checkpoint cannot be read.
    """

    def __init__(
        self,
        model: Union[str, os.PathLike, HarmoCLIP],
        arch: Optional[str] = None,
        device: Optional[str] = None,
        img_size: Union[int, Tuple[int, int], None] = None,
        trust_pickle: bool = False,
        show_progress: bool = True,
    ) -> None:
        self._source = model, arch, trust_pickle
        self._img_size = img_size
        self._num_arrays = 0
        super().__init__(
            # pictures keep their size, so that boxes drawn are boxes given
            dict(
                visualizer=dict(
                    type='harmoclip_mm.RegionTextVisualizer', shorter_side=0
                )
            ),
            device=device,
            scope='harmoclip_mm',
            show_progress=show_progress,
        )

    def _init_model(
        self, cfg: dict, weights: Optional[str], device: str
    ) -> HarmoCLIP:
        model, arch, trust_pickle = self._source
        del self._source
        if isinstance(model, (str, os.PathLike)):
            model = load_clip(model, arch, trust_pickle=trust_pickle)
        return model.to(device).eval()

    def _init_pipeline(self, cfg: dict) -> Compose:
        """From a loaded image with boxes to an input of the model."""
        size = self._img_size or self.model.backbone.img_size
        resize = CLIPResize(self.model.spec.clip, size=size)
        return Compose(
            [resize, dict(type='mmdet.PackDetInputs', meta_keys=())]
        )

    def _inputs_to_list(self, inputs: Any) -> List[ImageLike]:
        """Images of a folder in the order of their names, and one as one."""
        inputs = _as_text(inputs)
        if isinstance(inputs, str):
            backend = get_file_backend(inputs)
            if hasattr(backend, 'isdir') and isdir(inputs):
                names = list_dir_or_file(
                    inputs,
                    list_dir=False,
                    suffix=(*IMG_EXTENSIONS, *map(str.upper, IMG_EXTENSIONS)),
                    recursive=True,
                )
                inputs = [join_path(inputs, name) for name in sorted(names)]
                if not inputs:
                    raise UsageError('the folder of images holds none')
        if not isinstance(inputs, (list, tuple)):
            inputs = [inputs]
        return [_as_text(each) for each in inputs]

    def pair(
        self, inputs: Any, boxes: Any
    ) -> List[Tuple[ImageLike, Union[InstanceData, int]]]:
        """Finds the boxes of images.

        Args:
            inputs (Any): Images, see the class; of a folder those that a file
                of boxes names.
            boxes (Any): Their boxes, see :func:`boxes_of`.

        Returns:
            List[tuple]: Images, each with its boxes or cells a side of a grid.

        Raises:
            DataError: If an image has no boxes there.
        """
        inputs, boxes = _as_text(inputs), _as_text(boxes)
        is_file = isinstance(boxes, str) and not osp.isdir(boxes)
        if is_file and isinstance(inputs, str) and osp.isdir(inputs):
            found = read_box_file(boxes)
            return [(join_path(inputs, n), own) for n, own in found.items()]
        images = self._inputs_to_list(inputs)
        return list(zip(images, boxes_of(boxes, images)))

    def read_image(self, image: ImageLike) -> Dict[str, Any]:
        """Reads an image.

        Args:
            image (str | np.ndarray | Image): See the class.

        Returns:
            dict: ``img`` (uint8 BGR (H, W, 3)), ``img_shape`` and
            ``ori_shape`` (H, W).

        Raises:
            DataError: If it cannot be used; names it.
        """
        if isinstance(image, str):
            return LoadCheckedImage()(dict(img_path=image))
        if isinstance(image, Image.Image):
            image = np.asarray(rgb_of(image))[..., ::-1]
        if not isinstance(image, np.ndarray):
            raise DataError(
                f'a {type(image).__name__} is no image: give paths, arrays or '
                "Pillow's images, several as a list"
            )
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise DataError(
                f'an image of {image.dtype} {image.shape} is none: arrays '
                'are uint8 (H, W, 3), blue first'
            )
        shape = image.shape[:2]
        image = np.ascontiguousarray(image)
        return dict(img=image, img_shape=shape, ori_shape=shape)

    def load_regions(
        self, image: ImageLike, boxes: Union[InstanceData, int]
    ) -> Tuple[np.ndarray, InstanceData, Dict[str, Any]]:
        """Reads an image and brings it and its boxes to the model's size.

        Args:
            image (str | np.ndarray | Image): See the class.
            boxes (InstanceData | int): Its boxes, or cells a side of a grid.

        Returns:
            Tuple[np.ndarray, InstanceData, dict]: The image as read, its boxes
            in its pixels, and the sample for the model.

        Raises:
            DataError: If the image cannot be used, or a box is outside.
        """
        results = self.read_image(image)
        img, shape = results['img'], results['img_shape']
        if isinstance(boxes, int):
            boxes = grid_of(shape, boxes)
        else:
            where = image if isinstance(image, str) else 'an image'
            check_inside(boxes, shape, where)
        results['gt_bboxes'] = HorizontalBoxes(boxes.bboxes.clone())
        return img, boxes, self.pipeline(results)

    @torch.no_grad()
    def encode_regions(self, samples: Sequence[Dict]) -> List[torch.Tensor]:
        """Embeds the boxes of loaded images.

        Args:
            samples (Sequence[dict]): Samples of :meth:`load_regions`.

        Returns:
            List[Tensor]: L2-normalised embeddings, shapes (N_i, D).
        """
        data = self.model.data_preprocessor(pseudo_collate(list(samples)))
        boxes = [each.gt_instances.bboxes for each in data['data_samples']]
        return self.model.encode_regions(data['inputs'], boxes)

    def tracked(self, items: Sequence, size: int, what: str) -> Iterator[list]:
        """Lists of ``size`` items, behind a progress bar."""
        if size < 1:
            raise UsageError(f'batch_size must be at least 1, not {size}')
        for start in track(
            range(0, len(items), size), what, disable=not self.show_progress
        ):
            yield items[start : start + size]


def _as_text(place: Any) -> Any:
    """A path of pathlib as a string; all else as it is."""
    return os.fspath(place) if isinstance(place, os.PathLike) else place
