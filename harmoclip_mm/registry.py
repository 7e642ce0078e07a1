"""Registries of scope ``harmoclip_mm``, children of mmengine's.

Being children, they find what mmengine, mmcv, mmdet and mmpretrain have
registered, and any mmdet config can name our modules with the prefix
``harmoclip_mm.``. ``locations`` are the modules whose import registers the
members; mmengine imports them the first time a registry is asked for a name.
"""

from mmengine import registry as mmengine_registry
from mmengine.registry import Registry

SCOPE = 'harmoclip_mm'


def _child(name: str, *locations: str) -> Registry:
    """A child of mmengine's registry of the same name."""
    parent = getattr(mmengine_registry, name)
    return Registry(
        parent.name,
        parent=parent,
        scope=SCOPE,
        locations=[f'{SCOPE}.{location}' for location in locations],
    )


DATASETS = _child('DATASETS', 'datasets')
DATA_SAMPLERS = _child('DATA_SAMPLERS', 'datasets')
FUNCTIONS = _child('FUNCTIONS', 'datasets')
TRANSFORMS = _child('TRANSFORMS', 'datasets.transforms')
MODELS = _child('MODELS', 'models')
METRICS = _child('METRICS', 'evaluation')
HOOKS = _child('HOOKS', 'engine')
LOOPS = _child('LOOPS', 'engine')
OPTIM_WRAPPER_CONSTRUCTORS = _child('OPTIM_WRAPPER_CONSTRUCTORS', 'engine')
VISUALIZERS = _child('VISUALIZERS', 'visualization')
INFERENCERS = _child(
    'INFERENCERS',
    'apis.open_vocabulary_inferencer',
    'apis.region_retrieval_inferencer',
    'apis.text_inferencers',
)

# What the name of a CLIP says. Data transforms ask here for the image size and
# the tokenizer of a CLIP, so that they need not know who describes it.
CLIPS = Registry('clip', scope=SCOPE, locations=[f'{SCOPE}.models.towers'])

# We add no members to these. They exist so that mmengine, which looks for a
# registry of the default scope, finds one and does not warn.
RUNNERS = _child('RUNNERS')
STRATEGIES = _child('STRATEGIES')
EVALUATOR = _child('EVALUATOR')
MODEL_WRAPPERS = _child('MODEL_WRAPPERS')
WEIGHT_INITIALIZERS = _child('WEIGHT_INITIALIZERS')
OPTIMIZERS = _child('OPTIMIZERS')
OPTIM_WRAPPERS = _child('OPTIM_WRAPPERS')
PARAM_SCHEDULERS = _child('PARAM_SCHEDULERS')
TASK_UTILS = _child('TASK_UTILS')
VISBACKENDS = _child('VISBACKENDS')
LOG_PROCESSORS = _child('LOG_PROCESSORS')
