"""Standard folders of transformers and timm: read right, or refused by name."""
import json
import pathlib

from bst_jax import convert, elastic, predict
from bst_jax import models as backbones
from bst_jax.interop import core, files, folders
from bst_jax.interop.folders import families, hub, source
from bst_jax.layers.tokens import resize_positions
from bst_jax.run import experiment
from bst_jax.store import checkpoint
from configs import ats_deit_s
import models
import numpy as np
from PIL import Image
import pytest

VIT = dict(model_type='vit', architectures=['ViTForImageClassification'],
           hidden_size=16, num_hidden_layers=2, num_attention_heads=4,
           intermediate_size=32, image_size=16, patch_size=4, hidden_act='relu',
           layer_norm_eps=1e-3, qkv_bias=False,
           id2label={str(i): f'animal {i}' for i in range(7)})
PICTURES = dict(image_mean=[0.4, 0.5, 0.6], image_std=[0.1, 0.2, 0.3],
                size={'height': 16, 'width': 16}, resample=2)
CVT = dict(
    model_type='cvt', embed_dim=[16, 16], num_heads=[4, 2], depth=[1, 2],
    mlp_ratio=[2.0, 2.0], patch_sizes=[5, 3], patch_stride=[4, 1],
    patch_padding=[1, 1], qkv_bias=[True] * 2, cls_token=[False, True],
    qkv_projection_method=['dw_bn'] * 2, kernel_qkv=[3, 3], padding_kv=[1, 1],
    stride_kv=[2, 2], padding_q=[1, 1], stride_q=[1, 1], layer_norm_eps=1e-12)
SIZES = dict(name='vit', num_answers=7, image_size=16, patch=4, width=16,
             heads=4, mlp=32, num_layers=2)
CVT_SIZES = dict(name='cvt', num_answers=7, image_size=16, width=(16, 16),
                 heads=(4, 2), mlp=(32, 32), num_layers=(1, 2), kernels=(5, 3),
                 strides=(4, 1), paddings=(1, 1))


def write(folder, config, sizes=SIZES, table='hf_vit_4', pictures=PICTURES,
          key='image', side=None, **changes):
  """A folder of a random model; returns its parameters of ours."""
  model = backbones.create(sizes | changes)
  batch = ({key: np.zeros((1, *side, 3), np.uint8)} if side
           else models.batch_of(key))
  params, _ = models.prepare(model, batch)
  folder = pathlib.Path(folder)
  files.save(folder / 'model.safetensors',
             core.write(convert.table(table).TABLE, params))
  (folder / 'config.json').write_text(json.dumps(config))
  if pictures:
    (folder / 'preprocessor_config.json').write_text(json.dumps(pictures))
  return params


def vit(folder, pictures=PICTURES, table='hf_vit_4', **changes):
  return write(folder, VIT | changes, table=table, pictures=pictures,
               qkv_bias=(VIT | changes)['qkv_bias'])


def read(folder, config=None, family=None, **options):
  """The converted experiment and its parameters."""
  workdir = pathlib.Path(folder, 'work')
  convert.read(config, family, folder, workdir, **options)
  exp = experiment.load(workdir)
  return exp, checkpoint.load_params(workdir, exp.shapes)


def same(got, want):
  got, want = elastic.flatten(got), elastic.flatten(want)
  assert got.keys() == want.keys()
  for path, value in want.items():
    np.testing.assert_array_equal(got[path], value, err_msg=path)


def test_a_folder_says_all_that_a_model_is(tmp_path):
  params = vit(tmp_path)
  exp, got = read(tmp_path)
  same(got, params)
  model = exp.model
  assert (model.eps, model.activation, model.qkv_bias) == (1e-3, 'relu', False)
  assert (model.mean, model.std) == ((0.4, 0.5, 0.6), (0.1, 0.2, 0.3))
  assert (model.heads, model.sides) == (4, (16, 16))
  assert exp.config.data.image_fit == 'stretch'


def test_a_converted_classifier_names_classes(tmp_path):
  vit(tmp_path)
  read(tmp_path)
  Image.fromarray(np.arange(768, dtype=np.uint8).reshape(16, 16, 3)).save(
      tmp_path / 'cat.png')
  told, _ = predict.predict(
      tmp_path / 'work', str(tmp_path / 'cat.png'), None, '1x1', 3)
  assert all(name.startswith('animal ') for name, _ in told)


