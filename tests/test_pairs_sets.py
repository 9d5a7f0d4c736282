"""NLVR2, Flickr30K and SNLI-VE from files in their published forms."""
import json

from bst_jax.data import source
import made_up
import numpy as np
from PIL import Image
import pytest

SIZE = dict(batch=2, image_size=8, inputs=('image',), train='train', eval='dev',
            allow_overlap=True)


def write(folder, name, lines):
  (folder / name).write_text(''.join(json.dumps(line) + '\n' for line in lines))


def paint(path, color, kind='PNG'):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.new('RGB', (4, 4), color).save(path, kind)


RED, BLUE = (200, 30, 30), (30, 30, 200)


def said(pair, number, sentence, label, **more):
  return dict(identifier=f'{pair}-{number}', sentence=sentence, label=label,
              **more)


@pytest.fixture
def nlvr2(tmp_path):
  """Two training pairs, one in a numbered folder and one not; one of dev."""
  folder = tmp_path / 'nlvr2'
  folder.mkdir()
  write(folder, 'train.json', [
      said('train-10-0', 0, 'There is a red one.', 'True', directory=11),
      said('train-10-0', 1, 'Both are\nblue.', 'False', directory=11),
      said('train-12-3', 0, 'The left one is blue.', 'True', directory=20)])
  write(folder, 'dev.json', [
      said('dev-1-0', 0, 'The right one is red.', 'False')])
  images = folder / 'images'
  paint(images / 'train/11/train-10-0-img0.png', RED)
  # A JPEG under another name, as the data set has some.
  paint(images / 'train/11/train-10-0-img1.png', BLUE, 'JPEG')
  paint(images / 'train/train-12-3-img0.png', BLUE)
  paint(images / 'train/train-12-3-img1.png', RED)
  paint(images / 'dev/dev-1-0-img0.png', RED)
  paint(images / 'dev/dev-1-0-img1.png', BLUE)
  return folder


def load(name, folder, **options):
  return source.load(dict(
      name=name, manual_dir=str(folder),
      data_dir=str(folder.parent / 'home')) | SIZE | options)


def pairs_of(data, split):
  """{sentence: (label, what the left and the right picture are)}."""
  found = {}
  for batch in data.evaluation(split):
    pictures = ['red' if one[4, 4, 0] > one[4, 4, 2] else 'blue'
                for one in np.asarray(batch['image'])]
    for i, (tokens, label, real) in enumerate(zip(
        batch['tokens'], batch['pair'], batch['mask'])):
      if real:
        text = ' '.join(data.vocabularies['words'].words[t] for t in tokens if t)
        found[text] = int(label), *pictures[2 * i:2 * i + 2]
  return found


def test_left_and_right_pictures_of_statements_in_either_layout(nlvr2):
  data = load('nlvr2', nlvr2, form='pairs', eval='train')
  assert pairs_of(data, 'train') == {
      'there is a red one': (1, 'red', 'blue'),
      'both are blue': (0, 'red', 'blue'),
      'the left one is blue': (1, 'blue', 'red')}


def test_a_picture_that_is_nowhere_is_told_with_the_places_looked_at(nlvr2, log):
  (nlvr2 / 'images/train/11/train-10-0-img1.png').unlink()
  with pytest.raises(ValueError) as error:
    load('nlvr2', nlvr2, form='pairs')
  for part in ('train/11/train-10-0-img1.png', 'train/train-10-0-img1.png',
               '2 of 3 statements', 'config.data.max_bad'):
    assert part in str(error.value), error.value
  data = load('nlvr2', nlvr2, form='pairs', max_bad=2, eval='train')
  assert pairs_of(data, 'train').keys() == {'the left one is blue'}
  assert 'missing picture: 2' in log.text


def test_a_picture_that_cannot_be_read_moves_no_other(nlvr2):
  (nlvr2 / 'images/train/11/train-10-0-img1.png').write_bytes(b'no picture')
  with pytest.raises(ValueError, match='unreadable picture: 2, as .*img1.png'):
    load('nlvr2', nlvr2, form='pairs', eval='train')
  data = load('nlvr2', nlvr2, form='pairs', eval='train', max_bad=2)
  assert pairs_of(data, 'train') == {'the left one is blue': (1, 'blue', 'red')}


def test_lines_that_are_no_statements_are_counted(nlvr2):
  with (nlvr2 / 'dev.json').open('a') as file:
    file.write(json.dumps(said('dev-2-0', 0, 'Who knows.', 'maybe')) + '\n')
  with pytest.raises(ValueError, match='malformed statement: 1, as dev.json, li'):
    load('nlvr2', nlvr2, form='pairs')
  with (nlvr2 / 'dev.json').open('a') as file:
    file.write('{"identifier"')
  with pytest.raises(ValueError, match='damaged at line 3'):
    load('nlvr2', nlvr2, form='pairs')


