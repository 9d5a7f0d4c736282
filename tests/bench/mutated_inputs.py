"""Good small inputs, how they are changed, and what reads them."""
from collections.abc import Callable
import functools
import json
import pathlib
from typing import Any, NamedTuple

from bench import mutating
import bst_jax
from bst_jax import convert, score
from bst_jax.data import single, source
from bst_jax.data.builders import asked, regions
from bst_jax.data.builders.problems import Problems
from bst_jax.interop import core, files
from bst_jax.report import standing
from bst_jax.run import experiment, progress
from bst_jax.store import best, checkpoint, workdir
from configs import quickstart
import made_up
import models
import numpy as np


class Subject(NamedTuple):
  """A kind of input.

  Attributes:
    variants: how many good ones there are.
    make: (empty folder, number of the variant) -> None; writes a good one.
    change: (folder, random numbers) -> (what it did, whether it is harmless).
    read: folder -> what can be compared; raises ValueError where it refuses.
  """

  variants: int
  make: Callable[[pathlib.Path, int], None]
  change: Callable[[pathlib.Path, Any], tuple[str, bool]]
  read: Callable[[pathlib.Path], Any]


# Pictures.

_KINDS = 'JPEG', 'PNG', 'WEBP', 'GIF', 'BMP', 'TIFF', 'MPO'


def _make_picture(folder, number):
  mode = ('RGB', 'L', 'RGB')[number % 3]
  kind = _KINDS[number % len(_KINDS)]
  (folder / 'cat.jpg').write_bytes(made_up.picture(
      number, mode, kind, size=(24, 20)))


def _read_picture(folder):
  return single.batch(dict(name='fashion_mnist'), {'image_size': 16}, None,
                      folder / 'cat.jpg')


def _change_picture(folder, rng):
  return mutating.file(folder / 'cat.jpg', rng)


# Questions, annotations and results.


def _make_questions(folder, number):
  del number
  made_up.folder(folder, train=4, val=1)
  rows = json.loads((folder / 'train_annotations.json').read_text())
  (folder / 'results.json').write_text(json.dumps([
      dict(question_id=row['question_id'], answer='red')
      for row in rows['annotations']]))
  for path in [*folder.iterdir()]:
    if path.name not in ('train_questions.json', 'train_annotations.json',
                         'results.json'):
      mutating.remove(path)


def _read_questions(folder):
  return asked.read(folder / 'train_questions.json',
                    folder / 'train_annotations.json', Problems())


def _change_questions(folder, rng):
  name = rng.choice(['train_questions.json', 'train_annotations.json'])
  return mutating.json_file(folder / name, rng)


def _read_results(folder):
  return score.score(folder / 'results.json',
                     folder / 'train_annotations.json')


def _change_results(folder, rng):
  name = rng.choice(['results.json', 'train_annotations.json'])
  return mutating.json_file(folder / name, rng)


# Features of regions.


def _make_features(folder, number):
  if number == 0:
    for i, picture in enumerate('pq'):
      made_up.npz(folder / f'{picture}.npz', i)
  elif number == 1:
    (folder / 'all.tsv').write_text(''.join(
        made_up.tsv_line(p, i) for i, p in enumerate('pq')))
  else:
    import h5py

    with h5py.File(folder / 'gqa_objects_0.h5', 'w') as file:
      arrays = [made_up.region_arrays(i, 3, 16)[:2] for i in range(2)]
      file['features'], file['bboxes'] = (
          np.stack(each) for each in zip(*arrays))
    (folder / 'gqa_objects_info.json').write_text(json.dumps({
        p: dict(file=0, idx=i, objectsNum=3, width=100, height=50)
        for i, p in enumerate('pq')}))


def _read_features(folder):
  return dict(regions.read(folder, ['p', 'q'], Problems()))


def _change_features(folder, rng):
  path = rng.choice(sorted(folder.iterdir()))
  if path.suffix == '.json':
    return mutating.json_file(path, rng)
  if path.suffix == '.npz' and rng.random() < 0.5:
    return mutating.arrays(path, rng)
  return mutating.file(path, rng)


# A workdir: its config, sizes and vocabularies, parameters and choices.


@functools.cache
def _quickstart():
  """(experiment, data) of the smallest config."""
  config = quickstart.get_config('tiny')
  data = experiment.load_data(config, '/nowhere')
  return experiment.build(config, data.sizes), data


def _make_workdir(folder, number):
  del number
  exp, data = _quickstart()
  data.save_vocab(folder / experiment.VOCAB)
  experiment.save(folder, exp.config, data.sizes)
  checkpoint.save_params(folder, models.random_params(exp.shapes))
  choice = dict(submodel='1/2x1/2', skip=None, keep={}, layers={}, tokens={},
                model='')
  (folder / 'choice.json').write_text(json.dumps(choice))


def _read_workdir(folder):
  net = bst_jax.load(folder)
  return dict(answers=tuple(net.answers), shapes=str(
      mutating.shapes(net.params)), config=str(net.model))


def _change_workdir(folder, rng):
  path = rng.choice(sorted([folder / 'config.json',
                            *(folder / experiment.VOCAB).iterdir()]))
  return mutating.json_file(path, rng)


def _read_choice(folder):
  exp, _ = _quickstart()
  choice = experiment.read_choice(folder / 'choice.json')
  small = experiment.chosen(exp, choice)
  return str(small.model)


def _change_choice(folder, rng):
  return mutating.json_file(folder / 'choice.json', rng)


