"""CLIP's ResNets -> the trunk of models/clip_vil.py, and nothing else.

The published files are TorchScript archives, which run code when they are
loaded; in torch, save `torch.jit.load(path).state_dict()` of one you trust.
"""
from bst_jax.interop.core import conv_norm_rows


def rows(foreign='visual.', ours='visual/'):
  """The trunk under a foreign and one of our prefixes."""
  stem = [conv_norm_rows((f'{foreign}conv{i}', f'{foreign}bn{i}'),
                         (f'{ours}conv{i}', f'{ours}norm{i}'))
          for i in (1, 2, 3)]
  blocks = []
  for stage in (1, 2, 3, 4):
    block, mine = f'{foreign}layer{stage}.{{i}}', f'{ours}stage{stage}_{{i}}'
    blocks += [conv_norm_rows((f'{block}.conv{i}', f'{block}.bn{i}'),
                              (f'{mine}/conv{i}', f'{mine}/norm{i}'))
               for i in (1, 2, 3)]
    blocks.append(conv_norm_rows(
        (f'{block}.downsample.0', f'{block}.downsample.1'),
        (f'{mine}/shortcut', f'{mine}/shortcut_norm')))
  return tuple(row for pair in (*stem, *blocks) for row in pair)


# What torch counts and nothing reads; the pool that a grid bypasses.
BYPASSED = (r'.*\.num_batches_tracked', r'.*visual\.attnpool\..*')

TABLE = rows()
IGNORED = (
    *BYPASSED,
    # The text tower, and numbers about both.
    r'transformer\..*', r'ln_final\..*', r'token_embedding\.weight',
    'positional_embedding', 'text_projection', 'logit_scale',
    'input_resolution', 'context_length', 'vocab_size')
RENAMES = ()
PARTIAL = True
