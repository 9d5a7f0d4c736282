"""Scores of all channels at once, from gradients of their gates.

The divergence of answers without a channel has neither value nor slope where
its gate is one, so that half of its curvature, the Fisher information of the
gate, is the score to second order: one half of the mean, over pictures and over
answers as probable as the model has them, of the squared slope of an answer's
logarithm.
"""
from collections.abc import Callable
from typing import Any

from bst_jax.pruning import exact
from bst_jax.pruning import gates as gates_lib
from bst_jax.run.experiment import Experiment
import jax
import jax.numpy as jnp

# Answers of a picture that are looked at; with as many classes all of them.
CLASSES = 10


def scorer(exp: Experiment, classes: int = CLASSES) -> Callable:
  """A function (params, batch) -> {full axis name: float32[B, n]}.

  Args:
    exp: whose model is scored.
    classes: most probable answers that are looked at, weighed by what the
      model gives them, of one.
  """
  def of_one(params, one):
    batch = jax.tree.map(lambda x: x[None], one)
    gates = gates_lib.ones(params, exp.axes)
    run = lambda gates: jax.nn.log_softmax(exact.logits(
        exp, exp.model, gates_lib.gated(params, exp.axes, gates), batch)[0])
    told, pull = jax.vjp(run, gates)
    share, answers = jax.lax.top_k(jnp.exp(told), min(classes, told.size))

    def add(total, one):
      weight, answer = one
      slopes, = pull(jnp.zeros_like(told).at[answer].set(1.0))
      return jax.tree.map(lambda t, g: t + weight * jnp.square(g), total,
                          slopes), None

    zeros = jax.tree.map(jnp.zeros_like, gates)
    total, _ = jax.lax.scan(add, zeros, (share / share.sum(), answers))
    return jax.tree.map(lambda t: t / 2, total)

  return _each(of_one)


def taylor(exp: Experiment) -> Callable:
  """As `scorer`: squared slopes of the loss of labels."""
  def of_one(params, one):
    batch = jax.tree.map(lambda x: x[None], one)

    def loss(gates):
      outputs = exp.model.apply({'params': gates_lib.gated(
          params, exp.axes, gates)}, batch)
      rows = exp.task.loss(outputs, batch, None)
      return sum(exp.task.terms[name][0] * row.loss.sum()
                 for name, row in rows.items())

    slopes = jax.grad(loss)(gates_lib.ones(params, exp.axes))
    return jax.tree.map(jnp.square, slopes)

  return _each(of_one)


def _each(of_one: Callable) -> Callable[..., Any]:
  """One picture after the other: gradients of parameters are large."""
  return jax.jit(lambda params, batch: jax.lax.map(
      lambda one: of_one(params, one), batch))
