// Every number format of formats.def: each test body runs once for each line of the list.
#include <gtest/gtest.h>

#include <random>

#include "base/file.h"
#include "base/text.h"
#include "quant/quantize.h"
#include "reference/quantizer_case.h"

namespace mpq {
namespace {

using reference::same;

std::vector<Simd> available() {
  std::vector<Simd> all;
  for (Simd isa : {Simd::avx2, Simd::avx512})
    if (has_simd(isa)) all.push_back(isa);
  return all;
}

std::vector<float> quantized(const QuantSpec& spec, Role role, const QuantShape& shape, const std::vector<float>& x,
                             Simd isa = simd()) {
  std::vector<float> y(x.size());
  quantize(spec, role, shape, x.data(), y.data(), nullptr, isa);
  return y;
}

std::vector<float> quantized(std::string_view spec, const std::vector<float>& x) {
  return quantized(parse_format(spec), Role::weight, {1, {static_cast<int64_t>(x.size()), 1, 1}}, x);
}

void expect_same(const std::vector<float>& a, const std::vector<float>& b, const std::string& what) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i)
    ASSERT_TRUE(same(a[i], b[i])) << what << " [" << i << "] " << a[i] << " " << b[i];
}

std::vector<float> random_bits(size_t count) {
  std::mt19937 random(7);
  std::vector<float> x(count);
  for (float& v : x) v = std::bit_cast<float>(static_cast<uint32_t>(random()));
  return x;
}

std::vector<float> normal(size_t count, float sigma) {
  std::mt19937 random(11);
  std::normal_distribution<float> draw(0, sigma);
  std::vector<float> x(count);
  for (float& v : x) v = draw(random);
  return x;
}

template <class T>
struct Named {};
#define MPQ_NAMED(name, Type)                       \
  template <>                                       \
  struct Named<Type> {                              \
    static constexpr std::string_view text = #name; \
    static constexpr Format format = Format::name;  \
  };
MPQ_FORMATS(MPQ_NAMED)
#undef MPQ_NAMED

struct TypeName {
  template <class T>
  static std::string GetName(int) {
    return std::string(Named<T>::text);
  }
};

template <class T>
class EveryFormat : public testing::Test {
 public:
  static FormatInfo info() {
    for (const FormatInfo& f : format_list())
      if (f.name == Named<T>::text) return f;
    throw std::logic_error("not in format_list()");
  }
  static std::vector<QuantSpec> samples() {
    std::vector<QuantSpec> specs;
    for (std::string_view text : T::samples) specs.push_back(parse_format(text));
    return specs;
  }
};

template <class... T>
testing::Types<T...> types_of(void (*)(int, T...));
#define MPQ_TYPE(name, Type) , Type
using Formats = decltype(types_of(static_cast<void (*)(int MPQ_FORMATS(MPQ_TYPE))>(nullptr)));
#undef MPQ_TYPE
TYPED_TEST_SUITE(EveryFormat, Formats, TypeName);

TYPED_TEST(EveryFormat, TextRoundTrip) {
  for (std::string_view text : TypeParam::samples) {
    const QuantSpec spec = parse_format(text);
    EXPECT_EQ(spec.format, Named<TypeParam>::format);
    EXPECT_EQ(to_text(spec), text) << "samples are canonical";
    EXPECT_EQ(parse_format(fmt::format("  {} ", to_text(spec))), spec);
  }
}

