"""From files of a user's own to an exported model, without writing a config.

The package is installed from its wheel, and nothing knows of the clone.
"""
import json
import shlex
import subprocess
import sys

import numpy as np
from PIL import Image
import pytest
import test_interop_folders
import test_package

wheel, site = test_package.wheel, test_package.site

# Runs `bst-jax LINE` for each line of stdin, in a process forked for it: what is
# slow to import is there, and nothing of the line before.
MANY = '''
import os, shlex, sys
from bst_jax import __main__ as command
import flax, grain, jax, optax, orbax.checkpoint, tensorflow_datasets

print(command.__file__, flush=True)
for line in sys.stdin.read().splitlines():
  if not os.fork():
    code = 0
    try:
      command.main(shlex.split(line))
    except SystemExit as done:
      code = done.code
    sys.stdout.flush()
    print('exit', code or 0, flush=True)
    os._exit(0)
  os.wait()
'''
COLORS = {'crow': (20, 20, 20), 'heron': (150, 150, 160), 'robin': (200, 60, 40)}


def run(lines, folder, site):
  """What each command printed to stdout; none may fail."""
  env = {'PYTHONPATH': str(site), 'BST_JAX_DATA': str(folder / 'data'),
         'JAX_PLATFORMS': 'cpu', 'PATH': '/usr/bin:/bin', 'HOME': str(folder)}
  done = subprocess.run([sys.executable, '-c', MANY], input='\n'.join(lines),
                        cwd=folder, env=env, text=True, capture_output=True)
  first, *said = done.stdout.split('exit ')
  assert str(site) in first, done.stderr
  codes = [text.split()[0] for text in said]
  assert codes == ['0'] * len(lines), done.stdout + done.stderr
  first = first.split('\n', 1)[1]
  return [first, *(text.split('\n', 1)[1] for text in said[:-1])], done.stderr


def picture(rng, color, path):
  path.parent.mkdir(parents=True, exist_ok=True)
  noise = rng.normal(0, 30, (40, 48, 3))
  Image.fromarray(np.clip(noise + color, 0, 255).astype(np.uint8)).save(path)


def test_classes_of_a_folder(site, tmp_path):
  """A network of transformers' form, fine-tuned, sampled and exported."""
  rng = np.random.default_rng(0)
  for split, count in (('train', 16), ('val', 4)):
    for name, color in COLORS.items():
      for i in range(count):
        picture(rng, color, tmp_path / 'birds' / split / name / f'{i}.jpg')
  (tmp_path / 'vit').mkdir()
  test_interop_folders.vit(tmp_path / 'vit')
  said, log = run([
      'convert --checkpoint vit --workdir runs/vit',
      'train --from runs/vit --workdir runs/birds --config.start.fresh=head '
      '--config.data.manual_dir=birds --config.data.batch=8 '
      '--config.epochs=4 --config.optimizer.lr=1e-3',
      "search --workdir runs/birds --budget 'macs<=80K' --images 12 "
      '--output runs/sampled',
      'train --from runs/sampled --workdir runs/tuned --config.epochs=1',
      'predict --workdir runs/tuned --image birds/val/robin/0.jpg',
      'export --workdir runs/tuned --format stablehlo --output runs/phone',
  ], tmp_path, site)
  assert '2 are new and begin at random: head' in log
  rows = {name: json.loads((tmp_path / 'runs' / name / 'evaluation_val.json'
                            ).read_text())['rows'][0]
          for name in ('birds', 'tuned')}
  assert rows['birds']['accuracy']['overall'] > 60  # Three classes.
  assert rows['tuned']['macs'] <= 80_000 < rows['birds']['macs']
  assert said[4].split()[0] in COLORS
  assert (tmp_path / 'runs' / 'phone' / 'model.stablehlo').stat().st_size > 1e4


def test_questions_about_raw_pictures(site, tmp_path):
  """Files in VQA-v2's form: trained from pixels, cut, asked and exported."""
  rng, number = np.random.default_rng(0), 0
  for split, count in (('train', 24), ('val', 8)):
    questions, answers = [], []
    for i in range(count):
      name = list(COLORS)[rng.integers(3)]
      image = f'{split}{i}'
      picture(rng, COLORS[name], tmp_path / 'mine' / 'images' / f'{image}.png')
      about = dict(question_id=number, image_id=image)
      questions.append(about | dict(question='what bird is it?'))
      answers.append(about | dict(answers=[{'answer': name}]))
      number += 1
    for what, listed in (('questions', questions), ('annotations', answers)):
      (tmp_path / 'mine' / f'{split}_{what}.json').write_text(
          json.dumps({what: listed}))
  asked = shlex.quote('what bird is it?')
  said, _ = run([
      'train --config configs/pictures.py:tiny --workdir runs/mine '
      '--config.data.name=folder/images --config.data.manual_dir=mine '
      '--config.data.eval=val --config.data.watch= --config.steps=4 '
      '--config.data.image_size=32,32 --config.space.depths=1 '
      '--config.method.name=plain',
      "evaluate --workdir runs/mine --split val --budget 'macs<=100M'",
      'extract --workdir runs/mine --submodel 1/2x1 --output runs/small',
      'evaluate --workdir runs/small --split val',
      f'predict --workdir runs/small --image mine/images/val0.png --question {asked}',
      'export --workdir runs/small --format stablehlo --output runs/phone',
  ], tmp_path, site)
  assert 'macs<=100M' in said[1] or '1x1' in said[1]
  assert said[4].split()[0] in COLORS
  card = json.loads((tmp_path / 'runs' / 'phone' / 'card.json').read_text())
  assert set(card['inputs']) == {'tokens', 'image'}


@pytest.mark.parametrize('line, said', [
    ('train --from runs/nothing --workdir runs/a', 'no config.json'),
    ('convert --checkpoint nothing --workdir runs/a', 'nothing'),
    ('predict --workdir runs/nothing --image a.jpg', 'config.json'),
])
def test_a_wrong_path_ends_in_a_sentence(site, tmp_path, line, said):
  done = subprocess.run(
      [sys.executable, site / 'bin' / 'bst-jax', *line.split()], cwd=tmp_path,
      env={'PYTHONPATH': str(site), 'JAX_PLATFORMS': 'cpu'}, text=True,
      capture_output=True)
  assert done.returncode == 2 and said in done.stderr
  assert 'Traceback' not in done.stderr and not (tmp_path / 'runs').exists()
