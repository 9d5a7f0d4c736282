"""CLIP's encoder of pictures as OpenAI saved it -> that of METER.

Fills the encoder, of which METER leaves the last layer out; all else keeps the
parameters that it starts from.
"""
from bst_jax.interop.meter import clip_rows, shortened

TABLE = clip_rows('visual.')
# The projection behind it, and the encoder of texts.
IGNORED = (r'visual\.proj', r'transformer\..*', r'token_embedding\.weight',
           r'positional_embedding', r'text_projection', r'logit_scale',
           r'ln_final\..*', r'input_resolution', r'context_length',
           r'vocab_size')
RENAMES = ()
PARTIAL = True
ADAPT = shortened('visual.positional_embedding',
                  r'visual\.transformer\.resblocks\.(\d+)\.')
