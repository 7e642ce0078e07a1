"""Protocols that read the same images, measured in one pass over them."""

import contextlib
import io
import os.path as osp
from collections import defaultdict
from typing import (
    Any,
    Callable,
    Dict,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Tuple,
)

import torch
from mmengine.dataset import BaseDataset
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.registry import DATASETS, init_default_scope
from mmengine.runner.amp import autocast
from torch.utils.data import DataLoader

from harmoclip_mm.datasets import check_annotations
from harmoclip_mm.datasets.counters import collect_counters
from harmoclip_mm.errors import UsageError
from harmoclip_mm.evaluation.functional import Units
from harmoclip_mm.models import HarmoCLIP
from harmoclip_mm.models.towers import VisionFeatures

from .protocols import Protocol
from .shared_images import Row, SharedImages, image_paths, input_of

__all__ = ['Measurement', 'Test', 'run_together']


class Measurement(NamedTuple):
    """What a protocol gave.

    Attributes:
        figures (Dict[str, float]): All figures of its metrics.
        units (Dict[str, Units]): What some of them are means of.
        health (Dict[str, int]): What the data left out, cut or dropped.
        error (str): Why there are no figures; '' if there are.
    """

    figures: Dict[str, float]
    units: Dict[str, Units]
    health: Dict[str, int]
    error: str = ''


class Test:
    """A protocol made ready for a model.

    Args:
        protocol (Protocol): The protocol.
        model (HarmoCLIP): The model.
        limit (int, optional): Samples that are measured, the first ones.
            Defaults to None: all.

    Attributes:
        cfg (Config): Its config for the CLIP of the model.
        dataset (BaseDataset): Its data.
        images (List[str]): Their image files.
        input (str): See :func:`input_of`.

    Raises:
        UsageError: If its data are missing or do not fit.
    """

    __test__ = False  # no class of tests

    def __init__(
        self, protocol: Protocol, model: HarmoCLIP, limit: Optional[int] = None
    ) -> None:
        self.protocol, self.limit = protocol, limit
        self.cfg = protocol.config(_clip_of(model))
        setting = self.cfg.test_dataloader.dataset
        check_annotations(setting)
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # pycocotools
                self.dataset: BaseDataset = DATASETS.build(setting)
        except (FileNotFoundError, ImportError) as error:
            raise UsageError(str(error)) from error
        if limit is not None:
            self.dataset.get_subset_(min(limit, len(self.dataset)))
        self.images = image_paths(self.dataset)
        missing = [x for x in dict.fromkeys(self.images) if not osp.isfile(x)]
        if missing:
            raise UsageError(
                f'{len(missing)} of {len(set(self.images))} images are '
                f'missing, the first is {missing[0]}'
            )
        self.input = input_of(self.cfg)

    def evaluator(self) -> Evaluator:
        """Its metrics, which count these samples alone."""
        with contextlib.redirect_stdout(io.StringIO()):
            evaluator = Evaluator(self.cfg.test_evaluator)
        evaluator.dataset_meta = self.dataset.metainfo
        if self.limit is not None:
            ids = [
                self.dataset.get_data_info(index).get('img_id')
                for index in range(len(self.dataset))
            ]
            for metric in evaluator.metrics:
                # those of COCO's family count all images of their file
                if hasattr(metric, 'img_ids'):
                    metric.img_ids = ids
        return evaluator


def _clip_of(model: HarmoCLIP) -> Any:
    """The CLIP of a model, for the line `clip = ...` of a config."""
    spec = model.spec
    if spec.is_named:
        return spec.name
    return {**spec.model_cfg, 'preprocess_cfg': spec.preprocess_cfg}


