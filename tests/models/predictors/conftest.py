"""What takes the place of towers, where a predictor is tested alone."""

from unittest.mock import Mock

import pytest
import torch

from harmoclip_mm.models.layers import LogitScale


@pytest.fixture
def predict():
    """Lets a predictor answer known features with known texts or logits."""

    def run(predictor, samples, features, texts=None, logits=None, scale=10.0):
        tower = Mock(side_effect=AssertionError('the tower has no part here'))
        if texts is not None:
            rows = torch.cat(texts)
            tower = Mock(return_value=Mock(pooled=rows))
        if logits is not None:
            predictor.class_logits = lambda *args: logits
        predictor.predict(features, samples, tower, LogitScale(scale))

    return run
