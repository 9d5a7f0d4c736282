"""VQA-v2 and GQA from their official files, in miniature."""
import dataclasses
import hashlib
import json

from bst_jax.data import records, source
from bst_jax.data.builders.gqa.builder import Gqa
from bst_jax.data.builders.problems import Problems
from bst_jax.data.builders.vqa_v2 import minival, visual_genome
from bst_jax.data.builders.vqa_v2.builder import VqaV2
import made_up
import numpy as np
import pytest

TRAIN, VAL, TEST = range(1, 6), range(11, 17), range(21, 23)
SIZE = 16


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
  """Features of 16 numbers; the official ones have 2048."""
  for cls in (VqaV2, Gqa):
    monkeypatch.setattr(cls, 'BUILDER_CONFIGS', [
        dataclasses.replace(c, feature_size=c.feature_size and SIZE,
                            num_regions=c.num_regions and 5)
        for c in cls.BUILDER_CONFIGS])
    cls.builder_configs = {c.name: c for c in cls.BUILDER_CONFIGS}
  yield
  monkeypatch.undo()
  for cls in (VqaV2, Gqa):
    cls.builder_configs = {c.name: c for c in cls.BUILDER_CONFIGS}


def vqa_files(folder, vg='openvqa', minival_ids=(11, 12)):
  """The official files: two questions a picture, one of them disputed."""
  for subset, ids in (('train2014', TRAIN), ('val2014', VAL),
                      ('test2015', TEST)):
    questions, annotations = [], []
    for i in ids:
      for k, (words, said, kind) in enumerate((
          ('Is it red?', ['yes'] * 10, 'yes/no'),
          ('What is it?', ['t-shirt'] * 4 + ['a shirt'] * 6, 'other'))):
        questions.append(made_up.question(1000 * i + k, i, words))
        annotations.append(made_up.annotation(
            1000 * i + k, i, said, answer_type=kind,
            multiple_choice_answer=said[-1]))
    made_up.pair(folder, made_up.vqa_names(subset), questions,
                 None if subset == 'test2015' else annotations,
                 data_subtype=subset)
  if minival_ids:
    (folder / 'minival_ids.txt').write_text('\n'.join(map(str, minival_ids)))
  # Pictures 1 of train, 11 of minival, 13 of val and 99 of nowhere.
  if vg == 'openvqa':
    made_up.pair(folder, ('VG_questions.json', 'VG_annotations.json'),
                 [made_up.question(900 + i, i, 'Where?') for i in (1, 11, 13)],
                 [made_up.annotation(900 + i, i, ['On the bench.'] * 10)
                  for i in (1, 11, 13)])
  elif vg:
    made_up.write(folder / 'image_data.json', [
        {'image_id': 500 + i, 'coco_id': i} for i in (1, 11, 13)
    ] + [{'image_id': 599, 'coco_id': None}])
    made_up.write(folder / 'question_answers.json', [
        {'id': 500 + i, 'qas': [{'qa_id': i, 'image_id': 500 + i,
                                 'question': 'Where?', 'answer': 'On it.'}]}
        for i in (1, 11, 13, 99)])


def test_malformed_questions_of_visual_genome(tmp_path):
  vqa_files(tmp_path, vg='official')
  made_up.write(tmp_path / 'question_answers.json', [
      7, {'id': 1}, {'id': 501, 'qas': [{'qa_id': 1}]}])
  problems = Problems(1)
  assert visual_genome.read(tmp_path, problems) == {}
  assert problems.report()['malformed question']['count'] == 1
  (tmp_path / 'image_data.json').unlink()
  with pytest.raises(ValueError, match='one is missing'):
    visual_genome.read(tmp_path, problems)


def vqa_features(folder):
  lines = [made_up.tsv_line(i, i, 2 + i % 3, SIZE) for i in (*TRAIN, *VAL)]
  (folder / 'features').mkdir()
  (folder / 'features' / 'trainval.tsv').write_text(''.join(lines[::-1]))
  (folder / 'features' / 'test.tsv').write_text(''.join(
      made_up.tsv_line(i, i, 5, SIZE) for i in TEST))


def load(tmp_path, name='vqa_v2', **options):
  config = dict(name=name, batch=4, eval='', data_dir=str(tmp_path / 'home'),
                manual_dir=str(tmp_path / 'files')) | options
  return source.load(config)


