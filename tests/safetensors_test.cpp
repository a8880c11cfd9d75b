// safetensors files: what is written can be read, and nothing else is believed.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/safetensors.h"

namespace mpq {
namespace {

class SafeTensorsTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    path_ = std::filesystem::temp_directory_path() / fmt::format("mpq-{}-{}.safetensors", test->name(), ::getpid());
  }
  void TearDown() override { std::filesystem::remove(path_); }

  void write_raw(const std::string& bytes) { std::ofstream(path_, std::ios::binary) << bytes; }
  static std::string file(const std::string& header, const std::string& buffer, uint64_t length) {
    std::string bytes;
    for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<char>(length >> (8 * i)));
    return bytes + header + buffer;
  }
  static std::string file(const std::string& header, const std::string& buffer = "") {
    return file(header, buffer, header.size());
  }
  // The error of opening what is on disk; it must name the file.
  std::string error() {
    try {
      const SafeTensors tensors(path_);
      return "accepted";
    } catch (const UserError& e) {
      EXPECT_NE(std::string(e.what()).find(path_.string()), std::string::npos);
      return e.what();
    }
  }
  void expect_error(const std::string& bytes, const std::string& part) {
    write_raw(bytes);
    EXPECT_NE(error().find(part), std::string::npos) << error();
  }

  std::filesystem::path path_;
};

std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return "{\"a\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}}";
}

