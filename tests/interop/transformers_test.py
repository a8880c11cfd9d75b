# pip: torch transformers sentencepiece protobuf
"""Checkpoints go both ways between mpq and Hugging Face transformers with the same logits.

    python tests/interop/transformers_test.py ./mpq
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer, BertConfig
from transformers import BertForMaskedLM, BertForSequenceClassification, BertTokenizerFast

TEXTS = [
    "A film of rare beauty, and never dull.",
    "not good, not even bad: simply empty",
    "Naïve? Perhaps. But the café scene -- \"the best in years\" -- is worth 10 of any other!",
    "x",
]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", ",", "!", "?", ":", "-", '"', "a", "film", "of", "rare",
              "beauty", "and", "never", "dull", "not", "good", "even", "bad", "simply", "empty", "the", "best", "in",
              "years", "is", "worth", "10", "any", "other", "but", "scene", "cafe", "na", "##ive", "per", "##haps", "x"]
# Both sides add float32 products in orders of their own: a few thousand roundings of values of order one.
TOLERANCE = 2e-5

MPQ = str(pathlib.Path(sys.argv[1]).resolve())


def run_mpq(*arguments):
    done = subprocess.run([MPQ, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, f"mpq {' '.join(map(str, arguments))} failed with {done.returncode}:\n{done.stderr}"
    return [json.loads(line) for line in done.stdout.splitlines() if line.strip()]


def mpq_logits(checkpoint, folder):
    texts = folder / "texts.txt"
    texts.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    lines = run_mpq("predict", "--checkpoint", checkpoint, "--in", texts, "--json")
    rows = [line["logits"] for line in lines if "logits" in line]
    assert len(rows) == len(TEXTS), f"{len(rows)} predictions for {len(TEXTS)} texts"
    return torch.tensor(rows)


def transformers_logits(checkpoint):
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
    with torch.inference_mode():
        return torch.cat([model(**tokenizer(text, truncation=True, max_length=512, return_tensors="pt")).logits
                          for text in TEXTS])


def compare(name, checkpoint, folder):
    ours, theirs = mpq_logits(checkpoint, folder), transformers_logits(checkpoint)
    assert ours.shape == theirs.shape, f"{name}: logits {tuple(ours.shape)} and {tuple(theirs.shape)}"
    distance = (ours - theirs).abs().max().item()
    print(f"{name}: largest distance of a logit {distance:.2e}")
    assert distance <= TOLERANCE * max(1.0, theirs.abs().max().item()), f"{name}: {ours} and {theirs}"
    assert theirs.std() > 0, f"{name}: every logit is equal, so the comparison shows nothing"


def train_with_mpq(folder, tokenizer):
    checkpoint = folder / "from_mpq"
    run_mpq("train", "--data", "synthetic", "--rows", 200, "--tokenizer", tokenizer, "--out", checkpoint, "--json")
    return checkpoint


def save_with_transformers(folder, vocabulary):
    torch.manual_seed(7)
    config = BertConfig(vocab_size=len(VOCABULARY), hidden_size=96, num_hidden_layers=3, num_attention_heads=4,
                        intermediate_size=200, num_labels=3, initializer_range=0.2)
    checkpoint = folder / "from_transformers"
    BertForSequenceClassification(config).eval().save_pretrained(checkpoint)
    # Not by vocab_file: transformers 5 ignores that.
    BertTokenizerFast.from_pretrained(vocabulary.parent).save_pretrained(checkpoint)
    return checkpoint


MASKED = ["a film of rare [MASK], and never [MASK].", "not good, not even [MASK]"]


def compare_masked(name, checkpoint, folder):
    """The logits of every token of the vocabulary at every [MASK]."""
    texts = folder / "masked.txt"
    texts.write_text("\n".join(MASKED) + "\n", encoding="utf-8")
    lines = run_mpq("fill", "--checkpoint", checkpoint, "--in", texts, "--top", 1 << 20, "--json")
    masks = [mask for line in lines if "masks" in line for mask in line["masks"]]
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForMaskedLM.from_pretrained(checkpoint).eval()
    theirs = []
    with torch.inference_mode():
        for text in MASKED:
            inputs = tokenizer(text, return_tensors="pt")
            at_masks = inputs["input_ids"][0] == tokenizer.mask_token_id
            theirs += list(model(**inputs).logits[0][at_masks])
    assert len(masks) == len(theirs) == 3, f"{name}: {len(masks)} and {len(theirs)} masks"
    for mask, logits in zip(masks, theirs):
        tokens = tokenizer.convert_tokens_to_ids([guess["token"] for guess in mask])
        assert sorted(tokens) == list(range(len(logits))), f"{name}: {len(tokens)} tokens for {len(logits)} logits"
        ours = torch.tensor([guess["logit"] for guess in mask])
        distance = (ours - logits[tokens]).abs().max().item()
        print(f"{name}: largest distance of a logit {distance:.2e}")
        assert distance <= TOLERANCE * max(1.0, logits.abs().max().item()), f"{name}: {ours} and {logits[tokens]}"
        assert logits.std() > 0, f"{name}: every logit is equal, so the comparison shows nothing"


def pretrain_with_mpq(folder, tokenizer):
    checkpoint = folder / "pretrained"
    run_mpq("pretrain", "--data", "synthetic", "--rows", 400, "--tokenizer", tokenizer, "--sequence", 32, "--batch", 32,
            "--epochs", 2, "--out", checkpoint, "--json")
    return checkpoint


def save_masked_with_transformers(folder, vocabulary):
    torch.manual_seed(8)
    config = BertConfig(vocab_size=len(VOCABULARY), hidden_size=96, num_hidden_layers=3, num_attention_heads=4,
                        intermediate_size=200, initializer_range=0.2)
    checkpoint = folder / "masked_from_transformers"
    model = BertForMaskedLM(config).eval()
    torch.nn.init.normal_(model.cls.predictions.bias)
    model.save_pretrained(checkpoint)
    # Not by vocab_file: transformers 5 ignores that.
    BertTokenizerFast.from_pretrained(vocabulary.parent).save_pretrained(checkpoint)
    return checkpoint


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        vocabulary = folder / "vocab.txt"
        vocabulary.write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
        compare("written by transformers, read by mpq", save_with_transformers(folder, vocabulary), folder)
        compare("WordPiece, written by mpq", train_with_mpq(folder, vocabulary), folder)
        compare_masked("masked, written by transformers", save_masked_with_transformers(folder, vocabulary), folder)
        compare_masked("masked, written by mpq", pretrain_with_mpq(folder, vocabulary), folder)
        compare("sentencepiece, written by mpq", train_with_mpq(folder, "sentencepiece:500"), folder)


if __name__ == "__main__":
    main()
