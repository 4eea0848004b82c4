#include "core/base/hdf5/row_reader.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>

#include "core/base/error.h"
#include "core/base/hash.h"

namespace lockstep {
namespace {

static_assert(std::endian::native == std::endian::little, "stored bytes are taken as they are");

template <typename Bits>
Bits swapped(Bits bits) {
  if constexpr (sizeof(Bits) == 2) return __builtin_bswap16(bits);
  if constexpr (sizeof(Bits) == 4) return __builtin_bswap32(bits);
  if constexpr (sizeof(Bits) == 8) return __builtin_bswap64(bits);
  return bits;
}

// Elements of `Stored` bits become `Read`; `from` may be `to` where both are of one size.
template <typename Stored, typename Read>
void convert_as(const std::byte* from, std::byte* to, std::size_t count, bool swap) {
  for (std::size_t i = 0; i < count; ++i) {
    Stored bits;
    std::memcpy(&bits, from + i * sizeof(Stored), sizeof(Stored));
    if (swap) bits = swapped(bits);
    const auto value = static_cast<Read>(bits);
    std::memcpy(to + i * sizeof(Read), &value, sizeof(Read));
  }
}

void convert_elements(const Hdf5Element& element, const std::byte* from, std::byte* to,
                      std::size_t count) {
  const bool swap = element.big_endian;
  const bool widened = !element.is_signed && size_of(element.dtype) > element.bytes;
  switch (element.bytes) {
    case 2:
      if (widened) return convert_as<std::uint16_t, std::int32_t>(from, to, count, swap);
      return convert_as<std::uint16_t, std::uint16_t>(from, to, count, swap);
    case 4:
      if (widened) return convert_as<std::uint32_t, std::int64_t>(from, to, count, swap);
      return convert_as<std::uint32_t, std::uint32_t>(from, to, count, swap);
    default:
      return convert_as<std::uint64_t, std::uint64_t>(from, to, count, swap);
  }
}

// The first of the whole numbers of 8 bytes without sign that i64 does not hold; `count` where all
// fit.
std::size_t first_too_large(const std::byte* values, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    std::int64_t value;
    std::memcpy(&value, values + i * sizeof value, sizeof value);
    if (value < 0) return i;
  }
  return count;
}

// Copies a box of `extents` elements; `from_shape` and `to_shape` are the arrays it is a part of,
// `from_at` and `to_at` where it begins in them. Rows of the last axis are copied as a whole.
struct Box {
  std::span<const std::int64_t> extents, from_shape, from_at, to_shape, to_at;
};

void copy_box(const Box& box, int axis, std::size_t element, const std::byte* from, std::byte* to) {
  const int rank = static_cast<int>(box.extents.size());
  std::size_t from_step = element, to_step = element;  // bytes of one entry of this axis
  bool whole = true;  // the axes after this one are taken whole on both sides
  for (int later = axis + 1; later < rank; ++later) {
    from_step *= static_cast<std::size_t>(box.from_shape[later]);
    to_step *= static_cast<std::size_t>(box.to_shape[later]);
    whole = whole && box.extents[later] == box.from_shape[later] &&
            box.extents[later] == box.to_shape[later];
  }
  from += static_cast<std::size_t>(box.from_at[axis]) * from_step;
  to += static_cast<std::size_t>(box.to_at[axis]) * to_step;
  if (whole) {
    std::memcpy(to, from, static_cast<std::size_t>(box.extents[axis]) * from_step);
    return;
  }
  for (std::int64_t i = 0; i < box.extents[axis]; ++i) {
    copy_box(box, axis + 1, element, from + static_cast<std::size_t>(i) * from_step,
             to + static_cast<std::size_t>(i) * to_step);
  }
}

}  // namespace

// The library's own way, for one thread at a time.
struct Hdf5RowReader::Library {
  explicit Library(const std::string& path) : file(path) {}
  mutable std::mutex mutex;
  Hdf5File file;
};

