"""What a run would stumble over in its data, told in seconds."""

import os.path as osp
from collections import Counter
from typing import Any, Callable, Dict, List, NamedTuple

import numpy as np
from mmdet.datasets import CocoDataset
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import init_default_scope
from rich.progress import track

from harmoclip_mm.coco_file import read_json
from harmoclip_mm.datasets import RegionPhraseDataset, check_annotations
from harmoclip_mm.datasets.base import leaf_datasets
from harmoclip_mm.datasets.figures import DatasetFigures, ModelInput
from harmoclip_mm.datasets.shards import image_exists
from harmoclip_mm.errors import DataError, UsageError
from harmoclip_mm.registry import DATASETS
from harmoclip_mm.text import classes_to_prompts

from .runner import outlasting_warm_up, quieten_libraries

_LOOKED_AT = 20000  # samples of a data set
_TRIED = 4  # samples that go through the pipeline


class Finding(NamedTuple):
    """One line of what was found.

    Attributes:
        level (str): ``'error'``: the run will fail or its figures be wrong;
            ``'warning'``: it is likely not what is meant; ``'ok'``.
        split (str): ``'train'``, ``'val'`` or ``'test'``.
        text (str): What is so.
    """

    level: str
    split: str
    text: str


def check_data(cfg: Config) -> List[Finding]:
    """Check the data of a config, as a training and a test would use it.

    Args:
        cfg (Config): The config.

    Returns:
        List[Finding]: What was found, in the order of the splits.

    Raises:
        UsageError: If the config has no data.
    """
    init_default_scope(cfg.get('default_scope', 'harmoclip_mm'))
    quieten_libraries()
    findings: List[Finding] = []
    seen: List[dict] = []
    for split in ('train', 'val', 'test'):
        loader = cfg.get(f'{split}_dataloader')
        if not loader or loader['dataset'] in seen:
            continue
        seen.append(loader['dataset'])
        try:
            check_annotations(
                loader['dataset'], cfg.get(f'{split}_evaluator') or ()
            )
            dataset = build_dataset(loader['dataset'])
        except UsageError as error:
            findings.append(Finding('error', split, str(error)))
            continue
        found = [Finding('ok', split, f'{len(dataset)} samples')]
        if split == 'train':
            found += _check_schedule(cfg, loader, len(dataset))
        for leaf in leaf_datasets(dataset):
            found += _check_leaf(leaf, split)
        found += _try_samples(dataset, split)
        findings += found
    if not findings:
        raise UsageError(f'config {cfg.filename} has no dataloader')
    return findings


def build_dataset(setting: Dict[str, Any]) -> Any:
    """Build a data set that has samples.

    Args:
        setting (dict): Its config.

    Returns:
        Any: The data set.

    Raises:
        UsageError: If it has none, or does not find what it reads.
    """
    try:
        dataset = DATASETS.build(setting)
        if len(dataset):
            return dataset
    except (AssertionError, FileNotFoundError, ImportError) as error:
        # as mmpretrain, of fewer folders than classes
        raise UsageError(f'{setting["type"]}: {error}') from error
    except ValueError as error:
        # mmengine's on no samples at all
        if 'at least one array' not in str(error):
            raise
    file = setting.get('ann_file', '')
    raise UsageError(
        f'the {setting["type"]} {file} has no sample: look at its data_root, '
        'ann_file and filter_cfg'
    )


def _check_schedule(cfg: Config, loader: dict, size: int) -> List[Finding]:
    """Steps of an epoch on one process, and of the warm-up."""
    batch = loader.get('batch_size', 1)
    steps = size // batch if loader.get('drop_last') else -(-size // batch)
    if not steps:
        text = (
            f'a batch of {batch} is more than the {size} samples, so that an '
            f'epoch has no step: lower train_dataloader.batch_size'
        )
        return [Finding('error', 'train', text)]
    train = cfg.get('train_cfg') or {}
    total = train.get('max_iters') or steps * train.get('max_epochs', 1)
    found = [
        Finding('ok', 'train', f'{total} steps, {steps} an epoch, on one GPU')
    ]
    text = outlasting_warm_up(cfg.get('param_scheduler'), steps, total)
    return found + [Finding('warning', 'train', text)] * bool(text)


