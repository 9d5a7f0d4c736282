"""What is added from outside is one new file, and a name in the config.

A backbone, a method, a task, a form and a score, each the smallest that there
is; each trains two steps and is evaluated. None edits a file of ours.
"""
import json
import sys

from bst_jax import convert, experiment, train
from bst_jax.data import records
from bst_jax.store import checkpoint
from configs import common
import jax
import numpy as np
import pytest

BACKBONE = '''
"""The mean color of a picture through one hidden layer."""
from bst_jax.elastic import Axis, FULL
from bst_jax.layers.linear import Dense
from bst_jax.layers.tokens import per_row
from flax import linen as nn
import jax.numpy as jnp


class Model(nn.Module):
  """Elastic in its hidden units."""

  num_answers: int
  width: int = 8
  image_size: int = 64
  outputs: tuple[str, ...] = ('answers',)
  stacks = {}

  def at(self, sub):
    return self.clone(width=sub.units(Axis('embed', self.width)))

  @nn.compact
  def __call__(self, batch, *, sub=FULL, train=False):
    hidden, answers = Axis('embed', self.width), Axis('answers', self.num_answers)
    x = batch['image'].astype(jnp.float32).mean((1, 2)) / 255
    x = nn.relu(Dense((Axis('pixel', 3),), (hidden,), name='hidden')(x, sub=sub))
    if 'tokens' in batch:
      x = per_row(x, len(batch['tokens']))
    return {self.outputs[0]: Dense((hidden,), (answers,), name='head')(
        x, sub=sub)}
'''

METHOD = '''
"""Signs of gradients in place of gradients."""
from bst_jax import tasks
from bst_jax.elastic import FULL
from bst_jax.learn import state as states
from bst_jax.learn.state import Method, Pass
import jax
import jax.numpy as jnp


def make(model, task, tx, *, axes, space, micro_batches, scale=1.0):
  def grads_of(state, batch, key):
    def loss(params):
      outputs = model.apply({'params': params}, batch, train=True,
                            rngs={'dropout': key})
      return tasks.hard(task, outputs, batch, key)
    loss, grads = jax.value_and_grad(loss)(state.params)
    grads = jax.tree.map(lambda g: scale * jnp.sign(g), grads)
    return grads, {'loss/own': loss}, {}

  def step(state, batches):
    grads, metrics, written = states.accumulate(
        grads_of, state, batches['train'], micro_batches, mean=task.mean)
    return states.update(state, grads, tx, metrics, written)

  return Method(lambda rng, params: states.start(rng, params, tx), step,
                (Pass(FULL),))
'''

TASK = '''
"""Answers whose margin over the best wrong one is to be at least one."""
from bst_jax import tasks
from bst_jax.tasks import answers
import jax.numpy as jnp


def make(margin: float = 1.0):
  def loss(outputs, batch, key):
    logits, right = outputs['answers'], batch['target'] > 0
    best = jnp.where(right, logits, -1e9).max(-1)
    rival = jnp.where(right, -1e9, logits).max(-1)
    return {'answers': tasks.Rows(jnp.maximum(0, margin - best + rival),
                                  batch['mask'].astype(logits.dtype))}

  return answers.make()._replace(
      loss=loss, terms={'answers': (1.0, 'mean_batch')}, student=None)
'''

FORM = '''
"""How many plates a picture has, as its class."""
from bst_jax.data.forms import labels
from bst_jax.data.vocabularies import Vocabularies
import numpy as np

COUNTS = tuple('0123456789')


def read(records, lengths=(), options=None):
  return labels.Labels(np.array(
      [len(record['boxes']) for record in records], np.int32))


def form(features):
  return labels.form(features)._replace(
      what='counted pictures', parts=('boxes',), read=read, beside=None,
      vocabularies=lambda context: Vocabularies(answers=COUNTS))
'''

