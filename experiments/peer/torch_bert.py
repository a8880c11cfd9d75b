"""The peer of `mpq bench train` and `mpq bench eval`: the same job in PyTorch and Hugging Face transformers.

Trains and evaluates a BERT classifier on random tokens that have real review lengths, through transformers' Trainer (what the labs
run), in a plain eager loop, and, on a GPU, as one CUDA graph a step (torch.compile, bf16, padded to the maximum: the best a user gets
by hand; training only), and prints one JSON line a measurement:
    {"way": "trainer", "job": "train", "reviews_per_s": 35.0, ...}
Dropout, AdamW, the linear schedule and clipping are as in the labs' recipe; batches are padded to their longest review.
"""
import argparse
import json
import random
import tempfile
import time

import torch
import transformers
from torch.nn.utils import clip_grad_norm_
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments


SIZES = {  # layers, hidden, heads, feed-forward
    "tiny": (2, 128, 2, 512),
    "base": (12, 768, 12, 3072),
}


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", required=True, help="one token count a line")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=64, help="steps measured, after 4 that warm up")
    parser.add_argument("--max-tokens", type=int, default=512)
    parser.add_argument("--ways", default="trainer,eager")
    parser.add_argument("--model", default="tiny", choices=SIZES)
    return parser.parse_args()


def make_reviews(arguments):
    """Random token ids and labels; the lengths are drawn from the whole file, so that a short run has its distribution."""
    with open(arguments.lengths) as file:
        lengths = [min(int(line), arguments.max_tokens) for line in file if line.strip()]
    draw = random.Random(1)
    draw.shuffle(lengths)
    count = (arguments.steps + WARM_UP) * arguments.batch
    return [
        {"input_ids": [draw.randrange(1000, 30000) for _ in range(lengths[i % len(lengths)])], "labels": draw.randrange(2)}
        for i in range(count)
    ]


def pad(reviews):
    longest = max(len(review["input_ids"]) for review in reviews)
    ids = torch.zeros(len(reviews), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, review in enumerate(reviews):
        size = len(review["input_ids"])
        ids[row, :size] = torch.tensor(review["input_ids"])
        mask[row, :size] = 1
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor([review["labels"] for review in reviews])}


def make_model(arguments):
    torch.manual_seed(42)
    layers, hidden, heads, feed_forward = SIZES[arguments.model]
    config = BertConfig(hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
                        intermediate_size=feed_forward)
    return BertForSequenceClassification(config).to(arguments.device)


class Clock:
    """Seconds of a block, the device's queue emptied at both ends."""

    def __init__(self, device):
        self.wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None

    def __enter__(self):
        self.wait()
        self.start = time.perf_counter()
        return self

    def __exit__(self, *_):
        self.wait()
        self.seconds = time.perf_counter() - self.start


def run_trainer(arguments, reviews, measured):
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            output_dir=folder, per_device_train_batch_size=arguments.batch, per_device_eval_batch_size=arguments.batch,
            num_train_epochs=1, save_strategy="no", logging_strategy="no", report_to=[], disable_tqdm=True,
            use_cpu=arguments.device == "cpu")

        def trainer(rows):
            made = Trainer(model=make_model(arguments), args=settings, train_dataset=rows, eval_dataset=rows,
                           data_collator=pad)
            made.remove_callback(transformers.PrinterCallback)  # standard output is for the JSON lines
            return made

        trainer(reviews[: WARM_UP * arguments.batch]).train()
        job = trainer(measured)
        with Clock(arguments.device) as training:
            job.train()
        with Clock(arguments.device) as evaluation:
            job.evaluate()
    return training.seconds, evaluation.seconds


def run_eager(arguments, reviews, measured):
    model = make_model(arguments)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.0)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, 0, arguments.steps + WARM_UP)

    def batches(rows):
        for first in range(0, len(rows), arguments.batch):
            yield {key: value.to(arguments.device) for key, value in pad(rows[first : first + arguments.batch]).items()}

    def train(rows):
        model.train()
        for batch in batches(rows):
            model(**batch).loss.backward()
            clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()

    train(reviews[: WARM_UP * arguments.batch])
    with Clock(arguments.device) as training:
        train(measured)
    model.eval()
    with torch.inference_mode(), Clock(arguments.device) as evaluation:
        for batch in batches(measured):
            model(**batch).logits.argmax(-1)
    return training.seconds, evaluation.seconds


def run_graph(arguments, reviews, measured):
    """No schedule and no clipping: less work than the others do."""
    model = make_model(arguments).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.0, fused=True, capturable=True)
    compiled = torch.compile(model)

    def padded(rows):
        batch = pad(rows)
        size = batch["input_ids"].shape[1]
        for key in ("input_ids", "attention_mask"):
            batch[key] = torch.nn.functional.pad(batch[key], (0, arguments.max_tokens - size))
        return {key: value.to(arguments.device) for key, value in batch.items()}

    batches = [padded(measured[first : first + arguments.batch]) for first in range(0, 32 * arguments.batch, arguments.batch)]
    fixed = {key: value.clone() for key, value in batches[0].items()}

    def step():
        optimizer.zero_grad(set_to_none=False)
        with torch.autocast("cuda", torch.bfloat16):
            logits = compiled(input_ids=fixed["input_ids"], attention_mask=fixed["attention_mask"]).logits
        torch.nn.functional.cross_entropy(logits.float(), fixed["labels"]).backward()
        optimizer.step()

    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(4):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()

    def run(steps):
        for number in range(steps):
            for key, value in batches[number % len(batches)].items():
                fixed[key].copy_(value)
            graph.replay()

    run(WARM_UP)
    with Clock(arguments.device) as training:
        run(arguments.steps)
    return training.seconds, None


WARM_UP = 4
WAYS = {"trainer": run_trainer, "eager": run_eager, "graph": run_graph}


def main():
    arguments = read_arguments()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    transformers.logging.set_verbosity_error()
    reviews = make_reviews(arguments)
    measured = reviews[WARM_UP * arguments.batch :]
    for way in arguments.ways.split(","):
        for job, seconds in zip(("train", "eval"), WAYS[way](arguments, reviews, measured)):
            if seconds is None:
                continue
            print(json.dumps({"way": way, "job": job, "reviews_per_s": round(len(measured) / seconds, 2),
                              "model": arguments.model, "batch": arguments.batch, "torch": torch.__version__,
                              "transformers": transformers.__version__}), flush=True)


if __name__ == "__main__":
    main()
