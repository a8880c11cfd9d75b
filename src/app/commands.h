// The subcommands: each lives in src/app/<name>.cpp and returns the exit code; main.cpp lists them.
#pragma once
#include "app/command_line.h"

namespace mpq {

int run_baseline(const Args& args);
int run_bench(const Args& args);
int run_eval(const Args& args);
int run_fill(const Args& args);
int run_formats(const Args& args);
int run_info(const Args& args);
int run_inspect(const Args& args);
int run_linear(const Args& args);
int run_lora(const Args& args);
int run_merge(const Args& args);
int run_plot(const Args& args);
int run_predict(const Args& args);
int run_pretrain(const Args& args);
int run_prune(const Args& args);
int run_quantize(const Args& args);
int run_search(const Args& args);
int run_study(const Args& args);
int run_sweep(const Args& args);
int run_tokenize(const Args& args);
int run_train(const Args& args);

}  // namespace mpq
