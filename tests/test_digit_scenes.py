"""The embedded data set: exact answers, balance, hash, features, making it."""
import collections
import os
import pathlib
import re
import subprocess
import sys

from bst_jax.data import records
from bst_jax.data.builders.digit_scenes import (
  asking,
  drawing,
  examples,
  features,
  find,
  pairs,
  programs,
  scenes,
)
from bst_jax.data.builders.digit_scenes.draws import Draws
import numpy as np
import pytest

LAYOUTS = {'easy': (scenes.EASY, programs.EASY),
           'full': (scenes.FULL, programs.FULL)}


def plate(digit='7', color='red', shape='circle', size='small', row=0,
          column=0):
  return scenes.Plate(digit, color, shape, size, 'dark', 0, row, column, 0, 0,
                      18)


def generated(name, split, pictures):
  return list(examples.generate(*LAYOUTS[name], split, pictures))


@pytest.fixture(scope='module')
def some():
  return {(name, split): generated(name, split, 40) for name, split in (
      ('easy', 'train'), ('full', 'train'), ('full', 'comp'))}


def test_draws_are_the_raw_bits_of_pcg64():
  draws = Draws(1, 2, 3)
  assert [draws.below(1000) for _ in range(5)] == [854, 984, 148, 714, 136]
  assert sorted(draws.shuffled(range(9))) == list(range(9))
  assert {draws.between(3, 5) for _ in range(50)} == {3, 4, 5}


@pytest.mark.parametrize('name, wanted', [
    ('easy', '146099837338148ce74b8a123a5dde56'
     'bac2fc59b39ffc75a04730169055e3da'),
    ('full', '200782a4732aea4144c59fd2742a378c'
     '705597693b498a1c2059b411d1a05ecd'),
])
def test_pixels_questions_and_answers_have_one_hash(name, wanted):
  assert examples.digest(generated(name, 'train', 12)) == wanted