TYPED_TEST(EveryFormat, BadKeysAreUserErrors) {
  const std::string name(Named<TypeParam>::text), sample(TypeParam::samples[0]);
  const std::string inside(sample.find('(') == std::string::npos ? "" : sample.substr(sample.find('(') + 1));
  const std::string keys = inside.substr(0, inside.find(')'));
  const auto refuse = [&](const std::string& text, const std::string& named) {
    try {
      parse_format(text);
      ADD_FAILURE() << text << " was accepted";
    } catch (const UserError& error) {
      EXPECT_NE(std::string(error.what()).find(named), std::string::npos) << error.what();
      EXPECT_FALSE(error.hint().empty());
    }
  };
  refuse(fmt::format("{}({}{}colour=3)", name, keys, keys.empty() ? "" : ","), "colour");
  refuse(fmt::format("{}({}{}junk)", name, keys, keys.empty() ? "" : ","), "junk");
  refuse(name + "(" + keys, name);
  const auto with = [&](std::string_view key, const std::string& value) {  // the sample with one key replaced
    std::vector<std::string> parts;
    for (std::string_view part : split(keys, ','))
      if (!part.empty() && !part.starts_with(std::string(key) + "=")) parts.emplace_back(part);
    if (!value.empty()) parts.push_back(fmt::format("{}={}", key, value));
    return fmt::format("{}({})", name, join(parts, ","));
  };
  for (const KeyInfo& key : this->info().keys) {
    if (key.fallback.empty()) {
      refuse(with(key.name, ""), key.name);
    } else {
      EXPECT_NO_THROW(parse_format(with(key.name, "")));
    }
    for (const char* value : {"x", "1.5e99z", "99999999999999999999", "0x0"}) refuse(with(key.name, value), key.name);
    const size_t dots = key.allowed.find("..");
    if (dots == std::string::npos) continue;
    refuse(with(key.name, std::to_string(*parse_int(key.allowed.substr(0, dots)) - 1)), key.name);
    refuse(with(key.name, std::to_string(*parse_int(key.allowed.substr(dots + 2)) + 1)), key.name);
  }
}

TYPED_TEST(EveryFormat, BitsAndReach) {
  for (const QuantSpec& spec : this->samples()) {
    EXPECT_GE(bits_per_value(spec, 64, 64), 1);
    EXPECT_LE(bits_per_value(spec, 64, 64), 33);
    EXPECT_EQ(reach(spec, Role::activation) == Reach::element, !TileFormat<TypeParam>);
    EXPECT_EQ(gradient_is_identity(spec), !TrainedFormat<TypeParam>);
  }
}

TYPED_TEST(EveryFormat, InstructionSetsAgreeBitForBit) {
  const std::vector<float> random = random_bits(6 * 64 * 96), ordinary = normal(random.size(), 0.5f);
  for (const QuantSpec& spec : this->samples())
    for (const QuantShape& shape : {QuantShape{3, {6, 64, 96}}, QuantShape{2, {6 * 64, 96, 1}}})
      for (const auto& x : {random, ordinary})
        for (Simd isa : available())
          expect_same(quantized(spec, Role::activation, shape, x, isa),
                      quantized(spec, Role::activation, shape, x, Simd::avx2), to_text(spec));
}

TYPED_TEST(EveryFormat, InPlaceIsTheSame) {
  const QuantShape shape{2, {32, 96, 1}};
  for (const QuantSpec& spec : this->samples())
    for (Simd isa : available()) {
      std::vector<float> x = normal(shape.size(), 1.0f);
      for (int i = 0; i < 96; ++i) x[i] = 0;  // tiles of zeros take another path
      const std::vector<float> y = quantized(spec, Role::weight, shape, x, isa);
      quantize(spec, Role::weight, shape, x.data(), x.data(), nullptr, isa);
      expect_same(x, y, to_text(spec));
    }
}

TYPED_TEST(EveryFormat, RowsDoNotSeeEachOther) {
  const int64_t rows = 12, cols = 96;
  std::vector<float> x = normal(rows * cols, 1.0f);
  for (int i = 0; i < cols; ++i) x[3 * cols + i] = 0;
  for (const QuantSpec& spec : this->samples()) {
    if (reach(spec, Role::activation) == Reach::sequence) continue;
    const std::vector<float> whole = quantized(spec, Role::activation, {3, {1, rows, cols}}, x);
    for (int64_t first = 0; first < rows; first += 4) {
      const std::vector<float> part(x.begin() + first * cols, x.begin() + (first + 4) * cols);
      expect_same(quantized(spec, Role::activation, {3, {1, 4, cols}}, part),
                  {whole.begin() + first * cols, whole.begin() + (first + 4) * cols}, to_text(spec));
    }
  }
}

