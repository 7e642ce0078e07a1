from mmengine.dataset import BaseDataset, ConcatDataset, RepeatDataset

from harmoclip_mm.datasets import SeededDataset
from harmoclip_mm.datasets.base import leaf_datasets


class Numbers(BaseDataset):
    """A data set without a file."""

    def load_data_list(self):
        return [dict(img_path=str(number)) for number in range(3)]


def test_all_below_in_order():
    one, two, three = Numbers(), Numbers(), Numbers()
    seeded = SeededDataset(RepeatDataset(two, 2))
    joined = ConcatDataset([one, three])
    found = [*leaf_datasets(SeededDataset(joined)), *leaf_datasets(seeded)]
    assert len(found) == 3
    assert all(x is y for x, y in zip(found, (one, three, two)))


def test_one_alone():
    alone = Numbers()
    (found,) = leaf_datasets(alone)
    assert found is alone
