"""The token selection against released sets and a literal oracle."""
import functools

from bst_jax.layers.ats import ats_select
import golden_bert
import jax
import jax.numpy as jnp
import numpy as np
import pytest

OPTIONS = [dict(order='score', rule=rule, anchor=anchor)
           for rule in ('nearest', 'inverse')
           for anchor in ('keep_lowest', 'drop_lowest')] + [
               dict(order='raster', rule=rule) for rule in (
                   'nearest', 'inverse')]
FORMS = ('sort', 'pairwise')


@functools.partial(jax.jit, static_argnames=(
    'num_points', 'capacity', 'order', 'rule', 'anchor', 'method', 'form',
    'grad', 'fill', 'out_order'))
def select(scores, valid, **options):
  return ats_select(scores, valid, **options)


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('group', [
    'n8_m8', 'n49_m49', 'n196_m196', 'n8_m49', 'n49_m196', 'n120_m196'])
def test_released_sets(group, form):
  arrays, meta = golden_bert.read('ats_sampler')
  about = meta['groups'][group]
  of = lambda name: arrays[f'{group}/{name}']
  anchors = np.array(about['anchor'])
  for anchor in set(about['anchor']):
    rows = anchors == anchor
    got = select(arrays[f'in/{group}/scores'],
                 arrays[f'in/{group}/valid'].astype(bool),
                 num_points=about['num_points'], anchor=anchor, form=form)
    order = np.where(got.valid, got.index, -1)
    np.testing.assert_array_equal(order[rows], of('order')[rows])
    np.testing.assert_array_equal(got.hits[rows], of('hits')[rows])
    np.testing.assert_array_equal(got.count[rows], of('count')[rows])
    np.testing.assert_array_equal((got.hits > 0)[rows], of('keep')[rows])


# --- every option against points, nearest values and unique ------------------

def oracle(scores, valid, num_points, order='score', rule='nearest',
           anchor='keep_lowest'):
  """Hits of one vector, by looking up every point; in double precision."""
  slots = np.flatnonzero(valid)
  s = scores[slots].astype(np.float64)
  hits = np.zeros(len(scores), int)
  if not len(slots):
    return hits
  s = s / s.sum() if s.sum() else np.full(len(s), 1 / len(s))
  places = np.argsort(s, kind='stable') if order == 'score' else np.arange(
      len(s))
  slots, s = slots[places], s[places]
  c = np.cumsum(s)
  if order == 'score':
    if anchor == 'drop_lowest' and len(s) > 1:
      c = (c - c[0]) / (c[-1] - c[0])
    c = c / c[-1]
    start = c[c > 0][0]
    if 1 - start < 1e-6:
      hits[slots[-1]] = num_points
      return hits
    points = start + (1 - start) * np.arange(num_points) / (num_points - 1)
  else:
    points = (np.arange(num_points) + 0.5) / num_points
  could = np.flatnonzero(np.diff(c, prepend=0) > 0)
  c, slots = c[could], slots[could]
  for y in points:
    found = (np.abs(y - c).argmin() if rule == 'nearest' else
             min(np.searchsorted(c, y - 1e-12), len(c) - 1))
    hits[slots[found]] += 1
  return hits


