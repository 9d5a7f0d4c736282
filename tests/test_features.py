"""Region features: made, gone on with, and read by models of regions."""
import copy
import json
import pathlib

from bst_jax import predict, train
from bst_jax.data import picture_source, region_store, source, vocabularies
from bst_jax.data.builders import regions
from bst_jax.data.builders.problems import Problems
from bst_jax.run import experiment, loaded
from bst_jax.run import extractor as extractors
from bst_jax.run import features as features_lib
from bst_jax.store import checkpoint
from configs import quickstart, tee_scenes
import jax
import made_up
import numpy as np
from PIL import Image
import pytest

ROOT = pathlib.Path(__file__).parent.parent
SCENE = ROOT / 'docs' / 'scene.png'
TINY = 'digit_scenes/tiny'


@pytest.fixture(scope='module')
def detector(tmp_path_factory):
  """A detector's workdir, with random parameters."""
  workdir = tmp_path_factory.mktemp('detector') / 'tee'
  config = tee_scenes.get_config('tiny')
  data = source.load(config.data)
  exp = experiment.build(config, data.sizes)
  rng = np.random.default_rng(0)
  params = jax.tree.map(
      lambda leaf: rng.uniform(0.1, 0.5, leaf.shape).astype(np.float32)
      * rng.choice([-1, 1], leaf.shape) ** (len(leaf.shape) > 1), exp.shapes)
  data.save_vocab(workdir / experiment.VOCAB)
  checkpoint.save_params(workdir, params)
  experiment.save(workdir, config, exp.sizes)
  return workdir


@pytest.fixture(scope='module')
def extractor(detector):
  return extractors.Extractor(detector, batch=8)


@pytest.fixture(scope='module')
def of_scenes(extractor, tmp_path_factory):
  """Features of the tiny scenes, by files of 20 pictures."""
  folder = tmp_path_factory.mktemp('of_scenes') / 'features'
  features_lib.write(extractor, picture_source.of(TINY), folder, each=20)
  return folder


def photographs(folder, sizes=((40, 30), (20, 50), (64, 64))):
  for i, (width, height) in enumerate(sizes):
    path = folder / f'p{i}.png'
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(i).integers(
        0, 256, (height, width, 3), np.uint8)).save(path)


def test_what_is_kept_is_what_the_detector_says(detector, of_scenes):
  net, data = loaded.load(detector), source.load(
      tee_scenes.get_config('tiny').data)
  batch = next(iter(data.evaluation('val')))
  said = jax.device_get(net.outputs(batch))
  store = region_store.Store(of_scenes)
  for i in range(4):
    rows, there = store('val', i), said['valid'][i]
    np.testing.assert_allclose(rows['boxes'], said['boxes'][i][there] / 64,
                               atol=1e-5)
    np.testing.assert_allclose(
        rows['regions'], said['features'][i][there], rtol=2e-3, atol=1e-3)
    np.testing.assert_array_equal(rows['found'], said['found'][i][there])
    np.testing.assert_allclose(rows['score'], said['scores'][i][there],
                               atol=1e-6)
  assert store.about.splits == {'train': 96, 'val': 32, 'test': 32}
  assert store.about.classes == tuple(map(str, range(10)))
  assert len(list(of_scenes.glob('train-*.array_record'))) == 5


def test_boxes_are_shares_of_pictures_of_any_shape(extractor, tmp_path):
  """Of a picture in the corner of its canvas they are shares of itself."""
  photographs(tmp_path)
  params, run, split = extractor._program
  finder = copy.copy(extractor)  # Of the same program.
  finder._config = extractor._config.copy_and_resolve_references()
  finder._config.data.image_fit = 'corner'
  pixels = np.asarray(Image.open(tmp_path / 'p1.png'))  # 20 wide, 50 high.
  framed = finder.framed(pixels)
  assert framed['extent'].tolist() == [64, 26]
  found, = finder([pixels])
  said = jax.device_get(run(params, jax.device_put({
      key: np.stack([framed[key]] * 8) for key in ('image', 'extent')}, split)))
  there = said['valid'][0]
  np.testing.assert_allclose(
      found.boxes, said['boxes'][0][there] / [26, 64, 26, 64], atol=1e-5)
  assert found.boxes.max() <= 1 and len(found.boxes) > 3


