"""CLIP-ViL-p with BST at its published size, VQA-v2 form.

  python -m bst_jax.convert --config configs/bst_clip_vil_vqa.py \
      --table clip_vil --checkpoint BEST.pth --workdir runs/clip_vil_vqa
  python -m bst_jax.profile --config configs/bst_clip_vil_vqa.py

Serves converting, costs and latency; accuracy: not measured here. Tables
`clip_vil_encoder`, `bert` and `clip_visual` start a training, the later ones
with --config.init_from=WORKDIR of the earlier. One optimiser for all, where the
original trains the trunk by SGD. `:tiny` is a short run on the embedded data.
"""
from configs import bst_uniter_vqa


def get_config(arg=''):
  config = bst_uniter_vqa.get_config()
  # Pictures keep their proportions in the height and width of one that lies.
  config.data.update(
      name='vqa_v2/images', train='train+nominival', batch=256,
      inputs=('image',), image_size=(384, 640), image_fit='black')
  config.data.sizes = dict(vocab_size=30522, num_answers=3129, max_tokens=20,
                           image_size=(384, 640))
  config.task.reduction = 'mean_all_x500'
  config.model = dict(name='clip_vil', width=768, heads=12, mlp=3072,
                      fused=1536, num_layers=12, visual_blocks=(4, 6, 10, 6),
                      visual_width=80, train_visual=True, embed_mode='slice',
                      dropout=0.1)
  config.optimizer = dict(name='adamw', lr=5e-5, b1=0.9, b2=0.999, eps=1e-6,
                          weight_decay=0.01, clip=1.0)
  config.schedule = dict(name='linear', warmup=0.05)
  config.steps, config.epochs = 0, 5
  if arg == 'tiny':
    config.model.update(visual_blocks=(1, 1, 1, 1), visual_width=8)
    config = bst_uniter_vqa.tiny(config)
  return config