Hdf5RowReader::Hdf5RowReader(const Hdf5File& file, const Hdf5Array& array,
                             std::shared_ptr<const ReadOnlyFile> bytes)
    : array_(array), storage_(file.storage(array)), bytes_(std::move(bytes)) {
  const std::string where = array_.name.empty() ? bytes_->path() : place(0, rows());
  const std::uint64_t size = bytes_->size();
  const auto check_place = [&](std::uint64_t offset, std::uint64_t count) {
    check_input(offset <= size && count <= size - offset, where, ": lies at byte ", offset, " of ", size,
                " of the file: the file is damaged or truncated");
  };
  // No filter shrinks values by more: a damaged size must not cost memory.
  constexpr std::uint64_t kMostCompression = 1100;
  if (storage_.kind == Hdf5Storage::Kind::kLibrary) {
    library_ = std::make_shared<const Library>(bytes_->path());
  } else {
    constexpr std::uint64_t kMostUnwritten = std::uint64_t{1} << 30;
    const std::uint64_t all = static_cast<std::uint64_t>(rows()) * stored_row_bytes();
    check_input(all <= kMostUnwritten || all / kMostCompression <= size, where, ": is of shape ",
                array_.shape, ", ", all, " bytes, of which a file of ", size,
                " cannot hold much: the file is damaged, or was never filled");
  }
  if (storage_.kind == Hdf5Storage::Kind::kContiguous && storage_.offset != Hdf5Storage::kNowhere) {
    check_place(storage_.offset, static_cast<std::uint64_t>(rows()) * stored_row_bytes());
  }
  if (storage_.kind != Hdf5Storage::Kind::kChunked) return;
  grid_ = array_.shape;
  for (int axis = 0; axis < grid_.rank(); ++axis) {
    const std::int64_t chunk = array_.chunk[axis];
    check_input(chunk >= 1, where, ": has chunks of shape ", array_.chunk);
    grid_ = grid_.with(axis, (array_.shape[axis] + chunk - 1) / chunk);
  }
  chunks_of_row_ = static_cast<std::size_t>(grid_.elements(1, grid_.rank()));
  chunk_bytes_ = static_cast<std::size_t>(array_.chunk.elements()) * storage_.element.bytes;
  for (const Hdf5Storage::Chunk& chunk : storage_.chunks) {
    if (chunk.offset == Hdf5Storage::kNowhere) continue;
    check_place(chunk.offset, chunk.bytes);
    check_input(chunk_bytes_ / kMostCompression <= chunk.bytes, where, ": a chunk of ", chunk.bytes,
                " bytes cannot hold ", chunk_bytes_, ": the file is damaged");
  }
}

std::string Hdf5RowReader::place(std::int64_t begin, std::int64_t end) const {
  const std::string rows = end - begin == 1 ? text("row ", begin) : text("rows [", begin, ", ", end, ")");
  return text(bytes_->path(), ": array \"", array_.name, "\", ", rows);
}

std::int64_t Hdf5RowReader::rows_of_chunk() const {
  return storage_.kind == Hdf5Storage::Kind::kChunked ? std::min(array_.chunk[0], rows()) : 1;
}

std::size_t Hdf5RowReader::stored_row_bytes() const {
  return array_.row_bytes() / size_of(array_.dtype) * storage_.element.bytes;
}

void Hdf5RowReader::read(std::int64_t begin, std::int64_t end, void* to, Scratch& scratch) const {
  const bool within = begin >= 0 && begin <= end && end <= rows();
  if (!within) broken_invariant(place(begin, end), " of ", rows());
  const std::size_t bytes = static_cast<std::size_t>(end - begin) * array_.row_bytes();
  if (bytes == 0) return;
  auto* const out = static_cast<std::byte*>(to);
  switch (storage_.kind) {
    case Hdf5Storage::Kind::kLibrary: {
      const std::lock_guard lock(library_->mutex);
      library_->file.read(array_, begin, end, to);
      return;
    }
    case Hdf5Storage::Kind::kCompact:
      std::memcpy(to, storage_.content.data() + static_cast<std::size_t>(begin) * array_.row_bytes(), bytes);
      return;
    default: break;
  }
  const Hdf5Element& element = storage_.element;
  const std::size_t count = bytes / size_of(element.dtype);
  if (element.bytes == size_of(element.dtype)) {
    read_stored(begin, end, out, scratch);
    if (element.big_endian) convert_elements(element, out, out, count);
  } else {
    if (scratch.rows_.size() < count * element.bytes) scratch.rows_.resize(count * element.bytes);
    read_stored(begin, end, scratch.rows_.data(), scratch);
    convert_elements(element, scratch.rows_.data(), out, count);
  }
  if (element.dtype == DType::kI64 && !element.is_signed && element.bytes == 8) {
    const std::size_t bad = first_too_large(out, count);
    const auto row = begin + static_cast<std::int64_t>(bad * 8 / std::max<std::size_t>(8, array_.row_bytes()));
    check_input(bad == count, place(row, row + 1), ": a value is 2^63 or more, which i64 does not hold");
  }
}

