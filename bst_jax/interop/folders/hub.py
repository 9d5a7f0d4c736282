"""Checkpoints of the Hugging Face hub."""
import pathlib
import re

PREFIX = 'hf:'
_NAME = re.compile(r'[\w.-]+(?:/[\w.-]+)?(?:@[\w./-]+)?')
_DESCRIBED = ('config.json', '*preprocessor_config.json',
              'processor_config.json')
# The first kind that a repository has is fetched.
_WEIGHTS = (('*.safetensors', '*.safetensors.index.json'),
            ('*.bin', '*.bin.index.json'))


def fetch(name: str) -> pathlib.Path:
  """The folder of a checkpoint, fetched where it is not in the hub's cache.

  Args:
    name: hf:ORGANISATION/NAME, or hf:ORGANISATION/NAME@REVISION.

  Raises:
    ValueError: no such name, no package to fetch it with, or no way to it.
  """
  asked = name.removeprefix(PREFIX)
  if not _NAME.fullmatch(asked):
    raise ValueError(f'{name} is no name of a checkpoint; write '
                     'hf:ORGANISATION/NAME, as hf:google/vit-base-patch16-224.')
  try:
    import huggingface_hub
  except ImportError:
    raise ValueError(
        f'{name} is fetched by huggingface_hub, which is not installed: pip '
        'install huggingface_hub, or fetch the folder yourself and name it.'
    ) from None
  repository, _, revision = asked.partition('@')
  for patterns in _WEIGHTS:
    try:
      folder = pathlib.Path(huggingface_hub.snapshot_download(
          repository, revision=revision or None,
          allow_patterns=[*_DESCRIBED, *patterns]))
    except Exception as error:  # Of its own, of its client's, of the system.
      reason = ' '.join((str(error) or type(error).__name__).split())
      raise ValueError(
          f'{name} is not in the cache of the Hugging Face hub and cannot be '
          f'fetched ({reason[:200]}). Check its name and the network, or copy '
          'its folder here and give that as --checkpoint.') from error
    if any(path for pattern in patterns for path in folder.glob(pattern)):
      return folder
  raise ValueError(f'{name} holds neither .safetensors nor .bin files; there '
                   'is nothing to convert.')
