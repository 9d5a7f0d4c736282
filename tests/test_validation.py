"""Settings that cannot be are told before data are made or a teacher trains."""
from bst_jax.report import watching
from bst_jax.run import training
from configs import quickstart
import pytest

WRONG = {
    'method': (lambda c: c.method.update(name='bts'), "no method 'bts'"),
    'its option': (lambda c: c.method.update(dict(samples=3)),
                   "no option of method .* 'samples'"),
    'optimiser': (lambda c: c.optimizer.update(dict(beta1=0.5)),
                  "no option of optimiser adamw 'beta1'"),
    'part': (lambda c: c.optimizer.update(dict(parts={'haed': {}})),
             r"config.optimizer.parts\) 'haed'"),
    'schedule': (lambda c: c.schedule.update(name='cosin'),
                 "no schedule 'cosin'"),
    'space': (lambda c: c.space.update(widths=('1/3', '1')), 'Ratios that fit'),
    'filter': (lambda c: c.space.update(filter='triangel'), "'triangel'"),
    'task': (lambda c: c.task.update(name='vqq'), "no task 'vqq'"),
    'model': (lambda c: c.model.update(dict(widht=8)), "'widht'"),
    'data': (lambda c: c.data.update(dict(batsh=8)), "'batsh'"),
    'form': (lambda c: setattr(c, 'data', dict(
        name='digit_scenes/tiny', form='pairs', inputs=('regions',))),
             "config.data.form to 'questions'"),
    'data set': (lambda c: c.data.update(name='digit_scene/tiny'),
                 'digit_scenes'),
    'mesh': (lambda c: c.mesh.update(data=3), 'does not cover'),
    'steps': (lambda c: c.update(epochs=3), 'exactly one of them'),
    'start': (lambda c: c.update(start='nowhere'),
              'nowhere|config.teacher is trained first'),
    'ema': (lambda c: c.update(ema=1.5), 'config.ema is 1.5'),
    'unwatched': (lambda c: (c.update(keep_best=True),
                             c.data.update(watch='')), 'config.data.watch'),
    'unscored': (lambda c: c.update(keep_best=True, eval_every=0),
                 'config.eval_every is 0'),
    'old start': (lambda c: c.update(init_from='nowhere'),
                  'nowhere|config.teacher is trained first'),
    'teacher': (lambda c: c.update(teacher_from='nowhere'),
                'config.json was looked for in nowhere'),
}


@pytest.mark.parametrize('of', ['config', 'config.teacher'])
@pytest.mark.parametrize('wrong', WRONG)
def test_nothing_is_worked_on_before_all_is_checked(
    tmp_path, monkeypatch, of, wrong):
  home = tmp_path / 'data'
  monkeypatch.setenv('BST_JAX_DATA', str(home))
  config = quickstart.get_config('tiny')
  config.unlock()
  config.teacher.unlock()
  spoil, said = WRONG[wrong]
  spoil(config if of == 'config' else config.teacher)
  with pytest.raises(ValueError, match=said) as error:
    training.run(config, tmp_path / 'a', watching.REPORTS)
  assert str(error.value).startswith('config.teacher: ') == (of != 'config')
  assert not home.exists() or not list(home.iterdir())
  assert not list((tmp_path / 'a').iterdir())


def test_a_teacher_of_another_shape_is_told_before_it_trains(tmp_path):
  """What its data decide is known by then, and nothing was trained."""
  config = quickstart.get_config('tiny')
  config.teacher.model.num_layers = 4
  with pytest.raises(ValueError, match='parameters do not fit'):
    training.run(config, tmp_path / 'a', watching.REPORTS)
  assert not (tmp_path / 'a' / 'teacher' / 'checkpoints').exists()
