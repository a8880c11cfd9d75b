// torch.save's files: what a real torch wrote is read bit for bit, in both containers; everything else ends in a
// UserError, and nothing that a pickle asks for is done.
#include "base/torch_file.h"

#include <gtest/gtest.h>

#include <fstream>
#include <random>

#include "base/error.h"
#include "base/safetensors.h"
#include "tests/temporary_folder.h"
#include "tests/torch_pickle.h"

namespace mpq {
namespace {

const std::string kGolden = std::string(MPQ_SOURCE_DIR) + "/tests/golden/";
using namespace std::string_literals;

std::string bytes_of(const NamedTensors::Entry& e) {
  return std::string(reinterpret_cast<const char*>(e.data.data()), e.data.size());
}

class TorchFileTest : public testing::Test {
 protected:
  // The error of reading these bytes, with its hint; "accepted" if there is none.
  std::string error(const std::string& bytes) {
    std::filesystem::remove(path_);  // quicker than to truncate it, which some file systems sync
    std::ofstream(path_, std::ios::binary) << bytes;
    try {
      const TorchFile file(path_);
      return "accepted";
    } catch (const UserError& e) {
      EXPECT_TRUE(std::string(e.what()).starts_with(path_.string())) << e.what();
      return e.what() + ("\n" + e.hint());
    }
  }
  void expect_error(const std::string& bytes, const std::string& part) {
    const std::string found = error(bytes);
    EXPECT_NE(found.find(part), std::string::npos) << found;
  }

  TemporaryFolder folder_;
  const std::filesystem::path path_ = folder_ / "pytorch_model.bin";
};

void expect_equal(const TorchFile& file, const SafeTensors& twin) {
  ASSERT_EQ(file.entries().size(), twin.entries().size());
  for (const auto& expected : twin.entries()) {
    const auto& found = file.at(expected.name);
    EXPECT_EQ(found.dtype, expected.dtype) << expected.name;
    EXPECT_EQ(found.shape, expected.shape) << expected.name;
    EXPECT_EQ(found.count, expected.count) << expected.name;
    EXPECT_EQ(bytes_of(found), bytes_of(expected)) << expected.name;
  }
}

TEST_F(TorchFileTest, ReadsWhatTorchWroteBitForBit) {
  for (const std::string dtype : {"f32", "f16"}) {
    const SafeTensors twin(kGolden + "torch_" + dtype + ".safetensors");
    for (const std::string container : {"zip_", "legacy_"}) {
      const TorchFile file(kGolden + "torch_" + container + dtype + ".bin");
      expect_equal(file, twin);
      EXPECT_EQ(file.entries().front().name, "bert.embeddings.position_ids") << "the dict's order";
      EXPECT_EQ(file.at("tied").data.data(), file.at("parameter").data.data()) << "tied tensors share their data";
      EXPECT_EQ(file.read_i64("bert.embeddings.position_ids"), (std::vector<int64_t>{0, 1, 2, 3, 4}));
      EXPECT_EQ(file.read_f32("transposed"), twin.read_f32("transposed"));
    }
  }
}

TEST_F(TorchFileTest, RefusesTruncatedFiles) {
  for (const char* name : {"torch_zip_f32.bin", "torch_legacy_f32.bin"}) {
    const std::string whole = read_file(kGolden + name);
    ASSERT_EQ(error(whole), "accepted");
    for (size_t i = 0; i < 16; ++i) EXPECT_NE(error(whole.substr(0, whole.size() * i / 16)), "accepted") << name << i;
    EXPECT_NE(error(whole.substr(0, whole.size() - 1)), "accepted");
  }
}

// The zip archive's checksums see every change of the pickle and the values; the legacy format has none.
TEST_F(TorchFileTest, SurvivesAnyDamagedByte) {
  const SafeTensors twin(kGolden + "torch_f32.safetensors");
  std::mt19937 random(1);
  for (const std::string container : {"zip", "legacy"}) {
    const std::string whole = read_file(kGolden + "torch_" + container + "_f32.bin");
    int refused = 0;
    for (int i = 0; i < 1500; ++i) {
      std::string damaged = whole;
      damaged[random() % whole.size()] ^= static_cast<char>(1 + random() % 255);
      if (error(damaged) != "accepted") {
        ++refused;
        continue;
      }
      const TorchFile file(path_);
      if (container == "zip") expect_equal(file, twin);
      for (const auto& e : file.entries()) EXPECT_EQ(bytes_of(e).size(), size_t(e.count * *dtype_bytes(e.dtype)));
    }
    EXPECT_GT(refused, 300) << container;
    EXPECT_LT(refused, 1500) << container;
  }
}

// One storage "s" of four floats, and a file whose dict is what `pickle` leaves on the stack.
constexpr uint64_t kValues = 4;
std::string storage(int64_t count = kValues, const std::string& key = "s") { return pickled_storage(key, count); }
const std::string kGood = pickled_tensor(storage(), 0, {2, 2}, {2, 1});
std::string dict(const std::string& items) { return "}" + items; }
std::string legacy(const std::string& pickle, uint64_t stated = kValues, size_t values = kValues) {
  return legacy_torch_file(pickle, {"s"}, little_endian(stated, 8) + std::string(4 * values, '\x01'));
}

TEST_F(TorchFileTest, RefusesWhatIsNoPlainTensor) {
  EXPECT_EQ(error(legacy(dict(named("a", kGood)))), "accepted");
  const std::string command =
      pickled_global("posix", "system") + "(" + pickled_text("touch " + (folder_ / "owned").string()) + "tR";
  expect_error(legacy(command), "posix.system");
  expect_error(legacy(command), "only plain tensors");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "owned"));
  expect_error(legacy(pickled_global("builtins", "eval")), "builtins.eval");
  expect_error(legacy(pickled_global("os\x1b[31m", "system")), "os?[31m.system");
  expect_error(legacy("(" + pickled_text("id") + "ios\nsystem\n"), "INST");
  expect_error(legacy(pickled_text("os") + pickled_text("system") + "\x93"), "STACK_GLOBAL");
  expect_error(legacy(dict(")\x81")), "NEWOBJ");
  expect_error(legacy(dict(named("b", kGood) + named("a", pickled_number(3)))), "tensor \"a\"");
  expect_error(legacy(dict(pickled_number(1) + kGood + "s")), "name");
  expect_error(legacy(kGood), "what it holds");
  expect_error(legacy(dict(named("a", kGood) + named("a", kGood))), "twice");
  expect_error("x", "no file of torch.save");
  expect_error("", "no file of torch.save");
}