@pytest.mark.parametrize('changes, mean, std', [
    ({}, (0.4, 0.5, 0.6), (0.1, 0.2, 0.3)),
    (dict(rescale_factor=1 / 127.5), (0.2, 0.25, 0.3), (0.05, 0.1, 0.15)),
    (dict(do_normalize=False), (0, 0, 0), (1, 1, 1)),
    (dict(do_rescale=False, do_normalize=False), (0, 0, 0),
     (1 / 255, 1 / 255, 1 / 255))])
def test_colours_at_any_scale(tmp_path, changes, mean, std):
  vit(tmp_path, PICTURES | changes)
  exp, _ = read(tmp_path)
  np.testing.assert_allclose(exp.model.mean, mean)
  np.testing.assert_allclose(exp.model.std, std)


@pytest.mark.parametrize('changes, size, fit', [
    (dict(size=16), 16, 'stretch'),
    (dict(size={'shortest_edge': 20}, crop_size={'height': 16, 'width': 16}),
     16, 'crop'),
    (dict(size={'shortest_edge': 16}, crop_pct=0.875), 16, 'crop'),
    (dict(size={'height': 24, 'width': 16}), (24, 16), 'stretch'),
    (dict(do_resize=False), 16, 'stretch')])
def test_sizes_in_all_forms(tmp_path, changes, size, fit):
  write(tmp_path, CVT, CVT_SIZES, 'hf_cvt', PICTURES | changes)
  (tmp_path / 'config.json').write_text(json.dumps(
      CVT | dict(id2label=VIT['id2label'])))
  if changes.get('do_resize') is False:
    size = 224  # Nothing says it.
  exp, _ = read(tmp_path)
  assert exp.sizes['image_size'] == size or (
      tuple(exp.sizes['image_size']) == size)
  assert exp.config.data.image_fit == fit


def test_places_come_to_another_size_as_is_asked(tmp_path):
  """In the family's own way, or another; of what has none, it is refused."""
  params = vit(tmp_path, PICTURES | dict(size=24))
  convert.read(None, None, tmp_path, tmp_path / 'own')
  got = {}
  for how in ('own', 'bicubic', 'bilinear'):
    if how != 'own':
      convert.read(None, None, tmp_path, tmp_path / how, resize=how)
    exp = experiment.load(tmp_path / how)
    got[how] = checkpoint.load_params(tmp_path / how, exp.shapes)['positions']
  assert got['own'].shape == (37, 16)
  np.testing.assert_array_equal(got['own'], got['bicubic'])
  np.testing.assert_array_equal(got['own'][0], params['positions'][0])
  assert np.abs(got['own'] - got['bilinear']).max() > 1e-2
  write(tmp_path, CVT, CVT_SIZES, 'hf_cvt')
  with pytest.raises(ValueError, match="table 'hf_cvt' resizes none"):
    read(tmp_path, resize='bicubic')


@pytest.mark.parametrize('old, new', [((4, 6), (6, 3)), ((3, 8), (6, 4)),
                                      ((2, 3), (4, 4))])
def test_places_of_a_grid_that_is_no_square(tmp_path, old, new):
  """Also where there are as many cells as before, in other rows."""
  pixels = lambda grid: [4 * side for side in grid]
  params = write(tmp_path, VIT | dict(image_size=pixels(old), qkv_bias=True),
                 pictures=PICTURES | dict(size=dict(
                     zip(('height', 'width'), pixels(new)))),
                 side=pixels(old), image_size=tuple(pixels(old)))
  exp, got = read(tmp_path)
  assert exp.model.token_grid == new
  want = resize_positions(params['positions'], 1, old, new, 'bicubic')
  np.testing.assert_allclose(got['positions'], want, atol=1e-6)


