"""Images of several protocols, each of which is encoded once."""

import os.path as osp
import re
from typing import Any, Dict, List, Mapping, NamedTuple, Sequence, Set, Tuple

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from torch.utils.data import Dataset, default_collate

from harmoclip_mm.datasets.transforms import BadImageError
from harmoclip_mm.errors import UsageError
from harmoclip_mm.packed_list import PackedList
from harmoclip_mm.registry import TRANSFORMS

# Steps that leave the image as it is.
_ASIDE = re.compile(r'(\w+\.)?(Filter|Load|Pack|ProposalBroad|Tokenize)')


class Row(NamedTuple):
    """A sample of a batch.

    Attributes:
        protocol (str): Whose sample it is.
        index (int): Its index in the data set of the protocol.
        image (int): Its image within the batch.
        error (str): Why there is none; '' if there is one.
    """

    protocol: str
    index: int
    image: int
    error: str = ''


class SharedImages(Dataset):
    """The images of several data sets, each with its samples in all of them.

    Args:
        datasets (Mapping[str, BaseDataset]): Data sets by protocol, whose
            pipelines bring images to the same input.
        part (Tuple[int, int]): Rank and number of processes; each has images
            of its own. Defaults to ``(0, 1)``.
    """

    def __init__(
        self,
        datasets: Mapping[str, BaseDataset],
        part: Tuple[int, int] = (0, 1),
    ) -> None:
        self.datasets = dict(datasets)
        images: Dict[str, List[Tuple[str, int]]] = {}
        for name, dataset in self.datasets.items():
            for index, path in enumerate(image_paths(dataset)):
                images.setdefault(path, []).append((name, index))
        rank, world_size = part
        self.images = list(images.values())[rank::world_size]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> Tuple[Any, List[Tuple]]:
        """An image and its samples.

        Args:
            number (int): Index of the image.

        Returns:
            tuple[Tensor, list[tuple]]: The image, uint8 (3, H, W), None if
            it cannot be read; protocol, index, sample and error of each
            sample.
        """
        image, samples = None, []
        for name, index in self.images[number]:
            try:
                packed = self.datasets[name][index]
            except (BadImageError, UsageError, ValueError) as error:
                samples.append((name, index, None, str(error)))
                continue
            image = packed['inputs']
            samples.append((name, index, packed['data_samples'], ''))
        return image, samples

    @staticmethod
    def collate(items: Sequence[Tuple[Any, List[Tuple]]]) -> Dict[str, Any]:
        """Make a batch.

        Args:
            items (Sequence): Images with their samples.

        Returns:
            dict: ``inputs`` (B, 3, H, W), ``data_samples`` of all protocols,
            a ``Row`` for each in ``rows``, and those without one in
            ``failed``; ``images``, the number of items.
        """
        images, samples, rows, failed = [], PackedList(), [], []
        for image, own in items:
            for name, index, sample, error in own:
                row = Row(name, index, len(images), error)
                if error:
                    failed.append(row)
                else:
                    rows.append(row)
                    samples.append(sample)
            if image is not None:
                images.append(image)
        return dict(
            inputs=default_collate(images) if images else [],
            data_samples=samples,
            rows=rows,
            failed=failed,
            images=len(items),
        )


def image_paths(dataset: BaseDataset) -> List[str]:
    """The image file of each sample.

    Args:
        dataset (BaseDataset): The data set.

    Returns:
        List[str]: Absolute paths.
    """
    return [
        osp.abspath(dataset.get_data_info(index)['img_path'])
        for index in range(len(dataset))
    ]


def input_of(cfg: Config) -> str:
    """What a config makes of an image; equal texts are equal inputs.

    Args:
        cfg (Config): A config of an evaluation.

    Returns:
        str: A description.
    """
    steps: List[dict] = []
    for step in cfg.test_dataloader.dataset.pipeline:
        steps += [step, *step.get('transforms', [])]
    load, *rest = steps
    steps = [each for each in rest if not _ASIDE.match(str(each['type']))]
    known = load['type'], *(each['type'] for each in steps)
    if known != ('LoadCheckedImage', 'CLIPResize'):
        return cfg.filename  # of its own kind; steps may be random
    resize = TRANSFORMS.build(dict(steps[0], type='harmoclip_mm.CLIPResize'))
    mode = resize.mode
    if mode == 'native' and resize.spec.resize_mode == 'squash':
        mode = 'squash'
    return repr((sorted(load.items()), mode, resize.size))


def group_by_images(
    images: Mapping[str, Sequence[str]], inputs: Mapping[str, str]
) -> List[List[str]]:
    """Protocols that have images in common, of the same input.

    Args:
        images (Mapping[str, Sequence[str]]): Image files by protocol.
        inputs (Mapping[str, str]): Of :func:`input_of`, by protocol.

    Returns:
        List[List[str]]: The groups.
    """
    groups: List[Tuple[List[str], Set[Tuple[str, str]]]] = []
    for name, paths in images.items():
        names, own = [name], {(inputs[name], path) for path in paths}
        for other in [each for each in groups if each[1] & own]:
            groups.remove(other)
            names, own = other[0] + names, other[1] | own
        groups.append((names, own))
    return [names for names, _ in groups]