TYPED_TEST(EveryFormat, EmptyTensorsStayEmpty) {
  for (const QuantSpec& spec : this->samples())
    for (const QuantShape& shape : {QuantShape{2, {0, 96, 1}}, QuantShape{2, {5, 0, 1}}, QuantShape{1, {0, 1, 1}}})
      EXPECT_TRUE(quantized(spec, Role::weight, shape, {}).empty()) << to_text(spec);
}

// Ascending inside each tile of one row, or the whole tensor where there are no tiles.
template <class F>
void expect_ascending(const F& format, const QuantShape& shape, const std::vector<float>& y, const std::string& what) {
  int64_t step = shape.size();
  if constexpr (TileFormat<F>) step = format.tiles(Role::weight, shape).tile_cols;
  for (int64_t first = 0; first < shape.size(); first += step)
    EXPECT_TRUE(std::is_sorted(&y[first], &y[first] + std::min(step, shape.size() - first))) << what << " at " << first;
}

template <class F>
bool claims_idempotent(const F& format) {
  if constexpr (requires { format.idempotent(); })
    return format.idempotent();
  else
    return requires { F::idempotent; };
}

TYPED_TEST(EveryFormat, KeepsItsPromises) {
  std::vector<float> x = normal(4096, 1.0f);
  for (int i = -2000; i <= 2000; ++i) x.push_back(std::ldexp(static_cast<float>(i), -9));
  std::erase_if(x, [](float v) { return std::abs(v) <= 1e-8f; });
  std::sort(x.begin(), x.end());
  const QuantShape shape{1, {static_cast<int64_t>(x.size()), 1, 1}};
  for (const QuantSpec& spec : this->samples()) {
    const std::vector<float> y = quantized(spec, Role::weight, shape, x);
    visit(spec, [&](const auto& format) {
      using F = std::remove_cvref_t<decltype(format)>;
      if constexpr (requires { F::monotone; }) expect_ascending(format, shape, y, to_text(spec));
      if (claims_idempotent(format)) {
        EXPECT_EQ(quantized(spec, Role::weight, shape, y), y) << to_text(spec);
      }
    });
  }
}

TYPED_TEST(EveryFormat, GradientIsStraightThroughOrTrained) {
  const std::vector<float> x = random_bits(1000), g = normal(1000, 1.0f);
  for (const QuantSpec& spec : this->samples()) {
    std::vector<float> dx(x.size());
    quantize_grad(spec, Role::activation, {2, {10, 100, 1}}, x.data(), g.data(), dx.data(), nullptr, nullptr);
    if (gradient_is_identity(spec)) expect_same(dx, g, to_text(spec));
  }
}

TEST(Formats, GoldenCases) {
  for (const std::string name : {"quantizers", "modern"}) {
    const std::string golden = MPQ_SOURCE_DIR "/tests/golden/" + name;
    const SafeTensors tensors(golden + ".safetensors");
    int cases = 0;
    for (const auto& entry : nlohmann::json::parse(read_file(golden + ".json"))) {
      for (Simd isa : available()) EXPECT_EQ(reference::difference({tensors, entry}, isa), "");
      ++cases;
    }
    EXPECT_GT(cases, 100) << name;
  }
}

TEST(Formats, UnknownNameListsTheKnown) {
  try {
    parse_format("intger(width=8)");
    FAIL();
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find("intger"), std::string::npos);
    for (const FormatInfo& f : format_list()) EXPECT_NE(error.hint().find(f.name), std::string::npos) << f.name;
  }
}

