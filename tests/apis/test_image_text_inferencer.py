"""Images against texts, beside the model's own methods."""

import json

import numpy as np
import pytest
import torch

from harmoclip_mm.apis import ImageTextInferencer
from harmoclip_mm.errors import UsageError

TEXTS = ['a dog', 'two red cars', 'a tree by a house']


@pytest.mark.parametrize('name', ['tiny_clip', 'tiny_siglip'])
@torch.no_grad()
def test_numbers_are_those_of_the_model(name, request, pictures, tmp_path):
    model = request.getfixturevalue(name)
    compare = ImageTextInferencer(model, device='cpu', show_progress=False)
    result = compare(
        str(pictures),
        TEXTS,
        batch_size=2,
        return_vis=True,
        out_dir=str(tmp_path),
    )
    paths = sorted(pictures.iterdir())
    assert len(result['predictions']) == len(paths) == 3
    texts = model.encode_text(TEXTS)
    for path, found in zip(paths, result['predictions']):
        image = model.encode_image(model.preprocess(str(path))[None])
        cosines = (image @ texts.T)[0]
        scale, bias = model.logit_scale()
        logits = scale * cosines
        expected = (
            logits.softmax(0) if bias is None else (logits + bias).sigmoid()
        )
        similarities = np.array(found['similarities'])
        assert np.abs(similarities - cosines.numpy()).max() < 1e-5
        probabilities = np.array(found['probabilities'])
        assert np.abs(probabilities - expected.numpy()).max() < 1e-5
        file = tmp_path / 'preds' / f'{path.stem}.json'
        assert json.loads(file.read_text()) == found
        assert (tmp_path / 'vis' / path.name).is_file()
    assert [each.shape[2] for each in result['visualization']] == [3] * 3


def test_no_text_is_an_error(tiny_clip, pictures):
    compare = ImageTextInferencer(tiny_clip, device='cpu')
    with pytest.raises(UsageError, match='at least one text'):
        compare(str(pictures), [])
