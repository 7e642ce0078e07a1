"""Loading B/16 costs little more memory than the model itself."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from harmoclip_mm import export_clip
from harmoclip_mm.registry import MODELS

ROOT = Path(__file__).resolve().parents[3]
NAME = 'ViT-B-16-quickgelu'
CFG = dict(
    type='harmoclip_mm.HarmoCLIP',
    clip=NAME,
    region_extractor=dict(type='harmoclip_mm.RoIFeatureExtractor'),
)
# VmHWM is of this program alone; ru_maxrss would be inherited from pytest.
SCRIPT = """
import sys, safetensors.torch, transformers
import harmoclip_mm.apis
from harmoclip_mm.registry import MODELS
if len(sys.argv) > 2:
    arch = None if sys.argv[2].endswith('huggingface') else sys.argv[3]
    model = harmoclip_mm.load_clip(sys.argv[2], arch)
else:
    model = MODELS.build(eval(sys.argv[1]))
with open('/proc/self/status') as file:
    print([l.split()[1] for l in file if l.startswith('VmHWM')][0])
"""


def peak(*args):
    """Peak resident memory of a process in bytes."""
    done = subprocess.run(
        [sys.executable, '-c', SCRIPT, repr(CFG), *args],
        env=dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1'),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return int(done.stdout.strip().splitlines()[-1]) * 1024


@pytest.mark.slow
@pytest.mark.skipif(
    not os.path.exists('/proc/self/status'), reason='needs /proc'
)
def test_peak_memory_of_loading_vit_b16(tmp_path):
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
        ratios[name] = (peak(str(path), NAME) - alone) / size
        if path.is_file():
            path.unlink()
    print(ratios)
    assert all(ratio <= 1.3 for ratio in ratios.values()), ratios