# config.data, as flags may set it.


def _make_options(folder, number):
  form = {'config': dict(
      name='digit_scenes/tiny', batch=8, inputs=['image'], image_size=16,
      image_fit='black', limit=3, seed=1, train='train', eval='test',
      cache='auto', canvases=[[16, 16]], max_bad=0, threads=0, num_regions=3,
      min_answers=1, max_tokens=9) if number else dict(
          name='motion8/tiny', batch=8, image_size=16, image_fit='crop',
          limit=3, seed=1, train='train', eval='test', cache='auto',
          frames=4, views=2,
          crops=1, sampling='dense', stride=2, short='repeat',
          max_missing=0.5, augment=dict(flip=0.5, crop=[0.3, 1.0]))}
  (folder / 'options.json').write_text(json.dumps(form))


def _read_options(folder):
  config = json.loads((folder / 'options.json').read_text('utf-8-sig'))
  opened = source.check(config['config'])
  return str(opened.options)


def _change_options(folder, rng):
  path = folder / 'options.json'
  whole = json.loads(path.read_text())
  what = mutating.value_in(whole['config'], rng)
  path.write_text(json.dumps(whole))
  return what, False


# Weights of others.

_VIT = dict(model_type='vit', architectures=['ViTForImageClassification'],
            hidden_size=16, num_hidden_layers=2, num_attention_heads=4,
            intermediate_size=32, image_size=16, patch_size=4,
            hidden_act='gelu', layer_norm_eps=1e-6, qkv_bias=True,
            id2label={str(i): f'animal {i}' for i in range(7)})


def _make_weights(folder, number):
  del number
  model = bst_jax.models.create(dict(
      name='vit', num_answers=7, image_size=16, patch=4, width=16, heads=4,
      mlp=32, num_layers=2))
  params, _ = models.prepare(model, models.batch_of('image'))
  files.save(folder / 'model.safetensors',
             core.write(convert.table('hf_vit_4').TABLE, params))
  (folder / 'config.json').write_text(json.dumps(_VIT))
  (folder / 'preprocessor_config.json').write_text(json.dumps(dict(
      image_mean=[0.5] * 3, image_std=[0.5] * 3, resample=2,
      size={'height': 16, 'width': 16})))


def _read_weights(folder):
  workdir = folder.parent / f'{folder.name}.work'
  try:
    convert.read(None, None, folder, workdir)
    exp = experiment.load(workdir)
    params = checkpoint.load_params(workdir, exp.shapes)
    return {'model': str(exp.model)} | mutating.flat(params)
  finally:
    mutating.remove(workdir)


def _change_weights(folder, rng):
  path = rng.choice(sorted(folder.iterdir()))
  if path.suffix == '.json':
    return mutating.json_file(path, rng)
  return mutating.file(path, rng)


def _read_saved(folder):
  exp, _ = _quickstart()
  return mutating.flat(checkpoint.load_params(folder, exp.shapes))


def _change_saved(folder, rng):
  return mutating.file(rng.choice(sorted(
      path for path in (folder / 'checkpoints').rglob('*') if path.is_file())),
                       rng)


def _either(folder):
  return 'weights' if (folder / 'model.safetensors').exists() else 'saved'


# What runs leave behind, and others read.


def _make_left(folder, number):
  del number
  (folder / 'checkpoints' / '3').mkdir(parents=True)
  row = dict(submodel='1x1', params=7, macs=9, accuracy=dict(overall=50.0),
             questions=4)
  for name, value in {
      best.FILE: dict(step=3, score=0.5, of='accuracy'),
      experiment.PART: dict(table='hf_bert', missing=['head']),
      'evaluation_test.json': dict(data='vqa', split='test', step=3,
                                   rows=[row]),
      progress.FILE: dict(step=3, time=1.0, loss=0.5)}.items():
    (folder / name).write_text(json.dumps(value) + '\n')


def _read_left(folder):
  table = 'evaluation_test.json'
  return str([
      best.read(folder) if (folder / best.FILE).exists() else None,
      experiment.read_part(folder), workdir.read_table(folder, table),
      standing.place(folder, dict(
          split='test', step=3, rows=[dict(submodel='1x1', params=7, macs=9)])),
      progress.read(folder)])


def _change_left(folder, rng):
  path = rng.choice(sorted(p for p in folder.iterdir() if p.is_file()))
  # JSON by lines is no JSON.
  change = mutating.file if path.suffix == '.jsonl' else mutating.json_file
  return change(path, rng)


SUBJECTS = {
    'left': Subject(1, _make_left, _change_left, _read_left),
    'picture': Subject(21, _make_picture, _change_picture, _read_picture),
    'annotations': Subject(1, _make_questions, _change_questions,
                           _read_questions),
    'results': Subject(1, _make_questions, _change_results, _read_results),
    'features': Subject(3, _make_features, _change_features, _read_features),
    'workdir': Subject(1, _make_workdir, _change_workdir, _read_workdir),
    'options': Subject(2, _make_options, _change_options, _read_options),
    'checkpoint': Subject(
        2, lambda f, n: (_make_weights, _make_workdir)[n](f, 0),
        lambda f, rng: dict(weights=_change_weights, saved=_change_saved)[
            _either(f)](f, rng),
        lambda f: dict(weights=_read_weights, saved=_read_saved)[
            _either(f)](f)),
    'choice': Subject(1, _make_workdir, _change_choice, _read_choice),
}
