// Groups of options that several subcommands share, each a struct whose initial values are the defaults.
#pragma once
#include <cstdint>
#include <string>

#include "app/command_line.h"
#include "data/dataset.h"
#include "tensor/device.h"

namespace mpq {

// Where the texts come from and how they become tokens; options() is what load_dataset takes.
struct DataArgs {
  void add_to(CommandLine& line);
  DataOptions options() const;

 private:
  DataOptions options_;
  std::string truncate_ = "head", valid_ = "0.2";
};

// What runs the work, and for how long.
struct MachineArgs {
  std::string device = "cpu", precision = "fp32";
  int threads = 0;  // 0: the CPUs allowed
  double timeout = 0;

  void add_to(CommandLine& line);
  // Sets the number of threads and starts the clock of --timeout; open() judges the device.
  void apply() const;
  std::unique_ptr<Device> open() const;
  Devices open_all() const;  // for commands that take several
  // " precision tf32"; empty for fp32, which runs and studies of before there was a choice had.
  std::string precision_in_recipe() const;
};

// Training; the defaults are the labs' recipe.
struct TrainArgs {
  std::string model = "tiny", init, decay = "linear";
  double epochs = 1, lr = 5e-5, warmup = 0, weight_decay = 0, dropout = 0.1, clip = 1.0, quantize_after = 0;
  int batch = 8, checkpoint_every = 0;
  uint64_t seed = 42;

  void add_to(CommandLine& line);
  // What of this decides a model's bits, beside where it starts.
  std::string recipe() const;
};

// A % in a path stands for the seed: in --init a base of its own for each, in --out a folder.
std::string for_seed(const std::string& path, uint64_t seed);
bool has_own_base(const TrainArgs& train);
std::string base_of(const TrainArgs& train, uint64_t seed);

}  // namespace mpq