@pytest.fixture
def flickr(tmp_path):
  folder = tmp_path / 'flickr'
  (folder / 'images').mkdir(parents=True)
  images = []
  for i, split in enumerate(['train', 'train', 'val', 'test']):
    (folder / f'images/{100 + i}.jpg').write_bytes(made_up.picture(i))
    images.append(dict(filename=f'{100 + i}.jpg', split=split, sentences=[
        dict(raw=f'A thing of kind {i}.'), dict(raw=f'It shows\nthing {i}.')]))
  (folder / 'dataset_flickr30k.json').write_text(json.dumps(
      dict(dataset='flickr30k', images=images)))
  return folder


def test_every_caption_is_ranked_for_every_picture(flickr):
  data = load('flickr30k', flickr, form='retrieval', eval='train',
              texts_per_picture=2, max_tokens=8)
  rows = [(int(p), int(t), int(m)) for batch in data.evaluation('train')
          for p, t, m, real in zip(batch['picture'], batch['text'],
                                   batch['match'], batch['mask']) if real]
  assert sorted(rows) == [(p, t, int(t // 2 == p)) for p in range(2)
                          for t in range(4)]
  assert {name: info.num_examples for name, info in
          data.builder.info.splits.items()} == dict(train=2, val=1, test=1)


def test_pictures_that_karpathy_names_and_nobody_has(flickr):
  (flickr / 'images/101.jpg').unlink()
  with pytest.raises(ValueError, match='missing picture: 1, as picture 101'):
    load('flickr30k', flickr, form='retrieval', eval='val')
  found = json.loads((flickr / 'dataset_flickr30k.json').read_text())
  found['images'][0]['split'] = 'restval'
  (flickr / 'dataset_flickr30k.json').write_text(json.dumps(found))
  with pytest.raises(ValueError, match='malformed picture: 1'):
    load('flickr30k', flickr, form='retrieval', eval='val')


@pytest.fixture
def entailed(tmp_path):
  folder = tmp_path / 'snli'
  for i in (1, 2):
    path = folder / f'images/{i}.jpg'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(made_up.picture(i))
  return folder


def hypothesis(i, label, picture='1', field='Flikr30kID', **more):
  return {'sentence2': f'A man does thing {i}.', 'gold_label': label,
          'pairID': f'{i}.jpg#0r1e', field: picture} | more


@pytest.mark.parametrize('field, ending', [('Flikr30kID', '.jpg'),
                                           ('Flickr30K_ID', '')])
def test_hypotheses_with_a_label_whichever_tool_wrote_them(entailed, field,
                                                           ending, log):
  rows = [hypothesis(i, label, f'1{ending}', field) for i, label in enumerate(
      ['entailment', 'neutral', 'contradiction', '-'])]
  rows.append(hypothesis(9, 'neutral', f'1{ending}', field, pairID='vg_9'))
  write(entailed, 'snli_ve_train.jsonl', rows)
  write(entailed, 'snli_ve_dev.jsonl',
        [hypothesis(5, 'entailment', f'2{ending}', field)])
  data = load('snli_ve', entailed)
  assert set(data.answers) == {'entailment', 'neutral', 'contradiction'}
  batches = [*data.evaluation('train')]
  targets = np.concatenate([np.asarray(b['target'])[b['mask']] for b in batches])
  assert targets.shape == (3, 3) and (targets.sum(1) == 1).all()
  assert (targets.sum(0) == 1).all()
  assert '1 lines without a label that annotators agreed on and 1 of' in log.text


@pytest.mark.parametrize('line, says', [
    (hypothesis(0, 'Entailment'), "line 2: the label is 'Entailment'"),
    ({'sentence2': 'A man.', 'gold_label': 'neutral', 'pairID': 'x'},
     'no field names a picture')])
def test_what_is_no_snli_ve_is_refused(entailed, line, says):
  write(entailed, 'snli_ve_train.jsonl', [hypothesis(1, 'neutral'), line])
  with pytest.raises(ValueError, match=says):
    load('snli_ve', entailed, eval='train')


@pytest.mark.parametrize('name, form', [
    ('nlvr2', 'pairs'), ('flickr30k', 'retrieval'), ('snli_ve', 'questions')])
def test_a_folder_of_something_else_is_told_what_belongs_there(name, form,
                                                               tmp_path):
  folder = tmp_path / 'other'
  folder.mkdir()
  (folder / 'notes.txt').write_text('nothing')
  with pytest.raises(ValueError, match='no split has its'):
    load(name, folder, form=form)
