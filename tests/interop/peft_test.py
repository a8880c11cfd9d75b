# pip: torch transformers peft
"""Adapters go both ways between mpq and Hugging Face peft with the same logits, and merged ones say the same.

    python tests/interop/peft_test.py ./mpq
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import peft
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig, BertForSequenceClassification
from transformers import BertTokenizerFast

TEXTS = ["a film of rare beauty, and never dull.", "not good, not even bad: simply empty", "the best in years!", "x"]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", ",", "!", ":", "a", "film", "of", "rare", "beauty",
              "and", "never", "dull", "not", "good", "even", "bad", "simply", "empty", "the", "best", "in", "years", "x"]
# Both sides add float32 products in orders of their own: a few thousand roundings of values of order one.
TOLERANCE = 2e-5

MPQ = str(pathlib.Path(sys.argv[1]).resolve())


def run_mpq(*arguments):
    done = subprocess.run([MPQ, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, f"mpq {' '.join(map(str, arguments))} failed with {done.returncode}:\n{done.stderr}"
    return [json.loads(line) for line in done.stdout.splitlines() if line.strip()]


def mpq_logits(folder, checkpoint, *more):
    texts = folder / "texts.txt"
    texts.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    lines = run_mpq("predict", "--checkpoint", checkpoint, "--in", texts, "--json", *more)
    return torch.tensor([line["logits"] for line in lines if "logits" in line])


def logits_of(model, checkpoint):
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model.eval()
    with torch.inference_mode():
        return torch.cat([model(**tokenizer(text, return_tensors="pt")).logits for text in TEXTS])


def base_model(checkpoint, labels):
    return AutoModelForSequenceClassification.from_pretrained(checkpoint, num_labels=labels)


def compare(name, ours, theirs):
    assert ours.shape == theirs.shape, f"{name}: logits {tuple(ours.shape)} and {tuple(theirs.shape)}"
    distance = (ours - theirs).abs().max().item()
    print(f"{name}: largest distance of a logit {distance:.2e}")
    assert distance <= TOLERANCE * max(1.0, theirs.abs().max().item()), f"{name}: {ours} and {theirs}"
    assert theirs.std() > 0, f"{name}: every logit is equal, so the comparison shows nothing"


def written_by_mpq(folder, vocabulary):
    base, adapter = folder / "mpq_base", folder / "mpq_adapter"
    data = ["--data", "synthetic", "--rows", 200, "--json"]
    run_mpq("train", *data, "--tokenizer", vocabulary, "--out", base)
    run_mpq("train", *data, "--init", base, "--out", adapter, "--lr", 0.01, "--lora",
            "rank=3,alpha=12,dropout=0.1,targets=query,value,dense")
    loaded = peft.PeftModel.from_pretrained(base_model(base, 2), adapter)
    theirs = logits_of(loaded, base)
    compare("written by mpq, read by peft", mpq_logits(folder, base, "--adapter", adapter), theirs)
    assert (theirs - logits_of(base_model(base, 2), base)).abs().max() > 1e-3, "the adapter changes nothing"
    automatic = peft.AutoPeftModelForSequenceClassification.from_pretrained(adapter)  # finds the base by itself
    compare("the same, its base found by peft", mpq_logits(folder, base, "--adapter", adapter),
            logits_of(automatic, base))


def written_by_peft(folder, vocabulary):
    torch.manual_seed(7)
    config = BertConfig(vocab_size=len(VOCABULARY), hidden_size=96, num_hidden_layers=3, num_attention_heads=4,
                        intermediate_size=200, num_labels=2, initializer_range=0.2)
    base, adapter, merged = folder / "hf_base", folder / "hf_adapter", folder / "merged"
    BertForSequenceClassification(config).save_pretrained(base)
    BertTokenizerFast(vocab_file=str(vocabulary)).save_pretrained(base)
    lora = peft.LoraConfig(task_type=peft.TaskType.SEQ_CLS, r=5, lora_alpha=10, lora_dropout=0.1,
                           init_lora_weights=False, target_modules=["query", "value", "intermediate.dense"])
    model = peft.get_peft_model(base_model(base, 2), lora)
    with torch.no_grad():
        model.base_model.model.classifier.modules_to_save.default.weight.normal_()
    model.save_pretrained(adapter)
    theirs = logits_of(model, base)
    compare("written by peft, read by mpq", mpq_logits(folder, base, "--adapter", adapter), theirs)
    run_mpq("merge", "--checkpoint", base, "--adapter", adapter, "--out", merged, "--json")
    compare("merged by mpq, read by mpq", mpq_logits(folder, merged), theirs)
    compare("merged by mpq, read by transformers", logits_of(base_model(merged, 2), base), theirs)


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        vocabulary = folder / "vocab.txt"
        vocabulary.write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
        written_by_mpq(folder, vocabulary)
        written_by_peft(folder, vocabulary)


if __name__ == "__main__":
    main()
