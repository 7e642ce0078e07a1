"""Any data set, with randomness that survives a restart."""

from typing import Any

from torch.utils.data import Dataset

from harmoclip_mm.registry import DATASETS

from .samplers import seed_for_sample

__all__ = ['SeededDataset']


@DATASETS.register_module()
class SeededDataset(Dataset):
    """Make the randomness of each sample a function of seed, epoch and index.

    For data sets of mmdet and other libraries; ours do so themselves. It
    needs :class:`ResumableSampler` or :class:`ResumableInfiniteSampler`.
    Everything but the loading of samples is left to the data set itself.

    Args:
        dataset (dict or Dataset): The data set or its config.
    """

    def __init__(self, dataset: Any) -> None:
        if isinstance(dataset, dict):
            dataset = DATASETS.build(dataset)
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        seed_for_sample(index)
        return self.dataset[index]

    def __getattr__(self, name: str) -> Any:
        # dunder names and `dataset` are asked for before there is a data set,
        # while a worker unpickles this one
        if name == 'dataset' or name.startswith('__'):
            raise AttributeError(name)
        return getattr(self.dataset, name)
