"""The converters as users run them."""

import json
from pathlib import Path

import pytest
import torch

from harmoclip_mm import load_clip
from harmoclip_mm.errors import UsageError
from harmoclip_mm.models.checkpoints import blend_state_dicts
from harmoclip_mm.models.classifiers import TextEmbeddings

open_clip_model = pytest.importorskip('open_clip.model')
ROOT = Path(__file__).resolve().parents[2]
CFG = dict(
    embed_dim=16,
    vision_cfg=dict(image_size=32, layers=1, width=64, patch_size=16),
    text_cfg=dict(width=64, heads=1, layers=1),
)


@pytest.fixture
def run(run_tool, capsys):
    """Run a converter; returns what it prints, or its error."""

    def start(tool, *args, fails=False):
        path = f'model_converters/{tool}'
        if not fails:
            run_tool(path, *args)
            return capsys.readouterr().out
        with pytest.raises((UsageError, SystemExit)) as error:
            run_tool(path, *args)
        return f'{error.value} {capsys.readouterr().err}'

    return start


@pytest.fixture
def arch(tmp_path):
    """``--arch`` of the CLIP that ``save`` saves."""
    (tmp_path / 'arch').mkdir()
    config = dict(model_cfg=dict(CFG, quick_gelu=True))
    (tmp_path / 'arch' / 'open_clip_config.json').write_text(
        json.dumps(config)
    )
    return ['--arch', tmp_path / 'arch']


def save(path, quick_gelu=True):
    model = open_clip_model.CLIP(**CFG, quick_gelu=quick_gelu).eval()
    torch.save(model.state_dict(), path)
    return model


def test_export_there_and_back(tmp_path, run, arch):
    model = save(tmp_path / 'in.pt')
    tool = 'export_clip.py'
    out = run(tool, tmp_path / 'in.pt', tmp_path / 'folder', *arch)
    assert 'folder in the format open_clip' in out
    hugging = ['--format', 'huggingface']
    run(tool, tmp_path / 'folder', tmp_path / 'hf', *hugging)
    run(tool, tmp_path / 'hf', tmp_path / 'back.pt')
    for name in ('folder', 'back.pt'):  # never written over
        error = run(tool, tmp_path / 'hf', tmp_path / name, fails=True)
        assert f'{name} exists' in error
    back = torch.load(tmp_path / 'back.pt')
    expected = model.state_dict()
    assert set(back) == set(expected)
    torch.testing.assert_close(back, dict(expected), rtol=0, atol=0)


def test_export_errors_are_sentences(tmp_path, run):
    (tmp_path / 'bad.pt').write_text('Not found')
    error = run(
        'export_clip.py', tmp_path / 'bad.pt', tmp_path / 'out', fails=True
    )
    assert "b'Not found'" in error
    torch.save(
        dict(state_dict={}, args=CFG, path=Path('x')), tmp_path / 'objects.pt'
    )
    error = run(
        'export_clip.py', tmp_path / 'objects.pt', tmp_path / 'out', fails=True
    )
    assert 'pathlib' in error and '--trust-pickle' in error


def test_blend(tmp_path, run, arch):
    old = save(tmp_path / 'old.pt').state_dict()
    new = save(tmp_path / 'new.pt').state_dict()
    out = run(
        'blend_checkpoints.py',
        tmp_path / 'old.pt',
        tmp_path / 'new.pt',
        tmp_path / 'out.pt',
        '--alpha',
        '0.25',
        '--alpha-text',
        '0',
        *arch,
    )
    assert 'backbone. 0.25, text_encoder. 0' in out
    found = torch.load(tmp_path / 'out.pt')
    for name, value in found.items():
        expected = old[name]
        if name.startswith('visual.'):
            expected = 0.25 * new[name] + 0.75 * old[name]
        torch.testing.assert_close(value, expected)
    # untouched to the last bit
    assert torch.equal(found['text_projection'], old['text_projection'])


