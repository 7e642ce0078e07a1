"""Classes of whole images."""

import torch
from mmpretrain.structures import DataSample

from harmoclip_mm.registry import MODELS

CLASSES = ('dog', 'cat', 'red car')


def test_whole_images_are_classified(tiny_cfg):
    tiny_cfg['predictors'] = dict(
        images=dict(
            type='ImageClassPredictor', classifier=dict(templates='simple')
        )
    )
    model = MODELS.build(tiny_cfg)
    model.init_weights()
    model.eval()
    images = torch.randn(3, 3, 32, 32)
    # the last is asked for fewer classes
    names = [CLASSES, CLASSES, CLASSES[1:]]
    samples = [DataSample(metainfo=dict(text=text)) for text in names]
    with torch.no_grad():
        found = model(images, samples, 'predict')
        for sample, image, text in zip(found, images, names):
            texts = model.encode_text([f'a photo of a {n}.' for n in text])
            logits = model.encode_image(image[None]) @ texts.t()
            row = (model.logit_scale()[0] * logits[0]).softmax(0)
            torch.testing.assert_close(sample.pred_score, row)
            assert sample.pred_label.tolist() == [int(row.argmax())]
            assert 'pred_instances' not in sample
