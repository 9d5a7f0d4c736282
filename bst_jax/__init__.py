"""Elastic vision-language and vision transformers in JAX and Flax.

Train once, then run whichever part of the model a platform can afford.
"""

__version__ = '0.1.0'
