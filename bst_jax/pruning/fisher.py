"""Scores of all channels at once, from gradients of their gates.

The divergence of answers without a channel has neither value nor slope where
its gate is one, so that half of its curvature, the Fisher information of the
gate, is the score to second order. Where one answer is right, that is half the
mean, over pictures and over answers as probable as the model has them, of the
squared slope of an answer's logarithm; where each may be right for itself, of
the sum over answers of p (1 - p) times the squared slope of its logit.
"""
from collections.abc import Callable
import math
from typing import Any

from bst_jax.pruning import exact, watched
from bst_jax.pruning import gates as gates_lib
from bst_jax.run.experiment import Experiment
import jax
import jax.numpy as jnp

# Rows that are worked on side by side.
_ROWS = 8
# Answers of a picture that are looked at; with as many classes all of them.
CLASSES = 10


def scorer(exp: Experiment, classes: int = CLASSES) -> Callable:
  """A function (params, batch) -> {full axis name: float32[B, n]}.

  Args:
    exp: whose model is scored.
    classes: answers of the greatest weights that are looked at; they stand
      for all.
  """
  exclusive, calls = exp.task.exclusive, gates_lib.Calls(exp)
  model = watched.plain(exp.model)

  def of_one(params, batch):
    gates = gates_lib.ones(params, exp.axes)

    def run(gates):
      logits = calls.run(lambda params: exact.logits(
          exp, model, params, batch)[0], params, gates)
      return jax.nn.log_softmax(logits) if exclusive else logits

    told, pull = jax.vjp(run, gates)
    p = jnp.exp(told) if exclusive else jax.nn.sigmoid(told)
    weights = p if exclusive else p * (1 - p)
    share, answers = jax.lax.top_k(weights, min(classes, told.size))
    share *= weights.sum() / share.sum()

    def add(total, one):
      weight, answer = one
      slopes, = pull(jnp.zeros_like(told).at[answer].set(1.0))
      return jax.tree.map(lambda t, g: t + weight * jnp.square(g), total,
                          slopes), None

    zeros = jax.tree.map(jnp.zeros_like, gates)
    total, _ = jax.lax.scan(add, zeros, (share, answers))
    return jax.tree.map(lambda t: t / 2, total)

  return _each(of_one)


def taylor(exp: Experiment) -> Callable:
  """As `scorer`: squared slopes of the loss of labels, where they count."""
  calls, model = gates_lib.Calls(exp), watched.plain(exp.model)

  def of_one(params, batch):
    def loss(gates):
      outputs = calls.run(
          lambda params: model.apply({'params': params}, batch), params, gates)
      rows = exp.task.loss(outputs, batch, None)
      return sum(exp.task.terms[name][0] * (row.loss * row.weight).sum()
                 for name, row in rows.items())

    slopes = jax.grad(loss)(gates_lib.ones(params, exp.axes))
    return jax.tree.map(jnp.square, slopes)

  return _each(of_one)


def _each(of_one: Callable) -> Callable[..., Any]:
  """Each row by itself, some side by side: every one has gates of its own.

  A row of questions comes with the picture that it is about.
  """
  def run(params, batch):
    rows = batch['mask'].shape[0]
    own = lambda x, i: jax.lax.dynamic_slice_in_dim(
        x, i // (rows // x.shape[0]), 1)
    return jax.lax.map(
        lambda i: of_one(params, {name: own(x, i) for name, x in batch.items()}),
        jnp.arange(rows), batch_size=math.gcd(rows, _ROWS))

  return jax.jit(run)
