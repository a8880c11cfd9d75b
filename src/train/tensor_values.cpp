#include "train/tensor_values.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace mpq {

std::vector<int64_t> dims(const Shape& s) { return {s.dims, s.dims + s.rank}; }
std::string to_text(const std::vector<int64_t>& shape) { return "[" + fmt::format("{}", fmt::join(shape, ", ")) + "]"; }

std::vector<float> read_values(const NamedTensors& file, const NamedTensors::Entry& entry,
                               const std::vector<int64_t>& shape, const std::filesystem::path& path,
                               const std::string& expected_by) {
  if (entry.shape != shape)
    throw UserError(fmt::format("{}: tensor {} is {}", path.string(), entry.name, to_text(entry.shape)),
                    fmt::format("{} implies {}", expected_by, to_text(shape)));
  std::vector<float> values = file.read_f32(entry.name);
  const auto bad = std::find_if(values.begin(), values.end(), [](float v) { return !std::isfinite(v); });
  if (bad != values.end())
    throw UserError(
        fmt::format("{}: tensor {} holds {} at value {}", path.string(), entry.name, *bad, bad - values.begin()),
        "only finite values can be used; did its training diverge?");
  return values;
}

void TensorFile::add(const std::string& name, std::vector<int64_t> shape, std::vector<float> values) {
  values_.push_back(std::move(values));
  tensors_.push_back({name, "F32", std::move(shape), values_.back().data()});
}
void TensorFile::write(const std::filesystem::path& path) const {
  write_safetensors(path, tensors_, {{"format", "pt"}});
}

}  // namespace mpq
