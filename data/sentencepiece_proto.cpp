#include "data/sentencepiece_proto.h"

#include "base/error.h"

namespace mpq {
namespace {

[[noreturn]] void fail_damaged() { throw UserError("the sentencepiece model is damaged"); }

// Protocol buffers, wire format: a key (field number, type), then a varint, 4 or 8 bytes, or a length and bytes.
class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : bytes_(bytes) {}
  bool next() {
    if (bytes_.empty()) return false;
    const uint64_t key = varint();
    field = key >> 3;
    content = {};
    switch (key & 7) {
      case 0:
        number = varint();
        return true;
      case 1:
        content = take(8);
        return true;
      case 2:
        content = take(varint());
        return true;
      case 5:
        content = take(4);
        return true;
      default:
        fail_damaged();
    }
  }
  uint64_t field = 0, number = 0;
  std::string_view content;

 private:
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
    fail_damaged();
  }
  std::string_view take(uint64_t size) {
    if (size > bytes_.size()) fail_damaged();
    const std::string_view out = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return out;
  }
  std::string_view bytes_;
};

constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

}  // namespace

SentencepieceProto read_sentencepiece_proto(std::string_view bytes) {
  SentencepieceProto out;
  for (WireReader model(bytes); model.next();) {
    if (model.field == 2)  // trainer_spec
      for (WireReader spec(model.content); spec.next();)
        if (spec.field == 3) out.model_type = spec.number;
    if (model.field == 3)  // normalizer_spec
      for (WireReader spec(model.content); spec.next();)
        if (spec.field == 2) out.charsmap = spec.content;
  }
  return out;
}

std::string to_base64(std::string_view bytes) {
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k)
      group = group << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0);
    for (size_t k = 0; k < 4; ++k) out += i + k <= bytes.size() ? kDigits[group >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

std::string from_base64(std::string_view text) {
  while (text.ends_with('=')) text.remove_suffix(1);
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  for (char c : text) {
    const size_t digit = kDigits.find(c);
    if (digit == std::string_view::npos) throw UserError("the tokenizer's normalization table is not base64");
    bits = bits << 6 | static_cast<uint32_t>(digit);
    if ((count += 6) >= 8) out += static_cast<char>(bits >> (count -= 8));
  }
  return out;
}

}  // namespace mpq
