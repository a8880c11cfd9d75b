// mpq quantize, from file to file.
#include <gtest/gtest.h>

#include "app/commands.h"
#include "base/error.h"
#include "base/safetensors.h"
#include "temporary_folder.h"

namespace mpq {
namespace {

class QuantizeCommand : public testing::Test {
 protected:
  void SetUp() override {
    const float x[8] = {0.3f, -0.7f, 1, 2, 0, -0.0f, 5, 100};
    const int64_t ids[2] = {1, 2};
    const SafeTensor tensors[] = {{"w", "F32", {2, 4}, x}, {"ids", "I64", {2}, ids}, {"cube", "F32", {2, 2, 2, 1}, x}};
    write_safetensors(in_, tensors, {{"format", "pt"}});
  }
  int run(const std::string& format, const std::string& role = "weight") {
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    const auto done = [] { return testing::internal::GetCapturedStderr(), testing::internal::GetCapturedStdout(); };
    try {
      const int code = run_quantize({"--format", format, "--role", role, "--in", in_, "--out", out_});
      printed_ = done();
      return code;
    } catch (...) {
      done();
      throw;
    }
  }

  TemporaryFolder folder_;
  const std::string in_ = folder_.path() / "in.safetensors", out_ = folder_.path() / "out.safetensors";
  std::string printed_;
};

TEST_F(QuantizeCommand, QuantizesFloatsAndCopiesTheRest) {
  EXPECT_EQ(run("integer(width=8,frac=4)"), 0);
  const SafeTensors out(out_);
  EXPECT_EQ(out.read_f32("w"), (std::vector<float>{0.3125f, -0.6875f, 1, 2, 0, 0, 5, 7.9375f}));
  EXPECT_EQ(out.at("cube").shape, (std::vector<int64_t>{2, 2, 2, 1}));
  EXPECT_EQ(out.read_i64("ids"), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(out.metadata().at("format"), "pt");
  EXPECT_NE(printed_.find("SQNR"), std::string::npos);
}

TEST_F(QuantizeCommand, NoneChangesNothing) {
  EXPECT_EQ(run("none"), 0);
  EXPECT_EQ(SafeTensors(out_).read_f32("w"), SafeTensors(in_).read_f32("w"));
  EXPECT_NE(printed_.find("exact"), std::string::npos);
}

TEST_F(QuantizeCommand, WhatTilesCannotCoverIsRefusedByNameAndLeavesNoFile) {
  try {
    run("block_fp(width=7,exponent=8,block=1x16)");
    FAIL();
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find("\"cube\""), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("4-D"), std::string::npos) << error.what();
  }
  EXPECT_FALSE(std::filesystem::exists(out_));
}

TEST_F(QuantizeCommand, BadOptionsAreUserErrors) {
  EXPECT_THROW(run("integer(width=8)"), UserError);
  EXPECT_THROW(run("none", "wight"), UserError);
  EXPECT_THROW(run_quantize({"--format", "none", "--in", in_}), UserError);
}

}  // namespace
}  // namespace mpq
