"""Single features of stored examples, decoded without the others."""
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2


class Reader:
  """Reads some features of examples.

    read = Reader(builder.info.features, ['regions', 'boxes'])
    arrays = read(record)

  Arrays that are stored as raw bytes are views of what is parsed. All else goes
  through TFDS, which takes several times as long; pictures come as they are
  encoded.
  """

  def __init__(self, features: Mapping[str, Any], parts: Sequence[str]):
    """Takes a data set's features and the names of those that are wanted."""
    self._raw = {name: raw for name in parts
                 if (raw := _raw_tensor(name, features[name]))}
    # Only these are parsed: TFDS's own partial decoding needs TensorFlow.
    rest = [name for name in parts if name not in self._raw]
    self._rest = tfds.features.FeaturesDict(
        {name: features[name] for name in rest}) if rest else None
    self._decoders = {name: tfds.decode.SkipDecoding() for name in rest
                      if name in ('image', 'strip')}

  def __call__(self, record: bytes) -> dict[str, Any]:
    """The wanted features of an example."""
    found = {} if self._rest is None else self._rest.deserialize_example_np(
        record, decoders=self._decoders)
    if self._raw:
      stored = tf_example_pb2.Example.FromString(record).features.feature
      for name, (value, shape, sizes, dtype) in self._raw.items():
        if shape:
          sizes = stored[shape].int64_list.value
        found[name] = np.frombuffer(
            stored[value].bytes_list.value[0], dtype).reshape(sizes)
    return found


def _raw_tensor(name, feature):
  """Keys of values and shape, sizes and type of a tensor that is stored as raw
  bytes; None for anything else.
  """
  if type(feature) is not tfds.features.Tensor or not feature.shape:
    return None
  info, dtype = feature.get_serialized_info(), np.dtype(feature.np_dtype)
  shape = ''
  if isinstance(info, Mapping):  # Several sizes differ from record to record.
    info, shape = info['value'], f'{name}/shape'
  if feature.to_json_content().encoding != 'bytes' or dtype.kind not in 'fiu':
    return None
  sizes = tuple(-1 if size is None else size for size in feature.shape)
  return f'{name}/value' if shape else name, shape, sizes, dtype
