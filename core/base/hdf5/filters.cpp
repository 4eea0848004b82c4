#include "core/base/hdf5/filters.h"

#include <libdeflate.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "core/base/error.h"

namespace lockstep {
namespace {

using Bytes = std::span<const std::byte>;
constexpr std::size_t kChecksumBytes = 4;

// ---- shuffle -----------------------------------------------------------------------------------

// Elements of a fixed size: the loop then vectorises.
template <typename Element>
void unshuffle_as(Bytes from, std::byte* to, std::size_t count) {
  const auto* in = reinterpret_cast<const std::uint8_t*>(from.data());
  for (std::size_t i = 0; i < count; ++i) {
    Element element = 0;
    for (std::size_t b = 0; b < sizeof(Element); ++b) {
      element = static_cast<Element>(element | static_cast<Element>(in[b * count + i]) << (8 * b));
    }
    std::memcpy(to + i * sizeof(Element), &element, sizeof(Element));
  }
}

// REQUIRES: from.size() == to.size(). Bytes that fill no element stay at the end.
void unshuffle(Bytes from, std::span<std::byte> to, std::size_t element_bytes) {
  const std::size_t count = from.size() / element_bytes;
  switch (element_bytes) {
    case 2: unshuffle_as<std::uint16_t>(from, to.data(), count); break;
    case 4: unshuffle_as<std::uint32_t>(from, to.data(), count); break;
    case 8: unshuffle_as<std::uint64_t>(from, to.data(), count); break;
    default:
      for (std::size_t b = 0; b < element_bytes; ++b) {
        for (std::size_t i = 0; i < count; ++i) to[i * element_bytes + b] = from[b * count + i];
      }
  }
  const std::size_t whole = count * element_bytes;
  std::copy(from.begin() + whole, from.end(), to.begin() + whole);
}

// ---- fletcher32 --------------------------------------------------------------------------------

// The bytes without their checksum.
Bytes checked(Bytes from) {
  check_input(from.size() >= kChecksumBytes, "it has ", from.size(), " bytes, fewer than its checksum");
  const Bytes content = from.first(from.size() - kChecksumBytes);
  std::array<std::uint8_t, kChecksumBytes> stored{};
  std::memcpy(stored.data(), from.data() + content.size(), kChecksumBytes);
  const auto word = [](std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d) {
    return std::uint32_t{a} | std::uint32_t{b} << 8 | std::uint32_t{c} << 16 | std::uint32_t{d} << 24;
  };
  const std::uint32_t found = hdf5_fletcher32(content);
  // HDF5 before 1.6.3 wrote the bytes of each half in the other order.
  const bool same = found == word(stored[0], stored[1], stored[2], stored[3]) ||
                    found == word(stored[1], stored[0], stored[3], stored[2]);
  check_input(same, "its checksum (fletcher32) is wrong");
  return content;
}

// ---- lzf ---------------------------------------------------------------------------------------

//   stream    = { literals | reference }
//   literals  = (n - 1 as a byte below 32) n bytes
//   reference = (3 bits length, 5 bits distance) [length byte where the 3 bits are 7] distance byte
//   The reference repeats length + 2 bytes from distance + 1 bytes before.
void unpack_lzf(Bytes from, std::span<std::byte> to) {
  std::size_t in = 0, out = 0;
  const auto next = [&] {
    check_input(in < from.size(), "its lzf stream ends too early");
    return std::to_integer<std::size_t>(from[in++]);
  };
  while (in < from.size()) {
    const std::size_t control = next();
    if (control < 32) {
      const std::size_t count = control + 1;
      check_input(count <= from.size() - in && count <= to.size() - out,
                  "its lzf stream is damaged at byte ", in);
      std::copy_n(from.begin() + in, count, to.begin() + out);
      in += count;
      out += count;
      continue;
    }
    std::size_t count = control >> 5;
    if (count == 7) count += next();
    count += 2;
    const std::size_t distance = ((control & 31) << 8 | next()) + 1;
    check_input(distance <= out && count <= to.size() - out,
                "its lzf stream is damaged at byte ", in);
    for (std::size_t i = 0; i < count; ++i, ++out) to[out] = to[out - distance];
  }
  check_input(out == to.size(), "its lzf stream gives ", out, " bytes, expected ", to.size());
}

}  // namespace

std::uint32_t hdf5_fletcher32(std::span<const std::byte> bytes) {
  std::uint32_t sum1 = 0, sum2 = 0;
  const auto* at = reinterpret_cast<const std::uint8_t*>(bytes.data());
  const auto fold = [](std::uint32_t sum) { return (sum & 0xffff) + (sum >> 16); };
  constexpr std::size_t kWordsWithoutOverflow = 360;
  for (std::size_t words = bytes.size() / 2; words > 0;) {
    const std::size_t some = std::min(words, kWordsWithoutOverflow);
    words -= some;
    for (std::size_t i = 0; i < some; ++i, at += 2) {
      sum1 += std::uint32_t{at[0]} << 8 | at[1];
      sum2 += sum1;
    }
    sum1 = fold(sum1);
    sum2 = fold(sum2);
  }
  if (bytes.size() % 2 == 1) {
    sum1 += std::uint32_t{*at} << 8;
    sum2 += sum1;
    sum1 = fold(sum1);
    sum2 = fold(sum2);
  }
  return fold(sum2) << 16 | fold(sum1);
}

// ---- Decoder -----------------------------------------------------------------------------------

struct Hdf5Decoder::Inflate {
  libdeflate_decompressor* decompressor = libdeflate_alloc_decompressor();
  ~Inflate() { libdeflate_free_decompressor(decompressor); }