TEST(Formats, KeysCannotContradict) {
  EXPECT_THROW(parse_format("minifloat_ieee(width=4,exponent=4)"), UserError);
  EXPECT_THROW(parse_format("minifloat_denorm(width=4,exponent=8)"), UserError);
  EXPECT_THROW(parse_format("integer(width=8,width=8,frac=4)"), UserError);
  EXPECT_THROW(parse_format("binary_residual(levels=2,means=1)"), UserError);
  EXPECT_THROW(parse_format("binary_residual(levels=2,means=1:inf)"), UserError);
  EXPECT_THROW(parse_format("block_fp(width=7,exponent=8,block=1x2x3)"), UserError);
  EXPECT_THROW(parse_format("block_fp(width=7,exponent=8,block=0)"), UserError);
  EXPECT_THROW(parse_format("mxfp(exponent=4,mantissa=2)"), UserError);
  EXPECT_THROW(parse_format("mxfp(exponent=5,mantissa=3)"), UserError);
  EXPECT_THROW(parse_format("ternary(rule=twn,per=16)"), UserError);
}

TEST(Formats, CanonicalText) {
  const auto canonical = [](const char* text) { return to_text(parse_format(text)); };
  EXPECT_EQ(canonical("log( width = 8 )"), "log(width=8,bias=63)");
  EXPECT_EQ(canonical("minifloat_ieee(exponent=4,width=8)"), "minifloat_ieee(width=8,exponent=4,bias=7)");
  EXPECT_EQ(canonical("integer(width=8,frac=4,round=nearest)"), "integer(width=8,frac=4)");
  EXPECT_EQ(canonical("block_fp(width=7,exponent=8,block=*x16)"), "block_fp(width=7,exponent=8,bias=127,block=16)");
  EXPECT_EQ(canonical("block_log(width=4,bias_width=4,block=1x*)"), "block_log(width=4,bias_width=4,block=1x*)");
  EXPECT_EQ(canonical("mxint_hardware(width=9,exponent=4,tile=16)"), "mxint_hardware(width=9,exponent=4,tile=1x16)");
  EXPECT_EQ(canonical("binary_residual(levels=2,means=1:-0.25)"), "binary_residual(levels=2,means=1:-0.25)");
  EXPECT_EQ(canonical(" binary "), "binary()");
  EXPECT_EQ(canonical("mxfp(mantissa=1,exponent=2,scale=floor)"), "mxfp(exponent=2,mantissa=1,block=32)");
  EXPECT_EQ(canonical("nvfp4(global=amax)"), "nvfp4()");
  EXPECT_EQ(canonical("scaled_integer(per=64,width=4,scheme=symmetric)"), "scaled_integer(width=4,per=64)");
  EXPECT_EQ(canonical("ternary(per=row, rule=absmean)"), "ternary(rule=absmean,per=row)");
}

TEST(Formats, SpecialValuesByHand) {
  expect_same(quantized("integer(width=8,frac=4)", {0.03125f, 0.09375f, 100, -100, NAN, -0.01f, INFINITY}),
              {0, 0.125f, 7.9375f, -8, NAN, -0.0f, 7.9375f}, "integer");
  expect_same(quantized("integer(width=8,frac=4,round=floor)", {-1e-9f, 0.99f}), {-0.0625f, 0.9375f}, "floor");
  expect_same(quantized("integer(width=32,frac=0)", {3e9f}), {0x1p31f}, "2^31 - 1 is no float");
  expect_same(quantized("minifloat_denorm(width=8,exponent=4)", {1, 2, 1e9f, 1e-8f, -0.0f, INFINITY}),
              {0.875f, 1.75f, 224, 1e-8f, 0.0f, NAN}, "denorm");
  expect_same(quantized("minifloat_ieee(width=8,exponent=4)", {1.97f, 0.98f, 1e9f}), {1.875f, 0.9375f, 480}, "ieee");
  expect_same(quantized("log(width=8)", {0, -0.0f, INFINITY, -INFINITY, 1.4f, 1.42f, NAN}),
              {0x1p-63f, 0x1p-63f, 0x1p64f, -0x1p64f, 1, 2, NAN}, "log");
  expect_same(quantized("log(width=8,bias=128)", {3.0f}), {0.5f}, "log saturates");
  expect_same(quantized("binary()", {0, -0.0f, NAN, -1, INFINITY}), {1, 1, -1, -1, 1}, "binary");
  expect_same(quantized("binary_residual(levels=2,means=0.5:0.25)", {0.5f, 2, -0.1f, 0}), {0.5f, 0.75f, -0.25f, 0},
              "residual");
  expect_same(quantized("block_fp(width=7,exponent=8,block=4)", {2, 1, -1e-9f, 0}), {1.96875f, 1, -1e-9f, 0},
              "block_fp");
  expect_same(quantized("block_log(width=8,bias_width=4,block=4)", {0, 0, 0, 0}), std::vector<float>(4, 0x1p-15f),
              "block_log");
  expect_same(quantized("mxint_hardware(width=9,exponent=4,tile=2)", {1, -1e-5f}), {1 - 0x1p-8f, -0x1p-8f},
              "mxint_hardware");
}