def test_blend_of_a_training_at_another_size(tmp_path, run, arch):
    """The start has the positions that the training began with."""
    save(tmp_path / 'old.pt')
    size = dict(img_size=64)
    model = load_clip(tmp_path / 'old.pt', str(arch[1]), backbone=size)
    clip = dict(CFG, quick_gelu=True)
    text = f'model = dict(clip={clip!r}, backbone={size!r})'
    content = dict(meta=dict(cfg=text), state_dict=model.state_dict())
    torch.save(content, tmp_path / 'new.pth')
    paths = [tmp_path / name for name in ('old.pt', 'new.pth', 'out.pt')]
    run('blend_checkpoints.py', *paths)
    found = torch.load(paths[2])['visual.positional_embedding']
    torch.testing.assert_close(
        found, model.backbone.visual.positional_embedding.data
    )


def test_blend_errors(tmp_path, run, arch):
    save(tmp_path / 'new.pt')
    state = save(tmp_path / 'old.pt', quick_gelu=False).state_dict()
    paths = [tmp_path / name for name in ('old.pt', 'new.pt', 'out.pt')]
    assert 'does not say which CLIP' in run(
        'blend_checkpoints.py', *paths, fails=True
    )
    config = dict(model_cfg=CFG)
    (tmp_path / 'hub').mkdir()
    (tmp_path / 'hub' / 'open_clip_config.json').write_text(json.dumps(config))
    torch.save(state, tmp_path / 'hub' / 'open_clip_pytorch_model.bin')
    paths[0] = tmp_path / 'hub'
    error = run('blend_checkpoints.py', *paths, *arch, fails=True)
    assert "trained with activation ['gelu']" in error
    error = run(
        'blend_checkpoints.py', 'a', 'b', 'c', '--alpha', '1.5', fails=True
    )
    assert '1.5 is not between 0 and 1' in error


def test_blending_by_hand():
    old = dict(a=torch.tensor([1.0, 2.0]), b=torch.tensor(4.0))
    new = dict(
        a=torch.tensor([3.0, 6.0]),
        b=torch.tensor(8.0),
        heads=torch.tensor(9.0),
    )
    # 0.75 * 3 + 0.25 * 1 = 2.5, 0.75 * 6 + 0.25 * 2 = 5
    found = blend_state_dicts(old, new, dict(a=0.75, b=0.0))
    assert found['a'].tolist() == [2.5, 5.0]
    assert found['b'] == 4 and found['heads'] == 9


def test_text_embeddings_are_those_of_the_reference(tmp_path, run, arch):
    """Of open_clip's text tower; each way to name classes and templates."""
    open_clip = pytest.importorskip('open_clip')
    model = save(tmp_path / 'in.pt')
    tool = 'dump_text_embeddings.py'
    asked = [
        (['red_car', 'dog'], ['simple']),
        ([tmp_path / 'names.txt'], ['a {}', 'the {}']),
    ]
    (tmp_path / 'names.txt').write_text('dog\nred_car\n')
    expected = {}
    for name, words in (('dog', 'dog'), ('red_car', 'red car')):
        ids = open_clip.tokenize([f'a {words}', f'the {words}'])
        with torch.no_grad():
            rows = model.encode_text(ids, normalize=True)
        expected[name] = torch.nn.functional.normalize(rows.mean(0), dim=0)
    for names, templates in asked:
        out = run(
            tool,
            tmp_path / 'in.pt',
            *('--vocabulary', *names, '--templates', *templates),
            *('--out', tmp_path / 'out' / 'a.npz', *arch),
        )
        assert f'2 classes, {len(templates)} templates' in out
    found = TextEmbeddings.load(tmp_path / 'out' / 'a.npz')
    assert found.classes == ('dog', 'red_car')
    for name, row in zip(found.classes, found.embeddings):
        torch.testing.assert_close(row, expected[name], rtol=0, atol=1e-5)


def test_text_embeddings_say_what_is_wrong(tmp_path, run, arch):
    save(tmp_path / 'in.pt')
    tool, start = 'dump_text_embeddings.py', [tmp_path / 'in.pt', *arch]
    for words, complaint in (
        (['--vocabulary', 'none', '--out', 'a.npz'], 'neither a file nor'),
        (['--vocabulary', 'a', 'a', '--out', 'a.npz'], 'Duplicate class'),
        (['--vocabulary', 'a', 'b', '--out', 'a.pth'], 'end in .npz'),
    ):
        assert complaint in run(tool, *start, *words, fails=True)
