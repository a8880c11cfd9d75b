#include "base/zip.h"

#include <algorithm>
#include <array>

#include "base/byte_reader.h"
#include "base/text.h"

namespace mpq {
namespace {
using Bytes = std::span<const std::byte>;

constexpr uint32_t local_signature = 0x04034b50, central_signature = 0x02014b50, end_signature = 0x06054b50,
                   end64_signature = 0x06064b50, locator_signature = 0x07064b50;
constexpr uint64_t end_size = 22, locator_size = 20, max_comment = 0xffff;
constexpr uint64_t in_extra_16 = 0xffff, in_extra_32 = 0xffffffff;  // the true value is in the zip64 record

void expect_signature(ByteReader& reader, uint32_t signature, const char* what) {
  if (reader.number(4) != signature) throw UserError(fmt::format("the zip archive's {} is damaged", what));
}

struct Directory {
  uint64_t count, offset;
};

Directory read_end64(Bytes file, uint64_t end) {
  if (end < locator_size) throw UserError("the zip archive's zip64 locator is missing");
  ByteReader locator(file, end - locator_size);
  expect_signature(locator, locator_signature, "zip64 locator");
  locator.skip(4);  // this disk
  ByteReader record(file, locator.number(8));
  expect_signature(record, end64_signature, "zip64 end record");
  record.skip(28);  // size, versions, disks, entries on this disk
  Directory directory;
  directory.count = record.number(8);
  record.skip(8);  // the directory's size
  directory.offset = record.number(8);
  return directory;
}

// The end record stands at the end, before a comment of any length.
uint64_t find_end(Bytes file) {
  const uint64_t last = file.size() < end_size ? 0 : file.size() - end_size;
  for (uint64_t back = 0; back <= std::min(last, max_comment) && file.size() >= end_size; ++back) {
    ByteReader reader(file, last - back);
    if (reader.number(4) == end_signature) return last - back;
  }
  throw UserError("the zip archive's end is missing; the file is cut short");
}

Directory find_directory(Bytes file) {
  const uint64_t end = find_end(file);
  ByteReader record(file, end + 10);  // signature, disks, entries on this disk
  Directory directory;
  directory.count = record.number(2);
  record.skip(4);  // the directory's size
  directory.offset = record.number(4);
  return directory.count == in_extra_16 || directory.offset == in_extra_32 ? read_end64(file, end) : directory;
}

// One header of the central directory: where an entry's local header is, and how long the entry.
struct Header {
  std::string name;
  uint64_t size, stored_size, offset;
  uint32_t crc;
};

// The zip64 field of the extra data: those of the header's three numbers that are too large for it, in this order.
void read_zip64_field(Header& header, ByteReader extra) {
  while (extra.left() >= 4) {
    const uint64_t id = extra.number(2);
    ByteReader field(extra.take(extra.number(2)));
    if (id != 1) continue;
    for (uint64_t* value : {&header.size, &header.stored_size, &header.offset})
      if (*value == in_extra_32) *value = field.number(8);
  }
}

Header read_header(ByteReader& directory) {
  expect_signature(directory, central_signature, "directory");
  directory.skip(4);  // versions
  const uint64_t flags = directory.number(2), method = directory.number(2);
  directory.skip(4);  // date
  Header header;
  header.crc = static_cast<uint32_t>(directory.number(4));
  header.stored_size = directory.number(4);
  header.size = directory.number(4);
  const uint64_t name_size = directory.number(2), extra_size = directory.number(2), comment_size = directory.number(2);
  directory.skip(8);  // disk, attributes
  header.offset = directory.number(4);
  header.name = directory.text(name_size);
  read_zip64_field(header, ByteReader(directory.take(extra_size)));
  directory.skip(comment_size);
  if (find_invalid_utf8(header.name)) throw UserError("a name in the zip archive is not UTF-8");
  if (flags & 1) throw UserError(fmt::format("{} in the zip archive is encrypted", header.name));
  if (method != 0 || header.size != header.stored_size)
    throw UserError(fmt::format("{} in the zip archive is compressed, which torch.save never does", header.name));
  return header;
}

// The local header repeats the name and has extra data of its own; the entry follows.
Bytes find_data(Bytes file, const Header& header) {
  ByteReader local(file, header.offset);
  expect_signature(local, local_signature, "local header");
  local.skip(22);  // version to sizes: as in the directory, or left 0
  const uint64_t name_size = local.number(2), extra_size = local.number(2);
  if (local.text(name_size) != header.name) throw UserError("the zip archive's local names differ from its directory");
  local.skip(extra_size);
  return local.take(header.size);
}

constexpr std::array<uint32_t, 256> make_crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    table[i] = i;
    for (int bit = 0; bit < 8; ++bit) table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xedb88320u : 0);
  }
  return table;
}

uint32_t crc32(Bytes bytes) {
  static constexpr std::array<uint32_t, 256> table = make_crc_table();
  uint32_t crc = ~uint32_t{0};
  for (const std::byte b : bytes) crc = crc >> 8 ^ table[(crc ^ static_cast<uint32_t>(b)) & 255];
  return ~crc;
}

}  // namespace

bool is_zip(Bytes file) { return file.size() >= 4 && ByteReader(file).number(4) == local_signature; }

ZipEntries read_zip(Bytes file) {
  const Directory found = find_directory(file);
  ByteReader directory(file, found.offset);
  ZipEntries entries;
  uint64_t total = 0;
  for (uint64_t i = 0; i < found.count; ++i) {  // each reads 46 bytes and more, or throws
    const Header header = read_header(directory);
    const Bytes data = find_data(file, header);
    if (!entries.emplace(header.name, ZipEntry{data, header.crc}).second)
      throw UserError(fmt::format("{} occurs twice in the zip archive", header.name));
    if (data.size() > file.size() - total) throw UserError("the zip archive's entries overlap");
    total += data.size();
  }
  return entries;
}

Bytes checked_data(const ZipEntries::value_type& entry) {
  if (crc32(entry.second.data) != entry.second.crc)
    throw UserError(fmt::format("the checksum (CRC-32) of {} is wrong", entry.first));
  return entry.second.data;
}

}  // namespace mpq
