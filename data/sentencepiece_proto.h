// The two fields of a sentencepiece .model (a protocol buffer) that libsentencepiece does not give out.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace mpq {

struct SentencepieceProto {
  static constexpr uint64_t kUnigram = 1;
  uint64_t model_type = kUnigram;  // trainer_spec.model_type
  std::string charsmap;            // normalizer_spec.precompiled_charsmap
};

// UserError if the wire format is broken.
SentencepieceProto read_sentencepiece_proto(std::string_view bytes);

std::string to_base64(std::string_view bytes);
std::string from_base64(std::string_view text);  // UserError if it is no base64

}  // namespace mpq
