"""A choice of every kind at once: cut then run equals run sliced."""
import dataclasses
import json

from bst_jax import elastic
from bst_jax import models as backbones
from bst_jax.elastic import Choice, Sizes, Submodel
from bst_jax.layers.sizes import FIELDS
from bst_jax.sampling import ragged
import jax
import jax.numpy as jnp
import models
import numpy as np
import pytest

HALF = Submodel('1/2', '2/3')
# Every backbone once, with candidates for skipping and sampled tokens where it
# can have them.
BACKBONES = {'mcan_vqa': {}, 'uniter': {}, 'clip_vil': {},
             'vit_skip': dict(skip=None), 'timesformer': {},
             'xvit': dict(share='frame'), 'cvt': {}, 'pvt': {},
             'ps_vit': {}}


def choice_for(build):
  """Of every kind that the model has: widths differ from layer to layer."""
  model, _, params, axes = build
  flat, rng, keep = elastic.flatten(params), np.random.default_rng(0), {}
  for i, (name, members) in enumerate(sorted(elastic.groups(axes).items())):
    path, dim = members[0]
    size = flat[path].shape[dim]
    count = {'embed': 12, 'fused': 24, 'pool': 12, 'adapter': 4}.get(
        elastic.base(name), (16, 24, 32)[i % 3])
    keep[name] = rng.permutation(size)[:count].tolist()
    if elastic.base(name) == 'heads':  # Of 4 heads with 4 channels.
      heads, channels = ((2, 4), (4, 2), (2, 6))[i % 3]
      keep[name] = rng.permutation(16)[:heads * channels].reshape(
          heads, channels).tolist()
  layers = {stack: (0, 1, {'attention': 2, 'ffn': 3})
            if stack != 'sampling' else (0, 2, 3) for stack in model.stacks}
  skip = ('encoder/layer_0',) if model.candidates else None
  tokens = dict(blocks=(1, 2) if skip else (0, 2), num_points=9,
                capacity=(8, 6)) if hasattr(model, 'ats') else {}
  return Choice(HALF, skip, keep, layers, tokens, elastic.fingerprint(params))


def run(model, params, batch, **options):
  return np.asarray(models.only(
      model.apply({'params': params}, batch, **options)))


@pytest.mark.parametrize('name', BACKBONES)
def test_cut_then_run_equals_run_sliced(name):
  model, batch, params, axes = build = models.build(name, **BACKBONES[name])
  choice = Choice.from_json(choice_for(build).to_json())
  small = model.chosen(choice)
  # All but width and depth, which the model then runs a part of.
  rest = dataclasses.replace(choice, submodel=elastic.FULL)
  wide = model.chosen(rest)
  assert small == wide.at(HALF)
  # Of every kind something is left.
  sampled = hasattr(small, 'ats') and small.ats.blocks
  assert bool(getattr(small, 'skip', ())) == (name == 'vit_skip')
  assert bool(sampled) == (
      name not in ('mcan_vqa', 'uniter', 'clip_vil', 'pvt'))

  def both(model, small, params):
    cut = lambda choice: elastic.cut(params, axes, choice, model.stacks)
    alone = run(small, cut(choice), batch)
    sliced = run(wide.clone(dtype=small.dtype), cut(rest), batch, sub=HALF)
    return alone, sliced, cut(choice)

  alone, sliced, part = both(model, small, params)
  assert abs(alone).max() > 1e-2 and alone.dtype == np.float32
  np.testing.assert_allclose(alone, sliced, atol=1e-5)

  boxed = jax.eval_shape(small.init, jax.random.key(0), batch)['params']
  assert jax.tree.map(np.shape, part) == jax.tree.map(
      np.shape, elastic.unbox(boxed))

  with jax.enable_x64(True):
    double = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    exact, sliced, _ = both(*(m.clone(dtype=jnp.float64)
                              for m in (model, small)), double)
    assert exact.dtype == np.float64
    np.testing.assert_allclose(exact, sliced, atol=1e-12)
  np.testing.assert_allclose(exact, alone, atol=1e-4)


def config_of(model, name):
  """What JSON keeps of a model."""
  plain = lambda value: (
      value.to_dict() if isinstance(value, Sizes) else
      dataclasses.asdict(value) if dataclasses.is_dataclass(value) else
      list(map(plain, value)) if isinstance(value, tuple) else value)
  given = {field: plain(getattr(model, field)) for field in
           model.__dataclass_fields__ if field not in (
               'parent', 'name', 'dtype')}
  return dict(name=name) | json.loads(json.dumps(given))


@pytest.mark.parametrize('name', BACKBONES)
def test_a_config_builds_the_smaller_model(name):
  model, *_ = build = models.build(name, **BACKBONES[name])
  small = model.chosen(choice_for(build))
  again = backbones.create(config_of(small, name.split('_vqa')[0].split(
      '_skip')[0]))
  assert again == small and hash(again) == hash(small)
  uneven = {field for field in FIELDS if 'Sizes' in repr(
      getattr(small, field, None))}
  assert {'mlp', 'head_dim'} <= uneven


def test_at_is_a_choice_of_a_submodel():
  for name in BACKBONES:
    model, *_ = models.build(name, **BACKBONES[name])
    sub = Submodel('1/2', '1/2')
    assert model.at(sub) == model.chosen(Choice(sub)) != model
    assert model.chosen(Choice()) == model


