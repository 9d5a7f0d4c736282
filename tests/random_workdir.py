"""Workdirs with random parameters, as training would leave them."""
from bst_jax.run import experiment
from bst_jax.store import checkpoint
import models


def make(folder, config):
  """Makes the workdir of a config, whose data are made too; returns it."""
  data = experiment.load_data(config, folder)
  exp = experiment.build(config, data.sizes)
  data.save_vocab(folder / experiment.VOCAB)
  experiment.save(folder, config, data.sizes)
  checkpoint.save_params(folder, models.random_params(exp.shapes))
  return folder
