"""Bilaterally slimmable training: the sandwich rule with distillation.

Reference: BST, arXiv 2203.12814, and its released code.
"""
from bst_jax import elastic
from bst_jax import state as states
from bst_jax.state import Method
import jax

TEACHERS = ('frozen', 'inplace')


def make(model, task, tx, *, axes, space, micro_batches, sampled=3,
         teacher='frozen', gt_weight=0.0) -> Method:
  """Trains all submodels of `space` in one set of parameters.

  Every step trains the smallest and the full submodel and `sampled` of the
  others, drawn without repetition; their losses are summed.

  Args:
    model: a module called as model(batch, train=...), with at(sub) and stacks.
    task: gives the loss and softens a teacher's logits.
    tx: an optax transformation.
    axes: axis names of the parameters, from `elastic.names`.
    space: submodels from the smallest to the full one.
    micro_batches: parts of a batch; each draws its own submodels.
    sampled: how many of the submodels between the ends a step draws.
    teacher: `frozen`: all learn from the parameters that training started
      from, the published way; `inplace`: the full model learns from labels
      and its answers teach the others.
    gt_weight: weight of the labels' loss, added to the teacher's (0 as
      published).

  Reference: BST, the training algorithm. Differs: gradients of a submodel are
    taken with respect to its own slices and added to theirs, so that no step
    pads, and only the programs of the space's submodels are compiled, once.
  """
  elastic.check_name(teacher, TEACHERS, 'teacher')
  if len(space) < 2:
    raise ValueError(
        'method bst needs at least two submodels, the space has one. Give '
        'config.space more widths or depths, or use method plain.')
  for sub in space:  # An impossible ratio fails here, before anything compiles.
    model.at(sub)
  smallest, *middle, full = space
  if not 0 <= sampled <= len(middle):
    raise ValueError(
        f'sampled={sampled} submodels cannot be drawn without repetition from '
        f'the {len(middle)} between the smallest and the full one; choose 0 to '
        f'{len(middle)}.')
  stacks = model.stacks

  def init(rng, params):
    frozen = {'teacher': params} if teacher == 'frozen' else None
    return states.start(rng, params, tx, frozen=frozen)

  def fit(sub, params, batch, soft, key):
    """Loss, logits and gradients of one submodel, all of its own size."""
    small = model.at(sub)

    def loss(params):
      logits = small.apply({'params': params}, batch, train=True,
                           rngs={'dropout': key})
      hard = lambda: task.loss(
          logits, task.hard(batch['target']), batch['mask'])
      if soft is None:
        return hard(), logits
      total = task.loss(logits, soft, batch['mask'])
      return total + gt_weight * hard() if gt_weight else total, logits

    part = elastic.extract(params, axes, sub, stacks)
    (loss, logits), grads = jax.value_and_grad(loss, has_aux=True)(part)
    return loss, logits, grads

  def step(state, batch):
    params = state.params

    def grads_of(batch, rng):
      draw, dropout = jax.random.split(rng)
      key = lambda i: jax.random.fold_in(dropout, i)

      # The full model, on its teacher or on labels; then it or the frozen one
      # teaches.
      soft = None
      if teacher == 'frozen':
        soft = task.soften(model.apply(
            {'params': state.frozen['teacher']}, batch))
      loss_full, logits, grads = fit(full, params, batch, soft, key(0))
      if teacher == 'inplace':
        soft = jax.lax.stop_gradient(task.soften(logits))

      loss_small, _, more = fit(smallest, params, batch, soft, key(1))
      grads = elastic.add(grads, more, axes, smallest, stacks)

      # The drawn middle. `switch` holds all of them in one compiled program,
      # and `scan` frees each backward pass before the next.
      def branch(sub):
        def run(grads, key):
          loss, _, more = fit(sub, params, batch, soft, key)
          return elastic.add(grads, more, axes, sub, stacks), loss
        return run

      def add(grads, pick):
        i, key = pick
        return jax.lax.switch(i, [branch(sub) for sub in middle], grads, key)

      metrics = {'loss/full': loss_full, 'loss/smallest': loss_small}
      if sampled:
        picks = jax.random.choice(draw, len(middle), (sampled,), replace=False)
        keys = jax.random.split(key(2), sampled)
        grads, drawn = jax.lax.scan(add, grads, (picks, keys))
        metrics['loss/sampled'] = drawn.mean()
      return grads, metrics

    grads, metrics = states.accumulate(
        grads_of, batch, micro_batches,
        jax.random.fold_in(state.rng, state.step),
        mean=task.reduction != 'sum')
    return states.update(state, grads, tx, metrics)

  return Method(init, step, pretrained=teacher == 'frozen')