def ids(builder, split):
  return {r['image_id'].decode() for r in records.read(
      builder, split, ['image_id'])}


@pytest.mark.parametrize('vg', ['openvqa', 'official'])
def test_vqa_v2(tmp_path, vg):
  files = tmp_path / 'files'
  vqa_files(files, vg)
  vqa_features(files)
  data = load(tmp_path, train='train+nominival+vg', eval='minival',
              answers_from='train+val', min_answers=9)
  builder = data.builder
  as_text = lambda numbers: {str(i) for i in numbers}
  assert ids(builder, 'train') == as_text(TRAIN)
  assert ids(builder, 'minival') == as_text((11, 12))
  assert ids(builder, 'nominival') == as_text(range(13, 17))
  assert ids(builder, 'val') == as_text(VAL)
  assert ids(builder, 'test') == as_text(TEST)
  assert ids(builder, 'vg') == as_text((1, 13))  # 11 is held out.

  # Eleven questions have each answer; those of Visual Genome do not count.
  assert data.answers == ('shirt', 'yes') and data.rule == 'vqa'
  assert data.types == ('number', 'other', 'yes/no')
  assert data.vocab.words[3:] == ('is', 'it', 'red', 'what', 'where')
  assert data.sizes['num_regions'] == 5 and data.sizes['feature_size'] == SIZE
  assert data.epoch == (2 * 9 + 2) / 4

  (batch,) = data.evaluation()
  assert batch['mask'].sum() == 4
  for tokens, score, target in zip(*(batch[k][batch['mask']]
                                     for k in ('tokens', 'score', 'target'))):
    red = data.vocab.decode(tokens) == 'is it red'
    # Training holds 'a shirt' and 'shirt' for one; the scorer does not.
    assert target.tolist() == ([0, 1] if red else [1, 0])
    assert score.tolist() == ([0, 1] if red else [0, 0])
  # Records are in the order of the features' file, which is backwards.
  assert data.ids('minival') == ['12000', '12001', '11000', '11001']
  rows = np.concatenate(list(data.evaluation().rows())).tolist()
  assert sorted(r for r in rows if r >= 0) == [0, 1, 2, 3]
  at = rows.index(2)
  features, boxes, width, height = made_up.region_arrays(11, 4, SIZE)
  np.testing.assert_array_equal(batch['regions'][at, :4],
                                features.astype(np.float16))
  assert not batch['regions'][at, 4].any()
  np.testing.assert_allclose(batch['boxes'][at, :4],
                             boxes / [width, height, width, height], atol=1e-6)


def test_from_disk_as_from_memory(tmp_path):
  vqa_files(tmp_path / 'files')
  vqa_features(tmp_path / 'files')
  both = [load(tmp_path, train='train+nominival', eval='minival', cache=c)
          for c in (True, False)]
  for _ in range(5):
    one, other = (next(d.train()) for d in both)
    for key in one:
      np.testing.assert_array_equal(one[key], other[key])
  assert both[0].ids('minival') == both[1].ids('minival')
  aside = next((tmp_path / 'home').rglob('train.questions.jsonl'))
  aside.write_text(aside.read_text()[:-20])
  with pytest.raises(ValueError, match='jsonl was to be read.* Delete'):
    load(tmp_path, cache=False)


def test_test_split_is_predicted_not_scored_nor_trained_on(tmp_path):
  vqa_files(tmp_path / 'files', vg='')
  vqa_features(tmp_path / 'files')
  data = load(tmp_path, eval='test')
  (batch,) = data.evaluation()
  assert batch['mask'].sum() == 4 and not batch['score'].any()
  assert not data.has_answers('test') and data.has_answers('minival')
  assert data.ids('test')[0] == '21000'
  with pytest.raises(ValueError, match='was to be scored.*--results'):
    data.prior('test')
  with pytest.raises(ValueError, match='was to be trained on.*no answers'):
    load(tmp_path, train='test')
  with pytest.raises(ValueError, match='Lower config.data.min_answers'):
    load(tmp_path, min_answers=99)


