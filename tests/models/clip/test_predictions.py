import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from mmpretrain.structures import DataSample

from harmoclip_mm.models.clip.predictions import add_candidate_scores
from harmoclip_mm.models.layers import LogitScale

E = torch.eye(3)
SCALE = LogitScale(10.0)


def test_texts_are_chosen_among_the_candidates():
    sample = DetDataSample(metainfo={'scale_factor': (2.0, 4.0)})
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor([[2.0, 4.0, 8.0, 8.0]] * 2),
        labels=torch.tensor([0, 1]),
        candidate_mask=torch.tensor([[1, 1, 0], [1, 0, 1]]).bool(),
    )
    texts = torch.stack([E[0], 0.6 * E[0] + 0.8 * E[1], E[2]])
    add_candidate_scores([sample], [E[[1, 2]]], [texts], SCALE)
    pred = sample.pred_instances
    no = float('-inf')
    # cosines of box 0: 0, 0.8, (0); of box 1: 0, (0), 1
    assert pred.candidate_logits.tolist() == [[0, 8, no], [0, no, 10]]
    assert pred.labels.tolist() == [1, 2]
    # 1 / (1 + e^-8), 1 / (1 + e^-10)
    assert pred.scores.tolist() == pytest.approx([0.9996646, 0.9999546])
    assert pred.bboxes.tolist() == [[1, 1, 4, 2]] * 2  # original px
    assert sample.gt_instances.bboxes.tolist() == [[1, 1, 4, 2]] * 2


def test_proposals_are_ranked_by_the_text():
    sample = DetDataSample(metainfo={'scale_factor': (2.0, 2.0)})
    boxes = 2.0 * torch.arange(16).reshape(4, 4)
    sample.proposals = InstanceData(bboxes=boxes)
    regions = torch.stack([E[1], E[0], 0.8 * E[0] + 0.6 * E[1], E[0]])
    add_candidate_scores([sample], [regions], [E[:1]], SCALE)
    pred = sample.pred_instances
    # cosines 0, 1, 0.8, 1; equal ones in the order of the file
    assert torch.equal(pred.bboxes, boxes[[1, 3, 2, 0]] / 2)
    total = 2 + 2.718281828**-2 + 2.718281828**-10
    assert pred.scores[0].item() == pytest.approx(1 / total)
    assert pred.labels.tolist() == [0] * 4
    with pytest.raises(ValueError, match='has 2 texts: proposals are ranked'):
        add_candidate_scores([sample], [regions], [E[:2]], SCALE)


@pytest.fixture
def candidates(tiny_model):
    """A box with two texts, proposals with one, and an image without box."""
    tokenizer = tiny_model.text_encoder.tokenizer
    samples = []
    for index, texts in enumerate((['a dog', 'a cat'], ['a dog'], ['x'])):
        sample = DetDataSample(metainfo={'img_id': index})
        sample.candidate_ids = tokenizer.ids(texts)
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[3.0, 2.0, 20.0, 30.0]] * (index < 2)).view(
                -1, 4
            ),
            labels=torch.zeros(int(index < 2)).long(),
        )
        samples.append(sample)
    samples[1].proposals = InstanceData(
        bboxes=torch.tensor([[0.0, 0.0, 9.0, 9.0], [8.0, 8.0, 32.0, 30.0]])
    )
    return samples


def test_model_scores_candidates_whatever_the_batch(tiny_model, candidates):
    tiny_model.eval()
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        together = tiny_model(
            images, [each.clone() for each in candidates], 'predict'
        )
        for image, sample, found in zip(images, candidates, together):
            (alone,) = tiny_model(image[None], [sample.clone()], 'predict')
            for key in ('bboxes', 'scores', 'labels'):
                ours = alone.pred_instances[key].float()
                assert torch.allclose(
                    ours, found.pred_instances[key].float(), atol=1e-5
                )
            assert 'image_embedding' not in found
        # against the parts of the model
        (region,) = tiny_model.encode_regions(
            images[:1], [candidates[0].gt_instances.bboxes]
        )
        texts = tiny_model.encode_text(['a dog', 'a cat'])
        logits = tiny_model.logit_scale()[0] * region @ texts.t()
    found = together[0].pred_instances.candidate_logits
    assert torch.allclose(found, logits, atol=1e-4)
    assert together[1].pred_instances.bboxes.shape == (2, 4)
    assert together[2].pred_instances.candidate_logits.shape == (0, 1)


def test_whole_images_are_classified(tiny_model):
    tiny_model.eval()
    images = torch.randn(2, 3, 32, 32)
    samples = [DataSample().set_gt_label(label) for label in (0, 2)]
    with torch.no_grad():
        found = tiny_model(images, samples, 'predict')
        texts = tiny_model.encode_text(
            [f'a photo of a {name}.' for name in ('dog', 'cat', 'red car')]
        )
        logits = tiny_model.logit_scale()[0] * (
            tiny_model.encode_image(images) @ texts.t()
        )
    for sample, row in zip(found, logits.softmax(1)):
        assert torch.allclose(sample.pred_score, row, atol=1e-5)
        assert sample.pred_label.tolist() == [int(row.argmax())]
        assert 'pred_instances' not in sample
