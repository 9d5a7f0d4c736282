"""Decoding: texts that grow word by word, in one compiled program."""
from bst_jax.decoding.beams import beam
from bst_jax.decoding.captions import decode, draw, steps
from bst_jax.decoding.exported import Captioner, script
from bst_jax.decoding.rules import Rules, Texts
from bst_jax.decoding.single import greedy, sampled, Step
from bst_jax.decoding.streamed import streamed
from bst_jax.decoding.without_jax import write

__all__ = ['beam', 'Captioner', 'decode', 'draw', 'greedy', 'Rules', 'sampled',
           'script', 'Step', 'steps', 'streamed', 'Texts', 'write']