void Hdf5RowReader::read_stored(std::int64_t begin, std::int64_t end, std::byte* to, Scratch& scratch) const {
  if (scratch.looked_at_ != bytes_.get() || scratch.read_since_ >= Scratch::kBytesBetweenLooks) {
    bytes_->check_unchanged();
    scratch.looked_at_ = bytes_.get();
    scratch.read_since_ = 0;
  }
  scratch.read_since_ += static_cast<std::size_t>(end - begin) * stored_row_bytes();
  if (storage_.kind == Hdf5Storage::Kind::kContiguous) {
    read_contiguous(begin, end, to);
  } else {
    read_chunks(begin, end, to, scratch);
  }
}

void Hdf5RowReader::read_contiguous(std::int64_t begin, std::int64_t end, std::byte* to) const {
  const std::size_t row = stored_row_bytes();
  const std::size_t bytes = static_cast<std::size_t>(end - begin) * row;
  if (storage_.offset == Hdf5Storage::kNowhere) return fill(to, bytes);
  bytes_->read(storage_.offset + static_cast<std::uint64_t>(begin) * row, bytes, to);
}

void Hdf5RowReader::fill(std::byte* to, std::size_t bytes) const {
  if (storage_.fill.empty()) {
    std::memset(to, 0, bytes);
    return;
  }
  for (std::size_t at = 0; at < bytes; at += storage_.fill.size()) {
    std::memcpy(to + at, storage_.fill.data(), storage_.fill.size());
  }
}

void Hdf5RowReader::read_chunks(std::int64_t begin, std::int64_t end, std::byte* to, Scratch& scratch) const {
  const std::int64_t rows_each = array_.chunk[0];
  for (std::int64_t band = begin / rows_each; band * rows_each < end; ++band) {
    const std::int64_t first = band * rows_each;
    const auto chunks =
        std::span(storage_.chunks)
            .subspan(static_cast<std::size_t>(band) * chunks_of_row_, chunks_of_row_);
    if (std::ranges::all_of(
            chunks, [](const auto& chunk) { return chunk.offset == Hdf5Storage::kNowhere; })) {
      const std::int64_t low = std::max(first, begin), high = std::min(first + rows_each, end);
      fill(to + static_cast<std::size_t>(low - begin) * stored_row_bytes(),
           static_cast<std::size_t>(high - low) * stored_row_bytes());
      continue;
    }
    // Chunks of whole rows that are wanted whole are decoded where they belong.
    const bool direct = chunks_of_row_ == 1 && array_.chunk.slice(1, array_.chunk.rank()) ==
                                                   array_.shape.slice(1, array_.shape.rank()) &&
                        first >= begin && first + rows_each <= end;
    for (std::size_t k = 0; k < chunks_of_row_; ++k) {
      const std::size_t index = static_cast<std::size_t>(band) * chunks_of_row_ + k;
      if (direct) {
        decode_chunk(index, to + static_cast<std::size_t>(first - begin) * stored_row_bytes(), scratch);
        continue;
      }
      if (scratch.chunk_.size() < chunk_bytes_) scratch.chunk_.resize(chunk_bytes_);
      decode_chunk(index, scratch.chunk_.data(), scratch);
      copy_from_chunk(index, scratch.chunk_.data(), begin, end, to);
    }
  }
}