TEST_F(TorchFileTest, RefusesLyingTensors) {
  const auto refuse = [&](const std::string& value, const std::string& part) {
    expect_error(legacy(dict(named("good", kGood) + named("a", value))), part);
  };
  constexpr int64_t huge = INT64_MAX, half = int64_t{1} << 32;
  refuse(pickled_tensor(storage(5), 0, {2}, {1}), "too few");
  refuse(pickled_tensor(storage(huge), 0, {2}, {1}), "overflows");
  refuse(pickled_tensor(storage(-1), 0, {2}, {1}), "size is -1");
  refuse(pickled_tensor(storage(4, "t"), 0, {2}, {1}), "t is missing");
  refuse(pickled_tensor(storage(), 1, {2, 2}, {2, 1}), "leaves its storage");
  refuse(pickled_tensor(storage(), -1, {2}, {1}), "leaves its storage");
  refuse(pickled_tensor(storage(), huge, {2}, {huge}), "leaves its storage");
  refuse(pickled_tensor(storage(), 0, {3}, {2}), "leaves its storage");
  refuse(pickled_tensor(storage(), 0, {2}, {-1}), "stride is -1");
  refuse(pickled_tensor(storage(), 0, {-2}, {1}), "dimension is -2");
  refuse(pickled_tensor(storage(), 0, {half, half}, {0, 0}), "overflows");
  refuse(pickled_tensor(storage(), 0, {half}, {0}), "larger than the file");
  refuse(pickled_tensor(storage(), 0, {huge}, {0}), "overflows");
  refuse(pickled_tensor(storage(), 0, {2, 2}, {1}), "2 dimensions and 1 strides");
  refuse(pickled_tensor(storage(), 0, std::vector<int64_t>(9, 1), std::vector<int64_t>(9, 1)), "8 dimensions");
  EXPECT_EQ(error(legacy(dict(named("a", pickled_tensor(storage(), 1, {3, 1, 2}, {0, huge, 2}))))), "accepted");
  EXPECT_EQ(TorchFile(path_).at("a").data.size(), 24u);
  expect_error(legacy(dict(named("a", kGood)), kValues, 3), "16 bytes expected");
  expect_error(legacy(dict(named("a", kGood)), uint64_t{1} << 62, 4), "storage s does not fit");
  expect_error(legacy(dict(named("a", kGood)), kValues, 5), "4 bytes follow");
  expect_error(legacy(dict("")), "no tensor needs its storage s");
}

