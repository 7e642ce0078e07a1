"""Protocols that read the same images, measured in one pass over them."""

import contextlib
import io
import os.path as osp
from collections import Counter, defaultdict
from glob import escape, glob
from math import isfinite
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

import torch
from mmengine.dataset import BaseDataset
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope
from mmengine.runner.amp import autocast
from torch.utils.data import DataLoader

from harmoclip_mm.datasets import check_annotations
from harmoclip_mm.datasets.counters import collect_counters
from harmoclip_mm.datasets.shards import image_exists
from harmoclip_mm.engine import build_dataset
from harmoclip_mm.errors import UsageError
from harmoclip_mm.evaluation import find_units
from harmoclip_mm.models import HarmoCLIP
from harmoclip_mm.models.towers import VisionFeatures

from .protocols import Protocol
from .results_file import hash_of_data
from .shared_images import SharedImages, image_paths, input_of

# Settings of vision towers that change figures and no weights.
_MODES = ('dense_mode', 'global_indices', 'img_size', 'window_size')
# Of a row, and what its figures are made of.
Measured = Tuple[Dict[str, Any], Dict[str, Any]]


class Test:
    """The data of a protocol, prepared for a model.

    Args:
        protocol (Protocol): The protocol.
        clip (str | Mapping): The CLIP of the model.
        limit (int, optional): Samples that are measured, the first ones.
            Defaults to None: all.

    Attributes:
        cfg (Config): Its config for the CLIP.
        dataset (BaseDataset): Its data.
        images (List[str]): Their image files.
        data_hash (str): See :func:`hash_of_data`; '' but on the first rank.
        input (str): See :func:`input_of`.
        evaluator (Evaluator): Its metrics, which count these samples alone.

    Raises:
        UsageError: If its data are missing or do not fit, or its config sets
            what is the checkpoint's here.
    """

    __test__ = False  # no class of tests

    def __init__(
        self, protocol: Protocol, clip: Any, limit: Optional[int] = None
    ) -> None:
        self.protocol, self.cfg = protocol, protocol.config(clip)
        towers = self.cfg.model.get('backbone') or {}
        own = [f'backbone.{key}' for key in _MODES if key in towers]
        own += ['data_preprocessor'] * ('data_preprocessor' in self.cfg.model)
        if own:
            raise UsageError(
                f'{protocol.path} sets model.{own[0]}, but here the towers '
                'and their input are those of the checkpoint: leave it out, '
                'or measure by tools/test.py'
            )
        setting = self.cfg.test_dataloader.dataset
        check_annotations(setting)
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools
            self.dataset: BaseDataset = build_dataset(setting)
            if limit is not None:
                self.dataset.get_subset_(min(limit, len(self.dataset)))
            self.images = image_paths(self.dataset)
            unique = dict.fromkeys(self.images)
            missing = [path for path in unique if not image_exists(path)]
            if missing:
                raise UsageError(
                    f'{len(missing)} of {len(unique)} images are missing, the '
                    f'first is {missing[0]}'
                )
            self.evaluator = Evaluator(self.cfg.test_evaluator)
        self.evaluator.dataset_meta = self.dataset.metainfo
        for metric in self.evaluator.metrics:
            # those of COCO's family count all images of their file
            if limit is not None and hasattr(metric, 'img_ids'):
                metric.img_ids = [
                    self.dataset.get_data_info(index)['img_id']
                    for index in range(len(self.dataset))
                ]
        self.input = input_of(self.cfg)
        self.data_hash = ''
        if get_rank() == 0:  # may read gigabytes
            others = [x for x in protocol.image_roots if x.endswith('.tar')]
            for folder in protocol.folders:  # such as maps of segments
                if not self.images[0].startswith(osp.abspath(folder)):
                    others += sorted(glob(osp.join(escape(folder), '*')))
            self.data_hash = hash_of_data(
                protocol.annotations,
                [*self.images, *others],
                protocol.settings,
            )


