# Porcelain over CMake. `make` builds ./mpq; `make demo` and `make test` first install what is missing (setup.sh).
BUILD ?= build
PREFIX ?= /usr/local
TYPE ?= Release
CMAKE_FLAGS ?=
CONFIGURE = cmake -S . -B $(BUILD) -G Ninja -DCMAKE_BUILD_TYPE=$(TYPE) $(CMAKE_FLAGS) >$(BUILD)/configure.log || \
  { cat $(BUILD)/configure.log; exit 1; }
KERNEL ?= _kernel
SOURCES = git ls-files 'src/*.h' 'src/*.cpp' 'kernels/*.h' 'kernels/*.cpp' 'cuda/*.h' 'cuda/*.cuh' 'cuda/*.cu' \
  'data/*.h' 'data/*.cpp' 'tests/*.h' 'tests/*.cpp' 'tests/*.cu'

.PHONY: all cuda cuda-programs configure setup demo test quick test-cuda sanitize-cuda profile bench check format asan reference \
  interop install clean
all: configure
	ninja -C $(BUILD) mpq
	ln -sfn $(BUILD)/mpq mpq

configure:
	@command -v cmake >/dev/null && command -v ninja >/dev/null || { echo "no cmake or ninja: run ./setup.sh" >&2; exit 1; }
	@mkdir -p $(BUILD)
	@$(CONFIGURE)

setup:
	@./setup.sh

# The main job on the built-in corpus: a base model, then a search over every family; a table and two figures.
demo: setup
	@$(MAKE) all
	./mpq search --family all

test: setup
	@$(MAKE) all
	ninja -C $(BUILD) mpq_tests
	ctest --test-dir $(BUILD) --output-on-failure -j2

# Every experiment of the labs in small, into a scratch folder: that the scripts run from end to end.
quick: setup
	@$(MAKE) all
	rm -rf $(BUILD)/quick
	QUICK=1 RESULTS=$(BUILD)/quick/results WORK=$(BUILD)/quick/work experiments/all.sh

cuda:
	@$(MAKE) all CMAKE_FLAGS="$(CMAKE_FLAGS) -DMPQ_CUDA=ON"

# What needs a GPU. PREBUILT=1 takes the programs as they lie in $(BUILD): on a machine with a GPU that lacks what building
# them needs, for example.
ifdef PREBUILT
cuda-programs:
	@for program in mpq mpq_tests mpq_reference mpq_losing_gpu; do test -x $(BUILD)/$$program || \
	  { echo "error: no $(BUILD)/$$program" >&2; echo "hint: where it was built: make cuda-programs BUILD=$(BUILD)" >&2; exit 2; }; done
else
cuda-programs: setup
	@$(MAKE) cuda
	ninja -C $(BUILD) mpq_tests mpq_reference
endif

# The whole suite, in one process; MPQ_REFERENCE=DIR: and its cases that compute on a device.
test-cuda: cuda-programs
	MPQ_REQUIRE=cuda $(BUILD)/mpq_tests --gtest_brief=1
	test -z "$(MPQ_REFERENCE)" || $(BUILD)/mpq_reference "$(MPQ_REFERENCE)" --device cuda

# Every kernel on small shapes, under compute-sanitizer.
sanitize-cuda: cuda-programs
	tests/sanitize_cuda.sh $(BUILD)

# The first 20 launches of kernels whose name matches, under Nsight Compute: make profile KERNEL=attention (all but those that
# measure the ceiling end in _kernel).
profile: cuda-programs
	tests/cuda_tool.sh ncu --clock-control none --set basic -k 'regex:$(KERNEL)' -c 20 $(BUILD)/mpq bench train --quick --device cuda

bench: all
	./mpq bench

check: configure
	@./setup.sh clang-format clang-tidy git
	$(SOURCES) | xargs clang-format --dry-run -Werror
	tests/include_layers_test.sh
	@! git grep -nE 'TODO' -- src kernels cuda data tests experiments | grep -vE 'TODO\([a-z]+\)' || \
	  { echo "error: a TODO without an owner, TODO(name)" >&2; exit 1; }
	git ls-files 'src/*.cpp' 'data/*.cpp' | xargs -P2 -n4 clang-tidy -p $(BUILD) --quiet

format:
	$(SOURCES) | xargs clang-format -i

asan:
	@$(MAKE) configure BUILD=$(BUILD)-asan TYPE=Debug CMAKE_FLAGS="$(CMAKE_FLAGS) -DMPQ_ASAN=ON"
	ninja -C $(BUILD)-asan mpq_tests
	ctest --test-dir $(BUILD)-asan --output-on-failure -j2

# Every case found in a folder of reference outputs: make reference MPQ_REFERENCE=DIR
reference: configure
	@test -n "$(MPQ_REFERENCE)" || { echo "usage: make reference MPQ_REFERENCE=DIR" >&2; exit 2; }
	ninja -C $(BUILD) mpq_reference
	$(BUILD)/mpq_reference "$(MPQ_REFERENCE)"

# Against the real Optuna and transformers, installed into $(BUILD)/interop where the package index is reachable.
interop: all
	tests/interop/run.sh $(BUILD)/interop

install: all
	cmake --install $(BUILD) --prefix $(PREFIX)

clean:
	rm -rf $(BUILD) $(BUILD)-asan mpq