def test_two_stages_of_cvt(tmp_path):
  params = write(tmp_path, CVT, CVT_SIZES, 'hf_cvt')
  exp, got = read(tmp_path)
  same(got, params)
  assert 'cvt.encoder.stages.1.cls_token' in files.load(
      tmp_path / 'model.safetensors')
  # Of the code, which does not read layer_norm_eps; and no QuickGELU.
  assert (exp.model.eps, exp.model.activation) == (1e-5, 'gelu')
  assert exp.model.heads == (4, 2)


def test_keys_of_cvt_at_other_strides_and_without_biases(tmp_path):
  changes = dict(key_strides=(3, 1), qkv_bias=(False, True))
  params = write(tmp_path, CVT | dict(
      stride_kv=[3, 1], qkv_bias=[False, True]), CVT_SIZES, 'hf_cvt', **changes)
  exp, got = read(tmp_path)
  same(got, params)
  assert 'bias' not in got['stage_0']['layer_0']['attention']['key']
  assert (exp.model.key_strides, exp.model.qkv_bias) == ((3, 1), (False, True))


def test_an_encoder_of_cvt_without_a_head(tmp_path):
  """The last normalisation is none of the encoder's, so it is new too."""
  params = write(tmp_path, CVT | dict(num_labels=7), CVT_SIZES, 'hf_cvt')
  tensors = {name.removeprefix('cvt.'): value for name, value in files.load(
      tmp_path / 'model.safetensors').items() if name.startswith('cvt.')}
  files.save(tmp_path / 'model.safetensors', tensors)
  exp, got = read(tmp_path)
  assert exp.model.num_answers == 7
  assert json.loads((tmp_path / 'work' / 'part.json').read_text()) == {
      'table': 'hf_cvt', 'missing': ['head', 'norm']}
  np.testing.assert_array_equal(got['norm']['scale'], 1)
  for part in ('head', 'norm'):
    got.pop(part), params.pop(part)
  same(got, params)
  # One tensor that is lost is no encoder without a head.
  (tmp_path / 'work').rename(tmp_path / 'first')
  tensors.pop('encoder.stages.0.layers.0.layernorm_before.weight')
  files.save(tmp_path / 'model.safetensors', tensors)
  with pytest.raises(ValueError, match='1 missing .*layernorm_before.weight'):
    read(tmp_path)


CLIPS = dict(model_type='timesformer', hidden_size=16, num_hidden_layers=4,
             num_attention_heads=2, intermediate_size=32, image_size=16,
             patch_size=4, num_frames=4, hidden_act='gelu_new', qkv_bias=False,
             layer_norm_eps=1e-3, id2label=VIT['id2label'],
             drop_path_rate=0.1)  # As version 4 of transformers wrote it.


def test_a_folder_of_videos(tmp_path):
  params = write(tmp_path, CLIPS, models.TINY['timesformer'][0],
                 'hf_timesformer', key='clip', qkv_bias=False, heads=2)
  exp, got = read(tmp_path)
  same(got, params)
  model = exp.model
  assert (model.heads, model.activation, model.eps) == (2, 'gelu_tanh', 1e-3)
  assert (model.mean, tuple(exp.sizes['clip_size'])) == (
      (0.4, 0.5, 0.6), (4, 16, 16))
  assert exp.config.data.frames == 4
  assert tuple(exp.config.data.image_size) == (16, 16)
  (tmp_path / 'preprocessor_config.json').write_text(json.dumps(
      PICTURES | dict(size={'height': 24, 'width': 24})))
  with pytest.raises(ValueError, match='image_size is 16, but .* 24 x 24'):
    convert.read(None, None, tmp_path, tmp_path / 'other')


