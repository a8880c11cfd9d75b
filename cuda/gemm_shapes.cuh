// The shapes of tiles of matrix products, and which of them suits: many small ones where a GPU would be idle, large
// ones where memory would be the limit. Which one never shows in a bit (gemm.cuh).
#pragma once
#include "cuda/common.cuh"
#include "tensor/device.h"

namespace mpq {

// How an operand is stored: k along its rows (x and w of x w^T) or from row to row.
enum class Along : uint8_t { row, column };

constexpr int kSpan = 32, kDepth = 16;  // of a warp's tile; of a step along k
constexpr int kHalves = 2;              // of k

// kWarpsM x kWarpsN warps, times kSplit where they share out the halves of k. A block has kTiles of them, side by side.
// kAhead steps are on their way from memory. kWhole: matrices are a multiple of kDepth wide, or of four where k is
// along the columns, and start on 16 bytes. kStaged: operands go through shared memory (staged_gemm.cuh).
struct SmallTile {  // many blocks, short chains
  static constexpr int kWarpsM = 2, kWarpsN = 1, kSplit = kHalves, kTiles = 1, kAhead = 2;
  static constexpr bool kWhole = true, kStaged = false;
};
struct LargeTile {  // little traffic
  static constexpr int kWarpsM = 4, kWarpsN = 2, kSplit = 1, kTiles = 1, kAhead = 1;
  static constexpr bool kWhole = true, kStaged = false;
};
struct SquareTile {  // for gradients of weights, whose sums over chunks take registers too
  static constexpr int kWarpsM = 2, kWarpsN = 2, kSplit = 1, kTiles = 1, kAhead = 2;
  static constexpr bool kWhole = true, kStaged = false;
};
struct OddTile : SquareTile {
  static constexpr bool kWhole = false;
};
// In bf16 shared memory costs less than what warps of a block would read twice.
struct StagedTile : LargeTile {
  static constexpr bool kStaged = true;
};
struct WideTile : StagedTile {
  static constexpr int kWarpsN = 4;
};
struct PanelTile : StagedTile {  // short along k: the block's rows are read once for all its tiles (panel_gemm.cuh)
  static constexpr int kTiles = 4;
};
template <class Shape>
constexpr int kRowsOf = Shape::kWarpsM* kSpan;
template <class Shape>
constexpr int kTileColsOf = Shape::kWarpsN* kSpan;
template <class Shape>
constexpr int kColsOf = Shape::kTiles* kTileColsOf<Shape>;
template <class Shape>
constexpr int kThreadsOf = Shape::kWarpsM* Shape::kWarpsN* Shape::kSplit* kWarp;
// Of bf16 blocks that an SM is to have at once: what bounds a thread's registers.
template <class Shape, Precision kPrecision>
constexpr int kBlocksOf = kPrecision == Precision::bf16&& Shape::kWhole ? 512 / kThreadsOf<Shape> : 1;
// Blocks of a larger tile that keep a GPU busy; with fewer, small ones.
constexpr int64_t kEnoughBlocks = 260;
// Along k: from here on less traffic is worth more than a second block to an SM; to here a block's rows fit its memory.
constexpr int kLong = 512, kShort = 128;

// Calls launch with the precision as a constant.
template <class Launch>
void with_precision(Precision precision, Launch launch) {
  if (precision == Precision::fp32)
    launch(std::integral_constant<Precision, Precision::fp32>());
  else if (precision == Precision::tf32)
    launch(std::integral_constant<Precision, Precision::tf32>());
  else
    launch(std::integral_constant<Precision, Precision::bf16>());
}

// Calls launch(shape, precision as a constant, blocks) with the shape that suits products so long along k;
// blocks(shape) counts those of all replicas.
template <class Blocks, class Launch>
void with_tile(bool whole, int length, Precision precision, Blocks blocks, Launch launch) {
  with_precision(precision, [&](auto at) {
    constexpr bool kStages = decltype(at)::value == Precision::bf16;
    const auto with = [&](auto shape) { launch(shape, at, blocks(shape)); };
    if (!whole) return with(OddTile());
    if (blocks(LargeTile()) < kEnoughBlocks) return with(SmallTile());
    if constexpr (!kStages)
      with(LargeTile());
    else if (length <= kShort && blocks(PanelTile()) >= kEnoughBlocks)
      with(PanelTile());
    else
      length >= kLong&& blocks(WideTile()) >= kEnoughBlocks ? with(WideTile()) : with(StagedTile());
  });
}

}  // namespace mpq