def _check_leaf(dataset: BaseDataset, split: str) -> List[Finding]:
    """Images, boxes and texts of one data set."""
    dataset.full_init()
    count = min(len(dataset), _LOOKED_AT)
    chosen = np.linspace(0, len(dataset) - 1, count).astype(int)
    classes = dataset.metainfo.get('classes', ())
    seen = ModelInput.of_pipeline(dataset.pipeline.transforms)
    figures, labels = DatasetFigures(seen, classes), Counter()
    missing: List[str] = []
    for index in track(chosen.tolist(), f'Looking at {split}'):
        info = dataset.get_data_info(index)
        path = info['img_path']
        if '://' not in path and not image_exists(path):
            missing.append(path)
        figures.add(info)
        labels.update(each['bbox_label'] for each in info.get('instances', ()))
    name = osp.basename(getattr(dataset, 'ann_file', '') or '')
    source = getattr(dataset, 'source', '')
    name += f' ({source})' * bool(source)
    part = '' if count == len(dataset) else f' (of {count} samples)'
    found = []

    def add(level: str, text: str) -> None:
        found.append(Finding(level, split, f'{name}: {text}{part}'))

    if missing:
        whole = split != 'train' or len(missing) == count
        add(
            'error' if whole else 'warning',
            f'{len(missing)} of {count} images are missing, the first is '
            f'{missing[0]}: check data_root and data_prefix',
        )
    add('ok', figures.say_boxes(dataset))
    if isinstance(dataset, RegionPhraseDataset):
        for warning in figures.warnings():
            add('warning', warning[:-1])
        rows = dataset._file.rows
        lost = int(rows['dropped'].sum())
        if lost:
            add('warning', f'{lost} boxes are dropped (outside, < 1 px)')
    elif isinstance(dataset, CocoDataset):
        _add_classes(add, dataset, labels, figures.boxes, not part)
    return found


def _add_classes(
    add: Callable,
    dataset: CocoDataset,
    labels: Dict[int, int],
    kept: int,
    is_whole: bool,
) -> None:
    """Classes without a box, and the boxes that mmdet drops."""
    classes = dataset.metainfo.get('classes', ())
    try:
        classes_to_prompts(classes)
    except DataError as error:
        add('error', str(error))
    empty = [name for i, name in enumerate(classes) if not labels.get(i)]
    if empty and is_whole:
        add(
            'warning',
            f'{len(empty)} of {len(classes)} classes have no box, such as '
            f'"{empty[0]}"',
        )
    content = read_json(dataset.ann_file, 'check ann_file')
    wanted = {
        each['id'] for each in content['categories'] if each['name'] in classes
    }
    given = sum(
        each.get('category_id') in wanted for each in content['annotations']
    )
    if is_whole and given > kept and not dataset._indices:
        add(
            'warning',
            f'mmdet drops {given - kept} of {given} boxes (less than 1 px, '
            'area 0, outside of their image, or of images that are filtered)',
        )


def _try_samples(dataset: Any, split: str) -> List[Finding]:
    """Whether a few samples go through their pipeline, into a batch."""
    try:
        chosen = np.linspace(0, len(dataset) - 1, _TRIED).astype(int)
        for index in sorted(set(chosen.tolist())):
            dataset[index]
    except UsageError as error:
        return [Finding('error', split, str(error))]
    except Exception as error:  # whatever a transform of the user raises
        text = f'sample {index} fails: {type(error).__name__}: {error}'
        return [Finding('error', split, text)]
    return [Finding('ok', split, 'samples go through the pipeline')]