@pytest.mark.parametrize('ats', [None, dict(blocks=(0, 2), capacity=(12, 9))])
def test_static_and_conditional_and_extracted_skips_agree(ats):
  static = ('encoder/layer_1', 'encoder/layer_3')
  model, batch, params, axes = models.build('vit_skip', skip=None)
  model = model.clone(ats=ats)
  assert model.candidates == tuple(f'encoder/layer_{i}' for i in range(4))
  flags = jnp.array([path in static for path in model.candidates])
  want = run(model.clone(skip=static), params, batch)
  whole = run(model, params, batch)
  np.testing.assert_array_equal(
      whole, run(model.clone(skip=()), params, batch))
  assert abs(want - whole).max() > 1e-3

  cut = elastic.cut(params, axes, Choice(skip=static), model.stacks)
  small = model.chosen(Choice(skip=static))
  assert small.skip == static and small.candidates == ()
  np.testing.assert_array_equal(run(small, cut, batch), want)

  asked = jax.jit(lambda params, flags: models.only(
      model.apply({'params': params}, batch, flags=flags)))
  if ats:  # An adapter does not sample what its layer would.
    with pytest.raises(ValueError, match='layer_0 samples tokens, so that fl'):
      asked(params, flags)
    return
  np.testing.assert_allclose(asked(params, flags), want, atol=1e-5)
  np.testing.assert_allclose(asked(params, flags & False), whole, atol=1e-5)
  assert asked._cache_size() == 1

  slope = jax.grad(lambda params: asked(params, flags).sum())(params)
  size = lambda name: sum(float(jnp.abs(leaf).sum()) for leaf in
                          jax.tree.leaves(slope['encoder'][name]))
  assert size('layer_1') == size('skip_layer_0') == 0
  assert size('layer_0') > 0 and size('skip_layer_1') > 0


def test_flags_say_what_they_need():
  model, batch, params, _ = models.build('vit_skip', skip=None)
  with pytest.raises(ValueError, match='nothing about the 4 layers'):
    run(model, params, batch, flags=jnp.zeros(3, bool))
  with pytest.raises(ValueError, match='that is settled; set skip'):
    run(model.clone(skip=()), params, batch, flags=jnp.zeros(4, bool))
  with pytest.raises(ValueError, match='needs adapters that run instead'):
    model.clone(adapter=0)
  with pytest.raises(ValueError, match="no layer to be skipped 'encoder/lay"):
    model.clone(skip=('encoder/layer_4',))
  with pytest.raises(ValueError, match='to be skipped and to sample tokens'):
    model.clone(skip=('encoder/layer_1',), ats=dict(blocks=(1,)))
  with pytest.raises(ValueError, match='layers all run; this one has adapt'):
    ragged.make(model, (4,))


def test_tokens_and_skips_that_a_model_has_not():
  mcan, *_ = models.build('mcan_vqa')
  with pytest.raises(ValueError, match='this model samples none'):
    mcan.chosen(Choice(tokens=dict(blocks=(0,))))
  with pytest.raises(ValueError, match='no layer of this model has an adapter'):
    mcan.chosen(Choice(skip=('encoder/layer_0',)))
  vit, *_ = models.build('vit')
  with pytest.raises(ValueError, match="no option of model.ats 'block'"):
    vit.chosen(Choice(tokens=dict(block=(0,))))


def test_sampling_layers_keep_their_place_among_those_that_live():
  model, *_ = models.build('vit_ats')  # Samples in 0, 2 and 3.
  small = model.chosen(Choice(layers={'encoder': (
      1, {'attention': 3, 'ffn': 2}, 0)}, tokens=dict(
          num_points=(9, 8, 7), capacity=None)))
  assert (small.ats.blocks, small.ats.num_points) == ((1, 2), (7, 9))


def test_a_choice_reads_back():
  choice = Choice(
      Submodel('1/2', '1/3'), ('encoder/layer_2',),
      {'embed': (0, 2), 'heads@encoder/layer_0/attention': ((1, 3), (0, 2))},
      {'encoder': (0, {'attention': 3, 'ffn': 4})}, {'blocks': [1]}, 'abc')
  assert Choice.from_json(choice.to_json()) == choice
  assert Choice.from_json('{}') == Choice()
  # An array, as pruning has, is written as what it holds.
  array = dataclasses.replace(choice, keep={'embed': jnp.array([0, 2])})
  assert json.loads(array.to_json())['keep'] == {'embed': [0, 2]}
  # Files from before skips were something to leave open.
  assert Choice.from_json('{"skip": [], "keep": {}}').skip == ()


def test_an_unknown_key_of_a_choice_is_an_error():
  with pytest.raises(ValueError, match=(
      "no choice 'skips'. Did you mean 'skip'")):
    Choice.from_json('{"skips": ["encoder/layer_0"]}')


def test_a_fingerprint_is_of_paths_and_shapes():
  _, _, params, _ = models.build('vit')
  mark = elastic.fingerprint(params)
  assert len(mark) == 16
  assert mark == elastic.fingerprint(jax.tree.map(jnp.zeros_like, params))
  assert mark != elastic.fingerprint(params | {'more': np.ones(1)})
  elastic.check_model(Choice(model=mark), params)
  elastic.check_model(Choice(), params)
  with pytest.raises(ValueError, match=f'fingerprint abc, .* have {mark}'):
    elastic.check_model(Choice(model='abc'), params)
