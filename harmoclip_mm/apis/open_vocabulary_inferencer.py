"""mmdet's DetInferencer for detectors whose classes can be replaced."""

import os.path as osp
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Sequence, Union

from harmoclip_mm.compat import import_stack

import_stack()

import numpy as np  # noqa: E402
from mmdet.apis import DetInferencer  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.dataset import pseudo_collate  # noqa: E402
from mmengine.visualization import Visualizer  # noqa: E402
from torch import nn  # noqa: E402

from harmoclip_mm.engine import use_safe_loading  # noqa: E402
from harmoclip_mm.errors import DataError, UsageError  # noqa: E402
from harmoclip_mm.models.checkpoints import load_matching  # noqa: E402
from harmoclip_mm.registry import INFERENCERS  # noqa: E402
from harmoclip_mm.text import Vocabulary, load_vocabulary  # noqa: E402

from .config import load_config  # noqa: E402


def _prepare(pipeline: Callable, image: Any) -> Any:
    """Each decoder and each step has its own exceptions, without a name."""
    try:
        return pipeline(image)
    except Exception as error:
        name = image if isinstance(image, str) else 'an array'
        raise DataError(
            f'{name} is no image that can be used ({error}): leave it out'
        ) from error


@INFERENCERS.register_module()
class OpenVocabularyInferencer(DetInferencer):
    """Detect what words name, in files, folders and arrays.

    All of mmdet's :class:`DetInferencer`, plus :meth:`set_vocabulary`; before
    that the classes of the training are detected. Config and checkpoint are
    files, and the checkpoint must fit the config. Arrays are BGR, as OpenCV
    reads them; pictures with boxes are RGB.

    Args:
        config (str): Config file of an ``OpenVocabularyDetector``.
        checkpoint (str): Checkpoint of its training.
        device (str, optional): Device. Defaults to None: a GPU if there is
            one.
        cfg_options (dict, optional): Settings that replace those of the
            config. Defaults to None.
        **kwargs: See :class:`DetInferencer`.

    Raises:
        UsageError: If a file does not exist, or the config's model has no
            vocabulary that can be replaced.
        DataError: When it is called, of an image that cannot be used.
        CheckpointError: If the checkpoint is of another model.
    """

    def __init__(
        self,
        config: str,
        checkpoint: str,
        device: Optional[str] = None,
        cfg_options: Optional[Dict[str, Any]] = None,
        **kwargs: Any,
    ) -> None:
        if not osp.isfile(checkpoint):
            raise UsageError(f'checkpoint {checkpoint} does not exist')
        use_safe_loading()
        self._checkpoint = checkpoint
        super().__init__(
            model=load_config(config, cfg_options),
            weights=checkpoint,
            device=device,
            **kwargs,
        )
        if not hasattr(self.model, 'set_vocabulary'):
            raise UsageError(
                f'the model of {config} is a {type(self.model).__name__}, '
                'whose classes are fixed: give a config of '
                'configs/ov_detection/'
            )
        self._name_labels(self.model.trained_classes)

    def set_vocabulary(
        self, classes: Union[str, Sequence[str], Vocabulary]
    ) -> None:
        """Replace the classes to detect.

        Args:
            classes (str | Sequence[str] | Vocabulary): Names, a vocabulary
                of the package or its file; see ``load_vocabulary``.

        Raises:
            UsageError: If the list is not a legal vocabulary.
        """
        try:
            vocabulary = load_vocabulary(classes)
            self.model.set_vocabulary(vocabulary)
        except (FileNotFoundError, ValueError) as error:
            raise UsageError(str(error)) from error
        self._name_labels(vocabulary.classes)

    def _name_labels(self, classes: Sequence[str]) -> None:
        self.model.dataset_meta = {
            'classes': classes,
            'palette': 'random',  # one of the test's classes may be too short
        }
        self.visualizer.dataset_meta = self.model.dataset_meta

    def visualize(
        self,
        inputs: Sequence[Union[str, np.ndarray]],
        *args: Any,
        **kwargs: Any,
    ) -> Optional[List[np.ndarray]]:
        """As mmdet, which draws on an array as if it were RGB."""
        inputs = [
            each if isinstance(each, str) else each[..., ::-1]
            for each in inputs
        ]
        return super().visualize(inputs, *args, **kwargs)

    def _init_pipeline(self, cfg: Config) -> Callable:
        """As mmdet, with errors that name the image."""
        return partial(_prepare, super()._init_pipeline(cfg))

    def _init_collate(self, cfg: Config) -> Callable:
        """The default of all data loaders: mmengine looks for it in mmdet's
        scope, and warns that mmdet has no functions."""
        return pseudo_collate

    def _init_visualizer(self, cfg: Config) -> Visualizer:
        """Draw as the package does; words with `$` are no formulas there.
        Pictures keep their size, as a video needs."""
        cfg.visualizer = dict(
            type='harmoclip_mm.RegionTextVisualizer', shorter_side=0
        )
        return super()._init_visualizer(cfg)

    def _load_weights_to_model(
        self, model: nn.Module, checkpoint: Dict[str, Any], cfg: Config
    ) -> None:
        """As mmdet, but what does not fit is an error."""
        state_dict = checkpoint.get('state_dict', checkpoint)
        load_matching(model, state_dict, self._checkpoint)
        super()._load_weights_to_model(model, checkpoint, cfg)
