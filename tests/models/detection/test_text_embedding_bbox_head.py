"""The box head of text embeddings."""

import pytest
import torch
from mmdet.models import Shared2FCBBoxHead

from harmoclip_mm.models.classifiers import TextEmbeddings
from harmoclip_mm.registry import MODELS

CLASSES = ('a', 'b', 'c')
CFG = dict(
    type='harmoclip_mm.TextEmbeddingBBoxHead',
    num_shared_fcs=2,
    in_channels=4,
    fc_out_channels=8,
    roi_feat_size=3,
    embed_dims=4,
    vocabulary=dict(classes=list(CLASSES)),
)


def embeddings(rows, classes=CLASSES):
    return TextEmbeddings(rows, classes, ('{}',), 'eot', '1' * 64, '2' * 64)


def build(rows=None, classes=CLASSES, **kwargs):
    head = MODELS.build({**CFG, **kwargs})
    head.init_weights()
    if rows is not None:
        head.vocabulary.fill(embeddings(rows, classes))
    return head


def test_one_hot_embeddings_make_mmdets_plain_head():
    """cos(z, e_c) = z_c / |z|, so the scale |z| gives the plain z_c."""
    head = build(torch.eye(4)[:3]).double().eval()
    plain = Shared2FCBBoxHead(
        in_channels=4,
        fc_out_channels=8,
        roi_feat_size=3,
        num_classes=3,
        reg_class_agnostic=True,
    ).double()
    plain.load_state_dict(
        {k: v for k, v in head.state_dict().items() if k in plain.state_dict()}
    )
    with torch.no_grad():
        head.background.copy_(7 * torch.eye(4)[3])  # its length is no matter
        for x in torch.randn(5, 1, 4, 3, 3).double():
            scores, boxes = plain(x)
            head.logit_scale.log_scale.fill_(scores.norm().log())
            found = head(x)
            # scores are float32 by design
            torch.testing.assert_close(found[0].double(), scores)
            torch.testing.assert_close(found[1], boxes, rtol=0, atol=0)


def test_scores_by_hand():
    # |z| = 5: cosines 3/5 with e_0, 4/5 with e_1, (3 + 4) / (5 sqrt 2)
    rows = torch.tensor(
        [[1.0, 0, 0, 0], [0, 1, 0, 0], [2**-0.5, 2**-0.5, 0, 0]]
    )
    head = build(rows, scale=10.0).eval()
    with torch.no_grad():
        head.background.copy_(torch.tensor([-2.0, 0, 0, 0]))
        found = head.score(torch.tensor([[3.0, 4.0, 0, 0]]))
    expected = torch.tensor([[6.0, 8.0, 7 * 2**0.5, -6.0]])
    torch.testing.assert_close(found, expected)


def test_training_scores_the_base_classes():
    rows = torch.nn.functional.normalize(torch.randn(3, 4), dim=1)
    head = build(rows, vocabulary=dict(classes=list(CLASSES), novel=['b']))
    x = torch.randn(2, 4, 3, 3)
    assert head.train().num_classes == 2
    base = head(x)[0]
    assert head.eval().num_classes == 3
    everything = head(x)[0]
    torch.testing.assert_close(base, everything[:, [0, 2, 3]])
    assert base.shape == (2, 3)


def test_only_the_weights_learn():
    head = build(torch.eye(4)[:3]).train()
    head(torch.randn(2, 4, 3, 3))[0].logsumexp(1).sum().backward()
    for name in ('background', 'fc_cls.weight', 'logit_scale.log_scale'):
        assert head.get_parameter(name).grad.abs().sum() > 0
    fixed = build(learnable_scale=False).logit_scale.log_scale
    assert not fixed.requires_grad
    assert not any('embeddings' in n for n, _ in head.named_parameters())


def test_autocast_keeps_scores_in_float32():
    head = build(torch.eye(4)[:3]).eval()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        scores, _ = head(torch.randn(2, 4, 3, 3))
    assert scores.dtype == torch.float32


def test_embeddings_of_a_file(tmp_path):
    path = str(tmp_path / 'a.npz')
    embeddings(torch.eye(4), ('c', 'x', 'a', 'b')).save(path)
    vocabulary = dict(classes=list(CLASSES), text_embeddings=path)
    head = build(vocabulary=vocabulary)
    assert torch.equal(head.vocabulary.embeddings, torch.eye(4)[[2, 3, 0]])
    with pytest.raises(ValueError, match="no class 'dog'"):
        build(vocabulary=dict(vocabulary, classes=['a', 'dog']))
    with pytest.raises(Exception, match='4 dimensions, but the detector has'):
        build(embed_dims=5, vocabulary=vocabulary)


def test_errors():
    with pytest.raises(ValueError, match='reg_class_agnostic=True'):
        build(reg_class_agnostic=False)
    with pytest.raises(ValueError, match='leave num_classes out'):
        build(num_classes=80)


def test_federated_loss_is_told_the_base_classes(tmp_path):
    file = tmp_path / 'categories.json'
    file.write_text(
        '[{"id": 1, "name": "b", "image_count": 4},'
        '{"id": 2, "name": "c", "image_count": 9},'
        '{"id": 3, "name": "a", "image_count": 16}]'
    )
    head = build(
        vocabulary=dict(classes=list(CLASSES), novel=['b']),
        loss_cls=dict(
            type='harmoclip_mm.FederatedCrossEntropyLoss',
            frequencies=str(file),
        ),
    )
    assert head.loss_cls.weights.tolist() == [4.0, 3.0]
