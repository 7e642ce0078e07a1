"""The modules of ``compare_methods.py``, and records to try them on."""

import sys
from pathlib import Path
from types import SimpleNamespace

REPO = Path(__file__).parents[2]

sys.path.insert(0, str(REPO / 'tools/analysis_tools'))
try:
    import compare_ablations
    import compare_claims
    import compare_methods
    import compare_plan
    import compare_run
    import compare_tables
    import plot_comparison
finally:
    sys.path.pop(0)

tools = SimpleNamespace(
    ablations=compare_ablations,
    claims=compare_claims,
    methods=compare_methods,
    plan=compare_plan,
    plots=plot_comparison,
    run=compare_run,
    tables=compare_tables,
)


def record(method, start='pretrained', variant='default', seed=0, **figures):
    return {
        'method': method, 'start': start, 'variant': variant, 'seed': seed,
        'recipe': 'full', 'split': 'test', 'images': 1000, 'steps': 300,
        'box_top1': 50.0, 'box_top1_base': 51.0, 'box_top1_novel': 40.0,
        'retrieval_i2t_r1': 44.0, 'retrieval_t2i_r1': 46.0,
        'retrieval_mean_r1': 45.0,
        'harmonic_mean': 47.4, 'crop_top1': 70.0, 'seconds_per_step': 0.25,
        'curves': {'step': [1, 2], 'loss': [3.0, 2.0], 'loss_gc': [2.0, 1.0]},
        **figures,
    }  # fmt: skip
