"""The box head of text embeddings."""

import pytest
import torch
from mmdet.models import Shared2FCBBoxHead

from harmoclip_mm.errors import DataError, UsageError
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
)


def embeddings(rows, classes=CLASSES):
    return TextEmbeddings(rows, classes, ('{}',), '1' * 64, '2' * 64)


def build(rows=None, **kwargs):
    head = MODELS.build({**CFG, **kwargs})
    head.init_weights()
    head.class_rows = rows
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


def test_the_classes_may_change():
    rows = torch.nn.functional.normalize(torch.randn(3, 4), dim=1)
    head = build(rows)
    x = torch.randn(2, 4, 3, 3)
    everything = head(x)[0]
    assert head.num_classes == 3 and everything.shape == (2, 4)
    head.class_rows = rows[[2, 0]]
    assert head.num_classes == 2
    torch.testing.assert_close(head(x)[0], everything[:, [2, 0, 3]])


def test_only_the_weights_learn():
    head = build(torch.eye(4)[:3]).train()
    head(torch.randn(2, 4, 3, 3))[0].logsumexp(1).sum().backward()
    for name in ('background', 'fc_cls.weight', 'logit_scale.log_scale'):
        assert head.get_parameter(name).grad.abs().sum() > 0
    assert not any('embeddings' in n for n, _ in head.named_parameters())


def test_autocast_keeps_scores_in_float32():
    head = build(torch.eye(4)[:3]).eval()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        scores, _ = head(torch.randn(2, 4, 3, 3))
    assert scores.dtype == torch.float32


def test_embeddings_of_a_file(tmp_path):
    path = str(tmp_path / 'a.npz')
    embeddings(torch.eye(4), ('c', 'x', 'a', 'b')).save(path)
    head = build(text_embeddings=path)
    head.set_classes(CLASSES, None)
    assert torch.equal(head.class_rows, torch.eye(4)[[2, 3, 0]])
    with pytest.raises(DataError, match="no class 'dog'"):
        head.set_classes(['a', 'dog'], None)
    with pytest.raises(UsageError, match='4 dimensions, but the detector has'):
        build(embed_dims=5, text_embeddings=path)


def test_embeddings_outlive_the_mode(clip):
    """Those of the training and of a test: encoded once each."""
    head, text = build(embed_dims=24).train(), clip.text_encoder
    calls = []
    text.register_forward_hook(lambda *args: calls.append(1))
    for _ in range(2):
        head.train().set_classes(('a', 'b'), text)
        assert head.num_classes == 2
        head.eval().set_classes(CLASSES, text)
        assert head.num_classes == 3
    assert len(calls) == 2
    with torch.no_grad():
        text.text.ln_final.bias.add_(1)
    head.set_classes(CLASSES, text)
    assert len(calls) == 3


def test_autocast_does_not_round_embeddings(clip):
    head, text = build(embed_dims=24), clip.text_encoder
    head.set_classes(CLASSES, text)
    expected = head.class_rows
    head.eval()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        head.set_classes(CLASSES, text)
    assert head.class_rows is not expected
    assert torch.equal(head.class_rows, expected)


def test_errors():
    for wrong in (dict(reg_class_agnostic=False), dict(num_classes=80)):
        with pytest.raises(ValueError, match='leave num_classes and reg_cl'):
            build(**wrong)
    with pytest.raises(ValueError, match="template set 'x'"):
        build(templates='x')
