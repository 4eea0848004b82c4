// The filters of HDF5 chunks, undone without the library: many threads can do it at the same time.
//
// A chunk is written through a list of filters and read through the same list backwards; a bit of
// the chunk's mask says that a filter was left out.
//
//   gzip        zlib's format (RFC 1950), by libdeflate
//   shuffle     byte 0 of every element, then byte 1 of every element, ...
//   fletcher32  4 bytes at the end: Fletcher's checksum over 16-bit words, as HDF5 computes it
//   lzf         h5py's: M. Lehmann's LZF, runs of literal bytes and references to earlier bytes
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace lockstep {

enum class Hdf5FilterKind : std::uint8_t { kGzip, kShuffle, kFletcher32, kLzf };

struct Hdf5Filter {
  Hdf5FilterKind kind = Hdf5FilterKind::kGzip;
  std::size_t element_bytes = 1;  // of shuffle
};

// Undoes filters. It keeps its memory from chunk to chunk; one thread at a time.
class Hdf5Decoder {
 public:
  Hdf5Decoder();
  ~Hdf5Decoder();
  Hdf5Decoder(Hdf5Decoder&&) noexcept;
  Hdf5Decoder& operator=(Hdf5Decoder&&) noexcept;

  // `stored` as it lies in the file becomes the `to.size()` bytes of the chunk. Throws bad_input
  // with the reason where the chunk is damaged; reads and writes nothing out of bounds.
  void decode(std::span<const Hdf5Filter> filters, std::uint32_t mask,
              std::span<const std::byte> stored, std::span<std::byte> to);

 private:
  struct Inflate;
  std::unique_ptr<Inflate> inflate_;
  std::vector<std::byte> between_[2];  // what one filter hands to the next
};

// HDF5's Fletcher checksum.
std::uint32_t hdf5_fletcher32(std::span<const std::byte> bytes);

}  // namespace lockstep
