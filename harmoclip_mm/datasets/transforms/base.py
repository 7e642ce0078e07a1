"""What our transforms share."""

import inspect

from mmcv.transforms import BaseTransform


class PrintedTransform(BaseTransform):
    """mmcv's transform, which a printed pipeline tells with its settings."""

    def __repr__(self) -> str:
        shown = []
        for name in inspect.signature(type(self)).parameters:
            value = vars(self).get(name)
            if name == 'clip' and hasattr(self, 'spec'):
                value = self.spec.name
            if name != 'kwargs' and value is not None:
                shown.append(f'{name}={value!r}')
        return f'{type(self).__name__}({", ".join(shown)})'