@functools.cache
def vectors(rows=60, slots=24):
  """Scores of several kinds and validity, the same for every option."""
  rng = np.random.default_rng(0)
  spread = np.repeat([0.3, 1.0, 2.0], rows // 3)[:, None]
  scores = np.exp(spread * rng.standard_normal((rows, slots)))
  valid = rng.random((rows, slots)) < rng.choice([1.0, 0.7], (rows, 1))
  scores[0] = 1.0                                    # All equal.
  scores[1] = np.eye(slots)[5]                       # One has all.
  scores[2] = np.round(scores[2] * 2)                # Ties and zeros.
  scores[3] = 0.0
  valid[[0, 3]] = True
  for row, living in ((4, []), (5, [3]), (6, [3, 7])):
    valid[row] = np.isin(np.arange(slots), living)
  return scores.astype(np.float32), valid


def clear(scores, valid, num_points, options):
  """Whether the oracle's hits are the same for scores a little off."""
  rng = np.random.default_rng(1)
  wobble = 1 + 1e-5 * rng.standard_normal((9, len(scores)))
  base = oracle(scores, valid, num_points, **options)
  return all((oracle(scores * w, valid, num_points, **options) == base).all()
             for w in wobble)


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('options', OPTIONS, ids=lambda o: '-'.join(o.values()))
def test_hits_are_those_of_looking_up_every_point(options, form):
  scores, valid = vectors()
  num_points = 61 if options.get('anchor') == 'keep_lowest' else 24
  got = select(scores, valid, num_points=num_points, form=form, **options)
  exact = 0
  for i, (s, v) in enumerate(zip(scores, valid)):
    want = oracle(s, v, num_points, **options)
    assert int(got.hits[i].sum()) == want.sum()
    if i in (1, 5, 6):
      np.testing.assert_array_equal(got.hits[i] > 0, want > 0, err_msg=str(i))
    # Points on the edge of a cell are left to rounding.
    elif i != 3 and clear(s, v, num_points, options):
      exact += 1
      np.testing.assert_array_equal(got.hits[i], want, err_msg=str(i))
  assert exact > 45
  np.testing.assert_array_equal(got.hits[3], got.hits[0])
  assert (np.asarray(got.count) == (np.asarray(got.hits) > 0).sum(-1)).all()


def test_how_many_live():
  rng = np.random.default_rng(0)
  scores = np.exp(rng.standard_normal((300, 196))).astype(np.float32)
  expected = np.minimum(
      1, 196 * scores / scores.sum(-1, keepdims=True)).sum(-1)
  error = lambda **options: np.abs(select(
      scores, None, num_points=196, **options).count - expected)
  assert error().max() < 2 and error().mean() < 1
  raster = error(order='raster')
  assert raster.mean() < 4
  # More points, more tokens.
  counts = [select(scores, None, num_points=m).count.mean()
            for m in (20, 60, 196)]
  assert counts[0] < counts[1] < counts[2]


def test_anchors():
  scores, _ = vectors()
  lowest, highest = scores[9:].argmin(-1), scores[9:].argmax(-1)
  second = np.argsort(scores[9:], -1)[:, 1]
  pick = lambda hits, slot: np.take_along_axis(
      np.asarray(hits), slot[:, None], 1)[:, 0] > 0
  keep = select(scores[9:], None, num_points=24, anchor='keep_lowest').hits
  drop = select(scores[9:], None, num_points=24, anchor='drop_lowest').hits
  assert pick(keep, lowest).all() and not pick(drop, lowest).any()
  assert pick(drop, second).all()
  assert pick(keep, highest).all() and pick(drop, highest).all()


def test_no_image_sees_its_neighbours_or_its_padding():
  scores, valid = vectors()
  whole = select(scores, valid, num_points=24)
  alone = select(scores[8:9], valid[8:9], num_points=24)
  jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[8:9], b),
               whole, alone)
  one_by_one = jax.jit(jax.vmap(functools.partial(
      ats_select, num_points=24)))(scores, valid)
  jax.tree.map(np.testing.assert_array_equal, whole, one_by_one)
  wide = select(np.pad(scores, ((0, 0), (0, 7)), constant_values=9.0),
                np.pad(valid, ((0, 0), (0, 7))), num_points=24)
  np.testing.assert_array_equal(wide.hits[:, :24], whole.hits)
  assert not wide.hits[:, 24:].any()
  np.testing.assert_array_equal(wide.count, whole.count)


