"""The commands of README and docs, run in the order of the page, shrunk.

Configs are `:tiny` and train a few steps; hf:… is a folder that the test makes.
What needs data or devices that are not here is named in `NEEDS`.
"""
import json
import os
import re
import shlex
import shutil
import subprocess
import sys

from bst_jax.data.builders.digit_scenes import examples, programs
from bst_jax.data.builders.digit_scenes import scenes as drawn
import numpy as np
from PIL import Image
import pytest
import test_interop_folders
import test_readme
from test_six_commands import MANY

PAGES = ('README.md', 'docs/fine_tuning.md', 'docs/small_devices.md',
         'docs/minivlm.md')
# Words of a command that cannot run here, and why; other tests run the like.
NEEDS = {
    'configs/pictures.py': 'questions about pictures of your own',
    'configs/bst_mcan_vqa.py': 'VQA-v2', 'configs/mcan_vqa.py': 'VQA-v2',
    'configs/ats_deit_s.py': 'pictures of your own',
    'configs/vit_fashion.py': 'Fashion-MNIST', 'runs/vit_11m': 'Fashion-MNIST',
    'compile': 'a compiler for TPUs', 'choice.json': 'a choice of your own',
    'MY_FOLDER': 'a network of your own',
    'runs/deit_b': 'a network of your own', 'runs/up_deit_t': 'the same',
    'runs/two': 'several processes, which test_launch.py starts',
    'runs/eyes': 'half a minute, which test_detection_export.py takes'}
STEPS = ['--config.steps=4', '--config.log_every=2', '--config.save_every=2']
# Flags in place of others: formats whose libraries the tests do not install,
# widths that a tiny network has.
SHRUNK = {'stablehlo,onnx,int8': 'stablehlo', 'onnx,int8': 'stablehlo',
          '1/4x1/2': '1/2x1/2', 'configs/quickstart.py': 'configs/quickstart.py:tiny',
          'configs/das_scenes.py': 'configs/das_scenes.py:tiny',
          'configs/das_scenes.py:pretrain': 'configs/das_scenes.py:pretrain,tiny',
          **{f'configs/{name}.py{variant}': f'configs/{name}.py:{tiny}'
             for name, variant, tiny in (
                 ('minivlm_caption_scenes', '', 'tiny'), ('tee_scenes', '', 'tiny'),
                 ('minivlm_pretrain', '', 'tiny'), ('minivlm_captions', '', 'tiny'),
                 ('minivlm_captions', ':scst', 'scst,tiny'),
                 ('bst_minivlm_captions', '', 'tiny'))},
          'hf:google/vit-base-patch16-224': 'vit',
          'latency_ms<=2': 'latency_ms<=10000'}


def shrunk(name, argv):
  """A command as it is run here; None where it needs what is not here."""
  words = [name, *argv]
  if any(need in word for need in NEEDS for word in words):
    return None
  argv = [SHRUNK.get(arg, arg) for arg in argv]
  if name != 'train':
    return [name, *argv]
  argv = [arg for arg in argv if not arg.startswith('--config.steps=')] + STEPS
  if '--from' not in argv and not any(
      name in arg for arg in argv
      for name in ('das_scenes', 'minivlm', 'tee_scenes')):
    argv += ['--config.teacher.steps=4', '--config.teacher.save_every=4',
             '--config.eval_every=2']
  if any('minivlm_pretrain' in arg for arg in argv):
    argv.append('--config.data.least_confidence=0')  # Its detector saw four steps.
  return [name, *argv]


COMMANDS = [(path, shrunk(name, argv)) for path, name, argv in test_readme.COMMANDS
            if path in PAGES]


def test_most_of_them_can_be_run_here():
  run = [command for _, command in COMMANDS if command]
  assert len(run) >= 20 and len(run) > len(COMMANDS) / 2
  named = {command[0] for command in run}
  assert named >= {'train', 'evaluate', 'profile', 'predict', 'extract',
                   'export', 'convert'}