@torch.no_grad()
def run_together(
    model: HarmoCLIP,
    tests: Mapping[str, Test],
    amp: bool = False,
    num_workers: Optional[int] = None,
    classifiers: Optional[Dict[str, Any]] = None,
    progress: Callable[[int], None] = lambda images: None,
) -> Dict[str, Measured]:
    """Measures protocols of the same input; each image is encoded once.

    Args:
        model (HarmoCLIP): The model, in evaluation mode.
        tests (Mapping[str, Test]): The protocols by name.
        amp (bool): Mixed precision. Defaults to False.
        num_workers (int, optional): Processes that load images. Defaults to
            None: those of the configs.
        classifiers (Dict[str, Any], optional): Classifiers of earlier calls
            for this model, whose class embeddings are used again, in place.
            Defaults to none.
        progress (Callable[[int], None]): Told how many images are done
            since it was told last.

    Returns:
        Dict[str, tuple]: By name ``figures`` of its metrics and
        ``data_health``, what the data left out, cut or dropped, or why it was
        ``skipped``; and the Units and Detections that figures of its tables
        are made of, as far as it is known.
    """
    init_default_scope('harmoclip_mm')
    classifiers = {} if classifiers is None else classifiers
    errors: Dict[str, str] = {}
    askers = {
        name: _share_towers(model, test, classifiers)
        for name, test in tests.items()
    }
    images = SharedImages(
        {name: test.dataset for name, test in tests.items()},
        (get_rank(), get_world_size()),
    )
    loaders = [test.cfg.test_dataloader for test in tests.values()]
    if num_workers is None:
        num_workers = max(each.num_workers for each in loaders)
    loader = DataLoader(
        images,
        batch_size=min(each.batch_size for each in loaders),
        num_workers=num_workers,
        collate_fn=SharedImages.collate,
    )
    seen: Dict[str, List[int]] = defaultdict(list)
    for batch in loader:
        for row in batch['failed']:
            errors.setdefault(row.protocol, row.error)
        if batch['rows']:
            with autocast(enabled=amp):
                _answer(model, askers, batch, errors)
        for name, test in tests.items():
            pairs = zip(batch['rows'], batch['data_samples'])
            own = [(r.index, x) for r, x in pairs if r.protocol == name]
            if own and name not in errors:
                indices, samples = zip(*own)
                seen[name] += indices
                try:
                    test.evaluator.process(samples)
                except UsageError as error:
                    errors[name] = str(error)
        progress(batch['images'])
    return {
        name: _measure(test, seen[name], errors.get(name, ''))
        for name, test in tests.items()
    }


def _share_towers(
    model: HarmoCLIP, test: Test, classifiers: Dict[str, Any]
) -> HarmoCLIP:
    """What a protocol asks; equal prompts of equal classes are embedded
    once."""
    setting = test.cfg.model
    asker = model.sharing_towers(
        setting.predictors, setting.get('region_extractor')
    )
    for name, predictor in asker.predictors.items():
        if hasattr(predictor, 'classifier'):
            predictor.classifier.show_progress = False  # there is one
            key = repr(
                (
                    setting.predictors[name].get('classifier'),
                    test.dataset.metainfo.get('classes'),
                )
            )
            predictor.classifier = classifiers.setdefault(
                key, predictor.classifier
            )
    return asker


def _answer(
    model: HarmoCLIP,
    askers: Mapping[str, HarmoCLIP],
    batch: Dict[str, Any],
    errors: Dict[str, str],
) -> None:
    """Lets each protocol answer its samples of a batch."""
    data = model.data_preprocessor(
        dict(inputs=batch['inputs'], data_samples=batch['data_samples'])
    )
    inputs, batch['data_samples'] = data['inputs'], data['data_samples']
    asked = [each.asked_of_backbone for each in askers.values()]
    vision = model.backbone.encode(
        inputs,
        **{key: any(each[key] for each in asked) for key in asked[0]},
    )
    for name, asker in askers.items():
        own = [
            (row.image, sample)
            for row, sample in zip(batch['rows'], data['data_samples'])
            if row.protocol == name
        ]
        if not own or name in errors:
            continue
        chosen, samples = map(list, zip(*own))
        own_vision, own_inputs = vision, inputs
        if chosen != list(range(len(inputs))):
            parts = [None if x is None else x[chosen] for x in vision]
            own_vision, own_inputs = VisionFeatures(*parts), inputs[chosen]
        try:
            asker.answer(own_vision, own_inputs, samples)
        except UsageError as error:
            errors[name] = str(error)


def _measure(test: Test, seen: List[int], error: str) -> Measured:
    """Figures of the samples of all processes; on each the same."""
    metrics = test.evaluator.metrics
    found = collect_counters(test.dataset)
    health = Counter({text: count for count, text in found.values()})
    own = (error, seen, [each.results for each in metrics], health)
    parts = all_gather_object(own)
    error = next((part[0] for part in parts if part[0]), '')
    answer: Measured = dict(skipped=error), {}
    if not error and get_rank() == 0:
        try:
            answer = _compute(test, parts)
        except (UsageError, ValueError) as problem:
            answer = dict(skipped=str(problem)), {}
    for metric in metrics:
        metric.results.clear()
    return all_gather_object(answer)[0]


def _compute(test: Test, parts: List[tuple]) -> Measured:
    figures, samples = {}, {}
    indices = [index for part in parts for index in part[1]]
    for number, metric in enumerate(test.evaluator.metrics):
        results = [each for part in parts for each in part[2][number]]
        if len(results) == len(indices):  # one a sample: as in the data set
            order = sorted(range(len(indices)), key=indices.__getitem__)
            results = [results[place] for place in order]
        start = f'{metric.prefix}/' if metric.prefix else ''
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools
            found = metric.compute_metrics(results)
            for key, value in found.items():
                value = float(value)
                # -1 is the AP of classes without a box
                known = isfinite(value) and value >= 0
                figures[start + key] = value if known else None
            # mmdet's have no figure where nothing was detected
            units = find_units(metric, results) if found else {}
            for key, value in units.items():
                if start + key in test.protocol.figures.values():
                    samples[start + key] = value
    # a sum of Counters leaves out what is 0
    health = dict(sum((part[3] for part in parts), Counter()))
    return dict(figures=figures, data_health=health), samples
