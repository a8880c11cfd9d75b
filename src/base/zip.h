// The stored (uncompressed) entries of a zip archive, as spans of its bytes: PyTorch writes nothing else. zip64 too.
// (PKWARE, APPNOTE.TXT 6.3.10: sections 4.3.7 local header, 4.3.12 central directory, 4.3.14 to 4.3.16 its end.)
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>

namespace mpq {

struct ZipEntry {
  std::span<const std::byte> data;
  uint32_t crc;  // as the archive states it; see checked_data
};
using ZipEntries = std::map<std::string, ZipEntry, std::less<>>;

bool is_zip(std::span<const std::byte> file);
// UserError (without the file's name) where the archive is damaged, compressed, encrypted, names an entry twice or
// holds more bytes than it has.
ZipEntries read_zip(std::span<const std::byte> file);
// The entry's bytes. UserError if their CRC-32 is another.
std::span<const std::byte> checked_data(const ZipEntries::value_type& entry);

}  // namespace mpq
