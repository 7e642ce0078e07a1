"""Region features from a dense map or from crops."""