def test_digits_are_those_of_uci():
  images, labels = scenes.digits()
  assert images.shape == (1797, 8, 8) and images.max() == 16
  assert np.bincount(labels).tolist() == [
      178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_splits_share_no_digit_image():
  used = {split: {p.image for i in range(300) for p in scenes.sample(
      scenes.FULL, split, Draws(0, i))} for split in scenes.SPLITS}
  assert not used['train'] & (used['val'] | used['test'] | used['comp'])
  assert not used['val'] & used['test']


def test_comp_has_only_pairs_that_training_never_has():
  def seen(split):
    return {(p.digit, p.color) for i in range(400)
            for p in scenes.sample(scenes.FULL, split, Draws(0, i))}
  assert len(seen('comp')) == 10 and len(seen('train')) == 50
  assert not seen('comp') & seen('train')
  assert seen('train') == seen('test')


@pytest.mark.parametrize('name', LAYOUTS)
def test_plates_stay_in_their_cells(name):
  layout = LAYOUTS[name][0]
  for i in range(200):
    plates = scenes.sample(layout, 'train', Draws(i))
    assert layout.plates[0] <= len(plates) <= layout.plates[1]
    assert len({(p.row, p.column) for p in plates}) == len(plates)
    for p in plates:
      assert p.column * 32 <= p.x <= p.x + p.side <= p.column * 32 + 32
      assert p.row * 32 <= p.y <= p.y + p.side <= p.row * 32 + 32
      assert int(p.digit) == scenes.digits()[1][p.image]


def test_a_plate_is_seen_in_its_color():
  plates = (plate(color='blue', shape='square'),)
  image = drawing.draw(scenes.EASY, plates, Draws(0), False)
  assert image.shape == (64, 64, 3) and image.dtype == np.uint8
  corner = image[:2, :18].reshape(-1, 3).mean(0)
  assert corner.argmax() == 2 and corner[2] > corner[0] + 60


def test_disagreeing_cases_of_the_programs():
  left, right = plate('7', 'red', column=0), plate('2', 'blue', column=1)
  under = plate('2', 'red', 'square', 'large', row=1, column=0)
  plates, draws = (left, right, under), Draws(0)
  ask = lambda kind: {q: a for _ in range(9)
                      for q, a in programs.PROGRAMS[kind](plates, draws)}
  assert ask('count')['how many circles are there?'] == '2'
  assert ask('exist')['is there a plate with a 7?'] == 'yes'
  assert ask('exist')['is there a plate with an 8?'] == 'no'
  # Two plates are red, so no question may say 'the red plate'.
  assert 'what digit is on the red plate?' not in ask('query_digit')
  assert ask('query_digit')['what digit is on the blue plate?'] == '2'
  assert ask('query_color')['what color is the plate with a 7?'] == 'red'
  assert ask('relate_digit')['what digit is left of the blue plate?'] == '7'
  assert ask('relate_color')[
      'what color is the plate below the plate with a 7?'] == 'red'
  assert 'what digit is above the blue plate?' not in ask('relate_digit')
  assert ask('sum')[
      'what do the blue plate and the large plate add up to?'] == '4'
  assert ask('greater')['does the blue plate show a greater digit than the '
                        'large plate?'] == 'no'
  assert ask('parity')['is the digit on the square even or odd?'] == 'even'
  assert ask('same_color')[
      'do the plate with a 7 and the square have the same color?'] == 'yes'
  assert ask('compare_count')['are there more circles than squares?'] == 'yes'
  assert ask('compare_count')['are there fewer circles than squares?'] == 'no'


@pytest.mark.parametrize('name', LAYOUTS)
def test_query_referents_are_unique(some, name):
  """Reads the words back: they fit one plate, and it has the answer."""
  checked = 0
  for example in some[name, 'train']:
    for q in example.questions:
      found = re.fullmatch(
          r'what (color|digit|shape|size) is (?:on )?the (.*)\?', q.text)
      if not found or ' of the ' in q.text or not q.type.startswith('query'):
        continue
      aspect, words = found.groups()
      digit = re.findall(r'\d', words)
      plain = set(words.split())
      wanted = {k: v for k, values in programs._ASPECTS.items()
                for v in values if v in plain and k != 'digit'}
      wanted |= {'digit': digit[0]} if digit else {}
      fit = [p for p in example.plates
             if all(getattr(p, k) == v for k, v in wanted.items())]
      assert len(fit) == 1 and getattr(fit[0], aspect) == q.answer, q
      checked += 1
  assert checked > 50


@pytest.mark.parametrize('name', LAYOUTS)
def test_answers_of_a_type_are_balanced(name):
  layout, types = LAYOUTS[name]
  asker = asking.Asker(layout, types)
  given = collections.defaultdict(collections.Counter)
  for i in range(500):
    plates = scenes.sample(layout, 'train', Draws(1, i))
    for q in asker.ask(plates, Draws(2, i)):
      given[q.type][q.answer] += 1
  assert given.keys() == set(types)
  for kind, counts in given.items():
    assert counts.keys() == set(programs.ANSWERS[kind]), kind
    least = min(counts.values())
    # A bit more where there are few, as the counts are whole numbers.
    assert max(counts.values()) <= max(1.15 * least, least + 1), (kind, counts)


def test_one_question_in_ten_is_disputed(some):
  for found in some.values():
    questions = [q for example in found for q in example.questions]
    disputed = [q for q in questions if len(set(q.answers)) > 1]
    assert abs(len(disputed) - len(questions) / 10) <= 1
    for q in questions:
      assert len(q.answers) == 10 and q.answers.count(q.answer) >= 7
      assert set(q.answers) <= set(programs.ANSWERS[q.type])
      assert len(q.text.split()) <= programs.LONGEST


def test_captions_and_statements(some):
  for found in some.values():
    for i, example in enumerate(found):
      assert 1 <= len(example.captions) <= 5
      assert len(set(example.captions)) == len(example.captions)
      assert {s.label for s in example.statements} == {True, False}
      assert all(s.other != i and 0 <= s.other < len(found)
                 for s in example.statements)


def test_statements_are_true_of_the_pair_and_not_of_its_likes():
  everything = [(plate(color='red'),), (plate(color='blue'),)]
  said = {s.text: s.label for seed in range(1000)
          for s in pairs.write(0, everything, Draws(seed))}
  assert said['both pictures have a circle'] is True
  assert said['both pictures have a red plate'] is False
  assert said['exactly one of the pictures has a blue plate'] is True
  assert said['there are two circles in all'] is True
  assert said['the left picture has a red plate and the right one has a '
              'blue plate'] is True


def test_crops_are_centred_and_padded():
  image = np.zeros((64, 64, 3), np.uint8)
  image[0:20, 0:20] = 200
  boxes = np.array([[0, 0, 20, 20], [40, 40, 60, 60]]) / 64
  crops = features.crop(image, boxes)
  assert crops.shape == (2, 32, 32, 3)
  assert crops[0, 6:26, 6:26].min() == 200 and crops[1].max() == 0
  assert features.crop(image, np.zeros((0, 4))).shape == (0, 32, 32, 3)


def test_features_read_digits_of_test_plates():
  """A nearest class mean of training plates reads what training never saw."""
  def plates(split, pictures, layout=scenes.EASY):
    windows, digits, colors = [], [], []
    for i in range(pictures):
      these = scenes.sample(layout, split, Draws(3, i))
      image = drawing.draw(layout, these, Draws(4, i), False)
      windows.append(features.crop(image, scenes.boxes(layout, these)))
      digits += [int(p.digit) for p in these]
      colors += [scenes.COLORS.index(p.color) for p in these]
    found = features.encode(np.concatenate(windows))
    assert found.shape == (len(digits), features.SIZE)
    return found, np.array(digits), np.array(colors)

  x, *train = plates('train', 120)
  y, *test = plates('test', 120)
  for labels, wanted, least in zip(train, test, (85, 97)):
    means = np.stack([x[labels == k].mean(0) for k in range(labels.max() + 1)])
    distance = ((y[:, None] - means) ** 2).sum(-1)
    assert 100 * (distance.argmin(1) == wanted).mean() > least


def test_features_do_not_hang_on_what_is_read_with_them():
  rng = np.random.default_rng(0)
  windows = rng.integers(0, 256, (300, 32, 32, 3)).astype(np.uint8)
  np.testing.assert_allclose(
      features.encode(windows)[-2:], features.encode(windows[-2:]), rtol=1e-5,
      atol=1e-5)


def test_two_processes_make_the_set_once_and_remains_are_cleared(tmp_path):
  # What a killed process leaves: a half-made folder, and one without its end.
  rest = tmp_path / 'digit_scenes' / 'tiny' / 'incomplete.ABC123_1.0.0'
  rest.mkdir(parents=True)
  broken = tmp_path / 'digit_scenes' / 'tiny' / '1.0.0'
  broken.mkdir()
  (broken / 'digit_scenes-train.array_record-00000-of-00001').write_bytes(b'x')
  code = ('from bst_jax.data import records; '
          "b = records.prepare('digit_scenes/tiny'); "
          "print(len(records.Records(b, 'train', ['questions'])))")
  root = pathlib.Path(records.__file__).parents[2]
  run = [subprocess.Popen(
      [sys.executable, '-c', code], cwd=root, stdout=subprocess.PIPE,
      stderr=subprocess.PIPE, text=True,
      env={**os.environ, 'BST_JAX_DATA': str(tmp_path)}) for _ in range(2)]
  for process in run:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert out.split()[-1] == '96'
  assert not rest.exists()
  assert [p.name for p in rest.parent.iterdir()] == ['1.0.0']


def test_plates_are_found_where_they_are():
  """Within a pixel of their centre, in 200 pictures of the test split."""
  layout = scenes.EASY
  far = 0
  for example in examples.generate(layout, programs.EASY, 'test', 200):
    want = scenes.boxes(layout, example.plates)
    found = find.plates(example.image)
    assert found.shape == want.shape
    centres = (found - want).reshape(-1, 2, 2).sum(1) / 2 * layout.image_size
    far += np.abs(centres).max() > 1
  assert far <= 2


def test_what_is_no_scene_has_no_plates():
  with pytest.raises(ValueError, match='no digit scene'):
    find.plates(np.zeros((50, 64, 3), np.uint8))
  with pytest.raises(ValueError, match='no coloured plate'):
    find.plates(np.full((64, 64, 3), 128, np.uint8))
