// Sums over two GPUs through NCCL, which is loaded when it is needed: the program runs where there is none.
#include "cuda/exchange.h"

#include "cuda/common.cuh"

#ifndef MPQ_HAS_NCCL
namespace mpq {
ExchangeEnds open_nccl(const CudaEnd&, const CudaEnd&) {
  throw UserError("training on two GPUs needs NCCL, and this mpq was built without it",
                  "install nccl.h (libnccl-dev) and build again, or name one --device");
}
}  // namespace mpq
#else

#include <dlfcn.h>
#include <nccl.h>

#include <atomic>
#include <cstdlib>

namespace mpq {
namespace {

struct Nccl {
  decltype(&ncclCommInitAll) comm_init_all;
  decltype(&ncclAllReduce) all_reduce;
  decltype(&ncclCommAbort) comm_abort;
  decltype(&ncclCommDestroy) comm_destroy;
  decltype(&ncclGetErrorString) error_string;

  Nccl() {
    // Sums are the GPUs' own: not the switch's (NVLink multicast), which not every machine has.
    ::setenv("NCCL_NVLS_ENABLE", "0", 1);
    void* library = ::dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
    if (!library) fail(::dlerror());
    const auto find = [&](const char* name, auto& function) {
      function = reinterpret_cast<std::decay_t<decltype(function)> >(::dlsym(library, name));
      if (!function) fail(::dlerror());
    };
    find("ncclCommInitAll", comm_init_all);
    find("ncclAllReduce", all_reduce);
    find("ncclCommAbort", comm_abort);
    find("ncclCommDestroy", comm_destroy);
    find("ncclGetErrorString", error_string);
  }
  [[noreturn]] static void fail(const char* why) {
    throw UserError(fmt::format("training on two GPUs needs NCCL: {}", why),
                    "install libnccl2, or name the folder of libnccl.so.2 in LD_LIBRARY_PATH; or name one --device");
  }
  void check(ncclResult_t status, const char* what) const {
    if (status != ncclSuccess)
      throw UserError(fmt::format("NCCL, {}: {}", what, error_string(status)),
                      "NCCL_DEBUG=WARN says more; one --device needs no NCCL");
  }
};

const Nccl& nccl() {
  static const Nccl library;
  return library;
}

// Both ends' communicators, which NCCL makes and ends together.
class Pair {
 public:
  Pair(int first, int second) {
    const int devices[2] = {first, second};
    nccl().check(nccl().comm_init_all(comms_, 2, devices), "opening two GPUs");
  }
  ~Pair() {
    if (abandoned_) return;
    for (ncclComm_t comm : comms_) nccl().comm_destroy(comm);
  }
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;

  void sum(int end, float* values, size_t count, cudaStream_t stream) {
    if (abandoned_) throw Stopped("the other GPU failed");
    const ncclResult_t status = nccl().all_reduce(values, values, count, ncclFloat, ncclSum, comms_[end], stream);
    if (abandoned_) throw Stopped("the other GPU failed");
    nccl().check(status, "sum");
  }
  // Kernels that wait for the other GPU end, and with them the threads that wait for those kernels.
  void abandon() {
    if (abandoned_.exchange(true)) return;
    for (ncclComm_t comm : comms_) nccl().comm_abort(comm);
  }

 private:
  ncclComm_t comms_[2] = {};
  std::atomic<bool> abandoned_ = false;
};

class NcclExchange final : public Exchange {
 public:
  NcclExchange(std::shared_ptr<Pair> pair, int number, const CudaEnd& end)
      : pair_(std::move(pair)), number_(number), end_(end) {}

  void sum(const Tensor& t) override {
    mpq::check(t.replicas == 1, "a sum over devices of {} replicas", t.replicas);
    make_current(end_.device);
    end_.ops->join();
    pair_->sum(number_, t.f32(), static_cast<size_t>(t.shape.size()), end_.stream);
  }
  void abandon() override { pair_->abandon(); }

 private:
  std::shared_ptr<Pair> pair_;
  int number_;
  CudaEnd end_;
};

}  // namespace

ExchangeEnds open_nccl(const CudaEnd& first, const CudaEnd& second) {
  const auto pair = std::make_shared<Pair>(first.device, second.device);
  return {std::make_unique<NcclExchange>(pair, 0, first), std::make_unique<NcclExchange>(pair, 1, second)};
}

}  // namespace mpq
#endif