def test_a_stopped_run_goes_on_and_redoes_nothing(
    extractor, of_scenes, tmp_path, monkeypatch):
  output, calls = tmp_path / 'out', []
  whole = extractors.Extractor.of_framed

  def dies(self, pictures):
    calls.append(len(pictures))
    if len(calls) == 5:
      raise KeyboardInterrupt
    return whole(self, pictures)

  monkeypatch.setattr(extractors.Extractor, 'of_framed', dies)
  pictures = picture_source.of(TINY)
  with pytest.raises(KeyboardInterrupt):
    features_lib.write(extractor, pictures, output, each=20)
  done = sorted(path.name for path in output.glob('*.array_record'))
  assert done == ['train-00000-of-00005.array_record']
  with pytest.raises(ValueError, match='8 of its files are not there.*again'):
    region_store.Store(output)
  features_lib.write(extractor, pictures, output, each=20)
  assert sum(calls) == 96 + 32 + 32 + calls[3] + calls[4]
  for path in of_scenes.glob('*-of-*'):
    assert (output / path.name).read_bytes() == path.read_bytes()
  features_lib.write(extractor, pictures, output, each=20)
  assert sum(calls) == 96 + 32 + 32 + calls[3] + calls[4]


def test_nothing_of_another_extractor_or_other_pictures_is_overwritten(
    extractor, detector, of_scenes, tmp_path):
  photographs(tmp_path / 'pictures')
  with pytest.raises(ValueError, match='other pictures.*another --output'):
    features_lib.write(extractor, picture_source.of(str(tmp_path / 'pictures')),
                       of_scenes, each=20)
  other = extractors.Extractor(detector, batch=8)
  other.fingerprint = 'another'
  with pytest.raises(ValueError, match='features of another extractor'):
    features_lib.write(other, picture_source.of(TINY), of_scenes, each=20)
  (tmp_path / 'full').mkdir()
  (tmp_path / 'full' / 'mine.txt').write_text('')
  with pytest.raises(ValueError, match='not empty'):
    features_lib.write(extractor, picture_source.of(TINY), tmp_path / 'full')


def test_an_unreadable_picture_is_named_and_has_no_regions(
    extractor, tmp_path, caplog):
  photographs(tmp_path / 'pictures')
  (tmp_path / 'pictures' / 'p1.png').write_bytes(b'none')
  output = tmp_path / 'out'
  about, bad = features_lib.write(
      extractor, picture_source.of(str(tmp_path / 'pictures')), output)
  assert [*bad] == ['p1'] and '4 bytes' in bad['p1']
  assert '1 of 3 pictures cannot be read' in caplog.text
  store = region_store.Store(output)
  counts = [len(store('pictures', i)) for i in range(3)]
  assert counts[1] == 0 and min(counts[0], counts[2]) > 0
  assert about.splits == {'pictures': 3}


def test_pictures_of_a_data_set_keep_the_names_that_it_has(
    extractor, tmp_path):
  folder, names = tmp_path / 'mine', {'train': ('p0.png', 'p2.png'),
                                      'val': ('p1.png',)}
  photographs(folder / 'images')
  (folder / 'captions.jsonl').write_text('\n'.join(json.dumps(
      {'image': f'images/{name}', 'caption': 'a thing', 'split': split,
       'tags': [['mine', 1.0]] if name == 'p2.png' else []})
      for split, each in names.items() for name in each))
  made = tmp_path / 'features'
  about, bad = features_lib.write(extractor, picture_source.of(
      'caption_list', str(tmp_path / 'data'), str(folder)), made)
  assert about.splits == {'train': 2, 'val': 1} and not bad
  for split, each in names.items():
    stem = made / f'{split}-00000-of-00001'
    assert region_store.ids(stem) == [f'images/{name}' for name in each]
  store = region_store.Store(made)
  data = source.load(dict(
      name='caption_list', form='captions', train='train', eval='val',
      batch=2, inputs=('regions',), features=str(made), seed=0, max_tags=99,
      least_confidence=0.0, data_dir=str(tmp_path / 'data'), manual_dir=str(folder)))
  batch = next(iter(data.evaluation('val')))
  rows = store('val', 0)
  np.testing.assert_array_equal(
      batch['regions'][0, :len(rows)], rows['regions'].astype(np.float32))
  of_classes = lambda rows: ' '.join(store.about.classes[kind]
                                     for kind in rows['found'])
  assert data.split('train').rows.tags == [of_classes(store('train', 0)), 'mine']
  assert data.split('val').rows.tags == [of_classes(rows)] != ['']


