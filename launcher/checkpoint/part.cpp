#include "launcher/checkpoint/part.h"

#include <algorithm>
#include <cstring>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/base/hdf5/hdf5.h"

namespace lockstep {
namespace {

constexpr std::size_t kPiece = std::size_t{4} << 20;  // bytes written or read at a time

// Where a slice lies in the file.
struct Placed {
  const TensorSlice* slice;
  std::uint64_t offset;
};

std::vector<Placed> reserve_all(Hdf5Writer& file, const std::vector<TensorSlice>& slices) {
  std::vector<Placed> placed;
  for (const TensorSlice& slice : slices) {
    const Shape stored = slice.is_whole() ? slice.shape : Shape{slice.range.size()};
    placed.push_back({&slice, file.reserve(slice.name, DType::kF32, stored)});
    if (slice.is_whole()) continue;
    file.set_integer(slice.name, "offset", slice.range.begin);
    const auto dims = slice.shape.dims();
    file.set_integers(slice.name, "shape", {dims.begin(), dims.end()});
  }
  return placed;
}

void write_all(const std::string& file, const std::vector<Placed>& placed, const FileSystem& files) {
  for (const auto& [slice, offset] : placed) {
    const std::string_view bytes(reinterpret_cast<const char*>(slice->values), slice->bytes());
    for (std::size_t at = 0; at < bytes.size(); at += kPiece) {
      files.write_at(file, offset + at, bytes.substr(at, kPiece));
    }
  }
}

// Reads the file in pieces, in order.
template <typename Piece>  // piece(offset, bytes)
void read_in_pieces(const ReadOnlyFile& file, const Piece& piece) {
  std::vector<std::byte> buffer(static_cast<std::size_t>(std::min<std::uint64_t>(kPiece, file.size())));
  for (std::uint64_t at = 0; at < file.size(); at += kPiece) {
    const auto bytes = static_cast<std::size_t>(std::min<std::uint64_t>(kPiece, file.size() - at));
    if (at + bytes < file.size()) file.expect(at + bytes, kPiece);
    file.read(at, bytes, buffer.data());
    piece(at, std::span<const std::byte>(buffer.data(), bytes));
  }
}

// Whether the bytes of a piece are those of the slices in it. `placed` is in order of offset.
bool agrees(std::uint64_t begin, std::span<const std::byte> bytes, const std::vector<Placed>& placed) {
  const std::uint64_t end = begin + bytes.size();
  for (const auto& [slice, offset] : placed) {
    const std::uint64_t from = std::max(begin, offset), to = std::min(end, offset + slice->bytes());
    if (from >= to) continue;
    const auto* memory = reinterpret_cast<const std::byte*>(slice->values) + (from - offset);
    if (std::memcmp(bytes.data() + (from - begin), memory, to - from) != 0) return false;
  }
  return true;
}

}  // namespace

PartEntry write_part(const std::string& path, const std::vector<TensorSlice>& slices, const FileSystem& files) {
  Hdf5Writer writer(path, files);
  const std::vector<Placed> placed = reserve_all(writer, slices);
  const std::string temporary = writer.close();
  write_all(temporary, placed, files);
  files.sync(temporary);
  Xxh3 checksum;
  PartEntry entry{.file = path.substr(path.rfind('/') + 1)};
  {
    const ReadOnlyFile written(temporary);
    written.forget();
    entry.bytes = written.size();
    read_in_pieces(written, [&](std::uint64_t begin, std::span<const std::byte> bytes) {
      checksum.update(bytes);
      if (agrees(begin, bytes, placed)) return;
      environment_failed(path, ": the disk gives back other bytes than were written, after byte ", begin);
    });
  }
  entry.xxh3 = hex_of(checksum.digest());
  writer.commit();
  return entry;
}

void verify_part(const std::string& checkpoint, const PartEntry& part) {
  const std::string path = checkpoint + "/" + part.file;
  check_input(is_file(path), path, ": is missing");
  const ReadOnlyFile file(path);
  check_input(file.size() == part.bytes, path, ": has ", file.size(), " bytes, the manifest says ", part.bytes);
  Xxh3 checksum;
  read_in_pieces(file, [&](std::uint64_t, std::span<const std::byte> bytes) { checksum.update(bytes); });
  check_input(hex_of(checksum.digest()) == part.xxh3, path, ": its checksum does not match the manifest");
}

}  // namespace lockstep
