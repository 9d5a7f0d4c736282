"""Names that numbers stand for: words, answers, types; and their files."""
from collections.abc import Sequence
import os
import pathlib
from typing import Any, NamedTuple

from bst_jax.data import answer_list, class_names, text
from bst_jax.data import words as words_lib

Folder = str | os.PathLike
# Of questions, which always have all three.
_QUESTIONS = ('words', 'answers', 'types')


class Vocabularies(NamedTuple):
  """What a model of the data must agree on; None where the data have no such.

  Attributes:
    words: words of texts, or word pieces.
    answers: what a model tells apart: answers, or classes.
    types: of rows, by which they are scored.
    attributes: of objects.
    numbers: of the classes of objects in their file, which evaluation servers
      want back; as text.
  """

  words: words_lib.Words | None = None
  answers: tuple[str, ...] | None = None
  types: tuple[str, ...] | None = None
  attributes: tuple[str, ...] | None = None
  numbers: tuple[str, ...] | None = None

  def save(self, folder: Folder) -> None:
    """Writes a file of each, for `read`."""
    for name, names in self._asdict().items():
      if name == 'words' and names is not None:
        names.save(path(folder, name))
      elif names is not None:
        text.save_list(path(folder, name), names)

  def sizes(self) -> dict[str, int]:
    """What models need to know of them."""
    named = {'vocab_size': self.words, 'num_answers': self.answers,
             'num_attributes': self.attributes}
    return {size: len(names) for size, names in named.items()
            if names is not None}


def path(folder: Folder, name: str) -> pathlib.Path:
  """The file of one of them."""
  return pathlib.Path(folder, f'{name}.json')


def read(folder: Folder | None,
         names: Sequence[str]) -> Vocabularies | None:
  """What `Vocabularies.save` wrote; None where the folder has none of it.

  Args:
    folder: where it was saved, if anywhere.
    names: fields that are to be there.

  Raises:
    ValueError: only some of them are there.
  """
  if folder is None or not any(path(folder, name).exists() for name in names):
    return None
  missing = [path(folder, name).name for name in names
             if not path(folder, name).exists()]
  if missing:
    raise ValueError(
        f'The vocabularies in {folder} were to be read, but {missing} are '
        'missing, and others made now might not match. Put all of '
        f'{tuple(path(folder, name).name for name in names)} there, or none.')
  return Vocabularies(**{
      name: _READ.get(name, _list)(path(folder, name)) for name in names})


def _list(path):
  return tuple(text.load_list(path))


_READ = {'words': words_lib.load, 'answers': answer_list.load}


def of_questions(folder: Folder) -> Vocabularies:
  """Words, answers and types of questions, which must be there."""
  found = read(folder, _QUESTIONS)
  if found is None:
    raise ValueError(
        f'The vocabularies in {folder} were to be read, but there are none. '
        f'Give a folder with {[path(folder, n).name for n in _QUESTIONS]}, as '
        'training writes into its workdir.')
  return found


def names(folder: Folder) -> dict[str, object]:
  """{'words', 'answers'} of a workdir; classes have no words, texts alone no
  answers.
  """
  if path(folder, 'types').exists():
    found = of_questions(folder)
  else:
    there = [name for name in ('words', 'answers')
             if path(folder, name).exists()]
    found = read(folder, there or _QUESTIONS) or of_questions(folder)
  return {name: value for name, value in found._asdict().items()
          if name in ('words', 'answers') and value is not None}


def check_pieces(words: words_lib.Words | None, given: Folder,
                 folder: Folder) -> None:
  """Raises where a file of word pieces is not that of the training.

  Where it is not there any more nothing can be said.

  Args:
    words: those of the training; None where there are none.
    given: `config.data.word_pieces`; '' for none.
    folder: of the words of the training.
  """
  if words is None or not given or not pathlib.Path(given).expanduser().exists():
    return
  now = words_lib.read(given)
  if now != words:
    first = next((i for i, (a, b) in enumerate(zip(now.words, words.words))
                  if a != b), min(len(now), len(words)))
    raise ValueError(
        f'config.data.word_pieces is {given} of {len(now):,} pieces, but the '
        f'model was trained with the {len(words):,} of {path(folder, "words")}; '
        f'they differ from number {first} on, and each would mean another. Give '
        'the file of the training, or take it away: the model has its own.')


def extractor(folder: Folder | None) -> str:
  """Fingerprint of what made the regions of a training; '' where nobody knows.

  Args:
    folder: where `save_extractor` wrote, if anywhere.
  """
  if folder is None or not path(folder, 'extractor').exists():
    return ''
  return text.load_list(path(folder, 'extractor'))[0]


def save_extractor(folder: Folder, fingerprint: str) -> None:
  """Writes what `extractor` reads; nothing where nobody knows."""
  if fingerprint:
    text.save_list(path(folder, 'extractor'), [fingerprint])


def agreed(folder: Folder | None, form: Any, context: Any,
           maker: str) -> Vocabularies:
  """The vocabularies of a folder if it has any, else those made of the data.

  Args:
    folder: of a model that was trained, or is to be.
    form, context: of the data, see `forms`.
    maker: fingerprint of what made the data's regions, '' if not known.

  Raises:
    ValueError: the folder's are of other data, or of regions of another extractor.
  """
  name, known = context.options.name, extractor(folder)
  if known and known != maker:
    raise ValueError(
        f'The model was trained on regions of extractor {known}, but those of '
        f'{name} are of {maker or "one that is not known"}; the same numbers '
        'mean other things there. Make features of these pictures by the '
        'extractor of the training, and give them as config.data.features.')
  found = read(folder, form.names)
  if found is None:
    return form.vocabularies(context)
  check_pieces(found.words, getattr(context.options, 'word_pieces', ''), folder)
  if form.names == ('answers',):
    class_names.places(form.vocabularies(context).answers, found.answers, name,
                       str(folder))
  return found
