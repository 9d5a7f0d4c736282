#!/usr/bin/env bash
# transformers 5.24.0, accelerate 1.15.0, torch 2.13.0, Python 3.11, Linux.
#
# Trainer takes a model whose forward has **kwargs for one that divides its loss
# by the whole batch, and then does not average over accumulated parts. BERT's
# heads and ViLT's have **kwargs and take the mean of their own part: with
# gradient_accumulation_steps=K the gradients of the same batch are K times as
# long. Those of ViT and GPT-2 stay. Plain SGD shows it, where AdamW and clipping
# hide most of it. A model with accepts_loss_kwargs = False is averaged.
# Reported in huggingface/transformers issue 47688.
#
# Seen, the length of a step over that of the whole batch at once, in 2 and in 4
# parts:
#   BertForMaskedLM 2.000 4.000
#   BertForSequenceClassification 2.000 4.000
#   ViltForQuestionAnswering 2.000 4.000
#   GPT2LMHeadModel 1.000 1.000
#   ViTForImageClassification 1.000 1.000
#   BertForMaskedLM, accepts_loss_kwargs = False 1.000 1.000
#
# Exits 1 when a line changes.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/steps.py" <<'PYTHON'
import tempfile

import torch
import transformers

COUNT, WORDS = 8, 64
TINY = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=32, hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0)
PICTURES = TINY | dict(image_size=8, patch_size=4, num_labels=3)


def step(make, rows, parts):
  """How far one step of plain SGD goes."""
  torch.manual_seed(0)
  model = make()
  flat = torch.nn.utils.parameters_to_vector
  before = flat(model.parameters()).detach().clone()
  with tempfile.TemporaryDirectory() as place:
    options = transformers.TrainingArguments(
        place, per_device_train_batch_size=COUNT // parts,
        gradient_accumulation_steps=parts, max_steps=1, max_grad_norm=0.0,
        learning_rate=1.0, lr_scheduler_type='constant', use_cpu=True,
        report_to=[], disable_tqdm=True, save_strategy='no')
    transformers.Trainer(model, options, train_dataset=rows, optimizers=(
        torch.optim.SGD(model.parameters(), 1.0), None)).train()
  return (flat(model.parameters()).detach() - before).norm().item()


def told(name, make, rows):
  whole = step(make, rows, 1)
  print('seen', name, *(f'{step(make, rows, parts) / whole:.3f}'
                        for parts in (2, 4)))


def averaged():
  model = bert(transformers.BertForMaskedLM)
  model.accepts_loss_kwargs = False
  return model


draws = torch.Generator().manual_seed(0)
texts = torch.randint(5, WORDS, (COUNT, 6), generator=draws)
pictures = torch.randn(COUNT, 3, 8, 8, generator=draws)
bert = lambda kind: kind(transformers.BertConfig(vocab_size=WORDS, **TINY))
words = [dict(input_ids=text, labels=text) for text in texts]
told('BertForMaskedLM', lambda: bert(transformers.BertForMaskedLM), words)
told('BertForSequenceClassification',
     lambda: bert(transformers.BertForSequenceClassification),
     [dict(input_ids=text, labels=i % 2) for i, text in enumerate(texts)])
told('ViltForQuestionAnswering', lambda: transformers.ViltForQuestionAnswering(
    transformers.ViltConfig(vocab_size=WORDS, max_image_length=-1, **PICTURES)),
     [dict(input_ids=text, pixel_values=picture, labels=torch.eye(3)[i % 3])
      for i, (text, picture) in enumerate(zip(texts, pictures))])
told('GPT2LMHeadModel', lambda: transformers.GPT2LMHeadModel(
    transformers.GPT2Config(
        vocab_size=WORDS, n_embd=16, n_layer=1, n_head=2, n_positions=8,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)), words)
told('ViTForImageClassification',
     lambda: transformers.ViTForImageClassification(
         transformers.ViTConfig(**PICTURES)),
     [dict(pixel_values=picture, labels=i % 3)
      for i, picture in enumerate(pictures)])
told('BertForMaskedLM, accepts_loss_kwargs = False', averaged, words)
PYTHON

python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet --disable-pip-version-check \
  transformers==5.24.0 accelerate==1.15.0 torch==2.13.0
HF_HUB_OFFLINE=1 "$python" "$folder/steps.py" 2>/dev/null |
  sed -n 's/^seen //p' | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
BertForMaskedLM 2.000 4.000
BertForSequenceClassification 2.000 4.000
ViltForQuestionAnswering 2.000 4.000
GPT2LMHeadModel 1.000 1.000
ViTForImageClassification 1.000 1.000
BertForMaskedLM, accepts_loss_kwargs = False 1.000 1.000
SEEN
