"""A captioner as files: an encoder, a step, and a script that runs them."""
from importlib import util
import json
import subprocess
import sys
import types

from bst_jax import decoding, elastic, export, profile, tasks
from bst_jax.data import text, word_pieces
from bst_jax.decoding import Rules, without_jax
from bst_jax.elastic import Submodel
from bst_jax.report import cards, int8, portable, programs
from bst_jax.run import captioner as captioners
from bst_jax.run import experiment, loaded
from bst_jax.store import checkpoint
from bst_jax.tasks import captioning
from captioners import captioner, MASK
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_captions_run import PIECES, SCENE, trained
import virtual

__all__ = ['trained']
ONNX = util.find_spec('jax2onnx') is not None
FORMATS = ['stablehlo', *(['onnx', 'int8'] if ONNX else [])]
RULES = Rules(start=1, end=2, length=6, never=(0, 1, MASK))


def parts(sub='1x1', tags=True, rules=RULES, **changes):
  """A captioner, what its encoder reads of two pictures, its programs."""
  model, params, batch, axes = captioner(**changes)
  sub = Submodel.parse(sub)
  params = elastic.cut(params, axes, elastic.Choice(sub), model.stacks)
  made = decoding.Captioner(model.at(sub), params, rules, MASK)
  names = ('tags', 'regions', 'boxes') if tags else ('regions', 'boxes')
  batch = {name: np.asarray(batch[name]) for name in names}
  one = {name: x[:1] for name, x in batch.items()}
  return made, batch, {'encoder': (made.encoder, one),
                       'step': (made.step, made.inputs(one))}


def jitted(given):
  return {name: jax.jit(run) for name, (run, _) in given.items()}


@pytest.mark.parametrize('sub, tags, rules', [
    ('1x1', True, {}), ('1/2x1/2', False, {}),
    ('1x1', True, dict(least=3, block=2))])
def test_a_loop_in_numpy_writes_what_is_decoded(sub, tags, rules):
  rules = Rules(start=1, end=2, length=6, never=(0, 1, MASK), **rules)
  made, batch, given = parts(sub, tags, rules)
  calls, about = jitted(given), made.about(batch)
  said = decoding.write(calls['encoder'], calls['step'], about, batch)
  want = decoding.decode(made.model, made.params, batch, rules, MASK)
  np.testing.assert_array_equal(said, want.tokens)
  assert json.loads(json.dumps(about)) == about
  found = made.compare(calls['encoder'], calls['step'], batch,
                       made.wanted(batch))
  assert found['difference'] < 1e-5 and found['other_captions'] == 0


def test_layers_of_one_program_are_two_programs_too():
  """scan=True keeps nothing of layers; files do without it."""
  made, batch, _ = parts(scan=True)
  plain, _, _ = parts()
  got, want = jax.jit(made.encoder)(batch), jax.jit(plain.encoder)(batch)
  assert got.keys() == want.keys() and len(got) == 5
  for name in want:
    np.testing.assert_allclose(got[name], want[name], atol=1e-6)


def test_another_word_and_another_logit_are_seen():
  made, batch, given = parts()
  calls, wanted = jitted(given), made.wanted(batch)

  def shifted(given):  # Not by much: no other word is said.
    found = calls['step'](given)
    return found | {'logits': found['logits'].at[:, 5].add(1e-3)}

  def forgets(given):
    zeros = {name: jnp.zeros_like(x) for name, x in given.items()
             if name.startswith('texts.')}
    return calls['step'](given | zeros)

  def turned(given):
    found = calls['step'](given)
    return found | {'logits': -found['logits']}

  assert made.compare(calls['encoder'], shifted, batch, wanted)[
      'difference'] > 1e-4
  assert made.compare(calls['encoder'], forgets, batch, wanted)[
      'difference'] > 1e-2
  assert made.compare(calls['encoder'], turned, batch, wanted)[
      'other_captions'] == 1
  files = tasks.Files({}, None, None, lambda calls, *_: made.compare(
      calls['encoder'], calls['step'], batch, wanted))
  wrong = dict(calls, step=turned)
  with pytest.raises(ArithmeticError, match='encoder.onnx, step.onnx were.*'
                     'other captions is 1.0e.00'):
    programs.check(files, 'onnx', wrong, batch, wanted)
  assert programs.check(files, 'int8', wrong, batch, wanted)


def test_what_may_not_be_said():
  """As the rules say of one row after the other."""
  about = dict(never=[0], end=2, least=2, block=2)
  tokens = np.array([[1, 5, 7, 5, 0, 0], [1, 3, 3, 3, 0, 0]])
  logits = np.zeros((2, 8), np.float32)
  barred = lambda place: [np.flatnonzero(row == -np.inf).tolist() for row in
                          without_jax.allowed(logits, tokens, place, about)]
  assert barred(4) == [[0, 7], [0, 3]]
  assert barred(2) == [[0, 2], [0, 2]] and not logits.any()


