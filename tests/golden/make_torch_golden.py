#!/usr/bin/env python3
"""Writes the state dicts beside it that torch.save makes, in both containers, and their safetensors twins.

    pip install torch==2.11.0 safetensors numpy && python3 tests/golden/make_torch_golden.py
"""
import collections
import pathlib

import torch
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent


def state_dict(dtype):
    torch.manual_seed(0)
    whole = torch.randn(4, 6).to(dtype)
    tensors = collections.OrderedDict()
    tensors["bert.embeddings.position_ids"] = torch.arange(5).expand((1, -1))
    tensors["parameter"] = torch.nn.Parameter(torch.randn(3, 2).to(dtype))
    tensors["tied"] = tensors["parameter"]
    tensors["whole"] = whole
    tensors["transposed"] = whole.t()  # shares the storage
    tensors["part"] = whole[1:3, 1:6:2]
    tensors["row"] = whole[2]
    tensors["expanded"] = whole[0, :1].expand(3)
    tensors["scalar"] = torch.tensor(-0.5, dtype=dtype)
    tensors["empty"] = torch.empty(0, 3, dtype=dtype)
    tensors["brain"] = torch.randn(3).to(torch.bfloat16)
    tensors["wide"] = torch.randn(2, dtype=torch.float64)
    tensors["mask"] = torch.tensor([True, False, True])
    tensors._metadata = {"": {"version": 1}}  # as Module.state_dict() has it
    return tensors


for dtype, name in ((torch.float32, "f32"), (torch.float16, "f16")):
    tensors = state_dict(dtype)
    torch.save(tensors, HERE / f"torch_zip_{name}.bin")
    torch.save(tensors, HERE / f"torch_legacy_{name}.bin", _use_new_zipfile_serialization=False)
    save_file({k: v.detach().clone(memory_format=torch.contiguous_format) for k, v in tensors.items()},
              HERE / f"torch_{name}.safetensors")