// By the formulas of the papers that each header names, worked out by hand.
TEST(Formats, ModernValuesByHand) {
  expect_same(quantized("mxfp(exponent=2,mantissa=1)", {6, 2.5f, 5, 0.25f, -0.25f, -0.3f}), {6, 2, 4, 0, -0.0f, -0.5f},
              "ties to even, underflow keeps the sign");
  expect_same(quantized("mxfp(exponent=2,mantissa=1)", {7.9f, 1}), {6, 1}, "floor clips");
  expect_same(quantized("mxfp(exponent=2,mantissa=1,scale=rceil)", {7.9f, 1}), {8, 1}, "rceil does not");
  expect_same(quantized("mxfp(exponent=4,mantissa=3)", {INFINITY, 0x1p120f, 1}), {INFINITY, 0x1p120f, 0}, "infinity");
  expect_same(quantized("mxfp(exponent=4,mantissa=3,block=2)", {NAN, 1, 2}), {NAN, NAN, 2}, "NaN in its block");
  expect_same(quantized("mxint(width=8)", {127.0f / 64, -127.9f / 64, -1.0f / 256}), {127.0f / 64, -127.0f / 64, 0},
              "the lowest code is unused, no negative zero");
  expect_same(quantized("mxint(width=8)", {INFINITY, 1}), {NAN, NAN}, "no infinity");
  expect_same(quantized("nvfp4()", {0, -0.0f}), {0, -0.0f}, "zeros");
  expect_same(quantized("nvfp4()", {INFINITY, 1}), {NAN, NAN}, "a tensor's scale is finite");
  expect_same(quantized("nvfp4(global=none)", {INFINITY, 1344, -6}), {2688, 1344, -0.0f}, "448 * 6");
  expect_same(quantized("scaled_integer(width=4,per=tensor)", {7, 2.5f, -3.5f, -0.0f}), {7, 2, -4, 0}, "ties to even");
  expect_same(quantized("scaled_integer(width=2,scheme=affine,per=tensor)", {2, -1, 0.5f}), {2, -1, 0}, "a zero point");
  expect_same(quantized("scaled_integer(width=8,per=1)", {0.3f, 0, NAN}), {0.3f, 0, NAN}, "groups of one");
  expect_same(quantized("ternary(rule=twn,per=tensor)", {1, -3, 0.25f, -0.25f}), {2, -2, 0, 0}, "beyond 0.7875");
  expect_same(quantized("ternary(rule=absmean,per=row)", {1, -3, 0.5f, -0.5f}), {1.25f, -1.25f, 0, 0}, "BitNet");
  expect_same(quantized("binary_scaled(per=row)", {1, -3, -0.0f, -0.5f}), {1.125f, -1.125f, 1.125f, -1.125f}, "XNOR");
}

TEST(Formats, ScalesReachAsFarAsTheySay) {
  const QuantShape shape{3, {2, 2, 2}};
  const std::vector<float> x = {1, 2, 3, 4, 5, 6, 7, 127};
  const auto of = [&](const char* text) { return quantized(parse_format(text), Role::activation, shape, x); };
  expect_same(of("binary_scaled(per=row)"), {1.5f, 1.5f, 3.5f, 3.5f, 5.5f, 5.5f, 67, 67}, "rows");
  expect_same(of("binary_scaled(per=tensor)"), std::vector<float>(8, 19.375f), "all of the operand");
  expect_same(of("scaled_integer(width=8,per=tensor)"), x, "all of the operand");
}

