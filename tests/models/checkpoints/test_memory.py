"""Loading B/16 costs little more memory than the model itself."""

import os

import pytest
import torch
from processes import peak_memory

from harmoclip_mm import export_clip
from harmoclip_mm.registry import MODELS

NAME = 'ViT-B-16-quickgelu'
CFG = dict(
    type='harmoclip_mm.HarmoCLIP',
    clip=NAME,
    region_extractor=dict(type='harmoclip_mm.RoIFeatureExtractor'),
)


def measure(rank, file, out, path=None):
    """Peak resident memory of a process in bytes."""
    import safetensors.torch  # noqa: F401  whoever loads needs it
    import transformers  # noqa: F401

    from harmoclip_mm import load_clip

    torch.set_num_threads(1)
    if path is None:
        MODELS.build(CFG)
    else:
        load_clip(path, None if path.endswith('huggingface') else NAME)
    with open(out, 'w') as found:
        found.write(str(peak_memory()))


@pytest.mark.slow
@pytest.mark.skipif(
    not os.path.exists('/proc/self/status'), reason='needs /proc'
)
def test_peak_memory_of_loading_vit_b16(tmp_path, run_ranks):
    def peak(*args):
        run_ranks(measure, 1, str(tmp_path / 'peak'), *args)
        return int((tmp_path / 'peak').read_text())

    model = MODELS.build(CFG)
    # room for 600 MB each, one at a time
    alone = peak()
    ratios = {}
    for name, format in (
        ('open_clip.pt', 'open_clip'),
        ('open_clip.safetensors', 'open_clip'),
        ('huggingface', 'huggingface'),
        ('training.pt', 'open_clip'),
    ):
        path = tmp_path / name
        export_clip(model, str(path), format)
        if name == 'training.pt':  # with an optimizer twice as large
            state = torch.load(path)
            size = sum(4 * value.numel() for value in state.values())
            moments = [torch.zeros(size // 4), torch.zeros(size // 4)]
            torch.save(dict(state_dict=state, optimizer=moments), path)
        else:
            file = path / 'model.safetensors' if path.is_dir() else path
            size = file.stat().st_size
        ratios[name] = (peak(str(path)) - alone) / size
        if path.is_file():
            path.unlink()
    print(ratios)
    assert all(ratio <= 1.3 for ratio in ratios.values()), ratios
