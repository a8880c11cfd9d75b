// SHA-256 (FIPS 180-4): names what a cache was made from, and checks downloads and reference ids.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace mpq {

class Sha256 {
 public:
  Sha256& update(std::string_view bytes);
  std::string hex();  // 64 hex digits; call once, last

 private:
  void compress(const unsigned char* block);
  std::array<uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<unsigned char, 64> block_{};
  uint64_t size_ = 0;
};

std::string sha256_hex(std::string_view bytes);

}  // namespace mpq
