"""CLIP-ViL-p, alone, VQA-v2 form: the teacher of configs/bst_clip_vil_vqa.py.

  python -m bst_jax.convert --config configs/clip_vil_vqa.py \
      --table clip_vil_encoder --checkpoint Epoch_LXRT.pth \
      --workdir runs/clip_vil_pretrained --config.data.word_pieces=vocab.txt
  python -m bst_jax.train --config configs/clip_vil_vqa.py \
      --workdir runs/clip_vil_vqa --config.start=runs/clip_vil_pretrained \
      --config.data.word_pieces=vocab.txt

vocab.txt is that of BERT, uncased. Without a pre-trained file, table `bert` and
then `clip_visual`, with --config.start=WORKDIR of the first, start a new
model; a CLIP-ViL that is fine-tuned already, table `clip_vil`, needs no
training. Optimisers and schedules are the original's, which trains in half
precision, and whose decay of the trunk moves biases and gains too. Accuracy: not
measured here. `:tiny` is a short run on the embedded data.
"""
from configs import common


def get_config(arg=''):
  config = common.base()
  config.data = common.vqa_v2(
      name='vqa_v2/images', train='train+nominival', batch=256,
      inputs=('image',), max_tokens=20,
      word_pieces='',  # The vocab.txt of BERT; '': words, for a new model.
      # Pictures keep their proportions, on a canvas that lies.
      image_size=(384, 640), image_fit='black',
      sizes=dict(vocab_size=30522, num_answers=3129, max_tokens=20,
                 image_size=(384, 640)))
  config.micro_batches = 8
  config.task = dict(name='vqa', reduction='mean_all_x500')
  config.model = dict(name='clip_vil', width=768, heads=12, mlp=3072,
                      fused=1536, num_layers=12, visual_blocks=(4, 6, 10, 6),
                      visual_width=80, train_visual=True,
                      batch_stats=common.unset(), embed_mode='slice', dropout=0.1)
  config.method = dict(name='plain')

  config.optimizer = dict(
      name='adamw', lr=5e-5, b1=0.9, b2=0.999, eps=1e-6, weight_decay=0.01,
      clip=1.0, parts=dict(visual=dict(
          name='sgd', lr=1e-3, momentum=0.0, weight_decay=4e-4,
          schedule=dict(name='multistep', decay_epochs=(3,), decay=0.1))))
  config.schedule = dict(name='linear', warmup=0.05)
  config.epochs = 5
  return common.tiny(config) if arg == 'tiny' else config
