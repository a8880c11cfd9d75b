#include "tensor/dry_ops.h"

namespace mpq {

Ops& dry_ops() {
  static DryOps ops;
  return ops;
}

}  // namespace mpq