def test_what_training_shows_is_not_evaluated(tmp_path):
  vqa_files(tmp_path / 'files')
  vqa_features(tmp_path / 'files')
  with pytest.raises(ValueError, match="'val' was to be evaluated.*nominival"):
    load(tmp_path, train='train+nominival', eval='val')
  with pytest.raises(ValueError, match='shows 1 of its pictures'):
    load(tmp_path, train='vg', eval='nominival')
  data = load(tmp_path, train='train+vg', eval='minival')
  with pytest.raises(ValueError, match='allow_overlap'):
    data.evaluation('train')
  assert load(tmp_path, eval='train', allow_overlap=True).evaluation()
  with pytest.raises(ValueError, match="'train'.* would be in it twice"):
    load(tmp_path, train='train+train')
  with pytest.raises(ValueError, match="Did you mean 'minival'"):
    load(tmp_path, eval='minval')
  with pytest.raises(ValueError, match="no part of .* 'image'"):
    load(tmp_path, inputs=('image',))


def test_raw_pictures(tmp_path):
  files = tmp_path / 'files'
  vqa_files(files, vg='')
  for subset, numbers in (('train2014', TRAIN), ('val2014', VAL),
                          ('test2015', TEST)):
    (files / subset).mkdir()
    for i in numbers:
      (files / subset / f'COCO_{subset}_{i:012d}.jpg').write_bytes(
          made_up.picture(i, 'L' if i % 2 else 'RGB', size=(8 + i, 9)))
  options = dict(name='vqa_v2/images', inputs=('image',), eval='minival')
  with pytest.raises(ValueError, match='Give config.data.image_size'):
    load(tmp_path, **options)
  data = load(tmp_path, image_size=6, **options)
  batch = next(data.train())
  assert batch['image'].shape == (4, 6, 6, 3) and batch['image'].any()
  assert data.sizes['image_size'] == 6


def test_files_of_the_wrong_split(tmp_path):
  files = tmp_path / 'files'
  vqa_files(files, vg='')
  vqa_features(files)
  questions, annotations = made_up.vqa_names('train2014')
  right = (files / annotations).read_bytes()
  (files / annotations).write_bytes(
      (files / made_up.vqa_names('val2014')[1]).read_bytes())
  with pytest.raises(ValueError, match='says of itself that it is of val2014'):
    load(tmp_path)
  (files / annotations).unlink()
  with pytest.raises(ValueError, match=f'{annotations} was to be read'):
    load(tmp_path)
  (files / annotations).write_bytes(right)
  (files / 'minival_ids.txt').write_text('11\n1')
  with pytest.raises(ValueError, match=r"as \['1'\]: they may be of training"):
    load(tmp_path)
  (files / 'minival_ids.txt').write_text('11\nx')
  with pytest.raises(ValueError, match='minival_ids.txt was to be read'):
    load(tmp_path)
  (files / 'minival_ids.txt').unlink()

  # A validation picture among those of training.
  content = json.loads((files / questions).read_text())
  for entry in content['questions'][:2]:
    entry['image_id'] = 13
  made_up.write(files / questions, content)
  content = json.loads(right)
  for entry in content['annotations'][:2]:
    entry['image_id'] = 13
  made_up.write(files / annotations, content)
  with pytest.raises(ValueError, match=r"1 pictures are in both, as \['13'\]"):
    load(tmp_path)


def test_an_eighth_is_held_out_without_a_list(tmp_path):
  pictures = [str(i) for i in range(4000)]
  chosen = minival.choose(tmp_path, pictures)
  assert 400 < len(chosen) < 600 and chosen == minival.choose(
      tmp_path, pictures[::-1])
  (tmp_path / 'minival_ids.json').write_text('[3, "5"]')
  assert minival.choose(tmp_path, pictures) == {'3', '5'}