TEST(Formats, OneNanReachesTilesOfZeros) {
  const std::vector<float> y = quantized("block_fp(width=7,exponent=8,block=2)", {NAN, 1, 0, 0, 1, 1});
  EXPECT_TRUE(std::isnan(y[0]) && std::isnan(y[1]) && std::isnan(y[2]) && std::isnan(y[3]));
  EXPECT_FALSE(std::isnan(y[4]));
}

TEST(Tiles, LieAsInMase) {
  const auto tile = [](Block block, Role role, QuantShape shape) {
    const Tiles t = block_tiles(block, role, shape);
    return std::tuple(t.tile_rows, t.tile_cols, t.count(), t.fold);
  };
  const QuantShape weight{2, {10, 40}}, bias{1, {40}}, x2{2, {10, 40}}, x3{3, {2, 10, 40}};
  EXPECT_EQ(tile({1, 16}, Role::weight, weight), std::tuple(1, 16, 30, true));
  EXPECT_EQ(tile({0, 16}, Role::weight, weight), std::tuple(10, 16, 3, true));
  EXPECT_EQ(tile({1, 16}, Role::bias, bias), std::tuple(1, 16, 3, false));
  EXPECT_EQ(tile({0, 16}, Role::bias, bias), std::tuple(1, 16, 3, false));
  EXPECT_EQ(tile({4, 4}, Role::activation, x2), std::tuple(1, 4, 100, false));
  EXPECT_EQ(tile({0, 16}, Role::activation, x2), std::tuple(1, 16, 30, false));
  EXPECT_EQ(tile({1, 16}, Role::activation, x3), std::tuple(1, 16, 60, true));
  EXPECT_EQ(tile({0, 16}, Role::activation, x3), std::tuple(10, 16, 6, true));
  EXPECT_EQ(tile({4, 0}, Role::activation, x3), std::tuple(4, 40, 6, true));
  EXPECT_EQ(tile({1, 1000}, Role::weight, weight), std::tuple(1, 40, 10, true));
  EXPECT_THROW(tile({1, 16}, Role::activation, bias), UserError);
  EXPECT_THROW(tile({1, 16}, Role::weight, x3), UserError);
}

TEST(Tiles, OfHardwareMustDivide) {
  EXPECT_EQ(dividing_tiles({2, 8}, {2, {4, 16}}).count(), 4);
  EXPECT_EQ(dividing_tiles({1, 16}, {1, {2}}).tile_cols, 2) << "clipped";
  EXPECT_THROW(dividing_tiles({1, 16}, {2, {4, 24}}), UserError);
  EXPECT_THROW(dividing_tiles({3, 8}, {3, {1, 4, 16}}), UserError);
}

TEST(Formats, Reach) {
  const auto of = [](const char* text) { return reach(parse_format(text), Role::activation); };
  EXPECT_EQ(of("block_fp(width=7,exponent=8,block=1x16)"), Reach::row);
  EXPECT_EQ(of("block_fp(width=7,exponent=8,block=16)"), Reach::sequence);
  EXPECT_EQ(of("block_minifloat(width=16,exponent=4,bias_width=8,block=4x4)"), Reach::sequence);
  EXPECT_EQ(of("block_log(width=4,bias_width=4,block=1x16)"), Reach::sequence);
  EXPECT_EQ(of("mxint_hardware(width=9,exponent=4,tile=16)"), Reach::row);
  EXPECT_EQ(of("log(width=8)"), Reach::element);
  EXPECT_EQ(of("nvfp4()"), Reach::sequence);
  EXPECT_EQ(of("nvfp4(global=none)"), Reach::row);
  EXPECT_EQ(of("scaled_integer(width=8,per=tensor)"), Reach::sequence);
  EXPECT_EQ(of("scaled_integer(width=8,per=64)"), Reach::row);
}