  void run(Bytes from, std::span<std::byte> to) {
    if (decompressor == nullptr) environment_failed("no memory to decompress");
    std::size_t written = 0;
    const libdeflate_result result = libdeflate_zlib_decompress(
        decompressor, from.data(), from.size(), to.data(), to.size(), &written);
    check_input(result != LIBDEFLATE_INSUFFICIENT_SPACE, "its gzip stream gives more than ",
                to.size(), " bytes");
    check_input(result == LIBDEFLATE_SUCCESS, "its gzip stream is damaged");
    check_input(written == to.size(), "its gzip stream gives ", written, " bytes, expected ",
                to.size());
  }
};

Hdf5Decoder::Hdf5Decoder() : inflate_(std::make_unique<Inflate>()) {}
Hdf5Decoder::~Hdf5Decoder() = default;
Hdf5Decoder::Hdf5Decoder(Hdf5Decoder&&) noexcept = default;
Hdf5Decoder& Hdf5Decoder::operator=(Hdf5Decoder&&) noexcept = default;

void Hdf5Decoder::decode(std::span<const Hdf5Filter> filters, std::uint32_t mask,
                         std::span<const std::byte> stored, std::span<std::byte> to) {
  std::size_t checksums = 0, moves = 0;  // that are still to be undone
  for (std::size_t f = 0; f < filters.size(); ++f) {
    if ((mask >> f & 1) != 0) continue;
    ++(filters[f].kind == Hdf5FilterKind::kFletcher32 ? checksums : moves);
  }
  Bytes from = stored;
  bool in_place = false;  // `from` is `to`
  for (std::size_t f = filters.size(), turn = 0; f-- > 0;) {
    if ((mask >> f & 1) != 0) continue;
    const Hdf5Filter& filter = filters[f];
    if (filter.kind == Hdf5FilterKind::kFletcher32) {
      from = checked(from);
      --checksums;
      continue;
    }
    // Checksums that were written before this filter lie in what it gives.
    const std::size_t bytes = to.size() + checksums * kChecksumBytes;
    const bool last = --moves == 0 && checksums == 0;
    std::span<std::byte> out = to;
    if (!last) {
      std::vector<std::byte>& memory = between_[turn++ % 2];
      if (memory.size() < bytes) memory.resize(bytes);
      out = {memory.data(), bytes};
    }
    switch (filter.kind) {
      case Hdf5FilterKind::kGzip: inflate_->run(from, out); break;
      case Hdf5FilterKind::kLzf: unpack_lzf(from, out); break;
      default:
        check_input(from.size() == bytes, "it has ", from.size(), " bytes, expected ", bytes);
        unshuffle(from, out, filter.element_bytes);
    }
    from = out;
    in_place = last;
  }
  check_input(from.size() == to.size(), "it has ", from.size(), " bytes, expected ", to.size());
  if (!in_place) std::copy(from.begin(), from.end(), to.begin());
}

}  // namespace lockstep