TEST_F(TorchFileTest, RefusesDamagedPickles) {
  const auto refuse = [&](const std::string& pickle, const std::string& part) { expect_error(legacy(pickle), part); };
  refuse("", "stack");
  refuse("(", "stack");
  refuse("t", "MARK");
  refuse("a", "stack");
  refuse("N\x86", "stack");
  refuse("}(Nu", "key without a value");
  refuse("}]a", "APPEND");
  refuse("h\x07", "memo");
  refuse("}r\xff\xff\xff\xff", "memo");
  refuse("X\xff\xff\xff\xff", "bytes expected");
  refuse("X\x01\x00\x00\x00\xff"s, "UTF-8");
  refuse("\x8a\x09", "64 bits");
  refuse("\x80\x04", "protocol 4");
  refuse("cos", "does not end");
  refuse("NNR", "arguments");
  refuse("N)R", "called");
  refuse("NQ", "persistent id");
  refuse("(" + pickled_text("module") + "NNNNtQ", "no whole storage");
  refuse(std::string(1'000'000, '('), "nested too deeply");
  refuse(std::string(2'000'000, ']'), "more than");
  refuse(kGood + ")" + std::string(900'000, '\x85'), "what it holds");  // a tuple in a tuple in a tuple ...
  const std::string itself = "]q\x00"s + "h\x00"s + "a";                // a list that holds itself
  refuse(kGood + itself, "what it holds");
}

// A zip archive of stored entries; `zip64` puts every number that has a zip64 field there.
struct Stored {
  std::string name, data;
  uint32_t crc;
  uint64_t method = 0, flags = 0;
};
std::string zip(const std::vector<Stored>& entries, bool zip64 = false) {
  std::string file, directory;
  for (const Stored& e : entries) {
    const uint64_t offset = file.size(), size = e.data.size();
    const std::string extra = zip64 ? little_endian(1, 2) + little_endian(24, 2) + little_endian(size, 8) +
                                          little_endian(size, 8) + little_endian(offset, 8)
                                    : "";
    const auto narrow = [&](uint64_t value) { return little_endian(zip64 ? ~uint64_t{0} : value, 4); };
    const std::string start = little_endian(e.flags, 2) + little_endian(e.method, 2) + little_endian(0, 4) +
                              little_endian(e.crc, 4) + narrow(size) + narrow(size) + little_endian(e.name.size(), 2);
    file += "PK\3\4" + little_endian(20, 2) + start + little_endian(0, 2) + e.name + e.data;
    directory += "PK\1\2" + little_endian(20, 4) + start + little_endian(extra.size(), 2) + std::string(10, '\0') +
                 narrow(offset) + e.name + extra;
  }
  const uint64_t begin = file.size(), end = begin + directory.size(), count = entries.size();
  file += directory;
  if (zip64)
    file += "PK\6\6" + std::string(28, '\0') + little_endian(count, 8) + little_endian(directory.size(), 8) +
            little_endian(begin, 8) + "PK\6\7" + std::string(4, '\0') + little_endian(end, 8) + std::string(4, '\0');
  return file + "PK\5\6" + std::string(6, '\0') + little_endian(zip64 ? 0xffff : count, 2) + std::string(4, '\0') +
         little_endian(zip64 ? 0xffffffff : begin, 4) + std::string(2, '\0');
}

TEST_F(TorchFileTest, ReadsZip64AndRefusesOtherArchives) {
  constexpr uint32_t crc_of_an_empty_dict = 0x89deb73d;  // Python: zlib.crc32(b"\x80\x02}.")
  const Stored good{"m/data.pkl", "\x80\x02}.", crc_of_an_empty_dict};
  EXPECT_EQ(error(zip({good})), "accepted");
  EXPECT_EQ(error(zip({good}) + std::string(3, '\0')), "accepted") << "as behind a comment";
  EXPECT_EQ(error(zip({good}, true)), "accepted");
  const auto changed = [&](const auto& change) {
    Stored entry = good;
    change(entry);
    return entry;
  };
  expect_error(zip({changed([](Stored& e) { e.crc ^= 1; })}), "checksum");
  expect_error(zip({changed([](Stored& e) { e.method = 8; })}), "compressed");
  expect_error(zip({changed([](Stored& e) { e.flags = 1; })}), "encrypted");
  expect_error(zip({changed([](Stored& e) { e.name = "m/data.txt"; })}), "no data.pkl");
  expect_error(zip({good, good}), "m/data.pkl occurs twice");
  expect_error(zip({good, {"m/byteorder", "big", 0xd3fbe249}}), "little endian");
  std::string far = zip({good}, true);
  far.replace(far.find("PK\6\7") + 8, 8, std::string(8, '\xff'));  // the zip64 end record's place
  expect_error(far, "expected at 0");
}

}  // namespace
}  // namespace mpq
