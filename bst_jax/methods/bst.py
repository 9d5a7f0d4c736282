"""Bilaterally slimmable training: the sandwich rule with distillation.

Reference: BST, arXiv 2203.12814, and its released code.
"""
from bst_jax import elastic, tasks
from bst_jax.learn import state as states
from bst_jax.learn.state import Method, Pass
import jax
import jax.numpy as jnp

TEACHERS = ('frozen', 'inplace', 'labels')


def make(model, task, tx, *, axes, space, micro_batches, sampled=3,
         teacher='frozen', gt_weight=0.0) -> Method:
  """Trains all submodels of `space` in one set of parameters.

  Every step trains the smallest and the full submodel and `sampled` of the
  others, drawn without repetition; their losses are summed.

  Args:
    model: a module called as model(batch, train=...), with at(sub) and stacks.
      If it has a method `shared(batch, train=...)`, what that returns is
      computed once a step and joins the batch of every submodel (a visual
      trunk). Every submodel normalises by the statistics of its own batch;
      those of the full one are stored.
    task: gives the loss and softens a teacher's outputs.
    tx: an optax transformation.
    axes: axis names of the parameters, from `elastic.names`.
    space: submodels from the smallest to the full one.
    micro_batches: parts of a batch; each draws its own submodels.
    sampled: how many of the submodels between the ends a step draws.
    teacher: `frozen`: all learn from the parameters that training started
      from, the published way; `inplace`: the full model learns from labels
      and its answers teach the others; `labels`: nobody teaches, and every
      submodel learns from labels.
    gt_weight: weight of the labels' loss, added to the teacher's (0 as
      published).

  Reference: BST, the training algorithm. Differs: gradients of a submodel are
    taken with respect to its own slices and added to theirs, so that no step
    pads, and only the programs of the space's submodels are compiled, once.
  """
  elastic.check_name(teacher, TEACHERS, 'teacher')
  if teacher != 'labels' and task.student is None:
    raise ValueError(
        f'method bst has a teacher ({teacher}), but a task of '
        f'{task.form} has nothing that one could hand on to its students. Set '
        "config.method.teacher to 'labels'.")
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
  slices = elastic.Slices(axes, model.stacks)

  def init(rng, params):
    frozen = {'teacher': params} if teacher == 'frozen' else None
    return states.start(rng, params, tx, frozen=frozen)

  def share(params, batch, key):
    """What all submodels read alike, the pull-back of its gradients, and the
    batch statistics that it wrote."""
    if not hasattr(model, 'shared'):
      return {}, lambda grads, _: grads, {}
    once, pull, written = jax.vjp(lambda params: states.forward(
        model, params, batch, key, method='shared'), params, has_aux=True)
    return once, lambda grads, cotangent: jax.tree.map(
        jnp.add, grads, pull(cotangent)[0]), written

  def fit(sub, params, batch, once, soft, key):
    """Loss, (outputs, written) and gradients of one submodel, of its own size.
    """
    small = model.at(sub)

    def loss(params, once):
      outputs, written = states.forward(small, params, batch | once, key)
      hard = lambda: tasks.hard(task, outputs, batch, key)
      if soft is None:
        return hard(), (outputs, written)
      total = tasks.taught(task, outputs, soft, batch)
      total = total + gt_weight * hard() if gt_weight else total
      return total, (outputs, written)

    part = slices.cut(params, sub)
    (loss, aux), grads = jax.value_and_grad(
        loss, argnums=(0, 1), has_aux=True)(part, once)
    return loss, aux, grads

  def step(state, batch):
    def grads_of(state, batch, rng):
      params = state.params
      draw, dropout = jax.random.split(rng)
      key = lambda i: jax.random.fold_in(dropout, i)

      # The full model, on its teacher or on labels; then it, the frozen one or
      # the labels teach the others.
      soft = None
      if teacher == 'frozen':
        soft = task.soften(model.apply(
            {'params': state.frozen['teacher']}, batch))
      once, pull, written_once = share(params, batch, key(0))
      run = lambda sub, key: fit(sub, params, batch, once, soft, key)
      loss_full, (outputs, written), (grads, cotangent) = run(full, key(0))
      if teacher == 'inplace':
        soft = jax.lax.stop_gradient(task.soften(outputs))

      def add(total, sub, key):
        loss, _, (grads, cotangent) = run(sub, key)
        return (slices.add_into(total[0], grads, sub),
                jax.tree.map(jnp.add, total[1], cotangent)), loss

      total, loss_small = add((grads, cotangent), smallest, key(1))

      # The drawn middle. `switch` holds all of them in one compiled program,
      # and `scan` frees each backward pass before the next.
      def add_one_of(total, pick):
        i, key = pick
        branches = [lambda total, key, sub=sub: add(total, sub, key)
                    for sub in middle]
        return jax.lax.switch(i, branches, total, key)

      metrics = {'loss/full': loss_full, 'loss/smallest': loss_small}
      if sampled:
        picks = jax.random.choice(draw, len(middle), (sampled,), replace=False)
        keys = jax.random.split(key(2), sampled)
        total, drawn = jax.lax.scan(add_one_of, total, (picks, keys))
        metrics['loss/sampled'] = drawn.mean()
      return pull(*total), metrics, written | written_once

    grads, metrics, written = states.accumulate(
        grads_of, state, batch, micro_batches, mean=task.mean)
    return states.update(state, grads, tx, metrics, written)

  passes = [Pass(smallest), Pass(full),
            *(Pass(sub, sampled / len(middle)) for sub in middle)]
  if teacher == 'frozen':
    passes.append(Pass(full, learns=False))
  return Method(init, step, tuple(passes), pretrained=teacher == 'frozen')