@pytest.fixture(scope='module')
def beside(tmp_path_factory):
  """What a user has beside the clone: a network of others, and pictures."""
  folder = tmp_path_factory.mktemp('pages')
  (folder / 'vit').mkdir()
  test_interop_folders.vit(folder / 'vit')
  rng = np.random.default_rng(0)
  for i in range(8):  # Of classes that the network names.
    place = folder / 'my_pictures' / 'val' / f'animal {i % 4}'
    place.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (20, 20, 3), np.uint8)).save(
        place / f'{i}.png')
  scenes = [*examples.generate(drawn.EASY, programs.EASY, 'train', 24)]
  for place, some in (('my_captions/images', scenes[:16]),
                      ('more_pictures', scenes[16:])):
    (folder / place).mkdir(parents=True)
    for i, scene in enumerate(some):
      Image.fromarray(scene.image).save(folder / place / f'{i}.png')
  (folder / 'my_captions' / 'list.jsonl').write_text('\n'.join(json.dumps(
      {'image': f'images/{i}.png', 'captions': scene.captions,
       'split': 'val' if i > 11 else 'train'})
      for i, scene in enumerate(scenes[:16])))
  words = {word for scene in scenes for text in scene.captions
           for word in re.findall(r'\w+|[^\w\s]', text)} | set('0123456789')
  (folder / 'vocab.txt').write_text('\n'.join((
      '[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *sorted(words))))
  return folder


def run(page, beside):
  """The folder that the commands of a page leave, and what they print."""
  folder = beside / page.replace('/', '_')
  folder.mkdir()
  for name in ('configs', 'docs'):
    (folder / name).symlink_to(test_readme.ROOT / name)
  for name in ('vit', 'my_pictures', 'my_captions', 'more_pictures', 'vocab.txt'):
    (folder / name).symlink_to(beside / name)
  first = beside / 'README.md' / 'runs' / 'quickstart'
  if first.exists():  # The other pages go on from the README's.
    shutil.copytree(first, folder / 'runs' / 'quickstart')
  lines = [shlex.join(command) for path, command in COMMANDS
           if path == page and command]
  done = subprocess.run(
      [sys.executable, '-c', MANY], input='\n'.join(lines), cwd=folder,
      text=True, capture_output=True, env=os.environ | {
          'PYTHONPATH': str(test_readme.ROOT), 'JAX_PLATFORMS': 'cpu',
          'BST_JAX_DATA': str(beside / 'data'),
          'BST_JAX_CACHE': str(beside / 'cache')})
  codes = [text.split()[0] for text in done.stdout.split('exit ')[1:]]
  failed = [line for line, code in zip(lines, codes) if code != '0']
  assert len(codes) == len(lines) and not failed, (
      '\n'.join(failed) + '\n' + done.stdout[-2000:] + done.stderr[-5000:])
  return folder, done.stdout


def test_they_run(beside):
  """One test, as the pages stand on one another."""
  folder, said = run('README.md', beside)
  for made in ('runs/quickstart/evaluation_val.png', 'runs/small/config.json',
               'runs/phone/card.md', 'runs/longer/checkpoints', 'look.png',
               'mcan.safetensors', 'my-vit/README.md'):
    assert (folder / made).exists(), made
  assert 'animal' in said  # What predict says of the scene.
  folder, _ = run('docs/fine_tuning.md', beside)
  for made in ('small_tuned', 'small_taught', 'head_alone', 'best_small'):
    assert (folder / 'runs' / made / 'checkpoints').exists(), made
  folder, said = run('docs/small_devices.md', beside)
  assert 'latency_ms' in said and (folder / 'runs/phone/card.md').exists()
  assert (folder / 'runs/captioner/caption.py').exists()
  assert 'step.stablehlo' in said
  folder, said = run('docs/minivlm.md', beside)
  lines = (folder / 'more_pictures/captions.jsonl').read_text().splitlines()
  assert len(lines) == 8 and all('tags' in json.loads(line) for line in lines)
  assert (folder / 'runs/phone/caption.py').exists()