SCORE = '''
"""The mean of one over the rank of the best right answer."""
from bst_jax.scores import Measure
import jax.numpy as jnp
import numpy as np


def make(output, among=100):
  def read(outputs, batch):
    logits = outputs[output]
    best = jnp.where(batch['score'] > 0, logits, -jnp.inf).max(-1)
    return {'rank': 1 + (logits > best[:, None]).sum(-1)}

  def finish(rows, data):
    rank = rows['rank']
    return {'mean': float(np.mean(np.where(rank <= among, 100 / rank, 0)))}

  return Measure('reciprocal_rank', 'mean reciprocal rank in percent', read,
                 'rows', finish)
'''

BUILDER = '''
"""Twelve pictures of one color each."""
import io

import numpy as np
from PIL import Image
import tensorflow_datasets as tfds

COLORS = {'red': (255, 0, 0), 'green': (0, 255, 0), 'blue': (0, 0, 255)}


class Builder(tfds.core.GeneratorBasedBuilder):
  """Three colors, four times."""

  name = 'one_color'
  VERSION = tfds.core.Version('1.0.0')

  def _info(self):
    return tfds.core.DatasetInfo(
        builder=self, features=tfds.features.FeaturesDict({
            'image': tfds.features.Image(shape=(8, 8, 3),
                                         encoding_format='png'),
            'label': tfds.features.ClassLabel(names=list(COLORS))}))

  def _split_generators(self, dl_manager):
    return {split: self._generate_examples() for split in ('train', 'test')}

  def _generate_examples(self):
    for i in range(12):
      name = list(COLORS)[i % 3]
      file = io.BytesIO()
      Image.fromarray(np.full((8, 8, 3), COLORS[name], np.uint8)).save(
          file, 'png')
      yield i, {'image': file.getvalue(), 'label': name}
'''

TABLE = '''
"""Files of a library that calls the layers fc1 and fc2."""
from bst_jax.interop.core import COPY, LINEAR

TABLE = (('fc1.weight', 'hidden/kernel', LINEAR),
         ('fc1.bias', 'hidden/bias', COPY),
         ('fc2.weight', 'head/kernel', LINEAR),
         ('fc2.bias', 'head/bias', COPY))
'''

FILES = {'__init__': '', 'backbone': BACKBONE, 'method': METHOD, 'task': TASK,
         'form': FORM, 'score': SCORE, 'builder': BUILDER, 'table': TABLE}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """The user's own folder, in which Python finds the package `own_parts`."""
  folder = tmp_path_factory.mktemp('own')
  (folder / 'own_parts').mkdir()
  for name, code in FILES.items():
    (folder / 'own_parts' / f'{name}.py').write_text(code)
  sys.path.insert(0, str(folder))
  yield folder
  sys.path.remove(str(folder))
  for name in [name for name in sys.modules if name.startswith('own_parts')]:
    del sys.modules[name]


def config_of(**changes):
  """Two steps of the own backbone on questions about pictures."""
  config = common.base()
  config.data = common.digit_scenes('tiny') | dict(batch=16, inputs=('image',))
  config.model = dict(name='own_parts.backbone', width=8)
  config.task, config.method = dict(name='vqa'), dict(name='plain')
  config.optimizer = dict(name='adamw', lr=0.1, weight_decay=0.0, clip=1.0)
  config.schedule = dict(name='cosine', warmup=0.1)
  config.steps, config.space.widths = 2, ('1/2', '1')
  config.update(changes)
  return config


def trained(config, workdir):
  """Metrics of the last step, and the rows that the evaluation wrote."""
  train.run(config, workdir)
  steps = [json.loads(line) for line in
           (workdir / 'metrics.jsonl').read_text().splitlines()]
  rows = json.loads((workdir / 'evaluation_test.json').read_text())['rows']
  assert [row['submodel'] for row in rows] == ['1/2x1', '1x1']
  assert steps[-1]['step'] == 2 and np.isfinite(steps[-1]['grad_norm'])
  return steps[-1], rows


