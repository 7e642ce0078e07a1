import json

import numpy as np
import pytest
import torch

from harmoclip_mm.evaluation import save_metrics


def test_numbers_of_any_kind_become_json(tmp_path):
    path = tmp_path / 'new' / 'metrics.json'
    metrics = {
        'a': 1,
        'b': np.float32(0.5),
        'c': torch.tensor(2.0),
        'd': float('nan'),
        'e': np.inf,
    }
    save_metrics(metrics, str(path))
    expected = {'a': 1.0, 'b': 0.5, 'c': 2.0, 'd': None, 'e': None}
    assert json.loads(path.read_text()) == expected
    assert [p.name for p in path.parent.iterdir()] == ['metrics.json']


def test_what_is_no_number_is_refused(tmp_path):
    path = tmp_path / 'metrics.json'
    with pytest.raises((TypeError, ValueError)):
        save_metrics({'a': [1, 2]}, str(path))
    assert not path.exists()
