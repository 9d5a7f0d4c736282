"""Which table of scores a result joins, replaces or leaves alone."""
import os

from bst_jax.report import standing
from bst_jax.store import workdir as workdirs
import pytest


@pytest.fixture
def workdir(tmp_path):
  for step in (5, 10):
    (tmp_path / 'checkpoints' / str(step)).mkdir(parents=True)
  return tmp_path


def row(name, macs, questions=7, **more):
  return dict(submodel=name, macs=macs, params=macs, questions=questions,
              trained=True) | more


def result(*rows, **more):
  return dict(data='d', split='val', rule='r', title='t', prior={'overall': 1.0},
              ceiling=None, rows=list(rows)) | more


def stand(workdir, table, name='evaluation_val'):
  workdirs.write_json(workdir, f'{name}.json', table)


SMALL, FULL = row('1/2x1', 5), row('1x1', 9)


def test_rows_of_the_same_checkpoint_join(workdir):
  assert standing.place(workdir, result(FULL)) == (
      'evaluation_val', result(FULL, step=10))
  stand(workdir, result(SMALL, FULL, step=10))
  new = row('1x1', 9, loss=3.0)
  name, table = standing.place(workdir, result(new))
  assert name == 'evaluation_val' and table['rows'] == [SMALL, new]
  name, table = standing.place(workdir, result(row('3/4x1', 7)))
  assert [r['submodel'] for r in table['rows']] == ['1/2x1', '3/4x1', '1x1']


def test_all_of_a_newer_checkpoint_replace_a_part_does_not(workdir):
  stand(workdir, result(SMALL, FULL, step=5))
  name, table = standing.place(workdir, result(FULL))
  assert (name, table['rows']) == ('step_10_evaluation_val', [FULL])
  stand(workdir, table, name)
  name, table = standing.place(workdir, result(SMALL))
  assert (name, table['rows']) == ('step_10_evaluation_val', [SMALL, FULL])
  name, table = standing.place(workdir, result(SMALL, FULL))
  assert (name, table['step']) == ('evaluation_val', 10)


def test_an_older_checkpoint_has_a_file_of_its_own(workdir):
  stand(workdir, result(FULL, step=10))
  name, table = standing.place(workdir, result(FULL, step=5))
  assert (name, table['step']) == ('step_5_evaluation_val', 5)
  name, _ = standing.place(workdir, result(FULL, step=5), 'class_folders/x')
  assert name == 'step_5_evaluation_class_folders_x_val'


@pytest.mark.parametrize('other', [
    dict(data='e'), dict(rule='s'), dict(prior={'overall': 2.0}),
    dict(rows=[SMALL, row('1x1', 9, questions=8)])])
def test_other_questions_do_not_join(workdir, other):
  stand(workdir, result(SMALL, FULL, step=10) | other)
  name, table = standing.place(workdir, result(FULL))
  assert (name, table['rows']) == ('step_10_evaluation_val', [FULL])


@pytest.mark.parametrize('newer', [True, False])
def test_a_table_without_a_step_is_of_what_was_there_before_it(workdir, newer):
  stand(workdir, result(SMALL, FULL))
  time = (workdir / 'checkpoints' / '10').stat().st_mtime
  os.utime(workdir / 'evaluation_val.json', (time + (5 if newer else -5),) * 2)
  name, table = standing.place(workdir, result(FULL))
  assert name == ('evaluation_val' if newer else 'step_10_evaluation_val')
  assert len(table['rows']) == 1 + newer


@pytest.mark.parametrize('text', [
    '{"rows": [', '[1]', '{"data": "a", "split": "val", "rows": [1]}',
    '{"data": "a", "split": "val", "rows": [{"submodel": "1x1"}]}',
    '{"data": "a", "split": 1, "rows": []}'])
def test_a_damaged_table_is_replaced(workdir, text):
  (workdir / 'evaluation_val.json').write_text(text)
  assert standing.place(workdir, result(FULL))[0] == 'evaluation_val'