def test_a_backbone(folder, tmp_path):
  _, rows = trained(config_of(method=dict(
      name='bst', teacher='inplace', sampled=0)), tmp_path)
  assert rows[0]['params'] < rows[1]['params']
  exp = experiment.load(tmp_path)  # The workdir knows the dotted name.
  assert exp.config.model.name == 'own_parts.backbone'
  assert type(exp.model).__module__ == 'own_parts.backbone'


def test_a_method(folder, tmp_path):
  metrics, _ = trained(config_of(method=dict(
      name='own_parts.method', scale=2.0)), tmp_path)
  sizes = [x.size for x in jax.tree.leaves(experiment.load(tmp_path).shapes)]
  assert 'loss/own' in metrics
  assert metrics['grad_norm'] <= 2 * np.sqrt(sum(sizes)) + 1e-3
  assert metrics['grad_norm'] > 2


def test_a_task(folder, tmp_path):
  metrics, rows = trained(config_of(task=dict(
      name='own_parts.task', margin=3.0)), tmp_path)
  assert 0 < metrics['loss/full'] < 10  # Near the margin, a mean of rows.
  assert 'accuracy' in rows[1]


def test_a_form(folder, tmp_path):
  config = config_of(task=dict(name='classify'))
  config.data = dict(name='digit_scenes/tiny', form='own_parts.form',
                     train='train', eval='test', watch='', batch=16)
  trained(config, tmp_path)
  names = json.loads((tmp_path / 'vocab' / 'answers.json').read_text())
  assert names == list('0123456789')


def test_a_score(folder, tmp_path):
  _, rows = trained(config_of(task=dict(
      name='vqa', measure=dict(name='own_parts.score', among=50))), tmp_path)
  for row in rows:
    assert row['measure'] == 'reciprocal_rank'
    assert 0 < row['reciprocal_rank']['mean'] <= 100


def test_a_data_set(folder, tmp_path):
  config = config_of(task=dict(name='classify'))
  config.data = dict(name='own_parts.builder', train='train', eval='test',
                     watch='', batch=4, data_dir=str(tmp_path / 'data'))
  config.model.image_size = 8
  trained(config, tmp_path / 'run')
  assert (tmp_path / 'data' / 'one_color' / '1.0.0').is_dir()
  with pytest.raises(ValueError, match="no config of data set own_parts"):
    records.prepare('own_parts.builder/large', str(tmp_path / 'data'))


def test_a_checkpoint_table(folder, tmp_path):
  config = config_of()
  exp = experiment.build(config, dict(num_answers=5, image_size=64))
  rng = np.random.default_rng(0)
  params = jax.tree.map(lambda s: rng.random(s.shape, np.float32), exp.shapes)
  experiment.save(tmp_path / 'a', config, exp.sizes)
  checkpoint.save_params(tmp_path / 'a', params)
  convert.write(tmp_path / 'a', 'own_parts.table', tmp_path / 'a.safetensors')
  config.data.sizes = dict(exp.sizes)
  convert.read(config, 'own_parts.table', tmp_path / 'a.safetensors',
               tmp_path / 'b')
  back = checkpoint.load_params(tmp_path / 'b', exp.shapes)
  jax.tree.map(np.testing.assert_array_equal, params, back)


def test_a_workdir_says_what_it_misses(folder, tmp_path, monkeypatch):
  exp = experiment.build(config_of(), dict(num_answers=5, image_size=64))
  experiment.save(tmp_path, exp.config, exp.sizes)
  assert experiment.load(tmp_path).model == exp.model
  monkeypatch.setattr(sys, 'path', [p for p in sys.path if p != str(folder)])
  for name in [name for name in sys.modules if name.startswith('own_parts')]:
    monkeypatch.delitem(sys.modules, name)
  with pytest.raises(ValueError, match="folder that holds 'own_parts'"):
    experiment.load(tmp_path)
