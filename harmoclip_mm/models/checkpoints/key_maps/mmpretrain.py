"""Names of mmpretrain's ``CLIP`` (``multimodal/clip/clip.py``).

Its vision tower is the class that ours extends, so those names are ours;
everything else is named as in openai/CLIP.
"""

from .entries import SAME, TRANSPOSED, Entry
from .openai import LOGIT_SCALE, TEXT, VISION

ENTRIES = [
    *(
        Entry(
            entry.ours,
            (entry.ours.replace('backbone.', 'visual.', 1),),
            SAME,
        )
        for entry in VISION
        if entry.ours != 'backbone.proj.weight'
    ),
    Entry('backbone.proj.weight', ('visual_proj.proj',), TRANSPOSED),
    *TEXT,
    *LOGIT_SCALE,
]
