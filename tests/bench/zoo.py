"""Parameters and multiply-accumulates of the published networks, as a table.

  python tests/bench/zoo.py

Counts of one forward pass of one example at its published size, from names and
shapes: nothing is compiled, trained or downloaded.
"""
from bst_jax import elastic, load_config
from bst_jax.report import costs
from bst_jax.run import experiment

ROWS = (
    ('MCAN, VQA-v2', 'configs/mcan_vqa.py'),
    ('MCAN, GQA', 'configs/mcan_gqa.py'),
    ('UNITER-base, VQA-v2', 'configs/uniter_vqa.py'),
    ('CLIP-ViL-p, VQA-v2', 'configs/clip_vil_vqa.py'),
    ('DeiT-S', 'configs/ats_deit_s.py:dense'),
    ('CvT-13', 'configs/ats_cvt.py:13_dense'),
    ('CvT-21 at 384', 'configs/ats_cvt.py:21_384_dense'),
    ('PVTv2-B0', 'configs/pvt_v2.py:b0'),
    ('PVTv2-B2', 'configs/pvt_v2.py:b2'),
    ('EfficientNet-B0', 'configs/efficientnet.py:b0'),
    ('EfficientNet-B4', 'configs/efficientnet.py:b4'),
    ('EfficientNet-Lite0', 'configs/efficientnet.py:lite0'),
    ('PS-ViT-Ti/14', 'configs/ats_ps_vit.py:ti_14_dense'),
    ('PS-ViT-B/18', 'configs/ats_ps_vit.py:b_18_dense'),
    ('TimeSformer-B', 'configs/ats_timesformer.py:base,dense'),
    ('TimeSformer-HR', 'configs/ats_timesformer.py:hr,dense'),
    ('X-ViT-B/16', 'configs/ats_xvit.py:dense'),
    ('ViLT-B/32 at 384', 'configs/das_vilt_vqa.py:pretrained'),
    ('METER, CLIP-B/16 at 384', 'configs/das_meter_vqa.py:pretrained'),
)


def main():
  print('| network | config | parameters, M | multiply-accumulates, G |')
  print('|---|---|---|---|')
  for name, path in ROWS:
    config = load_config(path)
    exp = experiment.build(config, dict(config.data.sizes))
    macs = costs.of(exp.model, exp.shapes, exp.example()).macs
    print(f'| {name} | `{path}` | {elastic.size(exp.shapes) / 1e6:.2f} | '
          f'{macs / 1e9:,.1f} |', flush=True)


if __name__ == '__main__':
  main()
