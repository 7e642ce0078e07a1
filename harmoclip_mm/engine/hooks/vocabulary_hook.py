"""Holds the data of a detector against its vocabulary."""

import json
import logging
import os.path as osp
from typing import Any, Dict, Iterator, List, Optional, Sequence

from mmengine.dataset import ConcatDataset
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from harmoclip_mm.errors import UsageError
from harmoclip_mm.registry import HOOKS

__all__ = ['VocabularyHook']

# Larger annotation files are not read a second time.
MAX_FILE_SIZE = 64 * 2**20  # bytes


@HOOKS.register_module()
class VocabularyHook(Hook):
    """Checks that labels mean the same to the data and the detector.

    Labels are places in lists: a data set whose classes are other names, or
    the same in another order, trains a detector wrongly without an error.
    For an ``OpenVocabularyDetector``: before a training the data set's
    classes have to be the base classes, before a validation or test all
    classes of the vocabulary. Base classes without a box are named in a
    warning, since the detector learns that they are background.

    mmdet numbers the classes of a file in COCO's format by the order of the
    file, whatever order they are named in; that is checked as well, for
    files of up to 64 MB.

    Args:
        test_vocabulary (dict, optional): Arguments of ``set_vocabulary``,
            applied before a test: asks a trained detector for other classes
            than those of its checkpoint. Defaults to none.
    """

    def __init__(self, test_vocabulary: Optional[Dict] = None) -> None:
        self.test_vocabulary = test_vocabulary

    def before_train(self, runner: Runner) -> None:
        """Checks the training data.

        Args:
            runner (Runner): The runner.

        Raises:
            UsageError: If its classes are not the base classes.
        """
        classes = _detector(runner).memory.read().base
        dataset = runner.train_dataloader.dataset
        check_classes(dataset, classes, 'training', 'the base classes')
        empty = classes_without_boxes(dataset, classes)
        if empty:
            print_log(
                f'{len(empty)} of {len(classes)} base classes have no box in '
                f'the training data, among them {empty[:5]}: name them novel '
                'in the vocabulary, else the detector learns that they are '
                'background.',
                logger='current',
                level=logging.WARNING,
            )

    def before_val(self, runner: Runner) -> None:
        """Checks the validation data.

        Args:
            runner (Runner): The runner.

        Raises:
            UsageError: If its classes are not those of the vocabulary.
        """
        self._check(runner, runner.val_dataloader.dataset, 'validation')

    def before_test(self, runner: Runner) -> None:
        """Sets the vocabulary of the test and checks its data.

        Args:
            runner (Runner): The runner.

        Raises:
            UsageError: If its classes are not those of the vocabulary.
        """
        if self.test_vocabulary is not None:
            _detector(runner).set_vocabulary(**self.test_vocabulary)
        self._check(runner, runner.test_dataloader.dataset, 'test')

    @staticmethod
    def _check(runner: Runner, dataset: Any, name: str) -> None:
        classes = _detector(runner).memory.read().classes
        check_classes(dataset, classes, name, 'the vocabulary of the detector')


def check_classes(
    dataset: Any, classes: Sequence[str], name: str, whose: str
) -> None:
    """Refuses a data set whose labels have other names.

    Args:
        dataset (Any): The data set, or one that wraps others.
        classes (Sequence[str]): What the detector takes the labels for.
        name (str): Its name in the message.
        whose (str): The name of ``classes`` in the message.

    Raises:
        UsageError: If names or order differ.
    """
    for each in unwrap(dataset):
        theirs = each.metainfo.get('classes') or ()
        _compare(theirs, classes, f'the {name} data set', whose)
        _compare(
            _classes_of_file(each, theirs),
            classes,
            f'the annotation file {each.ann_file}, by whose order mmdet '
            'numbers them,',
            whose,
        )


def classes_without_boxes(dataset: Any, classes: Sequence[str]) -> List[str]:
    """Finds the classes that no box is of.

    Args:
        dataset (Any): The data set, or one that wraps others.
        classes (Sequence[str]): Names by label.

    Returns:
        List[str]: Names of the classes without a box.
    """
    seen = set()
    for each in unwrap(dataset):
        for index in range(len(each)):
            seen.update(
                instance['bbox_label']
                for instance in each.get_data_info(index)['instances']
                if not instance.get('ignore_flag')
            )
    return [name for label, name in enumerate(classes) if label not in seen]


def unwrap(dataset: Any) -> Iterator[Any]:
    """Yields the data sets below wrappers.

    Args:
        dataset (Any): A data set, or one that concatenates, repeats or
            balances others.

    Yields:
        Any: Data sets that are no wrappers.
    """
    if isinstance(dataset, ConcatDataset):
        for each in dataset.datasets:
            yield from unwrap(each)
    elif hasattr(dataset, 'dataset'):
        yield from unwrap(dataset.dataset)
    else:
        yield dataset


def _compare(
    theirs: Sequence[str], ours: Sequence[str], name: str, whose: str
) -> None:
    if tuple(theirs) == tuple(ours):
        return
    if len(theirs) != len(ours):
        what = f'has {len(theirs)} classes, not {len(ours)}'
    else:
        label = next(i for i, n in enumerate(ours) if n != theirs[i])
        what = (
            f'has the class {theirs[label]!r} as label {label}, not '
            f'{ours[label]!r}'
        )
    raise UsageError(
        f'The classes of {name} differ from {whose}: it {what}. Set '
        'metainfo=dict(classes=...) of the data set or the vocabulary, in '
        'the order of the annotation file.'
    )


def _classes_of_file(dataset: Any, classes: Sequence[str]) -> Sequence[str]:
    """These classes in the order of the data set's file, if it has one."""
    path = getattr(dataset, 'ann_file', None)
    if (
        not hasattr(dataset, 'cat2label')
        or not osp.isfile(path)
        or osp.getsize(path) > MAX_FILE_SIZE
    ):
        return classes
    with open(path, encoding='utf-8') as file:
        names = [each['name'] for each in json.load(file)['categories']]
    return [name for name in names if name in classes]


def _detector(runner: Runner) -> Any:
    model = runner.model
    return model.module if is_model_wrapper(model) else model