@pytest.mark.parametrize('base, changes, message', [
    (VIT, dict(hidden_act='mish'), "hidden_act is 'mish', but .* gelu_new"),
    (VIT, dict(num_hidden_layers=10 ** 6), 'of 1,000,000 layers .encoder., but '
     'the weights have 2'),
    (CVT, dict(depth=[1, 3]), 'of 3 layers .stage_1., but the weights have 2'),
    (VIT, dict(num_channels=1), 'num_channels is 1, but .* with 3'),
    (VIT, dict(model_type='swin'), "model_type is 'swin'.* are bert, cvt"),
    (VIT, dict(patch_size=[4, 8]), r'patch_size is \[4, 8\], but .* squares'),
    (VIT, dict(num_attention_heads=3), 'num_attention_heads is 3, .* the 16'),
    (VIT, dict(hidden_size='wide'), "hidden_size is 'wide', .* whole number"),
    (VIT, dict(layer_norm_eps=float('nan')), 'eps is nan, .* above zero'),
    (VIT, dict(layer_norm_eps=10 ** 400), 'eps is 1000.*, .* above zero'),
    (CVT, dict(mlp_ratio=[float('inf'), 4]), r'mlp_ratio is \[inf, 4\]'),
    (VIT, dict(id2label={'0': 'a', '2': 'b'}), 'not name the classes 0, 1'),
    (VIT, dict(id2label={'0': 'a'}), 'names 1 classes, but .* has 7'),
    (VIT, dict(intermediate_size=40), 'does not fit the model: .*misshapen.* '
     'The sizes are those of .*config.json'),
    (CVT, dict(stride_kv=[2, 0]), r'stride_kv is \[2, 0\], but .* at least 1'),
    (CVT, dict(qkv_projection_method=['avg', 'avg']), 'qkv_projection_method'),
    (CVT, dict(cls_token=[True, True]), r'cls_token is \[True, True\]'),
    (CVT, dict(qkv_bias=[True]), r'qkv_bias is \[True\], but .* of 2 of true')])
def test_what_a_model_cannot_be_is_named(tmp_path, base, changes, message):
  if base is VIT:
    vit(tmp_path)
  else:
    write(tmp_path, CVT, CVT_SIZES, 'hf_cvt')
  (tmp_path / 'config.json').write_text(json.dumps(base | changes))
  with pytest.raises(ValueError, match=message):
    read(tmp_path)
  assert not (tmp_path / 'work').exists()


@pytest.mark.parametrize('changes, message', [
    (dict(image_mean=[0.5]), 'image_mean is .* needs 3 numbers'),
    (dict(image_std=[0.5, 0, 0.5]), 'image_std .* at least 1e-06'),
    (dict(do_flip_channel_order=True), 'do_flip_channel_order is True'),
    (dict(size={'longest_edge': 16}), 'size is .* pictures of one size')])
def test_pictures_that_cannot_be_are_named(tmp_path, changes, message):
  vit(tmp_path, PICTURES | changes)
  with pytest.raises(ValueError, match=message):
    read(tmp_path)


def test_neighbours_hold_where_a_config_and_a_table_are_given(tmp_path):
  """They say what the model is; what it samples is the user's."""
  vit(tmp_path)
  config = ats_deit_s.get_config('small')
  config.model.update(num_layers=4, ats=dict(config.model.ats, blocks=(1,),
                                             capacity=(10,)))
  config.data.sizes = {}
  exp, _ = read(tmp_path, config, 'hf_vit_4')
  assert (exp.model.eps, exp.model.num_layers) == (1e-3, 2)
  assert exp.model.mean == (0.4, 0.5, 0.6)
  assert exp.model.ats.blocks == (1,)
  config.model.name = 'cvt'
  with pytest.raises(ValueError, match="is 'cvt', but .* of 'vit'"):
    convert.read(config, 'hf_vit_4', tmp_path, tmp_path / 'other')


def test_a_file_of_another_model_beside_is_left_alone(tmp_path, caplog):
  """A config and a table say it all."""
  vit(tmp_path, qkv_bias=True)
  (tmp_path / 'config.json').write_text('{"model_type": "roberta"}')
  config = ats_deit_s.get_config('small')
  config.data.sizes.update(num_answers=7, image_size=16)
  config.model.update(num_layers=2, width=16, heads=4, mlp=32)
  config.model.ats.blocks, config.model.ats.capacity = (), None
  exp, _ = read(tmp_path, config, 'hf_vit_4')
  assert exp.model.heads == 4 and 'is left alone' in caplog.text
  with pytest.raises(ValueError, match="model_type is 'roberta'"):
    convert.read(config, None, tmp_path, tmp_path / 'other')


def test_a_wrong_table_names_the_right_one(tmp_path):
  vit(tmp_path)
  for wrong in ('hf_vit', 'timm_vit', 'hf_deit_4'):
    with pytest.raises(ValueError, match='--table hf_vit_4.$'):
      read(tmp_path, family=wrong)