@torch.no_grad()
def run_together(
    model: HarmoCLIP,
    tests: Mapping[str, Test],
    amp: bool = False,
    num_workers: Optional[int] = None,
    classifiers: Optional[Dict[str, Any]] = None,
    progress: Callable[[int], None] = lambda images: None,
) -> Dict[str, Measurement]:
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
        Dict[str, Measurement]: By name.
    """
    init_default_scope('harmoclip_mm')
    askers, evaluators, errors = {}, {}, {}
    for name, test in tests.items():
        try:
            evaluators[name] = test.evaluator()
        except UsageError as error:
            errors[name] = str(error)
            continue
        askers[name] = model.sharing_towers(
            test.cfg.model.predictors, test.cfg.model.get('region_extractor')
        )
        _share_classifiers(
            askers[name], test, {} if classifiers is None else classifiers
        )
    images = SharedImages(
        {name: tests[name].dataset for name in askers},
        (get_rank(), get_world_size()),
    )
    loaders = [tests[name].cfg.test_dataloader for name in askers]
    if num_workers is None:
        num_workers = max([each.num_workers for each in loaders], default=0)
    loader = DataLoader(
        images,
        batch_size=min([each.batch_size for each in loaders], default=1),
        num_workers=num_workers,
        collate_fn=SharedImages.collate,
    )
    seen: Dict[str, List[int]] = defaultdict(list)
    for batch in loader:
        for row in batch['failed']:
            errors.setdefault(row.protocol, row.error)
        with autocast(enabled=amp):
            answers = _answer(model, askers, batch, errors)
        for name, (rows, samples) in answers.items():
            try:
                evaluators[name].process(samples)
            except UsageError as error:
                errors.setdefault(name, str(error))
            seen[name] += [row.index for row in rows]
        progress(batch['images'])
    return {
        name: _measure(
            test, evaluators.get(name), seen[name], errors.get(name, '')
        )
        for name, test in tests.items()
    }


def _share_classifiers(
    asker: HarmoCLIP, test: Test, classifiers: Dict[str, Any]
) -> None:
    """Equal prompts of equal classes are embedded once."""
    classes = test.dataset.metainfo.get('classes')
    for name, predictor in asker.predictors.items():
        if hasattr(predictor, 'classifier'):
            predictor.classifier.show_progress = False  # there is one
            setting = test.cfg.model.predictors[name].get('classifier')
            key = repr((setting, classes))
            predictor.classifier = classifiers.setdefault(
                key, predictor.classifier
            )


def _answer(
    model: HarmoCLIP,
    askers: Mapping[str, HarmoCLIP],
    batch: Mapping[str, Any],
    errors: Dict[str, str],
) -> Dict[str, Tuple[List[Row], List[Any]]]:
    """Rows and answered samples of a batch, by protocol."""
    if not batch['rows']:
        return {}
    data = model.data_preprocessor(
        dict(inputs=batch['inputs'], data_samples=batch['data_samples'])
    )
    inputs = data['inputs']
    asked = [each.asked_of_backbone for each in askers.values()]
    vision = model.backbone.encode(
        inputs,
        **{key: any(each[key] for each in asked) for key in asked[0]},
    )
    answers = {}
    for name, asker in askers.items():
        pairs = [
            (row, sample)
            for row, sample in zip(batch['rows'], data['data_samples'])
            if row.protocol == name
        ]
        if not pairs or name in errors:
            continue
        rows, samples = map(list, zip(*pairs))
        chosen = [row.image for row in rows]
        own, own_inputs = vision, inputs
        if chosen != list(range(len(inputs))):
            parts = [None if x is None else x[chosen] for x in vision]
            own, own_inputs = VisionFeatures(*parts), inputs[chosen]
        try:
            asker.answer(own, own_inputs, samples)
        except UsageError as error:
            errors[name] = str(error)
            continue
        answers[name] = rows, samples
    return answers


def _measure(
    test: Test, evaluator: Optional[Evaluator], seen: List[int], error: str
) -> Measurement:
    """Figures of the samples of all processes; on each the same."""
    metrics = evaluator.metrics if evaluator else []
    found = collect_counters(test.dataset)
    health = {description: count for count, description in found.values()}
    own = (error, seen, [each.results for each in metrics], health)
    parts = all_gather_object(own)
    first = next((part[0] for part in parts if part[0]), '')
    answer = [Measurement({}, {}, {}, first)]
    if not first and get_rank() == 0:
        try:
            answer = [_compute(metrics, parts)]
        except (UsageError, ValueError) as problem:
            answer = [Measurement({}, {}, {}, str(problem))]
    for metric in metrics:
        metric.results.clear()
    return all_gather_object(answer[0])[0]


def _compute(metrics: List[BaseMetric], parts: List[tuple]) -> Measurement:
    figures, units = {}, {}
    indices = [index for part in parts for index in part[1]]
    for number, metric in enumerate(metrics):
        results = [each for part in parts for each in part[2][number]]
        if len(results) == len(indices):  # one a sample: as in the data set
            order = sorted(range(len(indices)), key=indices.__getitem__)
            results = [results[place] for place in order]
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools
            own = metric.compute_metrics(results)
        start = f'{metric.prefix}/' if metric.prefix else ''
        figures.update({f'{start}{k}': float(v) for k, v in own.items()})
        if hasattr(metric, 'units'):
            own = metric.units(results)
            units.update({f'{start}{k}': v for k, v in own.items()})
    health: Dict[str, int] = defaultdict(int)
    for part in parts:
        for description, count in part[3].items():
            health[description] += count
    return Measurement(figures, units, {k: v for k, v in health.items() if v})
