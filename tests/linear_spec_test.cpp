// Families: what each operand of a Linear gets, and the choices of a search.
#include <gtest/gtest.h>

#include <set>

#include "base/error.h"
#include "quant/linear_spec.h"

namespace mpq {
namespace {

std::string text_of(const QuantSpec& spec) { return to_text(spec); }

TEST(Families, HoldTheTenOfTheLabsMxintAndTheControl) {
  std::set<std::string_view> names;
  for (const Family& f : families()) EXPECT_TRUE(names.insert(f.name).second) << f.name;
  for (const char* name :
       {"none", "integer", "minifloat_denorm", "minifloat_ieee", "log", "block_fp", "block_minifloat", "block_log",
        "binary", "binary_scaling", "binary_residual", "mxint_hardware"})
    EXPECT_TRUE(names.contains(name)) << name;
}

TEST(Families, ChoicesParseArePrintedAsWrittenAndDiffer) {
  for (const Family& f : families()) {
    std::set<std::string> seen;
    ASSERT_FALSE(f.choices.empty()) << f.name;
    for (std::string_view choice : f.choices) {
      const LinearSpec spec = parse_linear_spec(choice);
      EXPECT_EQ(to_text(spec), choice);
      EXPECT_EQ(parse_linear_spec(to_text(spec)), spec);
      EXPECT_TRUE(seen.insert(to_text(spec)).second) << choice;
      EXPECT_LE(bits_per_weight(spec, 128, 128), 32.0);
    }
  }
}

TEST(Families, FillInTheOperands) {
  const LinearSpec residual = parse_linear_spec("binary_residual(levels=3)");
  EXPECT_EQ(text_of(residual.x), "binary_residual(levels=3)");
  EXPECT_EQ(text_of(residual.w), "binary()");
  EXPECT_EQ(text_of(residual.b), "none");
  const LinearSpec scaling = parse_linear_spec("binary_scaling");
  for (const QuantSpec& s : {scaling.x, scaling.w, scaling.b}) EXPECT_EQ(text_of(s), "binary()");
  const LinearSpec binary = parse_linear_spec("binary()");
  EXPECT_TRUE(is_none(binary.x) && is_none(binary.b) && !is_none(binary.w));
  const LinearSpec alike = parse_linear_spec("integer(width=8,frac=4)");
  EXPECT_TRUE(alike.x == alike.w && alike.w == alike.b && is_none(alike.y));
  EXPECT_TRUE(is_none(parse_linear_spec("none").w));
}

TEST(Families, SpelledOut) {
  const std::string text = "x=integer(width=8,frac=4);w=integer(width=8,frac=7);b=none;y=integer(width=8,frac=3)";
  EXPECT_EQ(to_text(parse_linear_spec(text)), text);
  EXPECT_EQ(to_text(parse_linear_spec("x=none ; w = binary() ; b=none")), "binary()");
  EXPECT_EQ(to_text(parse_linear_spec("b=none;w=none;x=none")), "none");
  EXPECT_EQ(to_text(parse_linear_spec("x=log(width=8);w=log(width=8);b=log(width=8);y=none")), "log(width=8,bias=63)");
}

TEST(Families, BadTextIsAUserError) {
  for (const char* text :
       {"", "blok_fp(width=7)", "integer", "integer(width=8)", "integer(width=8,frac=4", "integer)width=8,frac=4(",
        "none(width=8)", "binary_scaling(width=8)", "x=none", "x=none;w=none", "x=none;w=none;b=none;q=none",
        "x=none;x=none;w=none;b=none", "x=none;w=none;b=none;", "x=none;w=intger(width=8);b=none", "x=;w=;b="})
    EXPECT_THROW(parse_linear_spec(text), UserError) << text;
  try {
    find_family("blok_fp");
    FAIL();
  } catch (const UserError& error) {
    EXPECT_NE(error.hint().find("block_fp"), std::string::npos);
  }
}

TEST(Families, BitsAreThoseOfTheWeight) {
  EXPECT_EQ(bits_per_weight(parse_linear_spec("binary_residual(levels=2)"), 128, 128), 1);
  EXPECT_EQ(bits_per_weight(parse_linear_spec("block_fp(width=7,exponent=8,block=1x16)"), 128, 128), 7.5);
}

}  // namespace
}  // namespace mpq
