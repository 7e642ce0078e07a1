"""What torch's ONNX exporter lacks for the towers of CLIPs."""

import warnings
from contextlib import contextmanager
from typing import Any, Iterator

import timm.layers.pos_embed_sincos as timm_rope
import torch
from torch import Tensor
from torch.onnx.symbolic_helper import parse_args

OPSET = 18  # the first whose Resize has antialiasing


@contextmanager
def exportable() -> Iterator[None]:
    """Lets torch's exporter write what it cannot, or for one size alone.

    Yields:
        None: While symbols are registered and timm's rotation is replaced.
    """
    symbols = {
        'aten::_upsample_bicubic2d_aa': _resize,
        'aten::repeat_interleave': _repeat_last,
        # torch 2.1 writes the one in its older form, and fails for 'xy'
        'aten::mean': _mean,
        'aten::meshgrid': _meshgrid,
    }
    rot = timm_rope.rot
    for name, symbol in symbols.items():
        torch.onnx.register_custom_op_symbolic(name, symbol, OPSET)
    timm_rope.rot = _rot
    try:
        with warnings.catch_warnings():
            # of sizes that are compared, and that tracing is the old way
            warnings.simplefilter('ignore')
            yield
    finally:
        timm_rope.rot = rot
        for name in symbols:
            torch.onnx.unregister_custom_op_symbolic(name, OPSET)


def _rot(x: Tensor) -> Tensor:
    """timm's ``rot`` without the shape, which is traced as a constant."""
    return torch.stack([-x[..., 1::2], x[..., ::2]], -1).flatten(-2)


def _constant(g: Any, value: Any) -> Any:
    return g.op('Constant', value_t=torch.tensor(value))


def _resize(g: Any, x: Any, size: Any, *others: Any) -> Any:
    """Antialiased bicubic resizing, as Pillow's and torch's (a = -0.5)."""
    if size.node().kind() == 'prim::ListConstruct':
        sides = [
            g.op('Unsqueeze', side, _constant(g, [0]))
            for side in size.node().inputs()
        ]
        size = g.op('Concat', *sides, axis_i=0)
    # not Shape's own start and end, which torch's constant folding ignores
    shape = g.op('Shape', x)
    rest = g.op('Slice', shape, *(_constant(g, [n]) for n in (0, 2, 0)))
    size = g.op('Concat', rest, g.op('Cast', size, to_i=7), axis_i=0)
    nothing = g.op('Constant', value_t=torch.tensor([]))
    return g.op(
        'Resize',
        *(x, nothing, nothing, size),
        antialias_i=1,
        coordinate_transformation_mode_s='half_pixel',
        cubic_coeff_a_f=-0.5,
        exclude_outside_i=1,
        mode_s='cubic',
    )


def _repeat_last(
    g: Any, x: Any, repeats: Any, dim: Any, output_size: Any = None
) -> Any:
    """``repeat_interleave`` of the last dimension by a constant."""
    rank = x.type().dim()
    repeats, dim = (each.node().t('value') for each in (repeats, dim))
    assert int(dim) % rank == rank - 1
    columns = [g.op('Unsqueeze', x, _constant(g, [rank]))] * int(repeats)
    x = g.op('Concat', *columns, axis_i=rank)
    return g.op('Reshape', x, _constant(g, [0] * (rank - 1) + [-1]))


@parse_args('v', 'is', 'b', 'none')
def _mean(g: Any, x: Any, dims: Any, keepdim: bool, dtype: Any) -> Any:
    """``mean`` over dimensions, which are an input since opset 18."""
    dims = _constant(g, dims)
    x = g.op('ReduceMean', x, dims, keepdims_i=1)
    # not by keepdims, with which torch 2.1 infers no shape
    return x if keepdim else g.op('Squeeze', x, dims)


@parse_args('v', 's')
def _meshgrid(g: Any, axes: Any, indexing: str = 'ij') -> Any:
    """``meshgrid`` of two vectors."""
    first, second = axes.node().inputs()
    if indexing == 'xy':
        first, second = second, first
    down = g.op('Unsqueeze', first, _constant(g, [1]))
    along = g.op('Unsqueeze', second, _constant(g, [0]))
    size = g.op(
        'Concat', *(g.op('Shape', x) for x in (first, second)), axis_i=0
    )
    grids = [g.op('Expand', x, size) for x in (down, along)]
    return g.op(
        'prim::ListConstruct', *grids[:: -1 if indexing == 'xy' else 1]
    )
