"""Making a data set from files as large as the official ones.

  python tests/bench/making.py --kind tsv --count 3900
  python tests/bench/making.py --kind npz --count 3900
  python tests/bench/making.py --kind pictures --count 50000
  python tests/bench/making.py --kind videos --count 500
  python tests/bench/making.py --kind vqa --count 123287

Writes seeded files into a folder of its own below --folder, makes the data set
of them in a new process, and deletes both. Prints a line of JSON: seconds, those
of all cores, the greatest memory of the process and of the largest of its
workers (MiB), and bytes of the files and of the data set. Kinds: region features
of 100 x 2048 as rows of .tsv files or as .npz files; JPEGs of 256 x 256 in a
hundred class folders; clips of Kinetics; `vqa` has VQA-v2's official 654,111 questions for its 123,287
pictures (in proportion for another count), with --regions x --size features.
"""
import argparse
import base64
import io
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np

NAMES = dict(npz='folder/regions', tsv='folder/regions', vqa='folder/regions',
             pictures='class_folders', videos='kinetics/400')
QUESTIONS = 654_111 / 123_287  # of a picture, as in VQA-v2
WORDS = 'is the what color of dog cat man wearing hat how many there on'.split()


def questions(folder, count, rng):
  """A split with as many questions and answers a picture as VQA-v2 has."""
  pictures = np.sort(np.concatenate([np.arange(count), rng.integers(
      0, count, round(count * (QUESTIONS - 1)))])).tolist()
  texts = [' '.join(rng.choice(WORDS, 7)) + '?' for _ in range(2_000)]
  answers = [f'answer {i}' for i in range(3_129)]
  with open(folder / 'train_questions.json', 'w') as asked, open(
      folder / 'train_annotations.json', 'w') as said:
    asked.write('{"questions": [')
    said.write('{"annotations": [')
    for i, picture in enumerate(pictures):
      comma = ', ' if i else ''
      asked.write(comma + json.dumps(dict(
          question_id=i, image_id=picture, question=texts[i % 2_000])))
      ten = [{'answer': answers[(i * (k // 4 + 1)) % 3_129],
              'answer_confidence': 'yes', 'answer_id': k} for k in range(10)]
      said.write(comma + json.dumps(dict(
          question_id=i, image_id=picture, answer_type='other',
          question_type='what', multiple_choice_answer=ten[0]['answer'],
          answers=ten)))
    asked.write(']}')
    said.write(']}')


def features(folder, count, rng, kind, regions, size):
  """Features of a network: not negative, float32."""
  pool = rng.exponential(0.4, (64, regions, size)).astype('<f4')
  corner, extent = rng.random((2, regions, 2), np.float32) / 2
  boxes = (np.concatenate([corner, corner + extent], 1) * 100).astype('<f4')
  encoded = base64.b64encode(boxes.tobytes()).decode()
  (folder / 'features').mkdir()
  if kind == 'npz':
    for i in range(count):
      np.savez(folder / 'features' / f'{i}.npz', x=pool[i % 64], bbox=boxes,
               image_w=100, image_h=100)
    return
  texts = [base64.b64encode(x.tobytes()).decode() for x in pool]
  with open(folder / 'features' / 'all.tsv', 'w') as file:
    for i in range(count):
      file.write(f'{i}\t100\t100\t{regions}\t{encoded}\t{texts[i % 64]}\n')


def pictures(folder, count, rng):
  """JPEGs in a hundred folders of classes."""
  from PIL import Image

  encoded = []
  for _ in range(64):
    small = rng.integers(0, 256, (32, 32, 3)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(small).resize((256, 256)).save(file, 'jpeg', quality=85)
    encoded.append(file.getvalue())
  for i in range(count):
    place = folder / 'train' / f'class_{i % 100:03}' / f'{i}.jpg'
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(encoded[i % 64])


def videos(folder, count, rng):
  """Clips of ten seconds of 340 x 256 in which all moves."""
  import av
  from PIL import Image

  file = io.BytesIO()
  with av.open(file, 'w', format='mp4') as out:
    stream = out.add_stream('libx264', rate=25)
    stream.width, stream.height, stream.pix_fmt = 340, 256, 'yuv420p'
    for _ in range(250):
      small = rng.integers(64, 192, (8, 8, 3)).astype(np.uint8)
      picture = Image.fromarray(small).resize((340, 256))
      frame = av.VideoFrame.from_image(picture)
      out.mux(stream.encode(frame))
    out.mux(stream.encode())
  lines = [f'class {i % 400},v{i},0,10,train' for i in range(count)]
  (folder / 'train.csv').write_text('\n'.join(
      ['label,youtube_id,time_start,time_end,split', *lines, '']))
  (folder / 'train').mkdir()
  for i in range(count):
    place = folder / 'train' / f'v{i}_000000_000010.mp4'
    place.write_bytes(file.getvalue())


def size_of(folder):
  return sum(p.stat().st_size for p in folder.rglob('*') if p.is_file())


def make(args):
  """Makes the data set in this process; prints what it took."""
  from bst_jax.data.making import preparing

  folder, start = pathlib.Path(args.make), time.perf_counter()
  preparing.prepare(NAMES[args.kind], os.fspath(folder / 'home'),
                    os.fspath(folder / 'mine'), processes=args.processes,
                    store_dtype=args.store_dtype)
  seconds = time.perf_counter() - start
  rss = lambda who: round(resource.getrusage(who).ru_maxrss / 1024)
  print(json.dumps(dict(
      kind=args.kind, count=args.count, processes=args.processes,
      seconds=round(seconds, 1), cpu_seconds=round(sum(sum(
          resource.getrusage(who)[:2]) for who in (
              resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)), 1),
      rss_mib=rss(resource.RUSAGE_SELF),
      worker_rss_mib=rss(resource.RUSAGE_CHILDREN),
      files_mb=size_of(folder / 'mine') // 1_000_000,
      records_mb=size_of(folder / 'home') // 1_000_000)), flush=True)


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--kind', choices=NAMES, required=True)
  parser.add_argument('--count', type=int, required=True)
  parser.add_argument('--regions', type=int, default=0)
  parser.add_argument('--size', type=int, default=0)
  parser.add_argument('--processes', type=int, default=0)
  parser.add_argument('--store_dtype', default='')
  parser.add_argument('--folder', default=tempfile.gettempdir())
  parser.add_argument('--make', default='', help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.make:
    return make(args)
  with tempfile.TemporaryDirectory(dir=args.folder) as folder:
    mine, rng = pathlib.Path(folder, 'mine'), np.random.default_rng(0)
    mine.mkdir()
    if args.kind in ('pictures', 'videos'):
      globals()[args.kind](mine, args.count, rng)
    else:
      small = args.kind == 'vqa'
      questions(mine, args.count, rng)
      features(mine, args.count, rng, args.kind,
               args.regions or (2 if small else 100),
               args.size or (16 if small else 2048))
    for processes in (1, 0) if not args.processes else (args.processes,):
      subprocess.run([sys.executable, __file__, *sys.argv[1:], '--processes',
                      str(processes), '--make', folder], check=True)
      shutil.rmtree(os.path.join(folder, 'home'))


if __name__ == '__main__':
  main()