TEST(Formats, StorageCountsWhatTilesShare) {
  const auto bits = [](const char* text) { return bits_per_value(parse_format(text), 8, 40); };
  EXPECT_EQ(bits("none"), 32);
  EXPECT_EQ(bits("integer(width=6,frac=2)"), 6);
  EXPECT_EQ(bits("binary()"), 1);
  EXPECT_EQ(bits("block_fp(width=7,exponent=8,block=1x16)"), 7 + 8.0 * 24 / 320);  // 3 tiles in a row of 40
  EXPECT_EQ(bits("block_log(width=4,bias_width=6,block=16)"), 4 + 6.0 * 3 / 320);
  EXPECT_EQ(bits("binary_residual(levels=2)"), 2 + 64.0 / 320);
  EXPECT_EQ(bits("mxfp(exponent=2,mantissa=3)"), 6 + 8.0 * 16 / 320);  // 2 blocks in a row of 40
  EXPECT_EQ(bits("nvfp4()"), 4 + (8.0 * 24 + 32) / 320);
  EXPECT_EQ(bits("nvfp4(global=none)"), 4 + 8.0 * 24 / 320);
  EXPECT_EQ(bits("scaled_integer(width=4,scheme=affine,per=row)"), 4 + 36.0 * 8 / 320);
  EXPECT_EQ(bits("ternary(rule=twn,per=tensor)"), 2 + 32.0 / 320);
}

TEST(BinaryResidual, GradientIsItsFormula) {
  const float m0 = 0.75f, m1 = -0.5f;
  const std::vector<float> x = {0.1f, -0.9f, 1.0f, -1.0f, 1.0000001f, 0.75f, -3, 0, 1.3f}, g = normal(x.size(), 1);
  std::vector<float> dx(x.size());
  const float means[3] = {m0, m1};
  for (Simd isa : available()) {
    float dm[2] = {10, 20};
    quantize_grad(parse_format("binary_residual(levels=2)"), Role::activation, {1, {static_cast<int64_t>(x.size())}},
                  x.data(), g.data(), dx.data(), means, dm, isa);
    double dm0 = 0, dm1 = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double b0 = (x[i] > 0) - (x[i] < 0), r1 = x[i] - b0 * m0, b1 = (r1 > 0) - (r1 < 0);
      const double i0 = std::abs(x[i]) <= 1, i1 = std::abs(r1) <= 1, a0 = std::abs(m0), a1 = std::abs(m1);
      EXPECT_NEAR(dx[i], g[i] * (a0 * i0 + a1 * i1 * (1 - a0 * i0)), 1e-6) << i;
      dm0 += g[i] * (b0 - a1 * i1 * b0);
      dm1 -= g[i] * b1;  // sgn(m1) = -1
    }
    EXPECT_NEAR(dm[0], 10 + dm0, 2e-6);
    EXPECT_NEAR(dm[1], 20 + dm1, 2e-6);
  }
}

TEST(BinaryResidual, GradientOfMeansAgreesAcrossInstructionSets) {
  const std::vector<float> x = normal(10007, 0.7f), g = normal(x.size(), 1);
  const QuantSpec spec = parse_format("binary_residual(levels=3)");
  EXPECT_EQ(trained_count(spec), 3);
  float means[3], dm[2][3] = {};
  initial_trained(spec, means);
  EXPECT_EQ(means[0], 0.5f);
  for (Simd isa : available()) {
    std::vector<float> dx(x.size());
    quantize_grad(spec, Role::activation, {1, {static_cast<int64_t>(x.size())}}, x.data(), g.data(), dx.data(), means,
                  dm[isa == available().front() ? 0 : 1], isa);
  }
  for (int l = 0; l < 3 && available().size() == 2; ++l) EXPECT_EQ(dm[0][l], dm[1][l]);
}

}  // namespace
}  // namespace mpq
