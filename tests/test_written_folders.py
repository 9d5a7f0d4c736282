"""Folders written for transformers: what they hold, what is refused."""
import json

from bst_jax import convert, elastic, extract
from bst_jax import models as backbones
from bst_jax.data import vocabularies
from bst_jax.elastic import Submodel
from bst_jax.host import config_flag
from bst_jax.host import files as host_files
from bst_jax.interop import files
from bst_jax.interop.folders import card, source, standard
from bst_jax.run import experiment
from bst_jax.store import checkpoint, origin
from bst_jax.store import workdir as workdirs
import huggingface_hub
import models
import pytest
import safetensors

VIT = dict(name='vit', patch=4, width=16, heads=4, mlp=32, num_layers=2)
NAMES = 'tabby cat', 'dog, "good"', 'owl'
MIXED = {'': 32, 'encoder/layer_1/ffn': 24}


def workdir_of(folder, fit='stretch', sizes=None, **changes):
  config = config_flag.load_config('configs/converted.py')
  config.unlock()
  config.model = VIT | changes
  config.data.sizes = sizes or dict(num_answers=3, image_size=16)
  config.data.image_fit = fit
  exp = experiment.build(config, experiment.sizes_of(config))
  checkpoint.save_params(folder, models.random_params(exp.shapes))
  vocabularies.Vocabularies(answers=NAMES).save(folder / experiment.VOCAB)
  experiment.save(folder, config, exp.sizes)
  return folder


def read_json(path):
  return json.loads(path.read_text('utf-8'))


def test_a_folder_says_all_that_a_model_is(tmp_path):
  workdir = workdir_of(tmp_path / 'w', mean=(0.4, 0.5, 0.6), eps=1e-3,
                       qkv_bias=False, activation='gelu_tanh')
  (tmp_path / 'out').mkdir()  # Empty is as good as not there.
  assert convert.write_folder(workdir, tmp_path / 'out') > 20
  assert {path.name for path in (tmp_path / 'out').iterdir()} == {
      'config.json', 'preprocessor_config.json', 'model.safetensors',
      'README.md'}
  config = read_json(tmp_path / 'out' / 'config.json')
  assert config['architectures'] == ['ViTForImageClassification']
  assert config['id2label'] == dict(zip('012', NAMES))
  assert config['label2id']['owl'] == 2
  assert config | dict(
      hidden_size=16, num_attention_heads=4, intermediate_size=32,
      layer_norm_eps=1e-3, qkv_bias=False, image_size=16, patch_size=4,
      hidden_act='gelu_pytorch_tanh', num_hidden_layers=2) == config
  assert 'head_dim' not in config
  seen = read_json(tmp_path / 'out' / 'preprocessor_config.json')
  assert seen['image_mean'] == [0.4, 0.5, 0.6]
  assert seen['size'] == {'height': 16, 'width': 16}
  with safetensors.safe_open(
      tmp_path / 'out' / 'model.safetensors', 'numpy') as file:
    assert file.metadata() == {'format': 'pt'}
  assert [path.name for path in tmp_path.iterdir() if 'tmp' in path.name] == []


def test_the_readme_tells_what_is_known(tmp_path):
  workdir = workdir_of(tmp_path / 'w')
  origin.write(workdir, 'hf:someone/some-vit@v2')
  row = lambda submodel, params: dict(
      submodel=submodel, params=params, macs=9, trained=True, measure='accuracy',
      accuracy={'overall': 87.5, 'top-5': 99.0}, questions=8)
  params = elastic.size(experiment.load(workdir).shapes)
  workdirs.write_json(workdir, 'evaluation_val.json', dict(
      data='my "pets"', split='val', title='accuracy in percent',
      rows=[row('1/2x1', 99), row('1x1', params)]))
  convert.write_folder(workdir, tmp_path / 'my vit')
  text = (tmp_path / 'my vit' / 'README.md').read_text('utf-8')
  data = huggingface_hub.ModelCard(text).data
  assert (data.library_name, data.pipeline_tag, data.base_model) == (
      'transformers', 'image-classification', 'someone/some-vit')
  assert data.license is None and '# license:' in text
  assert data.metrics == ['accuracy']
  first, second = data.eval_results
  assert (first.metric_value, second.metric_value) == (87.5, 99.0)
  assert (first.dataset_name, first.dataset_split) == ('my "pets"', 'val')
  assert '| my "pets" | val | accuracy in percent, overall | 87.50 |' in text
  # Of other models, or of nothing, it says nothing.
  plain = card.text('x', 'AutoModel', 0, (16, 16), 'my.pth', [], 5)
  assert 'metrics' not in plain and 'base_model' not in plain
  assert '`my.pth`' in plain