def test_a_file_of_one_folder_beside_a_workdir_of_ours(tmp_path):
  """Our own config.json says nothing of foreign weights."""
  vit(tmp_path)
  (tmp_path / 'config.json').write_text('{"model": {"name": "vit"}}')
  with pytest.raises(ValueError, match='nothing says which model.* --config'):
    read(tmp_path)


def test_no_preparation_of_pictures_is_told(tmp_path, caplog):
  vit(tmp_path, pictures=None)
  exp, _ = read(tmp_path)
  assert 'No preprocessor_config.json is beside' in caplog.text
  assert exp.model.mean == (0.5, 0.5, 0.5)


def test_weights_in_several_files(tmp_path):
  params = vit(tmp_path)
  tensors = files.load(tmp_path / 'model.safetensors')
  (tmp_path / 'model.safetensors').unlink()
  names = sorted(tensors)
  parts = {'model-1.safetensors': names[::2],
           'model-2.safetensors': names[1::2]}
  for part, some in parts.items():
    files.save(tmp_path / part, {name: tensors[name] for name in some})
  index = {'weight_map': {n: p for p, some in parts.items() for n in some}}
  (tmp_path / 'model.safetensors.index.json').write_text(json.dumps(index))
  _, got = read(tmp_path)
  same(got, params)
  (tmp_path / 'model-2.safetensors').unlink()
  with pytest.raises(ValueError, match='holds 1 of the 2 files .*model-2'):
    source.find(tmp_path).load()
  index['weight_map'][names[0]] = '../model-1.safetensors'
  (tmp_path / 'model.safetensors.index.json').write_text(json.dumps(index))
  with pytest.raises(ValueError, match='which is not of its folder'):
    source.find(tmp_path).load()


def test_a_folder_without_weights_says_what_it_has(tmp_path):
  (tmp_path / 'config.json').write_text(json.dumps(VIT))
  with pytest.raises(ValueError, match='no file of weights'):
    read(tmp_path)
  for name in ('a.safetensors', 'b.bin'):
    (tmp_path / name).touch()
  with pytest.raises(ValueError, match='several files .* a.safetensors, b.bin'):
    read(tmp_path)
  (tmp_path / 'config.json').write_text('{')
  with pytest.raises(ValueError, match='config.json is no readable JSON'):
    convert.read(None, None, tmp_path / 'a.safetensors', tmp_path / 'work')


def test_an_encoder_without_a_head(tmp_path):
  """As DINOv2 and ViT are published: the head is random, and said to be."""
  params = vit(tmp_path)
  tensors = {name.removeprefix('vit.'): value for name, value in files.load(
      tmp_path / 'model.safetensors').items() if 'classifier' not in name}
  files.save(tmp_path / 'model.safetensors', tensors)
  exp, got = read(tmp_path)
  assert json.loads((tmp_path / 'work' / 'part.json').read_text()) == {
      'table': 'hf_vit_4', 'missing': ['head']}
  assert not (tmp_path / 'work' / 'vocab' / 'answers.json').exists()
  got.pop('head'), params.pop('head')
  same(got, params)


def test_not_a_number(tmp_path):
  vit(tmp_path)
  tensors = files.load(tmp_path / 'model.safetensors')
  for name in ('vit.layernorm.weight', 'classifier.bias'):
    tensors[name] = tensors[name].copy()
    tensors[name][0] = np.nan if 'norm' in name else -np.inf
  files.save(tmp_path / 'model.safetensors', tensors)
  with pytest.raises(ValueError, match='2 of .* vit.layernorm.weight .1.') as e:
    read(tmp_path)
  assert 'classifier.bias' in str(e.value)
  _, got = read(tmp_path, allow_nonfinite=True)
  assert np.isnan(got['norm']['scale'][0])


@pytest.mark.parametrize('file, base', [
    ('config.json', VIT), ('config.json', CVT),
    ('preprocessor_config.json', PICTURES)], ids=['ViT', 'CvT', 'pictures'])