TEST_F(SafeTensorsTest, RoundTrip) {
  const float x[6] = {1, -0.0f, 3e-40f, 4, INFINITY, 6};
  const int64_t ids[2] = {-5, int64_t{1} << 40};
  const SafeTensor tensors[] = {{"b.weight", "F32", {2, 3}, x},
                                {"empty", "F32", {0, 4}, x},
                                {"ids", "I64", {2}, ids},
                                {"scalar", "F32", {}, x + 3}};
  write_safetensors(path_, tensors, {{"format", "pt"}});
  const SafeTensors read(path_);
  EXPECT_EQ(read.read_f32("b.weight"), std::vector<float>(x, x + 6));
  EXPECT_TRUE(std::signbit(read.read_f32("b.weight")[1]));
  EXPECT_EQ(read.at("b.weight").shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(read.read_i64("ids"), std::vector<int64_t>(ids, ids + 2));
  EXPECT_TRUE(read.read_f32("empty").empty());
  EXPECT_EQ(read.read_f32("scalar"), std::vector<float>{4});
  EXPECT_EQ(read.metadata(), (Metadata{{"format", "pt"}}));
  EXPECT_EQ(read.entries().front().name, "b.weight");
  EXPECT_EQ((std::filesystem::file_size(path_) - 44) % 8, 0u) << "the data begins aligned";
  EXPECT_TRUE(read.contains("ids"));
  EXPECT_THROW(read.at("nothing"), UserError);
  EXPECT_THROW(read.read_f32("ids"), UserError);
  EXPECT_THROW(read.read_i64("scalar"), UserError);
}

TEST_F(SafeTensorsTest, ConvertsFloats) {
  const uint16_t half[] = {0x3c00, 0xc000, 0x0001, 0x8000, 0x7c00, 0x7e00, 0x03ff, 0x7bff};
  const uint16_t brain[] = {0x3f80, 0xff80};
  const double wide[] = {0.1, 1e300};
  const SafeTensor tensors[] = {{"half", "F16", {8}, half}, {"brain", "BF16", {2}, brain}, {"wide", "F64", {2}, wide}};
  write_safetensors(path_, tensors);
  const SafeTensors read(path_);
  const std::vector<float> h = read.read_f32("half");
  EXPECT_EQ(h[0], 1);
  EXPECT_EQ(h[1], -2);
  EXPECT_EQ(h[2], 0x1p-24f);
  EXPECT_TRUE(h[3] == 0 && std::signbit(h[3]));
  EXPECT_EQ(h[4], INFINITY);
  EXPECT_TRUE(std::isnan(h[5]));
  EXPECT_EQ(h[6], 1023 * 0x1p-24f);
  EXPECT_EQ(h[7], 65504);
  EXPECT_EQ(read.read_f32("brain"), (std::vector<float>{1, -INFINITY}));
  EXPECT_EQ(read.read_f32("wide"), (std::vector<float>{0.1f, INFINITY}));
}

TEST_F(SafeTensorsTest, UnalignedDataIsRead) {
  const std::string header =
      "{\"s\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
      "\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[1,5]}}";
  write_raw(file(header, std::string("\x07\x00\x00\x80\x3f", 5)));
  const SafeTensors read(path_);
  EXPECT_EQ(read.read_f32("x"), std::vector<float>{1});
  EXPECT_EQ(read.read_i64("s"), std::vector<int64_t>{7});
}

TEST_F(SafeTensorsTest, RefusesBrokenFrames) {
  expect_error("", "too short");
  expect_error("1234567", "too short");
  const std::string good = file(one("F32", "[1]", "[0,4]"), "abcd");
  for (size_t length = 0; length < good.size(); ++length) {  // truncated anywhere
    write_raw(good.substr(0, length));
    EXPECT_NE(error(), "accepted") << length;
  }
  expect_error(good + "x", "cover 4 of 5 bytes");
  for (uint64_t length :
       {uint64_t{0}, uint64_t{1}, uint64_t{1} << 31, uint64_t{1} << 32, uint64_t{1} << 63, ~uint64_t{0}}) {
    write_raw(file(one("F32", "[1]", "[0,4]"), "abcd", length));
    EXPECT_NE(error(), "accepted") << length;
  }
}

TEST_F(SafeTensorsTest, RefusesBrokenHeaders) {
  expect_error(file("{\"a\":\xff}"), "UTF-8");
  expect_error(file("{\"a\":"), "JSON");
  expect_error(file("[]"), "object");
  expect_error(file(" {}"), "object");
  expect_error(file("{\"a\":3}"), "tensor \"a\"");
  expect_error(file("{\"__metadata__\":{\"a\":3}}"), "__metadata__");
  expect_error(file("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}"), "twice");
  const std::string empty = "{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}";
  expect_error(file("{\"a\":" + empty + ",\"a\":" + empty + "}"), "twice");
  expect_error(file("{\"a\":" + std::string(100000, '[') + std::string(100000, ']') + "}"), "deeply");
  std::string many = "{";
  for (int i = 0; i < 100'001; ++i) many += fmt::format("\"{}\":{},", i, empty);
  many.back() = '}';
  expect_error(file(many), "more than");
}

TEST_F(SafeTensorsTest, RefusesLyingTensors) {
  const std::string bytes(16, '\0');
  expect_error(file(one("F31", "[4]", "[0,16]"), bytes), "F31");
  expect_error(file(one("F32", "[4]", "[0,12]"), bytes), "12 bytes");
  expect_error(file(one("F32", "[4]", "[16,0]"), bytes), "leave the file");
  expect_error(file(one("F32", "[8]", "[0,32]"), bytes), "leave the file");
  expect_error(file(one("F32", "[-4]", "[0,16]"), bytes), "integer");
  expect_error(file(one("F32", "[4.0]", "[0,16]"), bytes), "integer");
  expect_error(file(one("F32", "[4]", "[0,16,32]"), bytes), "two data_offsets");
  expect_error(file(one("F32", "[4294967296,4294967296]", "[0,16]"), bytes), "overflows");
  expect_error(file(one("F32", "[4611686018427387905]", "[0,16]"), bytes), "overflows");
  expect_error(file(one("F32", "[18446744073709551615]", "[0,16]"), bytes), "integer");
  expect_error(file(one("F32", "[2]", "[8,16]"), bytes), "begins at 8");
  const auto two = [](const char* a, const char* b) {
    return fmt::format(
        "{{\"a\":{{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":{}}},"
        "\"b\":{{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":{}}}}}",
        a, b);
  };
  expect_error(file(two("[0,8]", "[4,12]"), bytes.substr(4)), "begins at 4");
  expect_error(file(two("[0,8]", "[0,8]"), bytes.substr(8)), "begins at 0");
  write_raw(file(two("[8,16]", "[0,8]"), bytes));
  EXPECT_EQ(error(), "accepted") << "any order in the header";
  EXPECT_EQ(SafeTensors(path_).entries().front().name, "b");
}

TEST_F(SafeTensorsTest, MissingFileAndFolder) {
  EXPECT_THROW(SafeTensors("/no/such/file"), UserError);
  EXPECT_THROW(SafeTensors("/"), UserError);
  EXPECT_THROW(write_safetensors("/proc/x.safetensors", {}), UserError);
}

}  // namespace
}  // namespace mpq
