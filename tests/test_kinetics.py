"""Kinetics: clips from CSV files and videos, and what is bad of them."""
import importlib.util
import re

from bst_jax.data import records, source
from bst_jax.data.making import half
import made_up
import numpy as np
import pytest

AV = importlib.util.find_spec('av') is not None
needs_av = pytest.mark.skipif(not AV, reason='PyAV is not installed')
HEAD = 'label,youtube_id,time_start,time_end,split\n'


def kinetics(folder, **splits):
  """Writes CSV files of {split: [(label, id, layout or None)]} and clips."""
  data = made_up.video(count=12)
  for split, rows in splits.items():
    folder.mkdir(exist_ok=True)
    (folder / f'{split}.csv').write_text(HEAD + ''.join(
        f'{label},{name},3,13,{split}\n' for label, name, _ in rows))
    for label, name, layout in rows:
      if layout is not None:
        path = folder / layout.format(
            split=split, label=label, name=f'{name}_000003_000013')
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


FLAT, DEEP = '{split}/{name}.mp4', '{split}/{label}/{name}.mp4'
TRAIN = [('ski', 'a-_b', DEEP), ('ride bike', 'c', DEEP), ('ski', 'gone', None),
         ('ride bike', 'd', FLAT)]
VAL = [('ride bike', 'e', 'clips/{name}.mkv'), ('ski', 'f', FLAT)]


def load(folder, **options):
  return source.load(dict(
      name='kinetics/400', manual_dir=str(folder / 'mine'), eval='validate',
      data_dir=str(folder / 'home'), batch=2, frames=4, image_size=16) | options)


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  if not AV:
    pytest.skip('PyAV is not installed')
  folder = tmp_path_factory.mktemp('kinetics')
  kinetics(folder / 'mine', train=TRAIN, validate=VAL,
           test=[('', 'nowhere', None)])
  load(folder, eval='val')
  return folder