def test_what_the_extractor_found_are_tags_where_there_are_no_others(of_scenes):
  store, options = region_store.Store(of_scenes), dict(
      name=TINY, form='captions', train='train', eval='val', batch=4,
      inputs=('regions',), features=str(of_scenes), seed=0, max_tags=12)
  least = float(np.median(store('val', 0)['score']))
  data = source.load(options | dict(least_confidence=least))
  for split in ('train', 'val'):
    want = [' '.join(store.about.classes[kind] for kind, score in zip(
        rows['found'], rows['score']) if score >= np.float32(least))
        for rows in (store(split, i) for i in range(32))]
    assert data.split(split).rows.tags[:32] == want
    assert len({*want}) > 1
    alone = data._splits._rows_alone(split, data._form, data._context)
    assert alone.tags[:32] == want
  digits = source.load(options | dict(plate_tags=('digit', 'color')))
  assert any('red' in tags for tags in digits.split('val').rows.tags)


def test_a_folder_of_questions_reads_them(extractor, tmp_path):
  """By picture ids, as the other kinds of files; several extractors mix not."""
  made_up.folder(tmp_path / 'mine', content='image')
  features_lib.write(
      extractor, picture_source.of(str(tmp_path / 'mine' / 'images')),
      tmp_path / 'mine' / 'features')
  got = dict(regions.read(tmp_path / 'mine' / 'features', ['p3', 'p0'],
                          Problems(), 16))
  store = region_store.Store(tmp_path / 'mine' / 'features')
  names = region_store.ids(
      tmp_path / 'mine' / 'features' / 'pictures-00000-of-00001')
  for name, arrays in got.items():
    rows = store('pictures', names.index(name))
    np.testing.assert_allclose(arrays['boxes'], rows['boxes'], atol=1e-6)
    np.testing.assert_array_equal(arrays['regions'], rows['regions'])
  config = dict(name='folder', manual_dir=str(tmp_path / 'mine'), train='train',
                eval='val', batch=4, data_dir=str(tmp_path / 'data'))
  data = source.load(config)
  assert data.sizes['feature_size'] == 16
  data.save_vocab(tmp_path / 'vocab')
  assert vocabularies.extractor(tmp_path / 'vocab') == extractor.fingerprint
  made_up.npz(tmp_path / 'mine' / 'features' / 'p1.npz', 1, 3)
  mixed = regions.places(tmp_path / 'mine' / 'features', ['p1', 'p0'], Problems())
  assert {place.path.rpartition('.')[2] for place in mixed} == {'array_record'}


@pytest.fixture(scope='module')
def on_regions(of_scenes, tmp_path_factory):
  """A model trained on them."""
  config = quickstart.get_config('tiny').teacher
  config.data.features, config.steps = str(of_scenes), 2
  workdir = tmp_path_factory.mktemp('on_regions') / 'a'
  train.run(config, workdir)
  return workdir


def test_a_model_trains_on_features_and_answers_from_a_raw_picture(
    on_regions, detector, extractor, of_scenes):
  sizes = experiment.load(on_regions).sizes
  assert (sizes['num_regions'], sizes['feature_size']) == (12, 16)
  assert vocabularies.extractor(on_regions / 'vocab') == extractor.fingerprint
  ask = lambda **more: predict.predict(
      on_regions, str(SCENE), 'How many squares are there?', '1x1', 3, **more)
  with pytest.raises(ValueError, match='predict --extractor'):
    ask()
  answers, _ = ask(extractor=detector)
  assert len(answers) == 3
  # The same as from features that were made before, of a picture of the data.
  data = source.load(dict(
      experiment.load(on_regions).config.data), on_regions / 'vocab')
  batch = next(iter(data.evaluation('test')))
  rows = region_store.Store(of_scenes)('test', 0)
  np.testing.assert_array_equal(batch['regions'][0][:len(rows)],
                                rows['regions'].astype(np.float32))
  assert not batch['regions'][0][len(rows):].any()


