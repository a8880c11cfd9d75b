// Quantized copies of an operation's output (tensor/ops.h, QuantizedCopies).
#pragma once
#include "kernels/cpu.h"

#include "kernels/isa_begin.h"

// The copies whose formats look no further than a row, for rows first ... last - 1, while the rows are in the cache.
void quantize_rows(const QuantizedCopies& copies, const Tensor& x, int replica, int64_t first, int64_t last);

// The copies whose formats look over a sequence: after all rows are written.
void quantize_sequences(const QuantizedCopies& copies, const Tensor& x, const Ragged& ragged);

// The same for one slot in place (a Linear's output format).
void quantize_rows(const QuantSlot& slot, int rank, const Tensor& from, const Tensor& to, int replica, int64_t first,
                   int64_t last);
void quantize_sequences(const QuantSlot& slot, int rank, const Tensor& from, const Tensor& to, const Ragged& ragged);

// Whether replica r's format does something to a gradient; dx from format.dxq, for rows first ... last - 1.
bool masks_gradient(const InputFormat& format, int r);
void quantize_rows_grad(const InputFormat& format, int r, int64_t first, int64_t last, float* dx);

#include "kernels/isa_end.h"