void Hdf5RowReader::decode_chunk(std::size_t index, std::byte* to, Scratch& scratch) const {
  const Hdf5Storage::Chunk& chunk = storage_.chunks[index];
  if (chunk.offset == Hdf5Storage::kNowhere) return fill(to, chunk_bytes_);
  if (storage_.filters.empty() && chunk.bytes == chunk_bytes_) {
    bytes_->read(chunk.offset, chunk.bytes, to);
    return;
  }
  if (scratch.stored_.size() < chunk.bytes) scratch.stored_.resize(chunk.bytes);
  bytes_->read(chunk.offset, chunk.bytes, scratch.stored_.data());
  try {
    scratch.decoder_.decode(storage_.filters, chunk.mask, {scratch.stored_.data(), chunk.bytes},
                            {to, chunk_bytes_});
  } catch (const Error& error) {
    const std::int64_t first = static_cast<std::int64_t>(index / chunks_of_row_) * array_.chunk[0];
    throw Error(error.kind(), text(place(first, std::min(first + array_.chunk[0], rows())), ": the chunk of ",
                                   chunk.bytes, " bytes at byte ", chunk.offset, " is damaged: ", error.what()));
  }
}

void Hdf5RowReader::copy_from_chunk(std::size_t index, const std::byte* chunk, std::int64_t begin,
                                    std::int64_t end, std::byte* to) const {
  const int rank = array_.shape.rank();
  std::array<std::int64_t, Shape::kMaxRank> extents{}, from_at{}, to_at{}, to_shape{};
  std::size_t rest = index;
  for (int axis = rank; axis-- > 0;) {
    const auto along = static_cast<std::size_t>(grid_[axis]);
    const std::int64_t first = static_cast<std::int64_t>(rest % along) * array_.chunk[axis];
    rest /= along;
    const std::int64_t low = axis == 0 ? std::max(first, begin) : first;
    const std::int64_t high = std::min(first + array_.chunk[axis], axis == 0 ? end : array_.shape[axis]);
    extents[axis] = high - low;
    from_at[axis] = low - first;
    to_at[axis] = axis == 0 ? low - begin : low;
    to_shape[axis] = axis == 0 ? end - begin : array_.shape[axis];
  }
  const auto first_of = [rank](const auto& list) {
    return std::span<const std::int64_t>(list.data(), static_cast<std::size_t>(rank));
  };
  copy_box({first_of(extents), array_.chunk.dims(), first_of(from_at), first_of(to_shape), first_of(to_at)}, 0,
           storage_.element.bytes, chunk, to);
}

void Hdf5RowReader::expect(std::int64_t begin, std::int64_t end) const {
  if (storage_.kind == Hdf5Storage::Kind::kContiguous && storage_.offset != Hdf5Storage::kNowhere) {
    const std::size_t row = stored_row_bytes();
    bytes_->expect(storage_.offset + static_cast<std::uint64_t>(begin) * row,
                   static_cast<std::size_t>(end - begin) * row);
  }
  if (storage_.kind != Hdf5Storage::Kind::kChunked || begin >= end) return;
  const std::size_t first = static_cast<std::size_t>(begin / array_.chunk[0]) * chunks_of_row_;
  const std::size_t last = static_cast<std::size_t>((end - 1) / array_.chunk[0] + 1) * chunks_of_row_;
  for (std::size_t index = first; index < last; ++index) {
    const Hdf5Storage::Chunk& chunk = storage_.chunks[index];
    if (chunk.offset != Hdf5Storage::kNowhere) bytes_->expect(chunk.offset, chunk.bytes);
  }
}

std::uint64_t Hdf5RowReader::fingerprint() const {
  std::string all = text(array_.name, ' ', name_of(array_.dtype), ' ', array_.shape, ' ', array_.chunk, ' ',
                         storage_.offset, ' ', bytes_->size());
  for (const Hdf5Storage::Chunk& chunk : storage_.chunks) all += text(' ', chunk.offset, ' ', chunk.bytes);
  return xxh3(std::as_bytes(std::span(all)));
}

}  // namespace lockstep