def test_a_capacity_keeps_the_best():
  scores, valid = vectors()
  free = select(scores, valid, num_points=24)
  tight = select(scores, valid, num_points=24, capacity=5)
  np.testing.assert_array_equal(tight.count, free.count)
  np.testing.assert_array_equal(
      tight.overflow, np.maximum(np.asarray(free.count) - 5, 0))
  assert tight.overflow.max() > 5
  down = select(scores, valid, num_points=24, capacity=5,
                out_order='descending')
  for row in range(len(scores)):
    every = np.asarray(free.index[row])[np.asarray(free.valid[row])]
    kept = np.asarray(tight.index[row])[np.asarray(tight.valid[row])]
    np.testing.assert_array_equal(kept, every[-5:])
    assert np.diff(scores[row][kept]).min(initial=0) >= 0
    np.testing.assert_array_equal(
        np.asarray(down.index[row])[np.asarray(down.valid[row])], kept[::-1])
    assert not np.diff(tight.valid[row].astype(int)).max(initial=0) > 0


def test_topk_is_the_highest_scores():
  scores, valid = vectors()
  got = select(scores, valid, num_points=9, method='topk', capacity=9)
  for row in range(len(scores)):
    alive = np.flatnonzero(valid[row])
    want = alive[np.argsort(scores[row][alive], kind='stable')][-9:]
    np.testing.assert_array_equal(
        np.asarray(got.index[row])[np.asarray(got.valid[row])], want)


# --- gradients ---------------------------------------------------------------

def test_straight_through_gradients_are_those_of_the_chance():
  scores, valid = (x[20:26] for x in vectors())
  weight = np.random.default_rng(3).standard_normal((6, 16)).astype(np.float32)

  def loss(scores, **options):
    got = ats_select(scores, valid, num_points=24, capacity=16, **options)
    return (got.gate * weight).sum()

  def chance(scores, index, real, smooth):
    share = jnp.where(valid, scores, 0)
    share /= share.sum(-1, keepdims=True)
    p = 1 - jnp.exp(-24 * share) if smooth else jnp.minimum(1, 24 * share)
    return (jnp.take_along_axis(p, index, -1) * real * weight).sum()

  plain = select(scores, valid, num_points=24, capacity=16)
  assert not jax.grad(loss)(scores).any()
  for options in (dict(grad='ste'), dict(grad='ste_smooth'),
                  dict(grad='ste', fill=True)):
    got = select(scores, valid, num_points=24, capacity=16, **options)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
                 plain, got)
    real = plain.valid
    if 'fill' in options:
      real = np.take_along_axis(valid, np.asarray(plain.index), -1)
      assert (real != plain.valid).any()
    want = jax.grad(chance)(
        scores, plain.index, real, options['grad'] == 'ste_smooth')
    grad = jax.grad(functools.partial(loss, **options))(scores)
    np.testing.assert_allclose(grad, want, atol=1e-5)
    assert np.abs(want).max() > 0.1


@pytest.mark.parametrize('options, why', [
    (dict(capacity=9), 'capacity of 9 tokens does not fit 8.*1 to 8'),
    (dict(capacity=0), 'capacity of 0'),
    (dict(num_points=1), 'choose at least 2'),
    (dict(order='scores'), "Did you mean 'score'"),
    (dict(method='topk', grad='ste'), 'method topk does not sample'),
])
def test_what_cannot_be_is_said(options, why):
  with pytest.raises(ValueError, match=why):
    ats_select(jnp.ones((1, 8)), **(dict(num_points=8) | options))


def test_it_is_traced_once_and_maps_like_a_batch():
  traced = []

  def pick(scores, points):
    traced.append(1)
    return ats_select(scores, num_points=points, capacity=12)

  run, rng = jax.jit(pick), np.random.default_rng(3)
  for points in (9, 12, 16):  # The points are no constant of the program.
    scores = rng.random((3, 16)).astype(np.float32)
    got = run(scores, points)
    want = ats_select(scores, num_points=points, capacity=12)
    each = jax.vmap(lambda s: ats_select(s, num_points=points, capacity=12))(  # noqa: B023
        scores)
    for a, b, c in zip(got, want, each, strict=True):
      np.testing.assert_array_equal(a, b)
      np.testing.assert_array_equal(a, c)
  assert len(traced) == 1
