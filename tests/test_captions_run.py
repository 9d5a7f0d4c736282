"""Captions from training to a user's folder, by the commands' own functions."""
import contextlib
import io
import json
import re
import types

from bst_jax import predict, train
from bst_jax.data import source
from bst_jax.learn import sharding
from bst_jax.report import predictions, scoring
from bst_jax.run import captioner as captioners
from bst_jax.run import experiment, jobs, loaded, pseudo_captions
from bst_jax.store import checkpoint
from configs import minivlm_caption_scenes
import jax
import numpy as np
import pytest

SCENE = 'docs/scene.png'
PIECES = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *(
    'a the of is are and picture with digits on colored plates comes first last '
    'small large red green blue yellow circle square triangle none no one two '
    'three four zero five six seven eight nine which plate in to').split()]


def config_of(arg='tiny', **data):
  config = minivlm_caption_scenes.get_config(arg)
  config.data.update(dict(max_tokens=12, limit=16, **data))
  config.model.update(num_layers=1, width=8, mlp=16, tag_start=14,
                      max_positions=20)
  config.steps, config.log_every, config.save_every = 2, 2, 2
  config.evaluate_at_end = False
  return config


def run(config, workdir):
  train.run(config, workdir)
  return workdir


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  return run(config_of(), tmp_path_factory.mktemp('captions') / 'run')


@pytest.fixture(scope='module')
def evaluated(trained):
  exp = experiment.load(trained)
  params = checkpoint.load_params(trained, exp.shapes)
  data = experiment.load_data(exp.config, trained)
  mesh, picks = sharding.make_mesh({'data': -1}), []
  with jax.set_mesh(mesh):
    result = scoring.evaluate(exp, data, params, exp.space.submodels, 'test',
                              mesh, picks)
  return exp, data, result, picks


def test_evaluation_prints_cider_d_of_what_is_written(trained, evaluated):
  exp, data, result, picks = evaluated
  assert re.search(r'CIDEr-D', scoring.table(result))
  numbers = result['rows'][0]['captions']
  assert np.isfinite(list(numbers.values())).all()
  assert numbers['CIDEr-D'] >= 0 and 0 <= numbers['open ends'] <= 100
  # Each picture once, whatever the number of its captions.
  numbers = [7 + i for i in range(16)]
  rows = len(data.split('test').rows.texts)
  owner = data.split('test').rows.owner
  paths = predictions.write(
      exp, data, [str(numbers[i]) for i in owner], picks, exp.space.submodels,
      'test', trained)
  entries = json.loads(next(iter(paths)).read_text())
  assert [one['image_id'] for one in entries] == numbers and rows > 16
  assert all(one['caption'] for one in entries)


def test_scenes_have_no_ids_for_a_server(evaluated):
  _, data, _, _ = evaluated
  with pytest.raises(ValueError, match='Ids of the questions'):
    predictions.ids(data, 'test')


def test_words_stream_as_they_are_decoded(trained):
  net = loaded.load(trained)
  for least in (0, 3):
    captioner = captioners.Captioner(net, least=least)
    told, = captioner([SCENE])
    assert [*captioner.stream(SCENE)] == told.caption.split()
    assert len(told.caption.split()) >= least
  out = io.StringIO()
  with contextlib.redirect_stdout(out):
    predict.caption(net, None, SCENE, 1, 3)
  assert out.getvalue().startswith(told.caption + ' ')
  wide = captioners.Captioner(net, beams=2)
  assert [*wide.stream(SCENE)] == wide([SCENE])[0].caption.split()
  assert wide([SCENE])[0].score >= captioners.Captioner(net)(
      [SCENE])[0].score - 1e-5


def test_a_folder_gets_captions_that_make_a_data_set(trained, tmp_path):
  folder = tmp_path / 'pictures'
  (folder / 'deep').mkdir(parents=True)
  picture = open(SCENE, 'rb').read()
  for name in ('a.png', 'deep/b.png', 'c.png'):
    (folder / name).write_bytes(picture)
  (folder / 'broken.png').write_bytes(b'no')
  captioner = captioners.Captioner(loaded.load(trained), batch=2)
  path = folder / 'train_captions.jsonl'
  lines, bad = pseudo_captions.write(captioner, folder, path)
  assert lines == 3 and [*bad] == ['broken.png']
  whole = path.read_text()
  first = json.loads(whole.splitlines()[0])
  assert first == dict(image='a.png', caption=captioner([SCENE])[0].caption,
                       caption_version=captioner.fingerprint)
  # Torn off in the middle of a line, it goes on there.
  path.write_text(whole[:-20])
  assert pseudo_captions.write(captioner, folder, path)[0] == 3
  assert path.read_text() == whole
  with pytest.raises(ValueError, match='another model, checkpoint or search'):
    pseudo_captions.write(captioners.Captioner(
        loaded.load(trained), beams=2), folder, path)
  with pytest.raises(ValueError, match='ends in .jsonl'):
    pseudo_captions.write(captioner, folder, folder / 'x.txt')
  data = source.load(dict(
      name='caption_list', form='captioning', inputs=('image',), batch=1,
      image_size=8, manual_dir=str(folder), data_dir=str(tmp_path / 'home'),
      train='train', eval='train', allow_overlap=True, max_bad=5))
  assert data.split('train').rows.texts == [first['caption']] * 3
  version = {one['caption_version'] for one in data_lib_records(data)}
  assert version == {captioner.fingerprint.encode()}


