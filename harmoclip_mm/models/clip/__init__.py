"""Assembly of towers and heads."""
