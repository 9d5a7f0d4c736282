"""Captions of a 12 x 384 transformer: one compiled search against generate.

  python tests/bench/decoding.py --rounds 5 --batches 1 8

Ours: MiniVLM at its published size over 30 tags and 50 regions, 20 words. Each
word takes two tokens through the layers, the last word and the masked next one.
Theirs: BertLMHeadModel of transformers with as many layers, channels and words,
eager torch, as a causal language model over a prompt of 80 tokens: each word
takes one token, with its own cache. Both say all 20 words; weights are random.
They take turns in one process. Prints milliseconds of a batch, by the clock and
of the processor: the median and, in brackets, the range; and the ratios of the
medians. Threads of torch wait for each other by spinning: on a machine that
others use, give it --threads 1, and read the processor's.
"""
import argparse
import statistics
import time

from bst_jax import decoding, elastic
from bst_jax.models import minivlm
import jax
import jax.numpy as jnp
import numpy as np
import torch
import transformers

WORDS, TAGS, REGIONS, START, END, MASK = 20, 30, 50, 101, 102, 103


def ours(pictures, beams, dtype):
  """A function that waits for the captions of a batch."""
  model = minivlm.Model(**minivlm.sizes('minilm_l12_h384') | dict(
      mask='caption', tag_start=40, outputs=('words',), dtype=dtype))
  rng = np.random.default_rng(0)
  batch = dict(
      tokens=np.ones((pictures, 5), np.int32),
      places=np.zeros((pictures, 1), int),
      tags=rng.integers(1000, 30000, (pictures, TAGS)).astype(np.int32),
      regions=rng.standard_normal((pictures, REGIONS, 1024), np.float32),
      boxes=rng.random((pictures, REGIONS, 4), np.float32))
  params = jax.jit(lambda: elastic.unbox(
      model.init(jax.random.key(0), batch)['params']))()
  rules = decoding.Rules(start=START, end=END, length=WORDS + 1,
                         least=WORDS - 1)
  run = jax.jit(lambda params, batch: decoding.decode(
      model, params, batch, rules, MASK, beams=beams))
  batch = jax.tree.map(jnp.asarray, batch)
  return lambda: jax.block_until_ready(run(params, batch))


def theirs(pictures, beams):
  """The same of transformers."""
  model = transformers.BertLMHeadModel(transformers.BertConfig(
      hidden_size=384, num_hidden_layers=12, num_attention_heads=12,
      intermediate_size=1536, is_decoder=True)).eval()
  prompt = torch.randint(1000, 30000, (pictures, TAGS + REGIONS))
  options = dict(max_new_tokens=WORDS, min_new_tokens=WORDS, num_beams=beams,
                 do_sample=False, pad_token_id=0, eos_token_id=END,
                 attention_mask=torch.ones_like(prompt))

  def run():
    with torch.inference_mode():
      said = model.generate(prompt, **options)
    assert said.shape[1] == TAGS + REGIONS + WORDS
  return run


def timed(run):
  """Milliseconds by the clock and of the processor."""
  clocks = time.perf_counter, time.process_time
  start = [clock() for clock in clocks]
  run()
  return [1000 * (clock() - before) for clock, before in zip(clocks, start)]


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--batches', type=int, nargs='+', default=[1, 8])
  parser.add_argument('--beams', type=int, nargs='+', default=[5, 1])
  parser.add_argument('--threads', type=int, default=0, help='of torch')
  parser.add_argument('--dtype', default='float32')
  args = parser.parse_args()
  if args.threads:
    torch.set_num_threads(args.threads)
  text = lambda times: (f'{statistics.median(times):.0f} ms '
                        f'({min(times):.0f} to {max(times):.0f})')
  for pictures in args.batches:
    for beams in args.beams:
      both = ours(pictures, beams, args.dtype), theirs(pictures, beams)
      compiling, _ = timed(both[0])
      timed(both[1])
      rounds = [[timed(run) for run in both] for _ in range(args.rounds)]
      print(f'batch {pictures}, beam {beams}, compiled in '
            f'{compiling / 1000:.1f} s')
      for i, clock in enumerate(('by the clock', 'of the processor')):
        mine, others = ([both[k][i] for both in rounds] for k in range(2))
        ratio = statistics.median(others) / statistics.median(mine)
        print(f'  {clock}: ours {text(mine)}, transformers {text(others)}, '
              f'ratio {ratio:.2f}', flush=True)


if __name__ == '__main__':
  main()
