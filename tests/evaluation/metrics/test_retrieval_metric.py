import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import BaseDataElement

from harmoclip_mm.evaluation import ImageTextRetrievalMetric


def _sample(img_id, image, texts=None):
    sample = BaseDataElement(metainfo={'img_id': img_id})
    sample.image_embedding = torch.tensor(image)
    if texts is not None:
        sample.text_embeddings = torch.tensor(texts)
    return sample


def _evaluate(samples, **kwargs):
    evaluator = Evaluator([ImageTextRetrievalMetric(**kwargs)])
    evaluator.process(samples)
    return evaluator.evaluate(len(samples))


def test_the_example_of_the_pure_function():
    recall = _evaluate(
        [
            _sample(1, [1.0, 0.0], [[1.0, 0.0], [0.0, 1.0]]),
            _sample(2, [0.0, 1.0], [[0.6, 0.8], [0.8, 0.6]]),
        ],
        topk=(1, 2),
    )
    assert recall == {
        'retrieval/i2t_r1': 50.0,
        'retrieval/i2t_r2': 100.0,
        'retrieval/t2i_r1': 50.0,
        'retrieval/t2i_r2': 100.0,
    }


def test_an_image_without_caption_is_a_distractor_only():
    recall = _evaluate(
        [
            _sample(1, [0.8, 0.6], [[1.0, 0.0]]),
            _sample(2, [1.0, 0.0]),  # nearer to the caption of image 1
        ],
        topk=(1,),
    )
    assert recall == {'retrieval/i2t_r1': 100.0, 'retrieval/t2i_r1': 0.0}


def test_half_precision_embeddings_are_accepted():
    sample = _sample(1, [1.0, 0.0], [[1.0, 0.0]])
    sample.image_embedding = sample.image_embedding.bfloat16()
    assert _evaluate([sample], topk=(1,))['retrieval/i2t_r1'] == 100


@pytest.mark.parametrize(
    ('samples', 'message'),
    [
        ([_sample(1, [1.0])], 'none of the 1 images has a caption.*Load'),
        (
            [_sample(5, [1.0], [[1.0]]), _sample(5, [1.0], [[1.0]])],
            'image 5 occurs twice',
        ),
        (
            [BaseDataElement(metainfo={'img_id': 8})],
            'image 8 has no image_embedding',
        ),
        ([_sample(1, [float('nan')], [[1.0]])], 'not finite'),
    ],
)
def test_bad_input(samples, message):
    with pytest.raises(ValueError, match=message):
        _evaluate(samples)