def data_lib_records(data):
  from bst_jax.data import records
  return records.read(data.builder, 'train', ['caption_version'])


def test_what_an_extractor_finds_are_tags(trained):
  """Those that are sure enough; none are no tags."""
  net = loaded.load(trained)
  sizes = dict(net.experiment.sizes, max_tags=3)
  regions = {key: value[0] for key, value in captioners.Captioner(net).read(
      SCENE)[0].items()}
  exp = types.SimpleNamespace(
      config=net.experiment.config, sizes=sizes, task=net.experiment.task)
  own = types.SimpleNamespace(
      experiment=exp, workdir=net.workdir, model=net.model, params=net.params,
      vocabularies=net.vocabularies, submodel=net.submodel, regions=None)
  own.with_extractor = lambda extractor: own
  words = net.vocabularies['words']
  for names, wanted in ((['red', 'circle', 'unsure'], ['red', 'circle']),
                        ([], [])):
    tags = {'name': [name.encode() for name in names],
            'confidence': np.float32([.9, .3, .1][:len(names)])}
    finder = types.SimpleNamespace(
        fingerprint='abc', record=lambda path, tags=tags: regions | {'tags': tags})
    captioner = captioners.Captioner(own, finder)
    batch, told = captioner.read(SCENE)
    assert batch['tags'].shape == (1, 3) and [name for name, _ in told] == names
    assert words.decode(batch['tags'][0]).split() == wanted
    assert captioner([SCENE])[0].caption


def test_what_writes_no_captions(trained):
  net = loaded.load(trained)
  with pytest.raises(ValueError, match='0 beams were asked for'):
    captioners.Captioner(net, beams=0)
  with pytest.raises(ValueError, match='at least 11 words'):
    captioners.Captioner(net, least=11)


def test_rewards_go_on_from_it(trained, tmp_path):
  config = config_of('scst,tiny')
  config.start = str(trained)
  workdir = run(config, tmp_path / 'rewarded')
  row = [json.loads(line) for line in open(workdir / 'metrics.jsonl')][-1]
  assert row['step'] == 2 and 0 <= row['reward/greedy'] <= 10
  assert 0 <= row['captions/open_ends'] <= 1 and row['grad_norm'] > 0
  before, after = (checkpoint.load_params(folder) for folder in (
      trained, workdir))
  assert any((a != b).any() for a, b in zip(
      jax.tree.leaves(before), jax.tree.leaves(after)))


def test_another_vocabulary_is_refused_where_training_goes_on(tmp_path):
  path = tmp_path / 'vocab.txt'
  path.write_text('\n'.join(PIECES) + '\n')
  config = config_of(word_pieces=str(path))
  workdir = run(config, tmp_path / 'run')
  jobs.prepare(config, workdir)
  path.write_text('\n'.join([*PIECES[:20], *PIECES[21:]]) + '\n')
  with pytest.raises(ValueError, match='they differ from number 20 on'):
    jobs.prepare(config, workdir)
  # It still knows its own words where the file is gone.
  path.unlink()
  jobs.prepare(config, workdir)


@pytest.mark.parametrize('rows, fits', [(1, False), (len(PIECES) + 2, True)])
def test_rows_of_the_table(rows, fits, tmp_path):
  """More rows than words are padding; fewer leave a word without one."""
  path = tmp_path / 'vocab.txt'
  path.write_text('\n'.join(PIECES))
  config = config_of(word_pieces=str(path))
  config.model.vocab_size = rows
  if fits:
    job, = jobs.prepare(config, tmp_path / 'run')
    assert job.exp.model.vocab_size == rows
    return
  with pytest.raises(ValueError, match='would have no row'):
    jobs.prepare(config, tmp_path / 'run')
