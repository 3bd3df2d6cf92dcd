"""Generative models and domain adaptation: the importable part of the repository. Importing it does nothing."""