@pytest.mark.parametrize('words, ids', [
    (word_pieces.WordPieces([*PIECES, '##s', '.', "'", '##ly']),
     [2, 6, 45, 46, 47, 48, 3, 7]),
    (text.Vocabulary(['a', 'red', 'plate']), [2, 3, 4, 5, 2, 4])])
def test_words_become_texts_as_the_vocabulary_does(words, ids):
  about = {'end': words.special[-1],
           'pieces': captioning.pieces(words, len(words))}
  want = ids[1:ids.index(about['end'], 1)]
  assert without_jax.text(ids, about) == words.decode(want)
  assert len(want) >= 3


def test_a_file_of_regions(tmp_path):
  about = {'inputs': {'regions': [-1, 'float32', [3, 2]],
                      'boxes': [0, 'float32', [3, 4]],
                      'tags': [0, 'int32', [4]]}}
  path = tmp_path / 'one.npz'
  np.savez(path, x=np.ones((2, 2), np.float16), image_w=20, image_h=10,
           bbox=np.float32([[0, 0, 10, 10], [5, 5, 20, 10]]))
  found = without_jax.read(path, about)
  np.testing.assert_array_equal(found['boxes'][0], np.float32(
      [[0, 0, .5, 1], [.25, .5, 1, 1], [0, 0, 0, 0]]))
  np.testing.assert_array_equal(found['regions'][0, :, 0], [1, 1, -1])
  assert found['tags'].shape == (1, 4) and found['tags'].dtype == np.int32
  # Shares, tags, and more regions than are read.
  np.savez(path, x=np.ones((5, 2)), bbox=np.full((5, 4), .5), tags=[7, 8])
  found = without_jax.read(path, about)
  assert (found['boxes'] == .5).all() and found['tags'].tolist() == [[7, 8, 0, 0]]
  for wrong in (dict(x=np.ones((5, 3))), dict(bbox=np.ones((4, 4))),
                dict(x=np.ones(2))):
    np.savez(path, **dict(x=np.ones((5, 2)), bbox=np.ones((5, 4))) | wrong)
    with pytest.raises(ValueError, match=r'give x of \[n, 2\]'):
      without_jax.read(path, about)


@pytest.mark.skipif(not ONNX, reason='pip install bst_jax[export]')
@pytest.mark.parametrize('tags, rows', [(True, None), (False, 1)])
def test_onnx_of_any_batch_and_of_one(tags, rows):
  import onnx

  made, batch, given = parts(tags=tags, vocab_size=80)
  calls = {}
  for name, (run, one) in given.items():
    blob = portable.onnx(run, one, rows)
    calls[name] = programs.in_parts(portable.Session(blob), one, rows)
    # The table of words is there once, though they go in and come out.
    tables = [x for x in onnx.load_from_string(blob).graph.initializer
              if sorted(x.dims) == [made.model.width, 80]]
    assert len(tables) == (tags or name == 'step')
  found = made.compare(calls['encoder'], calls['step'], batch,
                       made.wanted(batch))
  assert found['difference'] < 1e-5 and found['other_captions'] == 0


@pytest.mark.skipif(not ONNX, reason='pip install bst_jax[export]')
def test_the_table_of_words_is_int8_both_ways():
  """Rows that go in have scales of their own, words that come out too."""
  import onnx

  made, _, given = parts(tags=False, vocab_size=80)
  whole = portable.onnx(*given['step'])
  small = onnx.load_from_string(int8.quantise(whole)).graph
  tables = {tuple(x.dims): x.data_type for x in small.initializer
            if np.prod(x.dims) == 80 * made.model.width}
  assert tables == {(80, 16): onnx.TensorProto.INT8,
                    (16, 80): onnx.TensorProto.UINT8}
  scales = {np.prod(x.dims) for x in small.initializer if 'scale' in x.name}
  assert 80 in scales
  run, inputs = given['step']
  want = np.asarray(jax.jit(run)(inputs)['logits'])
  got = portable.Session(int8.quantise(whole))(inputs)['logits']
  assert 0 < np.abs(got - want).max() < .05 * np.abs(want).max()


@pytest.fixture(scope='module')
def exported(trained, tmp_path_factory):
  """The folder that the command writes of a submodel, and its card."""
  folder = tmp_path_factory.mktemp('exported') / 'out'
  exp = experiment.load(trained)
  params = checkpoint.load_params(trained, exp.shapes)
  net = loaded.load(trained)
  card = export.export(
      exp, params, '1/2x1', FORMATS, folder,
      experiment.load_data(exp.config, trained), 'test',
      words=net.vocabularies['words'])
  cards.write(card, folder, True)
  return net.at('1/2x1'), folder, card