def test_settings_of_another_kind_end_in_a_sentence(tmp_path, file, base):
  """Whatever stands in the place of a setting: read, or refused by name."""
  if base is CVT:
    write(tmp_path, CVT, CVT_SIZES, 'hf_cvt')
  else:
    vit(tmp_path)
  tensors, refused = files.load(tmp_path / 'model.safetensors'), 0
  for key in base:
    for value in (0, -1, 'x', [], {}, 1.5, True, [1], [None], 10 ** 7,
                  {'a': 1}):
      (tmp_path / file).write_text(json.dumps(base | {key: value}))
      found = source.find(tmp_path)
      try:
        folders.describe(found, tensors)
      except ValueError as error:
        refused += 1
        # Of CvT the number of stages is that of embed_dim.
        assert key in str(error) or key == 'embed_dim', (key, value)
  assert refused > 4 * len(base)


# --- timm ---------------------------------------------------------------------

TIMM = dict(architecture='vit_tiny_patch4_16', num_classes=7,
            model_args=dict(num_heads=2),
            pretrained_cfg=dict(mean=[0.5, 0.4, 0.3], std=[0.3, 0.2, 0.1],
                                input_size=[3, 16, 16], crop_pct=0.9,
                                label_names=[f'plant {i}' for i in range(7)]))


def timm(folder, changes, **fields):
  return write(folder, TIMM | changes, table='timm_vit', pictures=None,
               **dict(heads=2) | fields)


@pytest.mark.parametrize('fields', [
    {}, dict(layer_scale=1.0, registers=2), dict(qkv_bias=False),
    dict(distilled=True)], ids=str)
def test_a_folder_of_timm(tmp_path, fields):
  params = timm(tmp_path, {}, **fields)
  exp, got = read(tmp_path)
  same(got, params)
  assert (exp.model.heads, exp.model.mean) == (2, (0.5, 0.4, 0.3))
  assert all(getattr(exp.model, key) == value for key, value in fields.items())
  assert json.loads((tmp_path / 'work/vocab/answers.json').read_text())[3] == (
      'plant 3')


@pytest.mark.parametrize('linear', [False, True])
def test_a_pyramid_of_timm(tmp_path, linear):
  """Of which the weights tell all but the heads."""
  sizes = dict(name='pvt', num_answers=7, image_size=64, width=(8, 16, 24, 32),
               heads=(1, 2, 4, 8), mlp=(16, 32, 48, 64), num_layers=(1, 2, 3, 1),
               reductions=(4, 2, 2, 1), linear=linear)
  config = TIMM | dict(
      architecture=f'pvt_v2_b2{"_li" * linear}',
      model_args=dict(num_heads=[1, 2, 4, 8]), pretrained_cfg=TIMM[
          'pretrained_cfg'] | dict(input_size=[3, 64, 64]))
  params = write(tmp_path, config, sizes, 'timm_pvt_v2', pictures=None, side=(
      64, 64))
  exp, got = read(tmp_path)
  same(got, params)
  given = {key: value for key, value in sizes.items() if key != 'name'}
  assert {key: getattr(exp.model, key) for key in given} == given | (
      dict(reductions=(1,) * 4) if linear else {})
  assert (exp.model.eps, exp.model.reduction_eps) == (1e-6, 1e-5)
  (tmp_path / 'config.json').write_text(json.dumps(config | dict(
      model_args=dict(num_heads=[1, 3, 4, 8]))))
  with pytest.raises(ValueError, match='num_heads is 3, which does not divide'):
    convert.read(None, None, tmp_path, tmp_path / 'other')


@pytest.mark.parametrize('changes, message', [
    (dict(architecture='resnet50'), "architecture is 'resnet50'"),
    (dict(architecture='vit_odd_patch4', model_args={}), 'num_heads is not'),
    (dict(global_pool='avg'), "global_pool is 'avg', .* 'token'"),
    (dict(num_classes=9), 'num_classes is 9, but .* has 7'),
    (dict(model_args=dict(num_heads=2, act_layer='mish')), "act_layer is 'mish")])
def test_what_timm_has_and_we_do_not(tmp_path, changes, message):
  timm(tmp_path, changes)
  with pytest.raises(ValueError, match=message):
    read(tmp_path)