def test_kinetics_gives_clips(made):
  data = load(made, eval='val', views=2, crops=3, eval_batch=2)
  assert data.answers == ('ride bike', 'ski') and data.unit == 'videos'
  assert data.sizes == {'num_answers': 2, 'clip_size': (4, 16, 16)}
  batch = next(data.train())
  assert batch['clip'].shape == (2, 4, 16, 16, 3)
  numbers = made_up.frame_numbers(batch['clip'])
  assert ((numbers // 3) == np.arange(4)).all()
  batch, = data.evaluation()
  assert batch['clip'].shape == (12, 4, 16, 16, 3)
  assert batch['label'].tolist() == [0, 1] and batch['mask'].all()
  numbers = made_up.frame_numbers(batch['clip'])
  assert numbers.tolist() == 2 * (3 * [[0, 3, 6, 9]] + 3 * [[2, 5, 8, 11]])
  batch, = data.calibration('val')
  assert batch['clip'].shape[0] == 2 == len(batch['mask'])


def test_missing_clips_of_kinetics_are_listed(made):
  builder = records.prepare('kinetics/400', str(made / 'home'))
  assert sorted(builder.info.splits) == ['train', 'val']
  assert builder.info.metadata['missing'] == {
      'train': {'count': 1, 'of': 4, 'first': ['gone_000003_000013']},
      'test': {'count': 1, 'of': 1, 'first': ['nowhere_000003_000013']}}
  read = records.read(builder, 'train', ['clip', 'frames'])
  assert [r['clip'].decode()[0] for r in read] == ['a', 'c', 'd']
  assert read.column('frames').tolist() == [12] * 3


def test_short_videos_are_found_when_data_are_opened(made):
  with pytest.raises(ValueError, match='13 frames of each video .* 3 of 3 have '
                     'fewer, as number 0 with 12.*repeat'):
    load(made, eval='val', frames=13)
  data = load(made, eval='val', frames=13, short='repeat')
  assert made_up.frame_numbers(next(data.train())['clip']).tolist() == 2 * [
      [*range(12), 11]]


@pytest.mark.parametrize('options, message', [
    (dict(augment=dict(mixup=0.8)), 'mix pictures, but kinetics/400 has videos'),
    (dict(image_size=0), 'many sizes.*image_size'),
    (dict(cache=True), 'videos are not kept decoded'),
    (dict(eval='train'), "training shows .*'train'"),
    (dict(cropz=1), 'cropz'),
])
def test_wrong_options_of_videos(made, options, message):
  with pytest.raises(ValueError, match=message):
    load(made, **dict(eval='val') | options)


def damage(folder):
  for path in folder.rglob('*.mp4'):
    path.write_bytes(b'nothing')


@needs_av
@pytest.mark.parametrize('change, options, message', [
    (damage, {}, 'unreadable clip: 4.*max_bad'),
    (lambda mine: None, dict(max_missing=0.1),
     '1 of the 4 clips of train are missing.*max_missing'),
    (lambda mine: [p.unlink() for p in mine.rglob('*.m*')], {},
     'no clip of train, val is there'),
    (lambda mine: (mine / 'test.csv').write_text(HEAD + 'ski,c,3,13,test\n'), {},
     'c_000003_000013 is in test too'),
    (lambda mine: (mine / 'train.csv').write_text(HEAD + ''.join(
        f'class {i},v{i},3,13,train\n' for i in range(401))), {},
     '40[0-9] classes, not 400'),
    (lambda mine: (mine / 'train.csv').write_text('a,b\n1,2\n'), {},
     'no column youtube_id'),
    (lambda mine: (mine / 'val.csv').write_text(HEAD + 'ski,x,soon,13,val\n'),
     {}, 'Line 2 of .*val.csv.*soon'),
    (lambda mine: [p.unlink() for p in mine.glob('*.csv')], {},
     'no .csv file there names a class'),
])
def test_wrong_files_of_kinetics(tmp_path, change, options, message):
  mine = tmp_path / 'mine'
  kinetics(mine, train=TRAIN, val=VAL)
  change(mine)
  with pytest.raises(ValueError, match=re.compile(message, re.DOTALL)):
    load(tmp_path, eval='val', **options)


@needs_av
def test_bad_clips_are_left_out_up_to_a_number(tmp_path):
  kinetics(tmp_path / 'mine', train=TRAIN, val=VAL)
  path = tmp_path / 'mine' / 'train' / 'ski' / 'a-_b_000003_000013.mp4'
  path.write_bytes(path.read_bytes()[:-700])
  data = load(tmp_path, eval='val', max_bad=1)
  assert data.epoch == 1.0
  builder = records.prepare('kinetics/400', str(tmp_path / 'home'))
  left_out = builder.info.metadata['left_out']['unreadable clip']
  assert left_out['count'] == 1 and 'a-_b' in left_out['first'][0]


@needs_av
def test_clips_damaged_in_their_middle_are_bad_records(tmp_path):
  kinetics(tmp_path / 'mine', train=TRAIN, val=VAL)
  for name in ('train/ski/a-_b', 'val/f'):
    path = tmp_path / 'mine' / f'{name}_000003_000013.mp4'
    path.write_bytes(made_up.damaged_video())
  with pytest.raises(ValueError, match='(?s)unreadable clip: 2, as .*a-_b.*f_000'):
    load(tmp_path, eval='val', max_bad=1)
  data = load(tmp_path, eval='val', max_bad=2)
  facts = data.builder.info.metadata
  assert facts['left_out']['unreadable clip']['count'] == 2
  assert facts['checked'] == 'all'
  for batch in data.evaluation():
    assert batch['clip'].any()


@needs_av
def test_a_clip_that_was_not_checked_is_named_when_it_is_read(tmp_path):
  """And a file of records that is lost is made again as it was."""
  kinetics(tmp_path / 'mine', train=TRAIN, val=VAL)
  path = tmp_path / 'mine' / 'val' / 'f_000003_000013.mp4'
  path.write_bytes(made_up.damaged_video())
  data = load(tmp_path, eval='val', check_videos='ends')
  with pytest.raises(ValueError, match='Video 1 of kinetics/400.* val, '
                     "f_000003_000013, .*check_videos='all'"):
    list(data.evaluation())
  for shard in (tmp_path / 'home').rglob('kinetics-val.array_record*'):
    shard.unlink()
  data = load(tmp_path, eval='val')
  assert data.builder.info.splits['val'].num_examples == 2
  with pytest.raises(ValueError, match="Did you mean 'ends'"):
    load(tmp_path, eval='val', check_videos='end')


@needs_av
def test_one_made_halfway_in_another_way_is_made_anew(tmp_path, monkeypatch,
                                                      caplog):
  kinetics(tmp_path / 'mine', train=TRAIN, val=VAL)
  keep = half.Half.keep

  def stops(self, *args):
    keep(self, *args)
    raise KeyboardInterrupt

  for way, said in (('ends', ''), ('ends', ''), ('all', 'change of options')):
    caplog.clear()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
      patch.setattr(half.Half, 'keep', stops)
      load(tmp_path, eval='val', check_videos=way)
    assert said in caplog.text and bool(said) == ('made anew' in caplog.text)
  load(tmp_path, eval='val')
