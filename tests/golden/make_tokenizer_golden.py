#!/usr/bin/env python3
"""Writes the tokenizer goldens beside it: two small vocabularies, and the ids that Hugging Face gives to odd texts.

    pip install transformers==5.23.0 tokenizers==0.23.3 sentencepiece && python3 tests/golden/make_tokenizer_golden.py
"""
import json
import pathlib
import random
import tempfile

import sentencepiece
from tokenizers import BertWordPieceTokenizer
from transformers import AlbertTokenizer, BertTokenizer

HERE = pathlib.Path(__file__).parent
NOUNS = "plot acting music camera ending story film scene actor writer director character dialogue review".split()
ADJECTIVES = "dull bright boring moving clever awful lovely unbelievable predictable charming".split()
BLOCKS = [(0x20, 0x7E), (0x80, 0x17F), (0x300, 0x36F), (0x370, 0x5FF), (0x900, 0xDFF), (0x1E00, 0x20CF),
          (0x2100, 0x2FFF), (0x3000, 0x30FF), (0x4E00, 0x4E80), (0xAC00, 0xACFF), (0xD700, 0xD7FF), (0xF900, 0xFAFF),
          (0xFB00, 0xFFFD), (0x1D100, 0x1D7FF), (0x1F300, 0x1F6FF), (0x20000, 0x20080), (0x2F800, 0x2F880)]


def corpus(draw):
    sentences = []
    for _ in range(2000):
        noun, adjective = draw.choice(NOUNS), draw.choice(ADJECTIVES)
        form = draw.choice(["The {n} was {a}.", "Not {a}, the {n}!", "{n}s: {a}ly, un{a}.", "I found {n} and {n}ing {a}, {y}."])
        sentences.append(form.format(n=noun, a=adjective, y=draw.randint(1900, 2030)))
    return sentences


def random_text(draw):
    letters = []
    for _ in range(draw.randint(1, 40)):
        first, last = draw.choice(BLOCKS)
        c = draw.randint(first, last)
        if not 0xD800 <= c < 0xE000:
            letters.append(draw.choice(["", " ", "a", "film"]) + chr(c))
    return "".join(letters)


def texts(draw):
    fixed = ["", " ", "\t\n\r ", "The film was charming.", "DON'T stop-believing!!!", "na\u00efve caf\u00e9 \u0130stanbul \u1e9e",
             "a[MASK]b [SEP] [CLS][PAD] [UNK] [mask]", "<pad><unk> film</s> < pad >", "x" * 100, "x" * 101, "film" * 30,
             "\u4e2d\u6587film\u5b57", "\ud55c\uad6d\uc5b4 film", "zero\u200bwidth\ufeff soft\u00adhyphen", "tab\there\u00a0nbsp\u3000wide\u2028line",
             "``quoted'' ''text``", "9,000 and 10,000, 5,", "\u2581under\u2581score \u2581", "e\u0301\u0323 A\u030a \u212b", "\ufb01lm \u2167 \u00bd \u2460", "\U0001f600film\U0001f468\u200d\U0001f469",
             "\u0000null\u0001control", "\ue000private\U000f0000", "\uffff \ufffd", "plot.acting,music;ending", "unbelievably " * 20]
    return fixed + corpus(draw)[:60] + [random_text(draw) for _ in range(200)]


def write_cases(name, tokenizer, cases):
    with open(HERE / name, "w", encoding="utf-8") as file:
        for text in cases:
            file.write(json.dumps({"text": text, "ids": tokenizer(text)["input_ids"]}, separators=(",", ":"), ensure_ascii=False) + "\n")


def main():
    draw = random.Random(7)
    sentences = corpus(draw)
    cases = texts(draw)

    wordpiece = BertWordPieceTokenizer(lowercase=True)
    wordpiece.train_from_iterator(sentences + ["\u4e2d \u6587 \u1112 \u00e6 caf\u00e9"], vocab_size=400, min_frequency=1, show_progress=False)
    vocab = sorted(wordpiece.get_vocab().items(), key=lambda item: item[1])
    (HERE / "wordpiece_vocab.txt").write_text("".join(token + "\n" for token, _ in vocab), encoding="utf-8")
    write_cases("wordpiece.jsonl", BertTokenizer(vocab=dict(vocab)), cases)

    with tempfile.TemporaryDirectory() as folder:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(s.lower() for s in sentences), model_prefix=folder + "/m", vocab_size=300,
            hard_vocab_limit=False, normalization_rule_name="identity", pad_id=0, unk_id=1, bos_id=-1, eos_id=-1,
            pad_piece="<pad>", unk_piece="<unk>", control_symbols="[CLS],[SEP],[MASK]", num_threads=1, minloglevel=2)
        (HERE / "spiece.model").write_bytes(pathlib.Path(folder + "/m.model").read_bytes())
    write_cases("albert.jsonl", AlbertTokenizer.from_pretrained(str(HERE)), cases)


main()