def test_bad_records_are_left_out_and_listed(tmp_path):
  files = tmp_path / 'files'
  vqa_files(files, vg='')
  vqa_features(files)
  lines = (files / 'features' / 'trainval.tsv').read_text().splitlines(True)
  lines[-1] = made_up.tsv_line(1, 1, 3, SIZE // 2)  # The wrong width,
  lines[-2] = '2\t100\n'  # cut short,
  del lines[-3]  # and missing.
  (files / 'features' / 'trainval.tsv').write_text(''.join(lines))
  # In the order of the file: the first one found is the damaged line.
  with pytest.raises(ValueError, match='(?s)picture 2 of line.*max_bad'):
    load(tmp_path)
  data = load(tmp_path, max_bad=3)
  assert ids(data.builder, 'train') == {'4', '5'}
  left_out = data.builder.info.metadata['left_out']
  assert {k: v['count'] for k, v in left_out.items()} == {
      'unusable features': 2, 'missing features': 1}
  assert 'have 8 features, not 16' in str(left_out)
  # Two people can tell whether they read the same questions.
  assert data.builder.info.metadata['files'] == {
      p.name: hashlib.sha256(p.read_bytes()).hexdigest()
      for p in files.iterdir() if p.is_file()}


def test_files_must_be_there_and_stay_as_they_were(tmp_path):
  with pytest.raises(ValueError, match='(?s)manual_dir is empty.*visualqa.org'):
    load(tmp_path, manual_dir='')
  with pytest.raises(ValueError, match='files is no folder with files'):
    load(tmp_path)
  (tmp_path / 'files').mkdir()
  (tmp_path / 'files' / 'README').write_text('nothing')
  with pytest.raises(ValueError, match='no split has its question file'):
    load(tmp_path)
  vqa_files(tmp_path / 'files')
  vqa_features(tmp_path / 'files')
  load(tmp_path)
  load(tmp_path, manual_dir='')
  load(tmp_path, manual_dir=str(tmp_path / 'elsewhere'))
  (tmp_path / 'files' / 'minival_ids.txt').write_text('13')
  with pytest.raises(ValueError, match='not the same any more. Delete'):
    load(tmp_path)


def gqa_entry(picture, answer, structural='verify', words='Is it red?'):
  return {'imageId': picture, 'question': words, 'answer': answer,
          'isBalanced': True, 'types': {'structural': structural,
                                        'semantic': 'attr', 'detailed': 'x'},
          'groups': {'global': None, 'local': 'x'}, 'entailed': [],
          'semantic': []}


def gqa_files(folder):
  for split, pictures in (('train', ('n1', '2')), ('val', ('3',)),
                          ('testdev', ('n4',))):
    made_up.write(folder / f'{split}_balanced_questions.json', {
        f'{split}{i}{k}': entry for i, picture in enumerate(pictures)
        for k, entry in enumerate((
            gqa_entry(picture, 'yes'),
            gqa_entry(picture, 't-shirt', 'query', 'What is worn?')))})
  made_up.write(folder / 'test_balanced_questions.json', {
      'test0': {'imageId': 'n5', 'question': 'Is it?', 'isBalanced': True}})
  for i, picture in enumerate(('n1', '2', '3', 'n4', 'n5')):
    made_up.npz(folder / 'features' / f'{picture}.npz', i, 2 + i % 2, SIZE)


def test_gqa(tmp_path):
  gqa_files(tmp_path / 'files')
  options = dict(name='gqa', train='train+val', eval='testdev')
  data = load(tmp_path, **options)
  assert data.answers == ('t shirt', 'yes') and data.rule == 'gqa'
  assert data.types == ('choose', 'compare', 'logical', 'query', 'verify')
  assert data.epoch == 6 / 4 and data.sizes['num_regions'] == 5
  (batch,) = data.evaluation()
  real = batch['mask']
  assert batch['target'][real].tolist() == [[0, 1], [1, 0]]
  assert batch['score'][real].tolist() == [[0, 1], [0, 0]]
  assert data.prior()['overall'] == 50
  assert data.written() == {}
  assert data.ids('testdev') == ['testdev00', 'testdev01']

  fixed = load(tmp_path, scoring='fixed', **options)
  (batch,) = fixed.evaluation()
  assert batch['score'][real].tolist() == [[0, 1], [1, 0]]
  assert fixed.rule == 'gqa_fixed' and fixed.prior()['overall'] == 100
  assert fixed.written() == {'t shirt': 't-shirt'}
  assert not data.has_answers('test')

  made_up.write(tmp_path / 'files' / 'val_balanced_questions.json',
                {'v': gqa_entry('n1', 'yes'), 'w': {'question': 'no picture?'}})
  options['data_dir'] = str(tmp_path / 'other')
  with pytest.raises(ValueError, match='(?s)malformed question: 1.*question w'):
    load(tmp_path, **options)
  with pytest.raises(ValueError, match='Splits train and val of gqa'):
    load(tmp_path, max_bad=1, **options)