def test_files_are_checked_and_described(exported):
  net, folder, card = exported
  kinds = ['stablehlo', *(['onnx', 'int8.onnx'] if ONNX else [])]
  names = {f'{part}.{kind}' for part in ('encoder', 'step') for kind in kinds}
  assert names == card['files'].keys() and all(
      about['bytes'] == (folder / name).stat().st_size
      for name, about in card['files'].items())
  for form, about in card['together'].items():
    bound = 0.1 if form == 'int8' else 1e-5
    assert 0 <= about['difference'] < bound
    if form != 'int8':
      assert about['other_captions'] == 0
  each = card['programs']
  assert card['macs'] == each['encoder']['macs'] + 11 * each['step']['macs']
  # Two tokens go through a layer; nothing of the context does again.
  assert each['step']['macs'] < each['encoder']['macs']
  assert json.loads((folder / 'caption.json').read_text())['length'] == 12
  said = (folder / 'card.md').read_text()
  assert 'step, 11 times at most' in said and 'CIDEr' in said
  assert 'encoder.stablehlo + step.stablehlo' in said
  assert 'step.stablehlo' in profile.exported(folder, 2, 1)
  if ONNX:
    assert card['together']['onnx']['accuracy'] == pytest.approx(
        card['accuracy'])
    assert card['together']['onnx']['latency_ms'] > 0


def test_stablehlo_writes_the_captions(exported):
  net, folder, _ = exported
  batch, _ = captioners.Captioner(net).read(SCENE)
  about = json.loads((folder / 'caption.json').read_text())
  calls = [portable.read_stablehlo((folder / f'{name}.stablehlo').read_bytes())
           for name in ('encoder', 'step')]
  tokens, = without_jax.write(*calls, about, {
      name: batch[name] for name in about['inputs']})
  told, = captioners.Captioner(net)([SCENE])
  assert without_jax.text(tokens, about) == told.caption


@pytest.mark.skipif(not ONNX, reason='pip install bst_jax[export]')
def test_the_script_runs_without_jax(exported, tmp_path):
  net, folder, _ = exported
  batch, _ = captioners.Captioner(net).read(SCENE)
  np.savez(tmp_path / 'regions.npz', x=batch['regions'][0],
           bbox=batch['boxes'][0])
  barred = ('jax', 'flax', 'bst_jax', 'transformers', 'torch', 'tokenizers')
  code = ('import runpy, sys\n'
          f'sys.modules |= dict.fromkeys({barred})\n'  # Importing them fails.
          'sys.argv = sys.argv[1:]\n'
          'runpy.run_path(sys.argv[0], run_name="__main__")')
  run = lambda *args: subprocess.run(
      [sys.executable, '-c', code, *args], cwd=tmp_path, text=True,
      capture_output=True, check=True).stdout
  told, = captioners.Captioner(net)([SCENE])
  script = folder / 'caption.py'
  assert run(script, 'regions.npz', 'regions.npz') == 2 * f'{told.caption}\n'
  assert run(script, '--int8', 'regions.npz').strip()

  # What a port has to do, as docs/small_devices.md has it.
  page = (virtual.ROOT / 'docs/small_devices.md').read_text()
  (tmp_path / 'port.py').write_text('import json' + page.partition(
      '```\nimport json')[2].partition('```')[0])
  for name in ('caption.json', 'encoder.onnx', 'step.onnx'):
    (tmp_path / name).symlink_to(folder / name)
  assert run('port.py') == f'{told.caption}\n'


def test_a_longer_caption_than_the_model_has_places_for():
  with pytest.raises(ValueError, match='the model has [0-9]+ places'):
    parts(rules=Rules(start=1, end=2, length=60))


def test_a_task_that_gives_one_file_is_as_it_was():
  """Its only program reads a row and gives the main output."""
  exp = types.SimpleNamespace(
      task=tasks.create(dict(name='vqa')),
      model=types.SimpleNamespace(at=lambda sub: types.SimpleNamespace(
          apply=lambda variables, batch: {'answers': batch['x'] * variables[
              'params']['w']})),
      extract=lambda params, sub: params,
      example=lambda: {'x': jnp.ones((1, 2)), 'unread': jnp.ones((1, 3))})
  files = programs.of(exp, {'w': jnp.float32(3)}, Submodel('1', '1'))
  assert list(files.programs) == ['model'] and files.of == 'row'
  assert list(files.programs['model'].inputs) == ['x']
  batch = {'x': np.ones((2, 2), np.float32)}
  calls = programs.in_jax(files)
  np.testing.assert_array_equal(files.outputs(calls, batch)['answers'], 3)
  assert files.compare(calls, batch, files.wanted(batch)) == {'difference': 0}
