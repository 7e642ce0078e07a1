"""The model's config in a checkpoint of ours, read without running it.

A Runner saves its config as Python text in ``meta['cfg']``. Running that text
would run code of the file, and so would building whatever ``type`` it names.
Here literals and ``dict(...)`` are read off its syntax tree, and nothing is
built from them: they are only asked for numbers and names.
"""

import ast
from typing import Any, Dict, Optional


def own_model_cfg(container: Any) -> Optional[Dict]:
    """Finds the config of the model in a checkpoint.

    Args:
        container (Any): What a ``.pth`` holds: a dict whose ``meta`` has the
            config as text under ``cfg``, as mmengine's Runner writes it, or
            as a dict under ``model``, as our tools write it.

    Returns:
        dict, optional: The settings of ``model``; those that are no literals
        are None. None if there is no config.
    """
    meta = container.get('meta') if isinstance(container, dict) else None
    if not isinstance(meta, dict):
        return None
    if isinstance(meta.get('model'), dict):
        return meta['model']
    text = meta.get('cfg')
    if not isinstance(text, str):
        return None
    try:
        statements = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    for statement in statements:
        if isinstance(statement, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == 'model'
            for target in statement.targets
        ):
            cfg = _evaluate(statement.value)
            return cfg if isinstance(cfg, dict) else None
    return None


def _evaluate(node: ast.expr) -> Any:
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name) and node.func.id == 'dict':
            return {
                item.arg: _evaluate(item.value)
                for item in node.keywords
                if item.arg
            }
        return None
    if isinstance(node, ast.Dict):
        keys = [_evaluate(key) if key else None for key in node.keys]
        return {
            key: _evaluate(value)
            for key, value in zip(keys, node.values)
            if isinstance(key, (str, int))
        }
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_evaluate(item) for item in node.elts]
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        return None
