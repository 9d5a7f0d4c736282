"""What UNITER and CLIP-ViL owe beyond what every backbone does."""
from bst_jax import elastic
from bst_jax.elastic import Submodel
from bst_jax.layers import clip_resnet
import jax
import jax.numpy as jnp
import models
import numpy as np
import pytest

BOTH = ('uniter', 'clip_vil')
HALF = Submodel('1/2', '1/2')


@pytest.mark.parametrize('name', BOTH)
def test_adapters_keep_the_embeddings_whole(name):
  model, batch, params, axes = models.build(
      name, num_layers=2, embed_mode='adapter', word=12)
  sliced = models.run(model, params, batch, HALF)
  small = elastic.Slices(axes, model.stacks).cut(params, HALF)
  for path in ('text/words/table', 'types/table', 'feature/kernel'):
    assert elastic.flatten(small)[path].shape == elastic.flatten(
        params)[path].shape
  for name in ('text_adapter', 'image_adapter'):
    assert small[name]['linear']['kernel'].shape == (12, 8)
    assert small[name]['norm']['scale'].shape == (8,)
  np.testing.assert_allclose(
      models.run(model.at(HALF), small, batch), sliced, atol=1e-5)


@pytest.mark.parametrize('name', BOTH)
def test_an_identity_start_is_the_shortest_self(name):
  model, batch, _, _ = models.build(name, num_layers=2)
  model = model.clone(identity_init=True)
  params = elastic.unbox(model.init(jax.random.key(0), batch)['params'])
  full = models.run(model, params, batch)
  np.testing.assert_allclose(
      models.run(model, params, batch, Submodel(1, '1/2')), full, atol=1e-5)


def test_a_grid_in_the_batch_takes_the_place_of_the_picture():
  model, batch, params, _ = models.build('clip_vil', num_layers=1)
  grid = model.apply({'params': params}, batch, method='shared')
  tokens = {'tokens': batch['tokens']}
  assert grid['grid'].shape == (2, 4, 4, model.visual_width * 8)
  np.testing.assert_allclose(
      models.run(model, params, tokens | grid),
      models.run(model, params, batch), atol=1e-6)
  # It asks for no parameters but the trunk's, and the rest not for those.
  rest = {k: v for k, v in params.items() if k != 'visual'}
  models.run(model, rest, tokens | grid)
  model.apply({'params': {'visual': params['visual']}}, batch, method='shared')


@pytest.mark.parametrize('name', ['clip_vil', 'mcan_image'])
def test_gradients_of_submodels_meet_in_the_grid(name):
  """The trunk runs forth and back once, however many submodels read it."""
  model, batch, params, _ = models.build(name, num_layers=2)
  subs = (elastic.FULL, HALF)

  @jax.jit
  def apart(params):
    return jax.grad(lambda params: sum(jnp.square(model.apply(
        {'params': params}, batch, sub=sub)['answers']).sum() for sub in subs))(params)

  @jax.jit
  def together(params):
    share = lambda params: model.apply({'params': params}, batch,
                                       method='shared')
    shared, pull = jax.vjp(share, params)
    loss = lambda params, shared, sub: jnp.square(model.apply(
        {'params': params}, batch | shared, sub=sub)['answers']).sum()
    each = [jax.grad(loss, (0, 1))(params, shared, sub) for sub in subs]
    grads, cotangents = jax.tree.map(lambda *x: sum(x), *each)
    return jax.tree.map(jnp.add, grads, pull(cotangents)[0])

  want, got = (elastic.flatten(run(params)) for run in (apart, together))
  largest = max(float(abs(leaf).max()) for leaf in want.values())
  for path, leaf in want.items():
    np.testing.assert_allclose(got[path], leaf, atol=1e-5 * largest,
                               err_msg=path)


def test_what_of_the_trunk_learns():
  model, batch, params, _ = models.build('clip_vil', num_layers=1)

  def slopes(model):
    grads = jax.jit(jax.grad(lambda params: jnp.square(model.apply(
        {'params': params}, batch)['answers']).sum()))(params)
    return {path: bool(np.any(leaf)) for path, leaf in elastic.flatten(
        grads['visual']).items()}

  learns = slopes(model)
  assert len(learns) > 20
  for path, moves in learns.items():
    assert moves == (not path.endswith(('/mean', '/var'))), path
  assert not any(slopes(model.clone(train_visual=False)).values())


def test_bytes_are_brought_to_clips_mean_and_deviation():
  image = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
  ready = (image / 255 - np.array(clip_resnet.MEAN)) / clip_resnet.STD
  np.testing.assert_allclose(clip_resnet.normalise(jnp.asarray(image)), ready,
                             atol=1e-5)
  ready = jnp.asarray(ready, jnp.float32)
  np.testing.assert_array_equal(clip_resnet.normalise(ready), ready)
  # Padding in the mean colour is next to zero.
  colour = jnp.full((1, 32, 32, 3), jnp.array([123, 117, 104], jnp.uint8))
  assert abs(clip_resnet.normalise(colour)).max() < 5e-3


# --- bad input ----------------------------------------------------------------

@pytest.mark.parametrize('name, change, message', [
    ('uniter', lambda b: {k: b[k] for k in ('tokens', 'regions')},
     "no key of the batch 'boxes'. There are: regions, tokens"),
    ('uniter', lambda b: b | {'regions': b['regions'][..., :5]},
     'have 5 features, the model reads 8; set feature_size'),
    ('uniter', lambda b: b | {'tokens': jnp.ones((4, 9), jnp.int32)},
     '9 tokens a question, but the model knows only 8 positions'),
    ('uniter', lambda b: b | {'tokens': b['tokens'][:3]},
     '3 texts, or pictures, do not split evenly over 2'),
    ('clip_vil', lambda b: {'tokens': b['tokens']},
     "no key of the batch 'image'"),
    ('clip_vil', lambda b: {'image': b['image']},
     "no key of the batch 'tokens'"),
    ('clip_vil', lambda b: b | {'image': b['image'][:, :16]},
     r'images of shape \(2, 16, 32, 3\) cannot be read; .* at least 32 pixels'),
    ('clip_vil', lambda b: b | {'grid': jnp.ones((2, 2, 5, 16))},
     'the grid has 2 x 5 cells, .* only 4 rows and columns')])
def test_a_batch_that_cannot_be_says_so(name, change, message):
  model, batch, params, _ = models.build(name, num_layers=1)
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(model.apply, {'params': params}, change(batch))


@pytest.mark.parametrize('name', BOTH)
def test_an_unknown_way_to_embed_says_so(name):
  sizes, _ = models.TINY[name]
  with pytest.raises(ValueError, match=(
      "no embed_mode 'adapters'. Did you mean 'adapter'")):
    models.backbones.create(sizes | dict(embed_mode='adapters'))
