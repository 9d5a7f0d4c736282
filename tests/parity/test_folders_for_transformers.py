"""Folders that we write, opened by transformers: pixels to logits, and back.

  pytest -n 0 tests/parity/test_folders_for_transformers.py
"""
import json
import pathlib

from bst_jax import convert, elastic, extract
from bst_jax.data import image, vocabularies
from bst_jax.elastic import Submodel
from bst_jax.host import config_flag
from bst_jax.run import experiment
from bst_jax.store import checkpoint
import huggingface_hub
import jax
import models
import numpy as np
from PIL import Image
import pytest
import transformers

_VIT = dict(name='vit', patch=4, width=16, heads=4, mlp=40, num_layers=4,
            mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
_DINO = dict(head_reads='class_mean', layer_scale=1.0, mlp=48)
_CVT = dict(name='cvt', width=(8, 16), heads=(2, 4), mlp=(24, 40),
            num_layers=(2, 4), kernels=(7, 3), strides=(4, 1), paddings=(2, 1),
            activation='gelu')
_PVT = dict(name='pvt', width=(8, 16), heads=(2, 4), mlp=(32, 32),
            num_layers=(2, 4), reductions=(2, 1), kernels=(7, 3),
            strides=(4, 2), paddings=(3, 1), reduction_eps=1e-6)
_CLIPS = _VIT | dict(name='timesformer')
# Arguments of ours, the side or sides of pictures, and their class.
CASES = {
    'ViT': (_VIT | dict(activation='quick_gelu', eps=1e-3), 16,
            'ViTForImageClassification'),
    'ViT of no squares': (_VIT | dict(qkv_bias=False), (16, 24),
                          'ViTForImageClassification'),
    'heads that are narrow': (_VIT | dict(head_dim=2, activation='relu'), 16,
                              'ViTForImageClassification'),
    'DeiT, two heads': (_VIT | dict(distilled=True, activation='gelu_tanh'), 16,
                        'DeiTForImageClassificationWithTeacher'),
    'DeiT, one head': (_VIT | dict(
        distilled=True, distilled_head=False, activation='silu'), 16,
                       'DeiTForImageClassification'),
    'DINOv2': (_VIT | _DINO, 16, 'Dinov2ForImageClassification'),
    'DINOv2 with registers': (_VIT | _DINO | dict(registers=3), 16,
                              'Dinov2WithRegistersForImageClassification'),
    'CvT': (_CVT, 16, 'CvtForImageClassification'),
    'CvT, other keys': (_CVT | dict(
        key_strides=(3, 1), qkv_bias=(True, False)), 16,
                        'CvtForImageClassification'),
    'PVTv2': (_PVT, 16, 'PvtV2ForImageClassification'),
    'PVTv2, linear': (_PVT | dict(linear=True), (32, 48),
                      'PvtV2ForImageClassification'),
    'TimeSformer': (_CLIPS, 16, 'TimesformerForVideoClassification'),
}


def workdir_of(folder, model, side):
  """A workdir of a model of 5 classes that has submodels of a half."""
  videos = model['name'] == 'timesformer'
  config = config_flag.load_config(
      f'configs/converted.py{":videos" if videos else ""}')
  config.unlock()
  config.model = model
  config.data.image_fit = 'stretch'
  config.data.sizes = dict(num_answers=5) | (
      dict(clip_size=(3, side, side)) if videos else dict(image_size=side))
  config.space = dict(widths=('1/2', '1'), depths=('1/2', '1'), filter='none')
  exp = experiment.build(config, experiment.sizes_of(config))
  params = models.random_params(exp.shapes)
  checkpoint.save_params(folder, params)
  vocabularies.Vocabularies(answers=tuple(
      f'thing {i}' for i in range(5))).save(folder / experiment.VOCAB)
  experiment.save(folder, config, exp.sizes)
  return folder


@pytest.mark.parametrize('name', CASES)
def test_an_extracted_half(name, tmp_path):
  model, side, theirs = CASES[name]
  whole = workdir_of(tmp_path / 'whole', model, side)
  half = tmp_path / 'half'
  # Theirs of CvT needs two layers in the second stage.
  extract.extract(whole, Submodel.parse('1/2x1/2'), half, stats_batches=0)
  folder = tmp_path / 'written'
  convert.write_folder(half, folder)

  exp = experiment.load(half)
  params = checkpoint.load_params(half, exp.shapes)
  video = 'clip_size' in exp.sizes
  sides = tuple(exp.model.clip_size[1:] if video else exp.model.sides)
  pixels = np.random.default_rng(0).integers(
      0, 256, (2, *(3,) * video, *sides, 3), np.uint8)
  with jax.default_matmul_precision('highest'):
    want = np.asarray(exp.model.apply(
        {'params': params}, {'clip' if video else 'image': pixels})['classes'])

  auto = (transformers.AutoModelForVideoClassification if video
          else transformers.AutoModelForImageClassification)
  opened, report = auto.from_pretrained(folder, output_loading_info=True)
  assert type(opened).__name__ == theirs
  assert not any(report[key] for key in (
      'missing_keys', 'unexpected_keys', 'mismatched_keys'))
  assert opened.config.id2label == {i: f'thing {i}' for i in range(5)}
  processor = transformers.AutoImageProcessor.from_pretrained(folder)
  seen = processor(list(map(list, pixels)) if video else list(pixels),
                   return_tensors='pt')
  got = opened(**seen).logits.detach().numpy()
  assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()
  assert np.ptp(want, axis=0).min() > 1e-3

  card = huggingface_hub.ModelCard.load(folder / 'README.md')
  assert card.data.library_name == 'transformers'
  assert card.data.license is None

  # And back: the same parameters, and the same model.
  convert.read(None, None, folder, tmp_path / 'back')
  back = experiment.load(tmp_path / 'back')
  flat = elastic.flatten(checkpoint.load_params(
      tmp_path / 'back', back.shapes))
  assert flat.keys() == elastic.flatten(params).keys()
  for path, value in elastic.flatten(params).items():
    np.testing.assert_array_equal(flat[path], value, err_msg=path)
  with jax.default_matmul_precision('highest'):
    again = back.model.apply(
        {'params': checkpoint.load_params(tmp_path / 'back', back.shapes)},
        {'clip' if video else 'image': pixels})['classes']
  np.testing.assert_allclose(again, want, atol=1e-6)
  assert back.config.data.image_fit == 'stretch'


def test_an_encoder_without_a_head(tmp_path):
  """What was converted without one is written without one."""
  config = transformers.CvtConfig(
      embed_dim=[8, 16], num_heads=[2, 4], depth=[1, 2], mlp_ratio=[2.0, 3.0],
      patch_sizes=[7, 3], patch_stride=[4, 2], patch_padding=[2, 1],
      attention_drop_rate=[0.0] * 2, drop_rate=[0.0] * 2,
      drop_path_rate=[0.0] * 2, qkv_bias=[True] * 2, cls_token=[False, True],
      qkv_projection_method=['dw_bn'] * 2, kernel_qkv=[3] * 2,
      padding_kv=[1] * 2, stride_kv=[2] * 2, padding_q=[1] * 2,
      stride_q=[1] * 2)
  encoder = transformers.CvtModel(config)
  encoder.save_pretrained(tmp_path / 'theirs')
  convert.read(None, None, tmp_path / 'theirs', tmp_path / 'work')
  part = json.loads((tmp_path / 'work' / 'part.json').read_text())
  assert part['missing'] == ['head', 'norm']
  convert.write_folder(tmp_path / 'work', tmp_path / 'ours')
  opened, report = transformers.AutoModel.from_pretrained(
      tmp_path / 'ours', output_loading_info=True)
  assert not report['missing_keys'] and not report['unexpected_keys']
  want = encoder.state_dict()
  for key, value in opened.state_dict().items():
    np.testing.assert_array_equal(value, want[key], err_msg=key)


def test_pictures_that_are_cut_out(tmp_path):
  """Ours and theirs prepare a picture alike."""
  workdir = workdir_of(tmp_path / 'whole', _VIT, 16)
  config = json.loads((workdir / 'config.json').read_text())
  config['data']['image_fit'] = 'crop'
  (workdir / 'config.json').write_text(json.dumps(config))
  convert.write_folder(workdir, tmp_path / 'written')
  processor = transformers.AutoImageProcessor.from_pretrained(
      tmp_path / 'written')
  scene = Image.open(pathlib.Path(__file__).parents[2] / 'docs/scene.png')
  picture = scene.convert('RGB').resize((64, 48))
  want = np.asarray(image.fitted(picture, 16, 16, 'crop'), np.float32) / 255
  want = (want - np.asarray(_VIT['mean'])) / np.asarray(_VIT['std'])
  got = processor(picture, return_tensors='np')['pixel_values'][0]
  assert np.abs(got.transpose(1, 2, 0) - want).mean() < 0.02