def test_features_of_another_extractor_are_refused(
    on_regions, extractor, of_scenes, tmp_path):
  net = loaded.load(on_regions)
  other = extractors.Extractor(extractor.workdir)
  other.fingerprint = 'another'
  with pytest.raises(ValueError, match='trained on regions of extractor'):
    net.with_extractor(other)
  about = json.loads((of_scenes / region_store.FILE).read_text())
  copy = tmp_path / 'copy'
  copy.mkdir()
  for path in of_scenes.iterdir():
    (copy / path.name).write_bytes(path.read_bytes())
  (copy / region_store.FILE).write_text(json.dumps(
      about | {'extractor': 'another'}))
  config = dict(net.experiment.config.data) | {'features': str(copy)}
  with pytest.raises(ValueError, match='other things'):
    source.load(config, on_regions / 'vocab')
  config['features'] = ''
  with pytest.raises(ValueError, match='one that is not known'):
    source.load(config, on_regions / 'vocab')


@pytest.mark.parametrize('change, match', [
    (lambda folder: (folder / 'features.json').unlink(), 'has no features.json'),
    (lambda folder: (folder / 'features.json').write_text('{}'), 'format'),
    (lambda folder: next(folder.glob('test-00000-*.array_record')).write_bytes(b'x'),
     'damaged or cut short'),
    (lambda folder: (folder / 'features.json').write_text(
        (folder / 'features.json').read_text().replace('"val": 32', '"val": 31')),
     'has 32 pictures, but .* features of 31')])
def test_damaged_features_are_named(of_scenes, tmp_path, change, match):
  folder = tmp_path / 'features'
  folder.mkdir()
  for path in of_scenes.iterdir():
    (folder / path.name).write_bytes(path.read_bytes())
  change(folder)
  with pytest.raises(ValueError, match=match):
    data = source.load(dict(name=TINY, features=str(folder), batch=8,
                            eval='test', watch='val', cache=False))
    next(iter(data.evaluation('val')))
    next(iter(data.evaluation('test')))


def test_predict_names_and_draws_what_a_detector_finds(detector, tmp_path):
  found, _ = predict.predict(detector, str(SCENE), None, '1x1', 3,
                             picture=str(tmp_path / 'boxes.png'))
  assert found == sorted(found, key=lambda pair: -pair[1])
  assert {name for name, _ in found} <= {*map(str, range(10))}
  drawn = np.asarray(Image.open(tmp_path / 'boxes.png').convert('RGB'))
  plain = np.asarray(Image.open(SCENE).convert('RGB').resize(
      drawn.shape[1::-1])).astype(int)
  assert (np.abs(drawn - plain).max(-1) > 90).mean() > 0.01  # Lines and names.


def test_what_cannot_be_is_said(detector, tmp_path, on_regions):
  with pytest.raises(ValueError, match='no such folder'):
    picture_source.of(str(tmp_path / 'none'))
  (tmp_path / 'empty').mkdir()
  with pytest.raises(ValueError, match='there are none'):
    picture_source.of(str(tmp_path / 'empty'))
  with pytest.raises(ValueError, match='Did you mean'):
    picture_source.of('digit_scenes/tinny')
  with pytest.raises(ValueError, match='a workdir of a detector'):
    extractors.Extractor(on_regions)
  with pytest.raises(ValueError, match="put 'regions' there"):
    source.load(dict(name=TINY, inputs=('image',), features='somewhere'))
  answers = detector / 'vocab' / 'answers.json'
  kept = answers.read_bytes()
  answers.unlink()
  try:
    with pytest.raises(ValueError, match=r'answers\.json'):
      extractors.Extractor(detector)
  finally:
    answers.write_bytes(kept)