def test_an_encoder_of_timm(tmp_path):
  """As DINOv2 is there: no classes."""
  timm(tmp_path, dict(num_classes=0, pretrained_cfg=dict(
      TIMM['pretrained_cfg'], label_names=None)), layer_scale=1.0)
  tensors = files.load(tmp_path / 'model.safetensors')
  files.save(tmp_path / 'model.safetensors', {
      name: x for name, x in tensors.items() if not name.startswith('head.')})
  exp, _ = read(tmp_path)
  assert exp.model.num_answers == 2 and exp.model.layer_scale == 1.0
  assert json.loads((tmp_path / 'work/part.json').read_text())['missing'] == [
      'head']


@pytest.mark.parametrize('share, told', [(0.9, True), (0.95, True),
                                         (0.875, False), (1.0, False)])
def test_what_is_cut_off_pictures_of_timm_is_told(tmp_path, caplog, share, told):
  timm(tmp_path, dict(pretrained_cfg=TIMM['pretrained_cfg'] | dict(
      crop_pct=share)))
  exp, _ = read(tmp_path)
  assert (f'crop_pct is {share}, but' in caplog.text) == told
  assert exp.config.data.image_fit == ('stretch' if share == 1 else 'crop')


def test_places_without_one_for_the_class(tmp_path):
  """Of DeiT III: the class token has no place, which is one of zeros."""
  params = timm(tmp_path, {})
  tensors = files.load(tmp_path / 'model.safetensors')
  tensors['pos_embed'] = tensors['pos_embed'][:, 1:]
  files.save(tmp_path / 'model.safetensors', tensors)
  _, got = read(tmp_path)
  np.testing.assert_array_equal(got['positions'][0], 0)
  np.testing.assert_array_equal(got['positions'][1:], params['positions'][1:])


# --- tables and the hub ------------------------------------------------------

@pytest.mark.parametrize('table, model, changes', [
    ('hf_vit', 'vit', {}), ('hf_vit_4', 'vit', {}), ('timm_vit', 'vit_ats', {}),
    ('hf_deit', 'vit_ats', {}), ('hf_deit_4', 'vit_ats', {}),
    ('hf_deit_single_4', 'vit_ats', dict(distilled_head=False)),
    ('hf_dinov2', 'vit', dict(layer_scale=1.0, head_reads='class_mean')),
    ('hf_cvt', 'cvt', {}), ('cvt', 'cvt', {}), ('ps_vit', 'ps_vit', {}),
    ('pvt_v2', 'pvt', {}), ('timm_pvt_v2', 'pvt', {}), ('hf_pvt_v2', 'pvt', {}),
    ('hf_timesformer', 'timesformer', {}), ('timesformer', 'timesformer', {}),
    ('xvit', 'xvit', {}), ('uniter', 'uniter', {}),
    ('clip_vil', 'clip_vil', {}),
    ('mcan_bst', 'mcan_vqa', {})])
def test_names_tell_their_table(table, model, changes):
  _, _, params, _ = models.build(model, **changes)
  names = core.write(convert.table(table).TABLE, params)
  assert families.fitting(names)[0] == table
  assert not families.fitting([*names, 'surplus.weight'])


def test_the_hub(tmp_path, monkeypatch):
  import huggingface_hub
  params, asked = vit(tmp_path), []

  def fetch(name, revision, allow_patterns):
    asked.append((name, revision, allow_patterns[-1]))
    if len(asked) > 2:
      raise OSError('no route\nto host')
    return str(tmp_path)

  monkeypatch.setattr(huggingface_hub, 'snapshot_download', fetch)
  convert.read(None, None, 'hf:someone/some-vit@v2', tmp_path / 'work')
  exp = experiment.load(tmp_path / 'work')
  same(checkpoint.load_params(tmp_path / 'work', exp.shapes), params)
  assert asked[0][:2] == ('someone/some-vit', 'v2')
  (tmp_path / 'model.safetensors').unlink()
  with pytest.raises(ValueError, match='cannot be fetched .no route to host.'):
    hub.fetch('hf:someone/some-vit')
  assert asked[-1][2] == '*.bin.index.json'
  with pytest.raises(ValueError, match='is no name of a checkpoint'):
    hub.fetch('hf:some one/vit')