def test_where_parameters_come_from_is_kept(tmp_path):
  """Through converting, training on and extracting."""
  first = workdir_of(tmp_path / 'first')
  convert.write_folder(first, tmp_path / 'out')
  convert.read(None, None, tmp_path / 'out', tmp_path / 'second')
  assert origin.of(tmp_path / 'second') == 'out'
  config = workdirs.read_config(first)
  config.start = dict(workdir=str(tmp_path / 'second'))
  workdirs.write_config(first, config)
  extract.extract(first, Submodel.parse('1/2x1/2'), tmp_path / 'half')
  assert origin.of(tmp_path / 'half') == 'out'
  config.start = dict(workdir=str(first))  # A circle ends.
  workdirs.write_config(first, config)
  assert origin.of(first) is None
  cached = tmp_path / 'models--some-one--a.b-c' / 'snapshots' / '0af'
  assert source.name_of(cached) == 'hf:some-one/a.b-c'
  assert source.name_of('hf:a/b') == 'hf:a/b'


@pytest.mark.parametrize('changes, message', [
    (dict(ats=dict(blocks=(1,), num_points=9)), 'samples tokens in layers 1 '
     '.ats.blocks.*--table timm_vit --output NAME.safetensors, or .* ONNX'),
    (dict(mlp=MIXED), 'mlp is 32, but 24 at encoder/layer_1/ffn'),
    (dict(adapter=4, skip=('encoder/layer_1',)), 'an adapter instead of '
     'encoder/layer_1, .* a one. Export'),
    (dict(adapter=4, skip=None), 'has adapters beside its layers'),
    (dict(layer_scale=0.1), 'has LayerScale and a head of the class token'),
    (dict(registers=2), 'has register tokens and no LayerScale'),
    (dict(head_reads='class_mean'), "a head of the patches' mean and no "),
    (dict(head_reads='class_mean', layer_scale=1.0, mlp=40),
     'has 40 hidden units in a width of 16')])
def test_what_transformers_cannot_hold_is_refused(tmp_path, changes, message):
  workdir = workdir_of(tmp_path / 'w', **changes)
  with pytest.raises(ValueError, match=message):
    convert.write_folder(workdir, tmp_path / 'out')
  assert [path.name for path in tmp_path.iterdir()] == ['w']


@pytest.mark.parametrize('name, changes, message', [
    ('cvt', dict(activation='quick_gelu'), "activation='quick_gelu', where"),
    ('cvt', dict(eps=1e-6), 'eps=1e-06, where theirs has 1e-05'),
    ('cvt', dict(head_dim=(4, 2)), '4 heads of 2 channels in a width of 16'),
    ('cvt', dict(num_layers=(4, 1)), 'has 1 layers in stage 2, where .* needs 2'),
    ('cvt_ats', {}, 'samples tokens in layers 0, 2, 3'),
    ('timesformer', dict(clip_size=(4, 16, 24)), 'frames of 16 x 24, where '),
    ('timesformer', dict(head_dim=2), '4 heads of 2 channels'),
    ('ps_vit', {}, 'backbone ps_vit, and no class there .*--table ps_vit'),
    ('xvit', {}, '--table xvit'), ('uniter', {}, '--table uniter'),
    ('mcan_vqa', {}, '--table mcan_bst'), ('clip_vil', {}, '--table clip_vil')])
