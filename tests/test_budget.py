"""A budget names the best submodel that fits."""
from bst_jax.report import budget
from bst_jax.report.budget import Budget
import pytest


def row(name, macs, params, accuracy):
  return {'submodel': name, 'macs': macs, 'params': params,
          'latency_ms': macs / 100, 'accuracy': {'overall': accuracy}}


ROWS = [row('1/4x1/2', 100, 10, 70.0), row('1/4x1', 200, 12, 80.0),
        row('1/2x1/2', 190, 30, 80.0), row('1x1', 900, 99, 95.0)]


def chosen(*texts):
  return budget.best(ROWS, [Budget.parse(t) for t in texts])['submodel']


def test_units_and_spaces():
  assert Budget.parse('macs<=0.5G') == Budget('macs', 5e8)
  assert Budget.parse(' params <= 12M ') == Budget('params', 12e6)
  assert Budget.parse('latency_ms<=1.5e1') == Budget('latency_ms', 15)


def test_the_most_accurate_that_fits_and_the_cheapest_of_equals():
  assert chosen('macs<=1K') == '1x1'
  assert chosen('macs<=200') == '1/2x1/2'
  assert chosen('macs<=200', 'params<=12') == '1/4x1'
  assert chosen('latency_ms<=1') == '1/4x1/2'


def test_what_cannot_be_is_said():
  with pytest.raises(ValueError, match=r'at least 100 \(1/4x1/2\)'):
    chosen('macs<=50')
  for text in ('macs<0.5G', 'macs<=', '0.5G', 'macs<=1.2.3', 'macs<=5T'):
    with pytest.raises(ValueError, match='is not KEY<=NUMBER'):
      Budget.parse(text)
  with pytest.raises(ValueError, match="Did you mean 'macs'"):
    Budget.parse('mac<=5')