def test_other_backbones_that_it_cannot_hold(name, changes, message):
  sizes = models.TINY[name][0]
  if name.startswith('cvt'):
    sizes = sizes | dict(activation='gelu')
  with pytest.raises(standard.NotThere, match=message):
    standard.of(backbones.create(sizes | changes), sizes['name'])


def test_ratios_give_the_hidden_units_that_they_are_of():
  for width in (3, 7, 48, 192, 384):
    for hidden in range(1, 5 * width):
      ratio = standard.ratio(hidden, width)
      assert int(width * ratio) == hidden


def test_nothing_is_overwritten_and_nothing_half_written(tmp_path, monkeypatch):
  workdir = workdir_of(tmp_path / 'w')
  output = tmp_path / 'out'
  output.mkdir()
  (output / 'mine.txt').touch()
  with pytest.raises(ValueError, match='out is not empty, and nothing is over'):
    convert.write_folder(workdir, output)
  with pytest.raises(ValueError, match='mine.txt is a file, and nothing'):
    convert.write_folder(workdir, output / 'mine.txt')

  def full(path, tensors):
    path.write_bytes(b'half')
    raise OSError('disk full')

  monkeypatch.setattr(files, 'save', full)
  with pytest.raises(OSError, match='disk full'):
    convert.write_folder(workdir, tmp_path / 'new')
  assert sorted(path.name for path in tmp_path.iterdir()) == ['out', 'w']


def test_a_folder_that_was_filled_meanwhile_stays(tmp_path):
  with pytest.raises(OSError):
    with host_files.folder_beside(tmp_path / 'out') as place:
      (place / 'new.txt').touch()
      (tmp_path / 'out').mkdir()
      (tmp_path / 'out' / 'other.txt').touch()
  assert [path.name for path in tmp_path.rglob('*.txt')] == ['other.txt']


def test_classes_without_names_and_names_of_other_classes(tmp_path):
  workdir = workdir_of(tmp_path / 'w')
  (workdir / 'vocab' / 'answers.json').unlink()
  convert.write_folder(workdir, tmp_path / 'out')
  config = read_json(tmp_path / 'out' / 'config.json')
  assert config['num_labels'] == 3 and 'id2label' not in config
  vocabularies.Vocabularies(answers=NAMES[:2]).save(workdir / 'vocab')
  with pytest.raises(ValueError, match='names 2 classes, but its model tells 3'):
    convert.write_folder(workdir, tmp_path / 'other')


def test_a_part_that_is_random_is_no_model(tmp_path):
  workdir = workdir_of(tmp_path / 'w')
  part = dict(table='hf_vit_4', missing=['encoder', 'head'])
  workdirs.write_json(workdir, experiment.PART, part)
  with pytest.raises(ValueError, match='random: encoder, head. Train it first'):
    convert.write_folder(workdir, tmp_path / 'out')


@pytest.mark.parametrize('fit, size, crop, side', [
    ('stretch', {'height': 16, 'width': 16}, None, 16),
    ('crop', {'shortest_edge': 256}, {'height': 224, 'width': 224}, 224)])
def test_pictures_are_prepared_as_here(tmp_path, fit, size, crop, side):
  workdir = workdir_of(tmp_path / 'w', fit, dict(
      num_answers=3, image_size=side), patch=side // 4)
  convert.write_folder(workdir, tmp_path / 'out')
  seen = read_json(tmp_path / 'out' / 'preprocessor_config.json')
  assert (seen['size'], seen.get('crop_size')) == (size, crop)
  convert.read(None, None, tmp_path / 'out', tmp_path / 'back')
  config = experiment.load(tmp_path / 'back').config
  assert (config.data.image_fit, config.data.sizes.image_size) == (fit, side)


def test_bars_beside_pictures_are_told(tmp_path, caplog):
  workdir = workdir_of(tmp_path / 'w', 'black')
  convert.write_folder(workdir, tmp_path / 'out')
  assert 'come to their size between bars' in caplog.text
  seen = read_json(tmp_path / 'out' / 'preprocessor_config.json')
  assert seen['do_resize'] is False and 'resample' not in seen
